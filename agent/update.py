"""Changing to a signed release, and back by itself if the new one does not reach the control plane within two minutes.

    update ─▶ signature, digest, version ─▶ releases/agent-<v>.pyz ─▶ trial file ─▶ link switched ─▶ agent told to end
    launcher starts the new one ─┬─ its first answered beat removes the trial file: it stays
                                 └─ three starts or two minutes without that: the link goes back

Games do not notice: they run on while the agent changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent import __version__
from agent.config import Config
from shared.messaging import codec, jws

RELEASE_KIND: Final = "meridian-release+jws"
TRIAL_SECONDS: Final = 120
MAX_RELEASE_BYTES: Final = 200 * 1024 * 1024
_MAX_MANIFEST: Final = 16 * 1024
_VERSION: Final = re.compile(r"\d{1,6}(\.\d{1,6}){1,3}")


class UpdateError(Exception):
    """The release is not taken; the text says why."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is signed about a release."""

    version: str
    sha256: str
    size: int


def sign_release(file: Path, version: str, key: jws.PrivateKey, key_id: str = "release") -> str:
    """The manifest of a release, for whoever makes one."""
    data = file.read_bytes()
    manifest = Manifest(version, hashlib.sha256(data).hexdigest(), len(data))
    return jws.sign(codec.to_json(manifest), key, RELEASE_KIND, key_id)


def release_key(config: Config) -> jws.PublicKey:
    """The key that releases are signed with: that of the settings, or the one that came with this agent.

    Raises:
        UpdateError: there is none.
    """
    try:
        if config.release_key_file:
            pem = Path(config.release_key_file).read_bytes()
        else:
            pem = (resources.files("agent") / "release.pub").read_bytes()
        key = serialization.load_pem_public_key(pem)
    except (OSError, ValueError) as error:
        raise UpdateError(f"no key to check releases with (release_key_file): {error}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise UpdateError("the release key is not an EC key")
    return key


def check_release(file: Path, manifest_text: str, key: jws.PublicKey, current: str) -> Manifest:
    """Hold a release against its manifest, and the manifest against the key.

    Raises:
        UpdateError: not signed by the key, not the file that was signed, or not newer.
    """
    try:
        manifest = codec.from_json(
            Manifest, jws.verify(manifest_text.strip(), RELEASE_KIND, lambda _: key, _MAX_MANIFEST), _MAX_MANIFEST
        )
    except (jws.SignatureError, codec.WireError) as error:
        raise UpdateError(f"the manifest does not hold: {error}") from None
    if not _VERSION.fullmatch(manifest.version):
        raise UpdateError(f"{manifest.version[:40]!r} is not a version")
    size = file.stat().st_size
    if size != manifest.size or size > MAX_RELEASE_BYTES:
        raise UpdateError(f"the file has {size} bytes, the manifest says {manifest.size}")
    if hashlib.sha256(file.read_bytes()).hexdigest() != manifest.sha256:
        raise UpdateError("the file is not the one that was signed")
    if _numbers(manifest.version) <= _numbers(current):
        raise UpdateError(f"release {manifest.version} is not newer than {current}")
    return manifest


def _numbers(version: str) -> tuple[int, ...]:
    """Versions are compared as numbers: 1.10 is after 1.9."""
    return tuple(int(part) for part in version.split("."))


def update(config: Config, release: Path, now: float | None = None) -> str:
    """Take a release, switch to it, and have the running agent start it; a sentence that says what was done.

    Raises:
        UpdateError: the release is not taken; nothing has changed.
    """
    manifest_file = release.with_name(release.name + ".manifest")
    try:
        manifest_text = manifest_file.read_text()
        manifest = check_release(release, manifest_text, release_key(config), __version__)
        folder = install_launcher(config)
        if (folder / "trial").exists():
            raise UpdateError("another release is on trial: wait two minutes")
        name = f"agent-{manifest.version}.pyz"
        shutil.copyfile(release, folder / f".{name}")
        (folder / f".{name}").replace(folder / name)
        before = os.readlink(folder / "current") if (folder / "current").is_symlink() else ""  # noqa: PTH115  # as text
        if before:
            deadline = int((now or time.time()) + TRIAL_SECONDS)
            (folder / "trial.new").write_text(f"{before} {deadline} 0\n")
            (folder / "trial.new").replace(folder / "trial")
        _point(folder, name)
    except OSError as error:
        raise UpdateError(f"{error.filename}: {error.strerror}") from None
    told = _end_running(config)
    return f"switched to {manifest.version}" + (", the agent restarts" if told else "; start the agent")


def first_release(config: Config, release: Path) -> str:
    """Put the first release in place: whoever runs this trusts the file already.

    Raises:
        UpdateError: it cannot be copied.
    """
    try:
        folder = install_launcher(config)
        name = f"agent-{__version__}.pyz"
        shutil.copyfile(release, folder / name)
        _point(folder, name)
    except OSError as error:
        raise UpdateError(f"{error.filename}: {error.strerror}") from None
    return f"release {__version__} is in place; run it with {config.path / 'launcher.sh'} --loop run, or by systemd"


def install_launcher(config: Config) -> Path:
    """Put the launcher beside the releases, if it is not there; the folder of releases."""
    folder = config.path / "releases"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    launcher = config.path / "launcher.sh"
    if not launcher.exists():
        launcher.write_bytes((resources.files("agent") / "launcher.sh").read_bytes())
        launcher.chmod(0o755)
    return folder


def _point(folder: Path, name: str) -> None:
    new = folder / "current.new"
    new.unlink(missing_ok=True)
    new.symlink_to(name)
    new.replace(folder / "current")


def _end_running(config: Config) -> bool:
    """Ask the running agent to end; whoever started it (systemd, the launcher) starts the new one."""
    from agent.lock import AlreadyRunning, hold

    try:
        with hold(config.path):
            return False
    except AlreadyRunning:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((config.path / "agent.lock").read_text()), signal.SIGTERM)
            return True
    return False


def trial_deadline(config: Config) -> float | None:
    """Until when this release must have reached the control plane; None when it is not on trial."""
    try:
        return float((config.path / "releases" / "trial").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None


def passed(config: Config) -> bool:
    """The trial is passed: the control plane has answered. False when there was none."""
    trial = config.path / "releases" / "trial"
    try:
        trial.unlink()
    except FileNotFoundError:
        return False
    return True
