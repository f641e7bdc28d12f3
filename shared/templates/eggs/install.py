"""An egg's install script. It is a shell script, and agents run none: what it does is recognised where it is one of the
usual things, and otherwise left to a person, with the script kept beside the template."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from shared.templates.eggs.report import Report

_FETCH = re.compile(r"\b(?:curl|wget)\b[^\n|;&]*?(https?://[^\s\"'`;|)]+)")


class Script:
    """Recognises what a script installs. `defaults` are the variables' default values."""

    def __init__(
        self, text: str, defaults: Mapping[str, str], place: Callable[[str], str | None], report: Report
    ) -> None:
        self.text, self._defaults, self._place, self._report = text, defaults, place, report

    def steps(self) -> list[dict[str, Any]]:
        """The install steps that could be told; none, with a note of what is needed, otherwise."""
        if not re.sub(r"#[^\n]*|\s", "", self.text):
            return []
        for recognise in (self._steam, self._paper, self._mojang, self._npm):
            steps = recognise()
            if steps:
                return steps
        self._unknown()
        return []

    def _value(self, word: str) -> tuple[str | None, str]:
        """A shell word as (placeholder, default): `${SRCDS_APPID}`, or a number that stands there."""
        word = word.strip("\"'")
        name = re.sub(r"[${}]", "", word)
        assigned = (
            re.search(rf"^\s*{re.escape(name)}=[\"']?([\w.-]+)", self.text, re.MULTILINE)
            if word.startswith("$")
            else None
        )
        if word.startswith("$"):
            if assigned and name not in self._defaults:
                return None, assigned.group(1)
            return self._place(name), self._defaults.get(name, "")
        return None, word

    def _steam(self) -> list[dict[str, Any]]:
        found = re.search(r"\+app_update\s+([\"']?\$?\{?\w+\}?[\"']?)", self.text)
        if not found:
            return []
        place, value = self._value(found.group(1))
        if place is not None:
            self._report.changed(
                "scripts.installation", "installed by steamcmd, anonymously; the application's number is a variable"
            )
            app: Any = place
        elif value.isdigit():
            self._report.changed("scripts.installation", "installed by steamcmd, anonymously")
            app = int(value)
        else:
            self._report.needed(
                "scripts.installation", "steamcmd installs it, but the application's number cannot be told"
            )
            return []
        if re.search(r"app_update[^\n]*windows|sSteamCmdForcePlatformType", self.text):
            self._report.dropped(
                "scripts.installation", "the choice of Windows files: the node's own platform is installed"
            )
        step: dict[str, Any] = {"kind": "steamcmd", "app_id": app}
        if self._extra():
            self._report.dropped("scripts.installation", f"besides steamcmd it also does: {self._extra()}")
        return [step]

    def _extra(self) -> str:
        """What a steamcmd script does that steamcmd does not: files it writes or fetches."""
        lines = [url for url in _FETCH.findall(self.text) if "steamcmd" not in url]
        lines += re.findall(r"(?:echo|cat)[^\n]*>\s*(\S+\.\w+)", self.text)
        return ", ".join(lines[:4])[:200]

    def _paper(self) -> list[dict[str, Any]]:
        project = re.search(r"^\s*PROJECT=[\"']?(\w+)", self.text, re.MULTILINE)
        if "papermc.io" not in self.text or not project:
            return []
        version = self._first("MINECRAFT_VERSION", "MC_VERSION", "VERSION") or "latest"
        build = self._first("BUILD_NUMBER", "BUILD") or "latest"
        self._report.changed(
            "scripts.installation", f"{project.group(1)} comes from its publisher's API, checked by its SHA-256"
        )
        return [
            {
                "kind": "release",
                "source": "papermc",
                "project": project.group(1),
                "version": version,
                "build": build,
                "path": self._first("SERVER_JARFILE") or "server.jar",
            }
        ]

    def _mojang(self) -> list[dict[str, Any]]:
        if "launchermeta.mojang.com" not in self.text and "piston-meta.mojang.com" not in self.text:
            return []
        if re.search(r"forge|fabric|quilt|bedrock", self.text, re.IGNORECASE):
            return []
        version = self._first("VANILLA_VERSION", "MINECRAFT_VERSION", "MC_VERSION") or "latest"
        self._report.changed("scripts.installation", "the server comes from Mojang's manifest, checked by its SHA-1")
        path = self._first("SERVER_JARFILE") or "server.jar"
        return [{"kind": "release", "source": "mojang", "project": "server", "version": version, "path": path}]

    def _npm(self) -> list[dict[str, Any]]:
        return []

    def _first(self, *names: str) -> str | None:
        return next((self._place(name) for name in names if name in self._defaults), None)

    def _unknown(self) -> None:
        lines = [line for line in self.text.splitlines() if line.strip() and not line.strip().startswith("#")]
        urls = ", ".join(dict.fromkeys(_FETCH.findall(self.text)))
        reason = f"a shell script of {len(lines)} lines, which agents do not run: write install steps"
        self._report.needed("scripts.installation", f"{reason}{'; it fetches ' + urls[:250] if urls else ''}")
