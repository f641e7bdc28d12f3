"""The schema of a template. docs/guides/templates.md explains it to those who write one."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

SCHEMA: Literal[1] = 1
MAX_DOCUMENT_BYTES = 256 * 1024

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
PortName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Text = Annotated[str, StringConstraints(max_length=4000)]
Scalar = str | int | float | bool
Driver = Literal["process", "container"]


class Strict(BaseModel):
    """A misspelt field is a fault, not silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=65_536, defer_build=True)


class Variable(Strict):
    """What a member may set. `secret` values are shown to nobody without the right to see secrets, and stored apart.

    `arguments` is text that becomes several arguments, split as a shell would, with no shell involved.
    """

    name: VariableName
    title: Annotated[str, StringConstraints(max_length=100)] = ""
    description: Text = ""
    type: Literal["text", "integer", "number", "boolean", "choice", "arguments"] = "text"
    default: Scalar | None = None
    required: bool = True
    choices: tuple[str, ...] = ()
    pattern: Annotated[str, StringConstraints(max_length=300)] | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_length: int = Field(0, ge=0, le=8000)
    max_length: int = Field(1000, ge=0, le=8000)
    secret: bool = False
    visible: bool = True
    editable: bool = True
    generate: Literal["password", "token"] | None = None  # made when the member gives none

    @model_validator(mode="after")
    def _consistent(self) -> Variable:
        if self.type == "choice" and not self.choices:
            raise ValueError("a choice needs its choices")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}")
        if self.generate and not self.secret:
            raise ValueError("a generated value must be secret")
        return self


class TemplatePort(Strict):
    """A port that each server gets from its node. `both` is one number in TCP and UDP.

    With `offset_of`, the number is that of another port plus `offset`: groups such as Valheim's 2456 to 2458.
    """

    name: PortName
    protocol: Literal["tcp", "udp", "both"] = "tcp"
    prefer: int | None = Field(None, ge=1, le=65_535)
    offset_of: PortName | None = None
    offset: int = Field(0, ge=-1000, le=1000)
    description: Text = ""


class Resources(Strict):
    """What a server gets; `minimum` is what the game cannot do without."""

    memory_mib: int = Field(1024, ge=16, le=1_048_576)
    cpu_millicores: int = Field(1000, ge=10, le=256_000)
    disk_mib: int = Field(2048, ge=16, le=16_777_216)


class Minimum(Strict):
    """Below this a create is refused."""

    memory_mib: int = Field(16, ge=0)
    cpu_millicores: int = Field(10, ge=0)
    disk_mib: int = Field(16, ge=0)


class Conditional(Strict):
    """Arguments that are there only when a variable is set (not empty, false or 0), or equals a value."""

    when: VariableName
    equals: Scalar | None = None
    then: tuple[str, ...] = ()
    otherwise: tuple[str, ...] = ()


class Start(Strict):
    """The command: tokens, or one line that is split into tokens once, when the template is read."""

    argv: tuple[str | Conditional, ...] = Field(min_length=1, max_length=200)
    env: dict[str, str] = Field(default_factory=dict, max_length=300)
    directory: str = "."


class FileTemplate(Strict):
    """A configuration file; values may hold placeholders. A lone placeholder keeps its variable's type.

    `add: false` changes what is there and adds no line (text alone).
    """

    path: str
    format: Literal["properties", "json", "yaml", "ini", "xml", "text"]
    values: dict[str, Scalar] = Field(default_factory=dict, max_length=500)
    text: str | None = None
    create: bool = True
    add: bool = True


class Crash(Strict):
    """As `CrashPolicy` on the wire."""

    restart: Literal["never", "on_failure", "always"] = "on_failure"
    initial_seconds: float = 5.0
    longest_seconds: float = 300.0
    reset_seconds: float = 600.0
    loop_count: int = 5
    loop_seconds: float = 600.0


class StopRule(Strict):
    """As `Stop` on the wire."""

    method: Literal["command", "signal"] = "signal"
    value: str = "SIGTERM"
    timeout_seconds: float = Field(30.0, ge=1, le=600)


class Template(Strict):
    """Everything about a kind of server. Steps and probes are the wire's own (`kind` and its fields), with placeholders."""

    schema_version: Literal[1] = Field(SCHEMA, alias="schema")
    version: int = Field(1, ge=1)
    key: Slug
    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    game: Slug
    description: Text = ""
    author: Annotated[str, StringConstraints(max_length=200)] = ""
    drivers: tuple[Driver, ...] = ("process",)
    images: dict[str, str] = Field(default_factory=dict, max_length=30)  # by label
    image: str = ""  # which of them, a placeholder perhaps; the first where it is empty
    labels: dict[str, str] = Field(default_factory=dict, max_length=20)  # a node must carry these
    variables: tuple[Variable, ...] = Field((), max_length=200)
    ports: tuple[TemplatePort, ...] = Field((), max_length=32)
    resources: Resources = Resources()  # type: ignore[call-arg]  # all fields have defaults
    minimum: Minimum = Minimum()  # type: ignore[call-arg]
    install: tuple[dict[str, Any], ...] = Field((), max_length=50)
    writable: tuple[str, ...] = Field((), max_length=200)
    install_seconds: int = Field(1800, ge=1, le=86_400)
    files: tuple[FileTemplate, ...] = Field((), max_length=50)
    start: Start
    stop: StopRule = StopRule()  # type: ignore[call-arg]
    ready: dict[str, Any] = Field(default_factory=lambda: {"kind": "started"})
    ready_seconds: float = Field(300.0, ge=1, le=7200)
    health: dict[str, Any] | None = None
    crash: Crash = Crash()
    notes: dict[str, str] = Field(default_factory=dict, max_length=20)  # for people: a guide, an imported script
    draft: tuple[str, ...] = ()  # what must be completed before a server can be made of it

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, str_max_length=131_072, defer_build=True
    )

    def variable(self, name: str) -> Variable | None:
        """The variable of that name."""
        return next((variable for variable in self.variables if variable.name == name), None)


PLACEHOLDER = re.compile(r"\{\{\s*([a-z]+\.[A-Za-z0-9_]+)\s*\}\}")
