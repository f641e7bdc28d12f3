"""An egg's install script. What it does is recognised where it is one of the usual things, and becomes install steps.

Otherwise it is a program of strangers that wants to be root: it is left to a person, with the script kept beside the
template, or, where the importer may decide that, becomes a `script` step: run in the egg's own install container on
nodes whose owner allows the image.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from shared.messaging.server_install import IMAGE
from shared.templates.eggs.reading import plain
from shared.templates.eggs.report import Report

PART: Final = "scripts.installation"
MOST_CHARACTERS: Final = 100_000
_FETCH: Final = re.compile(r"\b(?:curl|wget)\b[^\n|;&]*?(https?://[^\s\"'`;|)]+)")
#: Given to every script beside the egg's own variables.
BUILT_IN: Final = ("SERVER_MEMORY", "SERVER_IP", "SERVER_PORT", "P_SERVER_UUID")


class Script:
    """Recognises what a script installs."""

    def __init__(
        self,
        installation: Any,
        defaults: Mapping[str, str],
        required: set[str],
        place: Callable[[str], str | None],
        report: Report,
    ) -> None:
        """Args:
        installation: `scripts.installation` of the egg.
        defaults: the default values of its variables.
        required: the variables that must have a value.
        place: our placeholder for a name.
        report: gets what is not as it was.
        """
        found = installation if isinstance(installation, dict) else {}
        self.text = plain(found.get("script")).replace("\r\n", "\n")
        self._container = plain(found.get("container")).strip().removeprefix("~")
        self._entrypoint = plain(found.get("entrypoint")).strip() or "bash"
        self._defaults, self._required, self._place, self._report = defaults, required, place, report
        self.fixed: set[str] = set()  # variables that a step needs a value of

    def steps(self, *, run: bool) -> list[dict[str, Any]]:
        """The install steps that could be told; none, with a note of what is needed, otherwise. `run` allows the script."""
        if not re.sub(r"#[^\n]*|\s|\bexit 0\b", "", self.text):
            return []
        for recognise in (self._steam, self._paper, self._mojang):
            steps = recognise()
            if steps:
                return steps
        return self._itself() if run else self._unknown()

    # ---------------------------------------------------------------- what is recognised

    def _value(self, word: str) -> tuple[str | None, str]:
        """A shell word as (placeholder, default): `${SRCDS_APPID}`, or a number that stands there."""
        word = word.strip("\"'")
        name = re.sub(r"[${}]", "", word)
        if not word.startswith("$"):
            return None, word
        assigned = re.search(rf"^\s*{re.escape(name)}=[\"']?([\w.-]+)", self.text, re.MULTILINE)
        if assigned and name not in self._defaults:
            return None, assigned.group(1)
        return self._place(name), self._defaults.get(name, "")

    def _steam(self) -> list[dict[str, Any]]:
        found = re.search(r"\+app_update\s+([\"']?\$?\{?\w+\}?[\"']?)(?![^\n]*'\s*\)\s*\+app_update)", self.text)
        found = found or re.search(r"\+app_update\s+([\"']?\$?\{?\w+\}?[\"']?)", self.text)
        if not found:
            return []
        if obstacle := self._steam_obstacle():
            self._report.changed(PART, f"steamcmd installs it, but {obstacle}: not as a steamcmd step")
            return []
        place, value = self._value(found.group(1))
        if place is None and not value.isdigit():
            return []
        step: dict[str, Any] = {"kind": "steamcmd", "app_id": place if place is not None else int(value)}
        number = "; the application's number is a variable" if place is not None else ""
        self._report.changed(PART, f"installed by steamcmd, anonymously{number}")
        if place is not None:
            self.fixed.add(re.sub(r"\W", "", found.group(1)))
        beta = re.search(r"-beta\s+[\"']?\$\{?(\w+)", self.text)
        if beta and (placed := self._place(beta.group(1))) and beta.group(1) in self._defaults:
            step["beta"] = placed
        for name in ("INSTALL_FLAGS", "EXTRA_FLAGS", "SRCDS_BETAPASS", "STEAM_USER", "STEAM_PASS", "STEAM_AUTH"):
            if name in self._defaults and name in self.text:
                self._report.dropped(f"variables.{name}", "steamcmd gets no further arguments and no account")
        self._rest("steamcmd")
        return [step]

    def _steam_obstacle(self) -> str:
        """Why an anonymous steamcmd of the node's own platform would not do."""
        if self._defaults.get("WINDOWS_INSTALL", "0") not in ("", "0") or re.search(
            r"^[^#\n]*ForcePlatformType windows(?![^\n]*WINDOWS_INSTALL)", self._without_choice(), re.MULTILINE
        ):
            return "it is the Windows edition, run through Wine or Proton"
        if "STEAM_USER" in self._required:
            return "it needs a Steam account"
        if re.search(r"\+app_set_config", self.text):
            return "it sets what of it is installed (`app_set_config`)"
        return ""

    def _without_choice(self) -> str:
        return re.sub(r"\$\(\s*\[\[?[^\n]*?WINDOWS_INSTALL[^\n]*?\)", "", self.text)

    def _rest(self, but: str) -> None:
        """What the script does beside: files it writes or fetches."""
        found = [url for url in _FETCH.findall(self.text) if but not in url]
        found += re.findall(r"(?:echo|cat)[^\n]*>\s*(\S+\.\w+)", self.text)
        found = [each for each in dict.fromkeys(found) if not re.match(r"/(dev|tmp)/", each)]
        if found:
            self._report.dropped(PART, f"besides {but} it also brings or writes: {', '.join(found[:6])[:300]}")

    def _paper(self) -> list[dict[str, Any]]:
        project = re.search(r"^\s*PROJECT=[\"']?([a-z][\w-]*)", self.text, re.MULTILINE)
        if "papermc.io" not in self.text or not project:
            return []
        name = project.group(1)
        step = {
            "kind": "release",
            "source": "papermc",
            "project": name,
            "version": self._first(f"{name.upper()}_VERSION", "MINECRAFT_VERSION", "MC_VERSION", "VERSION") or "latest",
            "build": self._first("BUILD_NUMBER", "BUILD") or "latest",
            "path": self._first("SERVER_JARFILE") or "server.jar",
        }
        self._report.changed(PART, f"{name} comes from its publisher's API, checked by its SHA-256")
        self._download_path()
        self._rest("papermc")
        return [step]

    def _mojang(self) -> list[dict[str, Any]]:
        if not re.search(r"(launchermeta|piston-meta)\.mojang\.com", self.text):
            return []
        if re.search(r"forge|fabric|quilt|bedrock|sponge|cord", self.text, re.IGNORECASE):
            return []
        self._report.changed(PART, "the server comes from Mojang's manifest, checked by its SHA-1")
        version = self._first("VANILLA_VERSION", "MINECRAFT_VERSION", "MC_VERSION") or "latest"
        path = self._first("SERVER_JARFILE") or "server.jar"
        self._download_path()
        self._rest("mojang")
        return [{"kind": "release", "source": "mojang", "project": "server", "version": version, "path": path}]

    def _download_path(self) -> None:
        for name in ("DL_PATH", "DOWNLOAD_LINK", "DOWNLOAD_URL"):
            if name in self._defaults and name in self.text:
                self._report.dropped(
                    f"variables.{name}", "another place to fetch from: what comes is checked, so it is fixed"
                )

    def _first(self, *names: str) -> str | None:
        name = next((name for name in names if name in self._defaults and self._place(name)), None)
        if name is None:
            return None
        self.fixed.add(name)
        return self._place(name)

    # ---------------------------------------------------------------- what is not

    def _itself(self) -> list[dict[str, Any]]:
        if not IMAGE.fullmatch(self._container):
            self._report.needed(PART, f"its script wants the image {self._container[:80]!r}, which is none")
            return []
        if len(self.text) > MOST_CHARACTERS:
            self._report.needed(
                PART, f"its script has {len(self.text)} characters, at most {MOST_CHARACTERS} can be kept"
            )
            return []
        self._report.changed(
            PART, f"run as it is, as root in a container of {self._container}, on nodes whose `install_images` allow it"
        )
        names = [name for name in (*self._defaults, *BUILT_IN) if re.search(rf"\b{re.escape(name)}\b", self.text)]
        env = {name: placed for name in names if (placed := self._place(name)) is not None}
        step = {
            "kind": "script",
            "image": self._container,
            "entrypoint": self._entrypoint,
            "script": self.text,
            "env": env,
        }
        return [step]

    def _unknown(self) -> list[dict[str, Any]]:
        lines = [line for line in self.text.splitlines() if line.strip() and not line.strip().startswith("#")]
        urls = ", ".join(dict.fromkeys(_FETCH.findall(self.text)))
        reason = f"a shell script of {len(lines)} lines: write install steps, or import with `scripts`"
        self._report.needed(PART, f"{reason}{'; it fetches ' + urls[:250] if urls else ''}")
        return []
