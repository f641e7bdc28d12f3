"""From an egg's text to a template of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from shared.templates.documents import validate
from shared.templates.eggs.files import ConfigFiles
from shared.templates.eggs.install import Script
from shared.templates.eggs.names import BUILT_IN, Names, slug
from shared.templates.eggs.reading import images_of, read, startup_of, words
from shared.templates.eggs.report import Note, Report
from shared.templates.eggs.rules import VariableBuilder, clean
from shared.templates.eggs.running import ready_probe, stop_rule
from shared.templates.eggs.startup import Line, Startup
from shared.templates.models import Template

RUNTIMES: Final = ("java", "node", "python3")
IMAGE_VARIABLE: Final = "DOCKER_IMAGE"
#: Names that the process gets otherwise, or that would change what is started.
NOT_IN_ENVIRONMENT: Final = frozenset({"HOME", "PATH", "PWD", "LD_PRELOAD", "TZ"})
MOST_NOTES: Final = 60_000


@dataclass(frozen=True, slots=True)
class Imported:
    """The template, and what is not as it was in the egg."""

    template: Template
    notes: tuple[Note, ...]


def import_egg(text: str, *, scripts: bool = False) -> Imported:
    """Read an egg of Pterodactyl or Pelican.

    Args:
        text: JSON or YAML.
        scripts: let an install script that is not recognised be run in its container, instead of leaving a draft.

    Raises:
        TemplateInvalid: it is no egg of a version that we know, or nothing that could be started can be made of it.
    """
    report = Report()
    return _Import(read(text, report), report, scripts=scripts).run()


class _Import:
    """One import; the parts see each other's names."""

    def __init__(self, egg: dict[str, Any], report: Report, *, scripts: bool) -> None:
        self._egg, self._report, self._scripts = egg, report, scripts
        self._names = Names(egg.get("variables"), report)
        self._images = images_of(egg, report)
        config = egg.get("config")
        self._config: dict[str, Any] = config if isinstance(config, dict) else {}

    def run(self) -> Imported:
        line_text = startup_of(self._egg, self._report)
        variables = [VariableBuilder(name, raw, self._report).build() for name, raw in self._names.variables.items()]
        line = self._line(line_text, variables)
        files = ConfigFiles(self._names.place, self._report).read(self._config.get("files"))
        script = self._script(variables)
        steps = script.steps(run=self._scripts)
        files += self._features(files)
        self._rest()
        name = self._cut("name", clean(self._egg.get("name")).strip() or "egg", 100)
        data = {
            "schema": 1,
            "key": slug(name),
            "name": name,
            "game": slug(name),
            "description": self._cut("description", clean(self._egg.get("description")), 4000),
            "author": self._cut("author", clean(self._egg.get("author")), 200),
            "drivers": self._drivers(line),
            **self._image(variables),
            "variables": self._finished(variables, script, files),
            "ports": self._names.template_ports(),
            "install": steps,
            "writable": ["*"] if steps else [],
            "files": files,
            "start": {"argv": line.argv, "env": self._environment(line), "directory": line.directory},
            "stop": stop_rule(self._config.get("stop"), self._report),
            "ready": ready_probe(self._config.get("startup"), self._report),
            "ready_seconds": 900.0,
            "notes": self._notes(script, line_text),
            "draft": sorted({note.part for note in self._report.notes if note.verdict == "needed"}),
        }
        return Imported(validate(data), tuple(self._report.notes))

    # ---------------------------------------------------------------- starting

    def _line(self, text: str, variables: list[dict[str, Any]]) -> Line:
        names = [v["name"] for v in variables]
        optional = [v["name"] for v in variables if not v["required"]]
        texts = [v["name"] for v in variables if v.get("type", "text") == "text"]
        startup = Startup(self._names.place, names, optional, texts, self._report, images=bool(self._images))
        line = startup.read(text)
        for variable in variables:
            if variable["name"] in line.lists:
                variable["type"] = "arguments"
        return line

    def _drivers(self, line: Line) -> list[str]:
        """Where it can run: a program of its own files or a runtime of the node anywhere, one of its image in a container."""
        program = str(line.argv[0])
        own = "/" in program and not program.startswith("/")
        if own or program in RUNTIMES:
            return ["process", "container"] if self._images else ["process"]
        if self._images:
            if not line.by_shell:
                self._report.changed(
                    "startup", f"`{program[:60]}` is a program of its image: nodes with containers run it"
                )
            return ["container"]
        self._report.needed("startup", f"`{program[:60]}` is no file of the server, and the egg names no image with it")
        return ["process"]

    def _image(self, variables: list[dict[str, Any]]) -> dict[str, Any]:
        """The images; where there are several, a variable lets a member choose, as the panels do."""
        taken = any(variable["name"] == IMAGE_VARIABLE for variable in variables)
        if len(self._images) < 2 or taken:
            if taken and len(self._images) > 1:
                self._report.dropped(
                    "docker_images", f"{IMAGE_VARIABLE} is a variable of the egg: the first image is used"
                )
            return {"images": self._images}
        labels = list(self._images)
        choice = {"name": IMAGE_VARIABLE, "title": "Image", "type": "choice", "choices": labels, "default": labels[0]}
        variables.append({**choice, "description": "Where the server runs in a container: what it runs in."})
        return {"images": self._images, "image": f"{{{{variables.{IMAGE_VARIABLE}}}}}"}

    def _environment(self, line: Line) -> dict[str, str]:
        """The egg's variables as the panels hand them to a server, and what stood before its program's name."""
        named = {
            **self._names.environment(),
            **{name: self._names.place(name) or "" for name in BUILT_IN if name.isupper()},
        }
        return {name: value for name, value in named.items() if name not in NOT_IN_ENVIRONMENT} | line.env

    # ---------------------------------------------------------------- the rest of it

    def _script(self, variables: list[dict[str, Any]]) -> Script:
        scripts = self._egg.get("scripts")
        installation = scripts.get("installation") if isinstance(scripts, dict) else None
        required = {variable["name"] for variable in variables if variable["required"]}
        return Script(installation, self._names.defaults(), required, self._names.place, self._report)

    def _finished(
        self, variables: list[dict[str, Any]], script: Script, files: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """The variables, with what other parts ask of them."""
        for variable in variables:
            if variable["name"] in script.fixed and variable.get("default") not in (None, ""):
                variable["required"] = True
        eula = any(file["path"] == "eula.txt" for file in files)
        if eula and not any(variable["name"] == "EULA" for variable in variables):
            agreement = {"name": "EULA", "title": "I agree to the game's licence", "type": "boolean", "default": False}
            variables.append({**agreement, "description": "https://www.minecraft.net/eula"})
        return variables

    def _features(self, files: list[dict[str, Any]]) -> list[dict[str, Any]]:
        extra: list[dict[str, Any]] = []
        for feature in words(self._egg.get("features")):
            if feature != "eula":
                reason = "a hint that the panel shows in its console; nothing to carry over"
                self._report.dropped(f"features.{feature[:40]}", reason)
            elif not extra and not any(file["path"] == "eula.txt" for file in files):
                reason = "became the variable EULA: whoever makes a server agrees to it there"
                self._report.changed("features.eula", reason)
                extra = [{"path": "eula.txt", "format": "properties", "values": {"eula": "{{variables.EULA}}"}}]
        return extra

    def _rest(self) -> None:
        denied = words(self._egg.get("file_denylist"))
        if denied:
            shown = ", ".join(denied[:5])[:200]
            self._report.dropped("file_denylist", f"those who may read a server's files see all of them ({shown})")
        if words(self._egg.get("tags")):
            self._report.dropped("tags", "templates have a game, not tags")
        if self._config.get("extends") or self._copied():
            self._report.dropped("config.extends", "another egg's settings are not in this file")
        logs = self._config.get("logs")
        if re.sub(r"\s", "", str(logs)) not in ("None", "", "{}", "[]"):
            self._report.dropped("config.logs", "console lines are those that the program writes to its output")
        for name in self._config.keys() - {"files", "startup", "logs", "stop", "extends"}:
            self._report.dropped(f"config.{str(name)[:60]}", "no part of an egg that is known here")

    def _copied(self) -> bool:
        return any(self._egg.get(name) for name in ("copy_script_from", "config_from"))

    def _notes(self, script: Script, line: str) -> dict[str, str]:
        found = {"imported_startup": clean(line)[:8000]}
        if script.text:
            found["imported_install_script"] = clean(script.text)[:MOST_NOTES]
            if len(script.text) > MOST_NOTES:
                self._report.changed("notes", f"of its install script the first {MOST_NOTES} characters are kept")
        return found

    def _cut(self, part: str, text: str, most: int) -> str:
        if len(text) > most:
            self._report.changed(part, f"has {len(text)} characters: the first {most} are kept")
        return text[:most]
