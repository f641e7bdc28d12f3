"""Secrets behind one port: Key Vault in Azure, files of mode 0600 on one machine; cached with expiry.

Fails closed when a secret was never read; one that was read before is used for up to an hour while its source does not
answer (or refuses), for signing keys and connection strings change far more rarely than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets as randomness
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from shared.platform import telemetry
from shared.platform.clock import Clock
from shared.platform.errors import SecretsUnavailable
from shared.platform.settings import Settings, SettingsError

FRESH_SECONDS: Final = 300.0
STALE_SECONDS: Final = 3600.0
AGAIN_SECONDS: Final = 30.0  # until a source that did not answer is asked again; meanwhile nobody waits for it
MAX_BYTES: Final = 25_000  # Key Vault's limit: 25 KB a value
_NAME: Final = re.compile(r"^[0-9a-zA-Z-]{1,127}$")  # Key Vault's rule for names


class SecretSource(Protocol):
    """Where secrets are kept."""

    async def get(self, name: str) -> str | None:
        """The secret's value; None if there is none. Raises SecretsUnavailable."""

    async def set(self, name: str, value: str) -> None:
        """Store a value, replacing what is there. Raises SecretsUnavailable."""

    async def create(self, name: str, value: str) -> str:
        """Store a value unless there is one; the value that is there now, ours or another's."""

    async def close(self) -> None:
        """Let go of connections."""


def checked_name(name: str) -> str:
    """The name, if it can be one.

    Raises:
        ValueError: other characters than letters, digits and hyphens, or longer than 127.
    """
    if not _NAME.match(name):
        raise ValueError(f"{name!r} is not a name for a secret: letters, digits and hyphens, at most 127")
    return name


def checked_value(value: str) -> str:
    """The value, if a vault can hold it.

    Raises:
        ValueError: it is empty, or longer than 25,000 bytes.
    """
    if not value or len(value.encode()) > MAX_BYTES:
        raise ValueError(f"a secret has 1 to {MAX_BYTES} bytes, not {len(value.encode())}")
    return value


class FolderSecrets:
    """One file a secret in a folder that only its owner can enter. For development, tests and the self-hosted edition."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def get(self, name: str) -> str | None:
        """See `SecretSource.get`. A file that others can read is refused: what is in it is no secret any more."""
        return self._read(self._folder / checked_name(name))

    async def set(self, name: str, value: str) -> None:
        """See `SecretSource.set`. Atomic: a reader sees the old value or the new one."""
        path = self._folder / checked_name(name)
        self._write_aside(path, value).replace(path)

    async def create(self, name: str, value: str) -> str:
        """See `SecretSource.create`. `link` fails when the name is taken, so of two processes one wins."""
        path = self._folder / checked_name(name)
        aside = self._write_aside(path, value)
        try:
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        finally:
            aside.unlink()
        stored = self._read(path)
        return value if stored is None else stored

    async def close(self) -> None:
        """Nothing is held."""

    def _read(self, path: Path) -> str | None:
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise SecretsUnavailable(
                    f"the secret file {path} can be read by others: chmod 600, and change the secret"
                )
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SecretsUnavailable(f"the secret file {path} cannot be read: {error.strerror}") from error

    def _write_aside(self, path: Path, value: str) -> Path:
        aside = path.with_name(f".{path.name}.{randomness.token_hex(8)}")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise SecretsUnavailable(f"the folder {self._folder} cannot be written: {error.strerror}") from error
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(checked_value(value))
            file.flush()
            os.fsync(descriptor)
        return aside


@dataclass(slots=True)
class _Copy:
    value: str
    read_at: float
    ask_at: float


class Secrets:
    """The port that the program uses: a source, and copies of what was read from it."""

    def __init__(self, source: SecretSource, clock: Clock) -> None:
        self._source, self._clock = source, clock
        self._copies: dict[str, _Copy] = {}
        self._reading: dict[str, asyncio.Lock] = {}

    async def get(self, name: str) -> str | None:
        """The secret; a copy of at most five minutes, or None if there is no such secret.

        Raises:
            SecretsUnavailable: the source does not answer, and no copy of the last hour is here.
        """
        if (copy := self._fresh(name)) is not None:
            return copy.value
        async with self._reading.setdefault(name, asyncio.Lock()):
            if (copy := self._fresh(name)) is not None:  # another call may have read it while this one waited
                return copy.value
            try:
                value = await self._source.get(name)
            except SecretsUnavailable:
                copy, now = self._copies.get(name), self._clock.monotonic()
                if copy is None or now - copy.read_at > STALE_SECONDS:
                    raise
                copy.ask_at = min(now + AGAIN_SECONDS, copy.read_at + STALE_SECONDS)
                telemetry.counter("secrets.stale_reads", "{read}").add(1, {"secret": name})
                return copy.value
            if value is None:
                self._copies.pop(name, None)
            else:
                self._remember(name, value)
            return value

    async def set(self, name: str, value: str) -> None:
        """Store a value, replacing what is there. Other instances follow within five minutes."""
        await self._source.set(name, value)
        self._remember(name, value)

    async def create(self, name: str, value: str) -> str:
        """Store a value unless there is one; the value that counts, ours or the one that was there."""
        stored = await self._source.create(name, value)
        self._remember(name, stored)
        return stored

    def forget(self, name: str) -> None:
        """Drop the copy: the next get asks the source."""
        self._copies.pop(name, None)

    async def close(self) -> None:
        """Let go of the source's connections."""
        await self._source.close()

    def _remember(self, name: str, value: str) -> None:
        now = self._clock.monotonic()
        self._copies[name] = _Copy(value, now, now + FRESH_SECONDS)

    def _fresh(self, name: str) -> _Copy | None:
        copy = self._copies.get(checked_name(name))
        return copy if copy is not None and self._clock.monotonic() < copy.ask_at else None


def open_secrets(settings: Settings, clock: Clock) -> Secrets:
    """The secrets of this installation.

    Raises:
        SettingsError: no place for secrets is set, or in production one that is no vault.
    """
    if settings.key_vault_url:
        from shared.platform.vault import KeyVaultSecrets

        return Secrets(KeyVaultSecrets(settings.key_vault_url, settings.key_vault_ca_file), clock)
    if settings.secrets_folder:
        return Secrets(FolderSecrets(Path(settings.secrets_folder)), clock)
    raise SettingsError("MERIDIAN_KEY_VAULT_URL (in Azure) or MERIDIAN_SECRETS_FOLDER (on one machine) is missing")
