"""Azure Key Vault as a source of secrets, reached with the identity of the app.

The SDK's own patience is made for batch jobs (ten retries, minutes), and a request waits here: so there are two retries
of at most a second, and an end to everything, the identity's token included, after ten seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

from shared.platform.errors import SecretsUnavailable
from shared.platform.secrets import checked_name, checked_value

PATIENCE_SECONDS: Final = 10.0
_RETRIES: Final = {"retry_total": 2, "retry_backoff_factor": 0.2, "retry_backoff_max": 1.0}
_TIMEOUTS: Final = {"connection_timeout": 3.0, "read_timeout": 5.0}
#: What an operator can do about it, by the vault's own status.
_ADVICE: Final = {
    401: "the vault does not know the identity of the app",
    403: "the identity of the app may not do this: give it the role Key Vault Secrets Officer",
    409: "a secret of that name was deleted and is kept by the vault: recover or purge it",
    429: "the vault is asked too often",
}


class KeyVaultSecrets:
    """Implements `shared.platform.secrets.SecretSource`."""

    def __init__(self, vault_url: str, ca_file: str | None = None) -> None:
        """`ca_file`: the authority of the vault's certificate, where it is not a public one."""
        self._vault_url, self._ca_file = vault_url, ca_file
        self._client: Any = None
        self._credential: Any = None

    async def get(self, name: str) -> str | None:
        """See `SecretSource.get`: the newest version."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            found = await self._asked(f"give {name}", self._vault().get_secret(checked_name(name)))
        except ResourceNotFoundError:
            return None
        return None if found.value is None else str(found.value)

    async def set(self, name: str, value: str) -> None:
        """See `SecretSource.set`. Key Vault keeps the older versions."""
        await self._asked(f"take {name}", self._vault().set_secret(checked_name(name), checked_value(value)))

    async def create(self, name: str, value: str) -> str:
        """See `SecretSource.create`. Key Vault has no create-if-absent:

            A get: none        A set a                  A get: b
                 B get: none            B set b      B get: b

        so the value is read back, and the last writer's is everybody's. A reader between the two writes may hold `a`
        until its copy is five minutes old; this happens once in the life of an installation.
        """
        if (found := await self.get(name)) is not None:
            return found
        await self.set(name, value)
        return await self.get(name) or value

    async def close(self) -> None:
        """See `SecretSource.close`."""
        for held in (self._client, self._credential):
            if held is not None:
                await held.close()
        self._client = self._credential = None

    async def _asked(self, what: str, answer: Awaitable[Any]) -> Any:
        """The vault's answer within our patience.

        Raises:
            ResourceNotFoundError: there is no such secret.
            SecretsUnavailable: anything else, with what to do about it where the vault's status tells.
        """
        from azure.core.exceptions import AzureError, ResourceNotFoundError

        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await answer
        except ResourceNotFoundError:
            raise
        except TimeoutError as error:
            raise SecretsUnavailable(f"Key Vault does not {what} within {PATIENCE_SECONDS:g} s") from error
        except AzureError as error:
            status = getattr(error, "status_code", None)
            why = f"{type(error).__name__}{f' {status}' if status else ''}"
            advice = f"; {_ADVICE[status]}" if status in _ADVICE else ""
            raise SecretsUnavailable(f"Key Vault does not {what}: {why}{advice}") from error

    def _vault(self) -> Any:
        if self._client is None:
            from azure.identity.aio import DefaultAzureCredential
            from azure.keyvault.secrets.aio import SecretClient

            trusted: dict[str, Any] = {"connection_verify": self._ca_file} if self._ca_file else {}
            self._credential = DefaultAzureCredential()
            self._client = SecretClient(self._vault_url, self._credential, **_RETRIES, **_TIMEOUTS, **trusted)
        return self._client
