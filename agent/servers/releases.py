"""What games' publishers have published: where a build lies, and the digest that its manifest gives."""

from __future__ import annotations

from typing import Final

from agent.servers.errors import StepFailed
from agent.servers.fetch import manifest
from shared.messaging.server_install import Release

MOJANG: Final = "https://piston-meta.mojang.com/mc/game/version_manifest_v2.json"
PAPERMC: Final = "https://fill.papermc.io/v3/projects"  # docs.papermc.io/misc/downloads-api
STABLE: Final = ("STABLE", "RECOMMENDED")  # of the service's channels; Velocity's finished builds have the second
VERSIONS_TRIED: Final = 10  # the newest may have no stable build yet


async def published(step: Release, contact: str) -> tuple[str, str]:
    """A build's address and digest ("sha256:<hex>", Mojang's "sha1:<hex>"). `contact` is whom it is for.

    Raises:
        StepFailed: there is no such build, or its publisher does not answer.
    """
    return await (_mojang(step, contact) if step.source == "mojang" else _papermc(step, contact))


async def _mojang(step: Release, contact: str) -> tuple[str, str]:
    listing = await manifest(MOJANG, contact)
    wanted = listing["latest"]["release" if step.version == "latest" else "snapshot"]
    if step.version not in ("latest", "snapshot"):
        wanted = step.version
    entry = next((each for each in listing["versions"] if each["id"] == wanted), None)
    if entry is None:
        raise StepFailed("no_such_version", f"Mojang publishes no version {wanted}")
    server = (await manifest(entry["url"], contact)).get("downloads", {}).get("server")
    if server is None:
        raise StepFailed("no_such_version", f"Mojang publishes no server for {wanted}")
    return str(server["url"]), f"sha1:{server['sha1']}"


async def _papermc(step: Release, contact: str) -> tuple[str, str]:
    """Where a build lies, and its digest. `latest` is the newest version with a stable build, and its newest one."""
    base = f"{PAPERMC}/{step.project}"
    versions = [step.version]
    if step.version == "latest":
        groups = (await manifest(base, contact))["versions"]  # by line of versions, the newest first
        versions = [version for group in groups.values() for version in group][:VERSIONS_TRIED]
    for version in versions:
        builds = await manifest(f"{base}/versions/{version}/builds", contact)
        wanted = [each for each in builds if step.build in ("latest", str(each["id"]))]
        stable = [each for each in wanted if each.get("channel") in STABLE]
        chosen = stable or (wanted if step.version != "latest" else [])
        if chosen:
            file = chosen[0]["downloads"]["server:default"]
            return str(file["url"]), f"sha256:{file['checksums']['sha256']}"
    raise StepFailed("no_such_version", f"PaperMC publishes no build {step.build} of {step.project} {step.version}")
