"""From an egg's JSON to a template of ours."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from shared.templates.documents import MAX_DEPTH, depth, validate
from shared.templates.eggs.files import config_files, fill, ready_probe, stop_rule
from shared.templates.eggs.install import Script
from shared.templates.eggs.report import Note, Report
from shared.templates.eggs.rules import VariableBuilder, clean, number_of
from shared.templates.eggs.startup import Startup
from shared.templates.errors import TemplateInvalid, fault
from shared.templates.models import MAX_DOCUMENT_BYTES, Template

FORMATS = ("PTDL_v1", "PTDL_v2")
BUILT_IN = {
    "SERVER_PORT": "{{ports.game}}",
    "SERVER_IP": "{{server.address}}",
    "SERVER_MEMORY": "{{server.memory_mib}}",
    "server.build.default.port": "{{ports.game}}",
    "server.build.default.ip": "{{server.address}}",
    "server.build.memory": "{{server.memory_mib}}",
    "server.allocations.default.port": "{{ports.game}}",
    "server.allocations.default.ip": "{{server.address}}",
    "server.memory": "{{server.memory_mib}}",
    "server.uuid": "{{server.id}}",
    "P_SERVER_UUID": "{{server.id}}",
    "HOME": "{{node.root}}",
    "PWD": "{{node.root}}",
}
SHELL_NAMES = {"PATH": "", "HOSTNAME": "{{server.name}}", "USER": "game", "TZ": "UTC"}
PORT_NAME = re.compile(r"(^|_)PORT(_|$|\d)|PORT$")


@dataclass(frozen=True, slots=True)
class Imported:
    """The template, and what is not as it was in the egg."""

    template: Template
    notes: tuple[Note, ...]


def import_egg(text: str) -> Imported:
    """Read an egg.

    Raises:
        TemplateInvalid: it is no egg of a version that we know, or nothing that could be started can be made of it.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_DOCUMENT_BYTES:
        raise TemplateInvalid([fault("", "too_large", f"more than {MAX_DOCUMENT_BYTES} bytes")])
    try:
        egg = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TemplateInvalid([fault("", "not_json", str(error)[:200])]) from None
    if not isinstance(egg, dict) or depth(egg) > MAX_DEPTH:
        raise TemplateInvalid([fault("", "not_an_egg", "an egg is a JSON object")])
    meta = egg.get("meta")
    version = meta.get("version") if isinstance(meta, dict) else None
    if version not in FORMATS:
        raise TemplateInvalid(
            [fault("meta.version", "unknown_format", f"{str(version)[:40]!r} is not one of {', '.join(FORMATS)}")]
        )
    if not isinstance(egg.get("startup"), str) or not egg["startup"].strip():
        raise TemplateInvalid([fault("startup", "missing", "the egg has no start command")])
    return _Import(egg).run()


class _Import:
    """One import; the parts see each other's names."""

    def __init__(self, egg: dict[str, Any]) -> None:
        self._egg, self._report = egg, Report()
        self._raw = dict(self._variables())
        self._ports: dict[str, int] = {
            name: port for name, raw in self._raw.items() if (port := self._as_port(name, raw))
        }
        self._names = {name for name in self._raw if name not in self._ports}

    def run(self) -> Imported:
        variables = [
            VariableBuilder(name, self._raw[name], self._report).build() for name in self._raw if name in self._names
        ]
        startup = Startup(self._place, self._names, self._report)
        argv = startup.tokens(str(self._egg["startup"]))
        config = self._egg.get("config") if isinstance(self._egg.get("config"), dict) else {}
        assert isinstance(config, dict)
        files = config_files(config.get("files"), self._place, self._report)
        script = self._script()
        defaults = {name: str(raw.get("default_value") or "") for name, raw in self._raw.items()}
        steps = Script(script, defaults, self._place, self._report).steps()
        files += self._features(files)
        self._rest(config)
        data = {
            "schema": 1,
            "key": _slug(str(self._egg.get("name") or "egg")),
            "name": clean(self._egg.get("name") or "egg").strip()[:100] or "egg",
            "game": _slug(str(self._egg.get("name") or "egg")),
            "description": clean(self._egg.get("description"))[:4000],
            "author": str(self._egg.get("author") or "")[:200],
            "drivers": ["process", "container"] if self._images() else ["process"],
            "images": self._images(),
            "variables": variables,
            "ports": self._template_ports(),
            "install": steps,
            "writable": ["*"] if steps else [],
            "files": files,
            "start": {"argv": argv, "env": startup.env},
            "stop": stop_rule(config.get("stop"), self._report),
            "ready": ready_probe(config.get("startup"), self._report),
            "ready_seconds": 900.0,
            "notes": {"imported_install_script": script[:60_000]} if script else {},
            "draft": sorted({note.part for note in self._report.notes if note.verdict == "needed"}),
        }
        return Imported(validate(self._repair(data)), tuple(self._report.notes))

    def _variables(self) -> list[tuple[str, dict[str, Any]]]:
        raw = self._egg.get("variables")
        found = [each for each in raw if isinstance(each, dict)] if isinstance(raw, list) else []
        names = Counter(str(each.get("env_variable")) for each in found)
        kept: list[tuple[str, dict[str, Any]]] = []
        for each in found[:200]:
            name = str(each.get("env_variable") or "")
            usable = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", name)
            if not usable or (names[name] > 1 and name in dict(kept)):
                self._report.dropped(
                    f"variables.{name[:40]}", "its name is empty, there twice, or not letters, digits and `_`"
                )
                continue
            if name in BUILT_IN:
                self._report.dropped(f"variables.{name}", "is given by the console itself")
                continue
            kept.append((name, each))
        return kept

    def _as_port(self, name: str, raw: dict[str, Any]) -> int | None:
        """A variable that is a port of the game becomes a reserved port, so that no two servers get one number."""
        rules, default = str(raw.get("rules") or ""), str(raw.get("default_value") or "")
        number = number_of(default, whole=True)
        looks = PORT_NAME.search(name.upper()) or re.search(r"between:102[45],65535", rules)
        if not looks or number is None or not 1 <= int(number) <= 65_535:
            return None
        if not re.search(r"integer|int\b|numeric|digits|between|string|required", rules):
            return None
        self._report.changed(
            f"variables.{name}", f"became the reserved port {_port(name)}: each server gets its own number"
        )
        return int(number)

    def _template_ports(self) -> list[dict[str, Any]]:
        game: dict[str, Any] = {"name": "game", "protocol": "both"}
        return [game] + [
            {"name": _port(name), "protocol": "both", "prefer": number}
            for name, number in list(self._ports.items())[:31]
        ]

    def _place(self, name: str) -> str | None:
        """Our placeholder of a name that the egg uses."""
        if name in self._ports:
            return f"{{{{ports.{_port(name)}}}}}"
        if name in self._names:
            return f"{{{{variables.{_variable(name)}}}}}"
        return BUILT_IN.get(name) or SHELL_NAMES.get(name)

    def _script(self) -> str:
        scripts = self._egg.get("scripts")
        installation = scripts.get("installation") if isinstance(scripts, dict) else None
        script = installation.get("script") if isinstance(installation, dict) else None
        return str(script or "").replace("\r\n", "\n")

    def _images(self) -> dict[str, str]:
        found = self._egg.get("docker_images") or self._egg.get("images") or self._egg.get("image") or {}
        if isinstance(found, str):
            found = [found]
        if not isinstance(found, dict):
            found = {each: each for each in found if isinstance(each, str)} if isinstance(found, list) else {}
        pairs = found.items()
        return {str(label)[:100]: str(image) for label, image in list(pairs)[:30]}

    def _features(self, files: list[dict[str, Any]]) -> list[dict[str, Any]]:
        features = self._egg.get("features")
        extra = []
        for feature in features if isinstance(features, list) else []:
            if feature == "eula" and not any(file["path"] == "eula.txt" for file in files):
                self._report.changed(
                    "features.eula", "became the variable EULA: whoever makes a server agrees to it there"
                )
                extra.append({"path": "eula.txt", "format": "properties", "values": {"eula": "{{variables.EULA}}"}})
            elif feature != "eula":
                self._report.dropped(
                    f"features.{feature}", "a hint that the panel shows in its console; nothing to carry over"
                )
        return extra

    def _rest(self, config: dict[str, Any]) -> None:
        if self._egg.get("file_denylist"):
            self._report.dropped("file_denylist", "files cannot be hidden from those who may read a server's files")
        if config.get("extends"):
            self._report.dropped("config.extends", "another egg's settings are not in this file")
        logs = config.get("logs")
        if logs not in (None, "", "{}", "[]", {}, []):
            self._report.dropped("config.logs", "console lines are those that the program writes to its output")

    def _repair(self, data: dict[str, Any]) -> dict[str, Any]:
        """Names in the form of ours; the agreement that a file of ours asks for."""
        for variable in data["variables"]:
            variable["name"] = _variable(variable["name"])
        for token in data["start"]["argv"]:
            if isinstance(token, dict):
                token["when"] = _variable(token["when"])
        if any(file["path"] == "eula.txt" for file in data["files"]) and not any(
            v["name"] == "EULA" for v in data["variables"]
        ):
            data["variables"].append(
                {
                    "name": "EULA",
                    "title": "I agree to the game's licence",
                    "description": "https://www.minecraft.net/eula",
                    "type": "boolean",
                    "default": False,
                }
            )
        for name, value in list(data["start"]["env"].items()):
            data["start"]["env"][name] = fill(value, lambda inner: f"{{{{{inner}}}}}", "startup", self._report) or ""
        return data


def _variable(name: str) -> str:
    return name.upper()


def _port(name: str) -> str:
    return re.sub(r"[^a-z0-9_]", "_", name.lower())[:32]


def _slug(text: str) -> str:
    return re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9]+", "-", text.lower())).strip("-")[:60] or "egg"
