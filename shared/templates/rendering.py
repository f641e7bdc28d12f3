"""A template, a server's values and its ports, made into the spec that an agent understands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from shared.messaging.codec import WireError, from_wire
from shared.messaging.server_spec import ServerSpec
from shared.platform.errors import FieldError
from shared.templates.errors import TemplateInvalid, fault
from shared.templates.models import PLACEHOLDER, Conditional, FileTemplate, Resources, Scalar, Template
from shared.templates.placeholders import Values, check_placeholders
from shared.templates.variables import check, pattern_fault


@dataclass(frozen=True, slots=True)
class Instance:
    """One server of a template, as far as rendering goes. `ports` gives each template port its number."""

    server_id: str
    name: str
    revision: int
    power: Literal["on", "off"]
    variables: Mapping[str, Scalar]
    ports: Mapping[str, int]
    resources: Resources
    address: str = "0.0.0.0"  # noqa: S104  # what the game binds
    generation: int = 1
    fresh: bool = False
    restarts: int = 0


def render(template: Template, instance: Instance) -> ServerSpec:
    """The spec of a server.

    Raises:
        TemplateInvalid: a rendered step, file or probe breaks the contract with agents.
    """
    values = _values(instance)
    wire = {
        "server_id": instance.server_id,
        "revision": instance.revision,
        "name": instance.name,
        "power": instance.power,
        "restarts": instance.restarts,
        "image": _image(template, values),
        "launch": _launch(template, values),
        "install": _install(template, instance, values),
        "files": [_file(file, values) for file in template.files],
        "ports": _ports(template, instance),
        "limits": instance.resources.model_dump(),
        "stop": {**template.stop.model_dump(), "value": values.text(template.stop.value)},
        "ready": values.tree(template.ready),
        "ready_seconds": template.ready_seconds,
        "health": values.tree(template.health) if template.health else None,
        "crash": template.crash.model_dump(),
    }
    try:
        return from_wire(ServerSpec, wire)
    except WireError as error:
        field, _, message = str(error).partition(": ")
        raise TemplateInvalid([fault(field, "invalid", message or str(error))]) from None


def _values(instance: Instance) -> Values:
    server: dict[str, Scalar] = {
        "id": instance.server_id,
        "name": instance.name,
        "address": instance.address,
        **instance.resources.model_dump(),
    }
    return Values(instance.variables, instance.ports, server)


def _image(template: Template, values: Values) -> str:
    if not template.images:
        return ""
    label = values.text(template.image)
    return template.images.get(label) or next(iter(template.images.values()))


def _launch(template: Template, values: Values) -> dict[str, Any]:
    return {
        "argv": values.argv(template),
        "env": {name: values.text(text) for name, text in template.start.env.items()},
        "directory": values.text(template.start.directory),
    }


def _file(file: FileTemplate, values: Values) -> dict[str, Any]:
    return {
        "path": values.text(file.path),
        "format": file.format,
        "values": {key: values.setting(value) for key, value in file.values.items()},
        "text": None if file.text is None else values.text(file.text),
        "create": file.create,
        "add": file.add,
    }


def _install(template: Template, instance: Instance, values: Values) -> dict[str, Any]:
    return {
        "generation": instance.generation,
        "steps": [_step(step, values) for step in template.install],
        "writable": list(template.writable),
        "fresh": instance.fresh,
        "step_seconds": template.install_seconds,
    }


#: Fields of steps that the contract has as texts, and as numbers. A script's own text is no template: what a shell reads
#: never holds a member's value.
TEXTS: Final = (
    "url",
    "path",
    "digest",
    "version",
    "build",
    "project",
    "content",
    "beta",
    "archive",
    "to",
    "file",
    "image",
)
NUMBERS: Final = ("app_id", "strip", "max_mib", "memory_mib")
AS_THEY_STAND: Final = ("script",)


def _step(step: dict[str, Any], values: Values) -> dict[str, Any]:
    rendered: dict[str, Any] = {name: values.tree(value) for name, value in step.items() if name not in AS_THEY_STAND}
    for name in TEXTS:
        if name in rendered and not isinstance(rendered[name], str) and isinstance(step[name], str):
            rendered[name] = values.text(step[name])
    for name in NUMBERS:
        if isinstance(rendered.get(name), str) and rendered[name].isdigit():
            rendered[name] = int(rendered[name])
    if isinstance(step.get("env"), dict):
        rendered["env"] = {name: values.text(str(text)) for name, text in step["env"].items()}
    return rendered | {name: step[name] for name in AS_THEY_STAND if name in step}


def _ports(template: Template, instance: Instance) -> list[dict[str, Any]]:
    return [
        {"name": port.name, "protocol": protocol, "port": instance.ports[port.name], "address": instance.address}
        for port in template.ports
        for protocol in (("tcp", "udp") if port.protocol == "both" else (port.protocol,))
    ]


def check_template(template: Template) -> list[FieldError]:
    """Everything that is wrong with a template that has the right shape: it is rendered once with sample values."""
    faults = check_placeholders(template)
    faults += _twice("variables", [each.name for each in template.variables])
    faults += _twice("ports", [each.name for each in template.ports])
    faults += _port_faults(template) + _variable_faults(template) + _image_faults(template) + _shell_faults(template)
    faults += resource_faults(template, template.resources)
    probe = template.ready
    if probe.get("kind") == "log" and probe.get("regex") and (problem := pattern_fault(str(probe.get("pattern", "")))):
        faults.append(fault("ready.pattern", "invalid_pattern", problem))
    if faults:
        return faults
    try:
        render(template, sample(template))
    except TemplateInvalid as error:
        return list(error.errors)
    return []


def _port_faults(template: Template) -> list[FieldError]:
    faults = []
    roots = {each.name: each for each in template.ports}
    for index, port in enumerate(template.ports):
        if port.offset_of is None:
            continue
        field, root = f"ports[{index}].offset_of", roots.get(port.offset_of)
        if root is None or root is port:
            faults.append(fault(field, "unknown_port", f"there is no other port {port.offset_of}"))
        elif root.offset_of is not None:
            faults.append(fault(field, "chained", f"{root.name} is itself an offset: name its root"))
    for field, probe in (("ready", template.ready), ("health", template.health or {})):
        if "port" in probe and probe["port"] not in roots:
            faults.append(fault(f"{field}.port", "unknown_port", f"there is no port {str(probe['port'])[:40]}"))
    return faults


def _image_faults(template: Template) -> list[FieldError]:
    """A container needs an image, and `image` must always name one of them."""
    if "container" in template.drivers and not template.images:
        return [fault("images", "missing", "a server in a container needs an image")]
    match = PLACEHOLDER.fullmatch(template.image)
    variable = template.variable(match.group(1).removeprefix("variables.")) if match else None
    labels = variable.choices if variable is not None else (template.image,) if template.image else ()
    unknown = [label for label in labels if label not in template.images]
    if match and (variable is None or variable.type != "choice"):
        return [fault("image", "not_a_choice", "only a variable of type choice can say which image")]
    return [fault("image", "unknown_image", f"there is no image {unknown[0][:80]!r}")] if unknown else []


SHELLS: Final = ("sh", "bash", "ash", "dash", "/bin/sh", "/bin/bash", "/bin/ash")


def _shell_faults(template: Template) -> list[FieldError]:
    """A shell runs in a container alone, and its line holds no value: values reach it by the environment."""
    first = template.start.argv[0]
    if first not in SHELLS:
        return []
    faults = []
    if template.drivers != ("container",):
        faults.append(
            fault("start.argv[0]", "shell", "a shell is started in containers alone: drivers must be [container]")
        )
    for index, item in enumerate(template.start.argv):
        if isinstance(item, Conditional) or PLACEHOLDER.search(item):
            faults.append(
                fault(f"start.argv[{index}]", "shell", "a value in a shell's line would be read as a command: use env")
            )
    return faults


def _variable_faults(template: Template) -> list[FieldError]:
    faults = []
    for index, variable in enumerate(template.variables):
        problem = pattern_fault(variable.pattern) if variable.pattern else None
        if problem:
            faults.append(fault(f"variables[{index}].pattern", "invalid_pattern", problem))
        elif variable.default is not None:
            try:
                check(variable, variable.default)
            except ValueError as error:
                faults.append(fault(f"variables[{index}].default", "invalid_default", str(error)))
    return faults


def sample(template: Template) -> Instance:
    """A server of the template with default values and made-up ports, to see that it renders."""
    variables: dict[str, Scalar] = {}
    for each in template.variables:
        if each.default is not None:
            value = check(each, each.default)
        else:
            value = _stand_in(each.type, each.choices, each.minimum)
        variables[each.name] = "" if value is None else value
    ports = {port.name: port.prefer or 20_000 + index for index, port in enumerate(template.ports)}
    return Instance("srv_sample", "sample", 1, "on", variables, ports, template.resources)


def _stand_in(kind: str, choices: tuple[str, ...], minimum: float | None) -> Scalar:
    """A value for a variable that has no default; a version, where a step needs the look of one."""
    match kind:
        case "integer" | "number":
            return int(minimum or 1)
        case "boolean":
            return False
        case "choice":
            return choices[0]
        case _:
            return "1"


def _twice(field: str, names: list[str]) -> list[FieldError]:
    return [
        fault(field, "duplicate", f"{name} is there twice") for name in sorted({n for n in names if names.count(n) > 1})
    ]


def resource_faults(template: Template, resources: Resources) -> list[FieldError]:
    """What a server's resources lack of the template's minimum."""
    faults = []
    for name, unit in (("memory_mib", "MiB"), ("cpu_millicores", "millicores"), ("disk_mib", "MiB")):
        least, has = getattr(template.minimum, name), getattr(resources, name)
        if has < least:
            faults.append(
                fault(f"resources.{name}", "below_minimum", f"{template.name} needs {least} {unit}, {has} were given")
            )
    return faults
