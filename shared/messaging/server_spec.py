"""What an agent must know to install and run a server, and what it tells about it. Both sides import this file.

Frozen dataclasses and the standard library alone. `server_codec.from_wire` reads them strictly; each class checks its own bounds.

Desired state is one document, the `ServerSpec`, with a revision that only grows. An agent that is handed a spec
brings the server to it, whatever lies between: it installs when `install.generation` is above what is installed,
renders the configuration files, starts or stops. So a command that comes twice, or after a newer one, does no harm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal

from shared.messaging.server_install import IMAGE, NAME, Install, check_path, require

VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # what a shell can set, too

ROOT = "{{node.root}}"  # in argv, environment and files: the server's own folder, which only the agent knows


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that the agent renders before each start.

    With `text` the file is that text. Otherwise `values` are set in what stands there (keys are dotted paths in JSON,
    YAML and XML, `section.key` in INI, plain keys in properties; in text, a line that begins with the key becomes the
    value), and everything else in the file is left as it is. `*` in a JSON or YAML path stands for every element that is
    there. Without `add` a text file's lines are changed, and none is added.
    """

    path: str
    format: Literal["properties", "json", "yaml", "ini", "xml", "text"]
    values: dict[str, str | int | float | bool] = field(default_factory=dict)
    text: str | None = None
    create: bool = True
    add: bool = True

    def __post_init__(self) -> None:
        check_path(self.path)
        wanted = self.text is not None or bool(self.values) or self.format != "text"
        require(wanted, "text: a text file needs its text or values")


# ---------------------------------------------------------------- running


@dataclass(frozen=True, slots=True)
class Limits:
    """What the processes of the server may use together; 0 is no limit."""

    memory_mib: int = 0
    cpu_millicores: int = 0
    disk_mib: int = 0
    processes: int = 512


@dataclass(frozen=True, slots=True)
class Port:
    """A reserved port of the node; the first of a spec is the one that players join."""

    name: str
    protocol: Literal["tcp", "udp"]
    port: int
    address: str = "0.0.0.0"  # noqa: S104  # a game server is there to be reached

    def __post_init__(self) -> None:
        require(1 <= self.port <= 65_535, f"port: {self.port} is not between 1 and 65535")


@dataclass(frozen=True, slots=True)
class Stop:
    """How the game is asked to end: a line on its standard input, or a signal; killed after the time-out."""

    method: Literal["command", "signal"] = "signal"
    value: str = "SIGTERM"
    timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        signals = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP")
        require(
            self.method != "signal" or self.value in signals, f"value: {self.value[:20]!r} is not a signal of the list"
        )
        require("\n" not in self.value and len(self.value) <= 500, "value: a command is one line of at most 500")
        require(1 <= self.timeout_seconds <= 600, f"timeout_seconds: {self.timeout_seconds} is not between 1 and 600")


@dataclass(frozen=True, slots=True)
class LogProbe:
    """Ready once a console line holds the text (or, with `regex`, matches it)."""

    pattern: str
    regex: bool = False
    kind: Literal["log"] = "log"

    def __post_init__(self) -> None:
        require(0 < len(self.pattern) <= 500, "pattern: 1 to 500 characters")


@dataclass(frozen=True, slots=True)
class PortProbe:
    """Ready once the named port is bound by the server."""

    port: str
    kind: Literal["port"] = "port"


@dataclass(frozen=True, slots=True)
class QueryProbe:
    """Ready (or healthy) when the game answers its own query protocol; also tells players, map and version."""

    protocol: Literal["minecraft", "source", "teeworlds"]
    port: str
    kind: Literal["query"] = "query"


@dataclass(frozen=True, slots=True)
class StartedProbe:
    """Ready when the process has lived for so long; for programs that say nothing."""

    seconds: float = 1.0
    kind: Literal["started"] = "started"


Probe = LogProbe | PortProbe | QueryProbe | StartedProbe


@dataclass(frozen=True, slots=True)
class CrashPolicy:
    """What follows when the game ends unasked: back-off doubles from `initial` to `longest`, and starts anew after `reset`.

    `loop_count` ends within `loop_seconds` are a crash loop: the server stays down and says so.
    """

    restart: Literal["never", "on_failure", "always"] = "on_failure"
    initial_seconds: float = 5.0
    longest_seconds: float = 300.0
    reset_seconds: float = 600.0
    loop_count: int = 5
    loop_seconds: float = 600.0

    def __post_init__(self) -> None:
        require(
            0 < self.initial_seconds <= self.longest_seconds <= 3600, "initial_seconds: 0 < initial <= longest <= 3600"
        )
        require(1 <= self.loop_count <= 100, f"loop_count: {self.loop_count} is not between 1 and 100")


@dataclass(frozen=True, slots=True)
class Launch:
    """The program and its arguments, tokenised: no shell reads them.

    `argv[0]` is a path inside the server's folder (`./bin/game`) or one of the runtimes that the node allows (`java`,
    `node`, `python3`); in a container, any program of the image as well. `directory` is relative to the server's folder.
    """

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    directory: str = "."

    def __post_init__(self) -> None:
        require(1 <= len(self.argv) <= 200, f"argv: {len(self.argv)} tokens, 1 to 200")
        require(
            all("\0" not in token and len(token) <= 8192 for token in self.argv),
            "argv: a token holds NUL or is too long",
        )
        for name, value in self.env.items():
            require(VARIABLE.fullmatch(name) is not None, f"env: {name[:40]!r} is not a name of a variable")
            require("\0" not in value and len(value) <= 8192, f"env.{name}: holds NUL or is too long")
        check_path(self.directory, "directory")


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """The desired state of one server on its node."""

    server_id: str
    revision: int
    name: str
    power: Literal["on", "off"]
    launch: Launch
    install: Install = field(default_factory=Install)
    files: tuple[ConfigFile, ...] = ()
    ports: tuple[Port, ...] = ()
    limits: Limits = field(default_factory=Limits)
    stop: Stop = field(default_factory=Stop)
    ready: Probe = field(default_factory=StartedProbe)
    ready_seconds: float = 300.0
    health: QueryProbe | PortProbe | None = None
    crash: CrashPolicy = field(default_factory=CrashPolicy)
    image: str = ""  # what it runs in where the node's driver is containers
    restarts: int = 0  # grows when a restart is asked for: a running process of a lower count is stopped and started

    def __post_init__(self) -> None:
        require(NAME.fullmatch(self.server_id) is not None, f"server_id: {self.server_id[:40]!r}")
        require(
            not self.image or IMAGE.fullmatch(self.image) is not None, f"image: {self.image[:80]!r} is no image's name"
        )
        require(self.revision >= 1, f"revision: {self.revision} is below 1")
