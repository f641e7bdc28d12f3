"""From a spec to something that a driver can start: check, install, configure."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.drivers.base import Driver, DriverError, Plan
from agent.drivers.group import Groups
from agent.drivers.shim import end_user
from agent.owners import GameUser, Owners, claim
from agent.servers.configs import fill_root, remove_leftovers, render
from agent.servers.errors import StepFailed
from agent.servers.installer import Installer, installed_generation
from agent.servers.operation import Operation
from agent.servers.store import Owner
from shared.messaging.server_spec import ROOT, ServerSpec

if TYPE_CHECKING:
    from agent.servers.scripts import ScriptRunner

FILES: Final = "files"  # the game's own folder, inside the server's place
RESERVE_MIB: Final = 256  # of disk, kept free for the machine itself


class Preparer:
    """Prepares servers under `folder/servers/<id>`; the content store stands beside them, on the same file system."""

    def __init__(
        self,
        folder: Path,
        owners: Owners,
        driver: Driver,
        groups: Groups,
        scripts: ScriptRunner | None = None,
        contact: str = "",
    ) -> None:
        self._servers = folder / "servers"
        self._servers.mkdir(parents=True, exist_ok=True)
        self.installer = Installer(folder, owners.builder, groups, scripts, contact)
        self._owners, self._driver = owners, driver

    def home(self, server_id: str) -> Path:
        """The server's place."""
        return self._servers / server_id

    def files(self, server_id: str) -> Path:
        """The game's own folder."""
        return self.home(server_id) / FILES

    def present(self) -> set[str]:
        """Every server that has a folder here."""
        return {each.name for each in self._servers.iterdir() if each.is_dir() and not each.name.startswith(".")}

    def installed(self, server_id: str) -> int:
        """Which generation of the server's install is there; 0 for none."""
        return installed_generation(self.home(server_id))

    def plan(self, spec: ServerSpec) -> Plan:
        """What a driver needs to start the server; its files must be there."""
        files = self.files(spec.server_id)
        place = self._driver.root(files)
        argv = tuple(token.replace(ROOT, place) for token in spec.launch.argv)
        env = {name: value.replace(ROOT, place) for name, value in spec.launch.env.items()}
        launch = replace(spec.launch, argv=argv, env=env)
        user = self._user(spec.server_id)
        return Plan(spec.server_id, files, launch, spec.limits, spec.ports, user, spec.image or None)

    async def install(self, spec: ServerSpec, operation: Operation) -> None:
        """Bring the files, unless this generation of them is there.

        Raises:
            StepFailed: with the step recorded in `operation`.
        """
        if self.installed(spec.server_id) >= spec.install.generation:
            operation.skip("install", "installed already")
            return
        with operation.step("prepare"):
            await self._clear(spec.server_id)
            self._check(spec)
            self.home(spec.server_id).mkdir(mode=0o711, exist_ok=True)
            try:
                await self._driver.fetch(spec.image)
            except DriverError as error:
                raise StepFailed(error.code, error.reason) from None
        with operation.step("install") as tell:
            await self.installer.install(
                spec.install, self.home(spec.server_id), self._owner(spec.server_id), tell, operation.output
            )

    async def configure(self, spec: ServerSpec, operation: Operation) -> None:
        """Render the configuration files.

        Raises:
            StepFailed: with the step recorded in `operation`.
        """
        files, owner = self.files(spec.server_id), self._owner(spec.server_id)
        place = self._driver.root(files)
        with operation.step("configure") as tell:
            await self._clear(spec.server_id)
            if owner is not None and files.is_dir():  # whatever a member or an earlier user left there is the game's
                await asyncio.to_thread(claim, files, owner)
            for file in spec.files:
                tell(0, file.path)
                remove_leftovers(files, file.path)
                await asyncio.to_thread(render, fill_root(file, lambda text: text.replace(ROOT, place)), files, owner)

    async def remove(self, server_id: str) -> None:
        """Delete everything of the server. What is gone already is no fault."""
        home = self.home(server_id)
        if home.exists():
            doomed = home.with_name(f".{server_id}.removed")
            shutil.rmtree(doomed, ignore_errors=True)
            home.rename(doomed)  # gone at once for everyone, whatever the deleting takes
            await asyncio.to_thread(shutil.rmtree, doomed, ignore_errors=True)

    async def _clear(self, server_id: str) -> None:
        """End what the server's user still runs: nothing may move its files about while we work on them with our rights."""
        user = self._user(server_id)
        if user is not None and user.alone:
            await asyncio.to_thread(end_user, user)

    def _check(self, spec: ServerSpec) -> None:
        free = shutil.disk_usage(self._servers).free >> 20
        needed = RESERVE_MIB if spec.limits.disk_mib == 0 else min(spec.limits.disk_mib, RESERVE_MIB * 4)
        if free < needed:
            raise StepFailed("disk_full", f"needs {needed} MiB of disk, the node has {free} MiB free", retryable=True)

    def _user(self, server_id: str) -> GameUser | None:
        try:
            return self._owners.of(server_id)
        except KeyError as error:
            raise StepFailed("no_such_user", f"game_user: {error.args[0]}") from None

    def _owner(self, server_id: str) -> Owner | None:
        user = self._user(server_id)
        return user.owner if user else None
