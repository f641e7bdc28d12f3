"""What the command line remembers between calls: where the API is, and the tokens of one sign-in."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.errors import CliError

DEFAULT_API = "http://localhost:7071"
DEFAULT_AUTH = "http://localhost:4400"


def folder() -> Path:
    """Where profiles are kept: `$MERIDIAN_CONFIG_DIR`, or the XDG configuration folder."""
    if chosen := os.environ.get("MERIDIAN_CONFIG_DIR"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "meridian"


@dataclass
class Profile:
    """One named connection. Tokens are secrets: the file has mode 0600."""

    name: str = "default"
    api: str = DEFAULT_API
    auth: str = DEFAULT_AUTH
    access_token: str = ""
    access_expires_at: float = 0.0
    refresh_token: str = ""
    org_id: str = ""
    org_name: str = ""
    email: str = ""

    @property
    def path(self) -> Path:
        """The profile's file."""
        return folder() / f"{self.name}.json"

    @classmethod
    def load(cls, name: str) -> Profile:
        """Read a profile, or a fresh one of that name.

        Raises:
            CliError: the name is not a plain word, or the file is not what we wrote.
        """
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name):
            raise CliError(f"{name!r} is no name for a profile: letters, digits, - and _, at most 40")
        profile = cls(name=name)
        try:
            stored = json.loads(profile.path.read_text())
        except FileNotFoundError:
            return profile
        except ValueError as error:
            raise CliError(f"{profile.path} cannot be read ({error}); remove it and sign in again") from error
        known = {key: value for key, value in stored.items() if key in cls.__dataclass_fields__}
        return cls(**{**known, "name": name})

    def save(self) -> None:
        """Write the profile, readable by its owner alone; a crash leaves the old one whole."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self.path.with_suffix(f".{os.getpid()}.tmp")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(self), file, indent=2)
        fresh.replace(self.path)

    def reload(self) -> None:
        """Take the tokens as they are on disk now: another command may have renewed them."""
        stored = type(self).load(self.name)
        if stored.api == self.api:
            self.__dict__.update(asdict(stored))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the profile against other commands that run at the same time. The lock goes with the process."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def at(self, api: str) -> Profile:
        """This profile for another address of an API: its tokens stay where they came from."""
        return self if api == self.api else Profile(name=self.name, api=api, auth=self.auth)

    def forget_tokens(self) -> None:
        """Sign out on this machine."""
        self.access_token = self.refresh_token = self.org_id = self.org_name = self.email = ""
        self.access_expires_at = 0.0
        self.save()
