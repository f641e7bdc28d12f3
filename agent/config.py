"""The agent's settings: a file, then the environment, then flags; checked at start, every mistake told at once."""

from __future__ import annotations

import os
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from shared.messaging.limits import MAX_COMMAND_LIFE

PREFIX: Final = "MERIDIAN_AGENT_"
SYSTEM_FOLDER: Final = Path("/var/lib/meridian-agent")
SYSTEM_FILE: Final = Path("/etc/meridian-agent.toml")


class ConfigError(ValueError):
    """The settings do not do; the text names every wrong one."""


@dataclass(frozen=True, slots=True)
class Config:
    """What can be set. Each name is also `MERIDIAN_AGENT_<NAME>` and a flag."""

    api_url: str = ""
    folder: str = ""
    ca_file: str = ""
    driver: Literal["process", "container"] = "process"
    container_socket: str = "/run/podman/podman.sock"
    install_images: str = ""
    install_network: str = "bridge"
    contact: str = ""
    game_user: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    max_reports: int = 20_000
    max_report_mib: int = 50
    journal_days: int = 7
    release_key_file: str = ""
    trial_seconds: int = 120
    broker: Literal["auto", "amqp", "websocket"] = "auto"

    @property
    def path(self) -> Path:
        """Where everything of the agent lies."""
        return Path(self.folder)


def default_folder() -> Path:
    """The system's place for root, the user's own otherwise."""
    if os.geteuid() == 0:
        return SYSTEM_FOLDER
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "meridian-agent"


def load_config(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Config:
    """Read the settings.

    Raises:
        ConfigError: a file that is not there or not TOML, an unknown name, a value out of its range.
    """
    values: dict[str, Any] = {"folder": str(default_folder()), **_read_file(file)}
    known = {field.name for field in fields(Config)}
    for name in known:
        if (text := environment.get(PREFIX + name.upper())) is not None:
            values[name] = text
    values.update({name: value for name, value in flags.items() if name in known and value is not None})
    problems = [f"unknown setting {name!r}" for name in sorted(values.keys() - known)]
    checked = {name: _check(name, value, problems) for name, value in values.items() if name in known}
    if problems:
        raise ConfigError("; ".join(problems))
    return Config(**checked)


def _read_file(file: Path | None) -> dict[str, Any]:
    path = file or (SYSTEM_FILE if SYSTEM_FILE.exists() else None)
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None


_RANGES: Final = {
    "max_reports": (100, 1_000_000),
    "max_report_mib": (1, 1024),
    "journal_days": (MAX_COMMAND_LIFE.days, 90),  # a command that lives longer than its memory could be done twice
    "trial_seconds": (5, 3600),
}


def _check(name: str, value: Any, problems: list[str]) -> Any:
    hint = typing.get_type_hints(Config)[name]
    choices = typing.get_args(hint)
    if hint is int:
        low, high = _RANGES[name]
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = low - 1
        if not low <= number <= high:
            problems.append(f"{name}: {value!r} is not a number from {low} to {high}")
        return number
    if not isinstance(value, str):
        problems.append(f"{name}: {value!r} is not text")
    elif choices and value not in choices:
        problems.append(f"{name}: {value!r} is not one of {', '.join(choices)}")
    elif name == "api_url" and value:
        return _check_url(value, problems)
    elif name in ("folder", "ca_file", "release_key_file") and value and not Path(value).is_absolute():
        return str(Path(value).absolute())
    return value


def _check_url(value: str, problems: list[str]) -> str:
    parts = urlsplit(value)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        problems.append(f"api_url: {value!r} must be https:// (http:// only to this very machine)")
    return value.rstrip("/")
