"""The house as a test needs it: real parts in processes of their own, on free ports, only those that are asked for.

    with HouseForTests(tmp_path, "cosmos", "auth", "host") as house:
        house.api, house.auth, house.settings()

The parts, their commands and their settings are those of `make run` (local.supervisor.house): there is no second list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Self

from local.common.folder import DataFolder
from local.supervisor.house import House
from local.supervisor.parts import Part as Description
from local.supervisor.parts import start_order
from local.supervisor.ports import Ports, Public
from tests.support.processes import ROOT, Part, free_port


class HouseForTests:
    """Parts of the house under one folder; stopped (killed, as a crash would) at the end of the block."""

    def __init__(
        self,
        folder: Path,
        *names: str,
        settings: Mapping[str, str] | None = None,
        options: Mapping[str, tuple[str, ...]] | None = None,
        public: Public | None = None,
    ) -> None:
        """Describe it; nothing starts yet.

        Args:
            folder: an empty folder for data and logs.
            names: parts to start ("cosmos", "bus", "blob", "auth", "host"); none means all. With "host", the
                containers are made too.
            settings: app settings that differ from the house's own.
            options: further command-line arguments by part.
            public: where other machines reach it, as `make run ARGS=--public-host` opens it.
        """
        self._held = DataFolder(folder, "house")
        self.folder = self._held.path
        ports = Ports(**{field.name: free_port() for field in fields(Ports)})
        self.house = House(ROOT, self._held, ports, public=public)
        self._settings = dict(settings or {})
        self._options = dict(options or {})
        wanted = set(names) or {part.name for part in self.house.parts()}
        if "host" in wanted:
            wanted.add("containers")
        self._descriptions = {part.name: part for part in self.house.parts() if part.name in wanted}
        if unknown := wanted - self._descriptions.keys():
            raise ValueError(f"the house has no part {', '.join(sorted(unknown))}")
        self.parts: dict[str, Part] = {}

    @property
    def api(self) -> str:
        """Address of the API."""
        return self.house.api

    @property
    def auth(self) -> str:
        """Address of the sign-in site."""
        return self.house.auth

    def settings(self) -> dict[str, str]:
        """The app settings that the host gets."""
        return {**self.house.settings(), **self._settings}

    def set(self, settings: Mapping[str, str]) -> None:
        """More app settings, for parts that are not started yet."""
        self._settings.update(settings)

    def start(self, name: str) -> Part:
        """Start one part (again)."""
        described = self._descriptions[name]
        part = Part(
            [*described.command, *self._options.get(name, ())],
            self.folder / f"{name}.log",
            described.port,
            {**described.env, **(self._settings if described.env else {})},
        )
        self.parts[name] = part.start()
        if described.once:
            assert part.process is not None
            if code := part.process.wait(60):
                raise RuntimeError(f"{name} ended with {code}\n{part.output()[-4000:]}")
        return part

    def kill(self, name: str) -> None:
        """SIGKILL one part, as a crash would."""
        self.parts.pop(name).kill()

    def output(self, name: str) -> str:
        """What a part has printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def __enter__(self) -> Self:
        try:
            for wave in start_order(tuple(self._with_needs_met())):
                for description in wave:
                    self.start(description.name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.parts):
            self.kill(name)
        self._held.close()

    def _with_needs_met(self) -> list[Description]:
        """The parts, each needing only what is started here."""
        return [
            replace(part, needs=tuple(name for name in part.needs if name in self._descriptions))
            for part in self._descriptions.values()
        ]
