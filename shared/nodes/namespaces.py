"""Service Bus namespaces as nodes use them: signed access for one queue, queues made and removed, messages sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets as randomness
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote, urlsplit

from shared.messaging.agent_api import Grant, Namespace
from shared.nodes.errors import BrokerUnavailable
from shared.nodes.models import DEFAULT_NAMESPACE, REPORTS_QUEUE
from shared.nodes.senders import Senders
from shared.platform.clock import Clock
from shared.platform.secrets import Secrets
from shared.platform.settings import AgentNamespace, Settings, SettingsError

if TYPE_CHECKING:
    from azure.servicebus.aio import ServiceBusClient

Right = Literal["listen", "send"]
_RULES: Final[dict[Right, str]] = {"listen": "agent-listen", "send": "agent-send"}
QUEUE_SECRET: Final = "agent-queue-keys"  # noqa: S105  # a secret's name
GRANT_LIFE: Final = timedelta(hours=1)
#: Longer than any clock can be wrong and be served, and than a command's own repetition by a retried activity.
DUPLICATES_WITHIN: Final = timedelta(hours=1)
#: An agent writes a command down and completes it at once, whatever its clock says; one that dies in between gets it again
#: after this long.
LOCK: Final = timedelta(seconds=30)
#: A host that is killed holds its batch for this long; a batch takes well under a second, and locks are renewed.
REPORTS_LOCK: Final = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class _Connection:
    host: str
    port: int | None
    rule: str
    key: str
    plain: bool

    @classmethod
    def parse(cls, text: str) -> _Connection:
        parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
        try:
            url = urlsplit(parts["Endpoint"])
            host, port = url.hostname or "", url.port
            rule, key = parts["SharedAccessKeyName"], parts["SharedAccessKey"]
        except (KeyError, ValueError):
            raise SettingsError(
                "a Service Bus connection string needs Endpoint, SharedAccessKeyName, SharedAccessKey"
            ) from None
        return cls(host, port, rule, key, parts.get("UseDevelopmentEmulator", "").lower() == "true")


class Namespaces:
    """See the module. Made once a process; `close` lets the connections go."""

    def __init__(self, settings: Settings, secrets: Secrets, clock: Clock) -> None:
        self._settings, self._secrets, self._clock = settings, secrets, clock
        self._reports_ready: set[str] = set()
        self._clients: dict[str, ServiceBusClient] = {}
        self.senders = Senders(self._client)
        self._admin: Any = None
        self._admins: dict[str, Any] = {}

    # ---------------------------------------------------------------- what agents get

    def _of(self, name: str) -> tuple[AgentNamespace | None, str]:
        found = self._settings.agent_namespaces.get(name)
        if found is not None:
            return found, found.connection.get_secret_value()
        if name == DEFAULT_NAMESPACE and self._settings.service_bus_connection is not None:
            return None, self._settings.service_bus_connection.get_secret_value()
        raise SettingsError(
            f"MERIDIAN_AGENT_NAMESPACES does not name {name!r}, and there is no key to sign for its queues"
        )

    def address(self, name: str) -> Namespace:
        """Where agents find a namespace."""
        described, text = self._of(name)
        connection = _Connection.parse(text)
        if described is None:
            tls = not connection.plain
            port = connection.port or (5671 if tls else 5672)
            return Namespace(connection.host, amqp_port=port, tls=tls, websocket=tls, ca_pem=self._ca(None))
        return Namespace(
            described.host or connection.host,
            described.amqp_port,
            described.websocket_port,
            described.tls,
            described.tls,
            self._ca(described.ca_file),
        )

    def _ca(self, file: str | None) -> str | None:
        path = file or self._settings.service_bus_ca_file
        return Path(path).read_text() if path else None

    async def grant(self, name: str, entity: str, right: Right) -> Grant:
        """A signature for exactly one entity and one right (https://learn.microsoft.com/azure/service-bus-messaging/service-bus-sas).

        Each queue has a rule of its own with just this right, whose key follows from one secret of ours and the queue's
        name: nothing is stored for a node, and with the queue its tokens die.
        """
        described, text = self._of(name)
        host = (described.host if described else None) or _Connection.parse(text).host
        expires = self._clock.now() + GRANT_LIFE
        resource = quote(f"sb://{host}/{entity}".lower(), safe="")
        moment = int(expires.timestamp())
        key = await self._rule_key(name, entity)
        digest = hmac.new(key.encode(), f"{resource}\n{moment}".encode(), hashlib.sha256).digest()
        signature = quote(base64.b64encode(digest).decode(), safe="")
        token = f"SharedAccessSignature sr={resource}&sig={signature}&se={moment}&skn={_RULES[right]}"
        return Grant(entity, datetime.fromtimestamp(moment, expires.tzinfo), token)

    async def _rule_key(self, name: str, entity: str) -> str:
        secret = await self._secrets.get(QUEUE_SECRET)
        if secret is None:
            secret = await self._secrets.create(QUEUE_SECRET, randomness.token_urlsafe(32))
        digest = hmac.new(secret.encode(), f"{name}\x00{entity}".encode(), hashlib.sha256).digest()
        return base64.b64encode(digest).decode()

    async def _rule(self, name: str, entity: str, right: Right) -> Any:
        from azure.servicebus.management import AccessRights, AuthorizationRule

        rights: list[str | AccessRights] = [AccessRights.LISTEN if right == "listen" else AccessRights.SEND]
        key = await self._rule_key(name, entity)
        second = base64.b64encode(randomness.token_bytes(32)).decode()
        return AuthorizationRule(
            rights=rights,
            key_name=_RULES[right],
            primary_key=key,
            secondary_key=second,
            type="SharedAccessAuthorizationRule",
            claim_type="SharedAccessKey",
            claim_value="None",
        )

    # ---------------------------------------------------------------- queues

    async def make_queue(self, name: str, queue: str) -> None:
        """A node's queue; one that is there stays.

        Raises:
            BrokerUnavailable: the management address does not answer.
        """
        from azure.core.exceptions import AzureError, ResourceExistsError

        try:
            await self._management(name).create_queue(
                queue,
                authorization_rules=[await self._rule(name, queue, "listen")],
                requires_duplicate_detection=True,
                duplicate_detection_history_time_window=DUPLICATES_WITHIN,
                dead_lettering_on_message_expiration=True,
                default_message_time_to_live=timedelta(days=7),
                lock_duration=LOCK,
                max_delivery_count=10,
            )
        except ResourceExistsError:
            return
        except AzureError as error:
            raise BrokerUnavailable(f"the queue {queue} cannot be made: {type(error).__name__}") from error

    async def ready_reports_queue(self, name: str) -> None:
        """See that the queue of reports is there and that agents may send to it. Looks once a process."""
        if name in self._reports_ready:
            return
        from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError

        admin, rule = self._management(name), await self._rule(name, REPORTS_QUEUE, "send")
        try:
            try:
                found = await admin.get_queue(REPORTS_QUEUE)
            except ResourceNotFoundError:
                try:
                    await admin.create_queue(REPORTS_QUEUE, authorization_rules=[rule], lock_duration=REPORTS_LOCK)
                    self._reports_ready.add(name)
                    return
                except ResourceExistsError:
                    found = await admin.get_queue(REPORTS_QUEUE)
            others = [one for one in found.authorization_rules or [] if one.key_name != rule.key_name]
            known = any(one.primary_key == rule.primary_key for one in found.authorization_rules or [])
            if not known or found.lock_duration != REPORTS_LOCK:
                found.authorization_rules, found.lock_duration = [*others, rule], REPORTS_LOCK
                await admin.update_queue(found)
        except AzureError as error:
            raise BrokerUnavailable(f"the queue of reports cannot be readied: {type(error).__name__}") from error
        self._reports_ready.add(name)

    async def remove_queue(self, name: str, queue: str) -> None:
        """Remove a queue with what is in it: every token for it is worth nothing from then on.

        Raises:
            BrokerUnavailable: the management address does not answer.
        """
        from azure.core.exceptions import AzureError, ResourceNotFoundError

        await self.senders.forget((name, queue))
        try:
            await self._management(name).delete_queue(queue)
        except ResourceNotFoundError:
            return
        except AzureError as error:
            raise BrokerUnavailable(f"the queue {queue} cannot be removed: {type(error).__name__}") from error

    def _management(self, name: str) -> Any:
        if name != DEFAULT_NAMESPACE:
            return self._management_of(name)
        if self._admin is None:
            from azure.servicebus.aio.management import ServiceBusAdministrationClient

            settings = self._settings
            options = {"connection_verify": settings.service_bus_ca_file} if settings.service_bus_ca_file else {}
            if settings.service_bus_admin is not None:
                text = settings.service_bus_admin.get_secret_value()
                self._admin = ServiceBusAdministrationClient.from_connection_string(text, **options)
            elif settings.service_bus_connection is not None:
                text = settings.service_bus_connection.get_secret_value()
                self._admin = ServiceBusAdministrationClient.from_connection_string(text, **options)
            else:
                from azure.identity.aio import DefaultAzureCredential

                namespace = settings.service_bus_namespace or ""
                self._admin = ServiceBusAdministrationClient(namespace, DefaultAzureCredential(), **options)
        return self._admin

    def _management_of(self, name: str) -> Any:
        from azure.servicebus.aio.management import ServiceBusAdministrationClient

        found = self._admins.get(name)
        if found is None:
            found = self._admins[name] = ServiceBusAdministrationClient.from_connection_string(self._of(name)[1])
        return found

    # ---------------------------------------------------------------- sending

    async def resend(self, name: str, queue: str, body: str, original: Any) -> None:
        """Send a message's body once more, under its own id."""
        life = original.time_to_live or timedelta(days=1)
        await self.senders.send(
            name, queue, body, id=str(original.message_id), subject=str(original.subject or ""), life=life
        )

    def client(self, name: str) -> ServiceBusClient:
        """The SDK's client of a namespace, for readers of dead letters."""
        return self._client(name)

    def _client(self, name: str) -> ServiceBusClient:
        found = self._clients.get(name)
        if found is None:
            from azure.servicebus.aio import ServiceBusClient

            settings = self._settings
            options: dict[str, Any] = {"retry_total": 2, "retry_backoff_factor": 0.2, "socket_timeout": 10}
            if name not in settings.agent_namespaces and settings.service_bus_connection is None:
                from azure.identity.aio import DefaultAzureCredential

                namespace = settings.service_bus_namespace or ""
                found = ServiceBusClient(namespace, DefaultAzureCredential(), **options)
            else:
                found = ServiceBusClient.from_connection_string(self._of(name)[1], **options)
            self._clients[name] = found
        return found

    async def close(self) -> None:
        """Let all connections go."""
        await self.senders.close()
        for client in self._clients.values():
            await client.close()
        self._clients.clear()
        for admin in (self._admin, *self._admins.values()):
            if admin is not None:
                await admin.close()
        self._admin = None
        self._admins.clear()
