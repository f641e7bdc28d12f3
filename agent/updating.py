"""`node.update`: take a release by command. The agent ends in the middle of it; the command ends after that, once.

    old release ── download, check, "this command tries it" ── switch ── end ──╮            the command stays open
    new release ── takes the open command up ── control plane answers ── "succeeded"
    old release again (the launcher went back) ── takes it up ── "failed: rolled_back"

At whatever point the agent is killed, the same command is taken up again, looks at what is, and goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agent import __version__
from agent.context import Context
from agent.releases import Releases
from agent.servers.errors import StepFailed
from shared.messaging import codec
from shared.messaging.commands import Command
from shared.messaging.releases import MAX_RELEASE_BYTES, Manifest, UpdateNode
from shared.messaging.reports import Outcome, Status

log = logging.getLogger("meridian.agent")
_TRIES: Final = "update"  # the fact that holds the id of the command that switched last


class Updater:
    """See the module."""

    def __init__(self, context: Context, end: Callable[[str], None]) -> None:
        self._context, self._end = context, end
        self._releases = Releases(context.config.path)
        self._reached = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def reached(self) -> None:
        """The control plane has answered: a release on trial stays."""
        self._reached.set()
        if self._releases.pass_trial():
            self._context.outbox.event("updated", f"release {__version__} has reached the control plane and stays")

    async def handle(self, command: Command) -> Outcome:
        """Carry the command out, or go on with it."""
        wanted = codec.from_wire(UpdateNode, command.payload)
        if wanted.version == __version__:
            await self._reached.wait()  # if it never comes, the launcher goes back, and the release before tells of it
            return Outcome(Status.SUCCEEDED, "ok", f"release {__version__} runs", result={"agent_version": __version__})
        tried = self._context.storage.fact(_TRIES) == command.id
        if tried and self._releases.went_back_from(wanted.version):
            reason = f"release {wanted.version} did not reach the control plane in time, or did not start"
            return Outcome(Status.FAILED, "rolled_back", f"{reason}; {__version__} runs again")
        if not (tried and self._releases.version == wanted.version):
            from agent.update import UpdateError

            try:
                async with self._one_at_a_time:
                    await self._switch(command, wanted)
            except (UpdateError, StepFailed) as error:
                return Outcome(Status.FAILED, error.code, str(error))
            except OSError as error:
                return Outcome(Status.FAILED, "disk_error", f"{error.filename}: {error.strerror}")
        log.info("switched to release %s: this one ends", wanted.version)
        self._end("update")
        await asyncio.Event().wait()  # cancelled by the end; the command stays open
        raise AssertionError("unreachable")

    async def _switch(self, command: Command, wanted: UpdateNode) -> None:
        from agent.update import UpdateError, check_file, check_free_for_trial, check_manifest, release_key

        config, releases = self._context.config, self._releases
        if not releases.launched:
            raise UpdateError("no_launcher", "this agent was not started by its launcher: it cannot change by itself")
        manifest = check_manifest(wanted.manifest, release_key(config), releases.version)
        if (manifest.version, manifest.sha256) != (wanted.version, wanted.sha256):
            raise UpdateError("bad_manifest", "the manifest is that of another release than the command names")
        check_free_for_trial(releases)
        incoming = await self._fetched(wanted.url, manifest)
        try:
            await asyncio.to_thread(check_file, incoming, manifest)
            self._context.storage.set_fact(_TRIES, command.id)
            releases.switch(incoming, manifest.version, config.trial_seconds)
        finally:
            incoming.unlink(missing_ok=True)

    async def _fetched(self, url: str, manifest: Manifest) -> Path:
        from agent.servers.fetch import download

        incoming = self._releases.incoming()
        digest, limit = f"sha256:{manifest.sha256}", min(manifest.size, MAX_RELEASE_BYTES)
        await download(url, incoming, digest, limit=limit, contact=self._context.config.api_url)
        return incoming
