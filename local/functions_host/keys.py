"""Access keys of the host: master, host, function and system keys, in one file that only its owner can read.

https://learn.microsoft.com/azure/azure-functions/function-keys-how-to
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from local.common.errors import StartError

KEYS_FILE = "keys.json"
DURABLE_SYSTEM_KEY = "durabletask_extension"


def _new_key() -> str:
    return secrets.token_urlsafe(40)


@dataclass(slots=True)
class Keys:
    """The keys of one host."""

    master: str = field(repr=False)
    host: dict[str, str] = field(default_factory=dict, repr=False)
    functions: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    system: dict[str, str] = field(default_factory=dict, repr=False)

    def allows(self, level: str, function: str, key: str | None) -> bool:
        """Whether `key` opens a function of the authorization level ("anonymous", "function" or "admin")."""
        if level == "anonymous":
            return True
        if not key:
            return False
        if _same(key, self.master):
            return True
        if level == "admin":
            return False
        own = self.functions.get(function.lower(), {})
        return any(_same(key, each) for each in (*self.host.values(), *own.values()))

    def is_master(self, key: str | None) -> bool:
        """Whether it is the master key."""
        return bool(key) and _same(str(key), self.master)

    def opens_system(self, name: str, key: str | None) -> bool:
        """Whether `key` opens the extension `name`: its system key, or the master key."""
        return self.is_master(key) or (bool(key) and _same(str(key), self.system.get(name, "")))


def _same(one: str, other: str) -> bool:
    return bool(other) and hmac.compare_digest(one.encode(), other.encode())


def load_keys(folder: Path, functions: list[str]) -> Keys:
    """Read the keys, making those that are missing (a new function gets its `default` key).

    Raises:
        StartError: the file is damaged; it is unchanged.
    """
    path = folder / KEYS_FILE
    keys = _read(path) if path.exists() else Keys(master=_new_key())
    before = json.dumps(_document(keys))
    keys.host.setdefault("default", _new_key())
    keys.system.setdefault(DURABLE_SYSTEM_KEY, _new_key())
    for name in functions:
        keys.functions.setdefault(name.lower(), {}).setdefault("default", _new_key())
    if json.dumps(_document(keys)) != before or not path.exists():
        _write(path, keys)
    return keys


def _read(path: Path) -> Keys:
    try:
        document = json.loads(path.read_text())
        keys = Keys(
            master=_text(document["master"]),
            host={name: _text(value) for name, value in document["host"].items()},
            functions={
                name: {key: _text(value) for key, value in own.items()} for name, own in document["functions"].items()
            },
            system={name: _text(value) for name, value in document["system"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StartError(
            f"{path} is damaged ({error}); nothing was changed: put a copy in its place, or delete it to have new keys made"
        ) from error
    return keys


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a key is not text")
    return value


def _document(keys: Keys) -> dict[str, object]:
    return {"master": keys.master, "host": keys.host, "functions": keys.functions, "system": keys.system}


def _write(path: Path, keys: Keys) -> None:
    """Write beside and rename, so that a crash leaves either the old file or the new one."""
    beside = path.with_suffix(".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(_document(keys), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
