"""The one connection to Cosmos of this process."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.request import getproxies_environment

from shared.platform.settings import Settings
from shared.store import charge
from shared.store.errors import translate

if TYPE_CHECKING:
    from azure.cosmos.aio import ContainerProxy, CosmosClient

T = TypeVar("T")
ResponseHook = Callable[..., None]
ATTEMPTS: Final = 4
AGAIN: Final = frozenset({449})
UNKNOWN_OUTCOME: Final = frozenset({408})


class Database:
    """One Cosmos client for the life of the process, made and connected at the first call.

    The SDK is imported then, not before: a door that answers without the store never pays for it.
    A client is bound to the event loop of its first call, as everything in a Functions worker is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: CosmosClient | None = None
        self._credential: Any = None
        self._containers: dict[str, ContainerProxy] = {}
        self._opening = asyncio.Lock()

    async def container(self, name: str) -> ContainerProxy:
        """The proxy of a container; connects at the first call."""
        found = self._containers.get(name)
        if found is None:
            client = await self._connected()
            found = client.get_database_client(self._settings.cosmos_database).get_container_client(name)
            self._containers[name] = found
        return found

    async def call(
        self,
        operation: str,
        container: str,
        what: str,
        act: Callable[[ContainerProxy, ResponseHook], Awaitable[T]],
        *,
        repeatable: bool = False,
    ) -> T:
        """Do one operation on a container: its charge is recorded, an error of the SDK becomes a `Fault`.

        `act` gets the container and a response hook that it must hand to the SDK; `what` names the thing in refusals.
        449 (a write met another one and was not applied) is tried again here, as the SDK does not; 408 (nobody knows)
        only when the operation is `repeatable`: applied twice it does no harm, and it knows its own work again.
        """
        from azure.core.exceptions import AzureError

        def hook(headers: Any, *_: Any) -> None:
            charge.record(operation, container, headers)

        again = AGAIN | UNKNOWN_OUTCOME if repeatable else AGAIN
        for attempt in range(ATTEMPTS):
            try:
                return await act(await self.container(container), hook)
            except AzureError as error:
                charge.record(operation, container, getattr(error, "headers", None) or {})
                if getattr(error, "status_code", None) not in again or attempt == ATTEMPTS - 1:
                    raise translate(error, what) from error
            await asyncio.sleep(random.uniform(0.005, 0.02 * 2**attempt))  # noqa: S311 - spreads writers, no secret
        raise AssertionError("unreachable")

    async def ping(self) -> None:
        """One real, cheap read: the properties of the directory container.

        Raises:
            Fault: the store does not answer, or not with what was expected.
        """
        await self.call("ping", "directory", "the container directory", lambda c, hook: c.read(response_hook=hook))

    async def close(self) -> None:
        """Close the connections; the next call opens them again."""
        client, self._client = self._client, None
        self._containers.clear()
        if client is not None:
            await client.close()
        if self._credential is not None:
            await self._credential.close()
            self._credential = None

    async def _connected(self) -> CosmosClient:
        async with self._opening:
            if self._client is None:
                from azure.core.exceptions import AzureError
                from azure.cosmos.aio import CosmosClient

                client = CosmosClient(
                    self._settings.cosmos_endpoint,
                    credential=self._secret(),
                    connection_timeout=5,
                    read_timeout=15,
                    retry_throttle_total=5,
                    transport=_transport(),
                )
                try:
                    await client.__aenter__()
                except AzureError as error:
                    await client.close()
                    raise translate(error, "the account") from error
                self._client = client
            return self._client

    def _secret(self) -> Any:
        """The account key if one is set (local, tests), else the identity of the app."""
        if self._settings.cosmos_key is not None:
            return self._settings.cosmos_key.get_secret_value()
        from azure.identity.aio import DefaultAzureCredential

        self._credential = DefaultAzureCredential()
        return self._credential


def _transport() -> Any:
    """The SDK's own transport, which looks for proxies in the environment only if there are any.

    Told to look, it does so before each request in a thread, and in another one for a password file: two hops between
    threads for every operation, a third of its time.
    """
    from azure.core.pipeline.transport import AioHttpTransport

    proxies = getproxies_environment().keys() - {"no"}
    return AioHttpTransport(use_env_settings=bool(proxies))
