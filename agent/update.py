"""Changing to a signed release, and back by itself if the new one does not reach the control plane in time.

    update ─▶ signature, digest, version ─▶ releases/agent-<v>.pyz ─▶ trial file ─▶ link switched ─▶ agent told to end
    launcher starts the new one ─┬─ its first answered beat removes the trial file: it stays
                                 └─ three starts or two minutes without that: the link goes back

Games do not notice: they run on while the agent changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
from importlib import resources
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent import __version__
from agent.config import Config
from agent.releases import Releases
from shared.messaging import codec, jws
from shared.messaging.releases import MAX_MANIFEST_BYTES, MAX_RELEASE_BYTES, Manifest, numbers_of, open_manifest


class UpdateError(Exception):
    """The release is not taken. `code` is stable; the text says why."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def release_key(config: Config) -> jws.PublicKey:
    """The key that releases are signed with: that of the settings, or the one that came with this agent.

    Raises:
        UpdateError: `no_release_key`.
    """
    try:
        if config.release_key_file:
            pem = Path(config.release_key_file).read_bytes()
        else:
            pem = (resources.files("agent") / "release.pub").read_bytes()
        key = serialization.load_pem_public_key(pem)
    except (OSError, ValueError) as error:
        raise UpdateError("no_release_key", f"no key to check releases with (release_key_file): {error}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise UpdateError("no_release_key", "the release key is not an EC key")
    return key


def check_manifest(text: str, key: jws.PublicKey, current: str) -> Manifest:
    """The manifest, if the key has signed it and it is of a release newer than `current`.

    Raises:
        UpdateError: `bad_manifest` or `not_newer`.
    """
    try:
        manifest = open_manifest(text, key)
    except (jws.SignatureError, codec.WireError) as error:
        raise UpdateError("bad_manifest", f"the manifest does not hold: {error}") from None
    if manifest.numbers <= numbers_of(current):
        raise UpdateError("not_newer", f"release {manifest.version} is not newer than {current}")
    return manifest


def check_file(file: Path, manifest: Manifest) -> None:
    """Hold a file against its manifest. It must lie where nobody else can change it afterwards.

    Raises:
        UpdateError: `wrong_file`.
    """
    size = file.stat().st_size
    if size != manifest.size:
        raise UpdateError("wrong_file", f"the file has {size} bytes, the manifest says {manifest.size}")
    with file.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != manifest.sha256:
            raise UpdateError("wrong_file", "the file is not the one that was signed")


def check_free_for_trial(releases: Releases) -> None:
    """One trial at a time.

    Raises:
        UpdateError: `on_trial`.
    """
    if releases.trial is not None:
        raise UpdateError("on_trial", f"release {releases.version} is on trial: wait until it has passed")


def update(config: Config, release: Path) -> str:
    """Take a release, switch to it, and have the running agent start it; a sentence that says what was done.

    Raises:
        UpdateError: the release is not taken; nothing has changed.
    """
    releases = Releases(config.path)
    manifest_file = release.with_name(release.name + ".manifest")
    try:
        with manifest_file.open() as content:
            text = content.read(MAX_MANIFEST_BYTES + 1)
        manifest = check_manifest(text, release_key(config), releases.version)
        check_free_for_trial(releases)
        incoming = _copied(releases, release)
        try:
            check_file(incoming, manifest)
            releases.switch(incoming, manifest.version, config.trial_seconds)
        finally:
            incoming.unlink(missing_ok=True)
    except UnicodeDecodeError:
        raise UpdateError("bad_manifest", f"{manifest_file} is not a manifest") from None
    except OSError as error:
        raise UpdateError("disk_error", f"{error.filename or release}: {error.strerror}") from None
    told = _end_running(config)
    return f"switched to {manifest.version}" + (", the agent restarts" if told else "; start the agent")


def _copied(releases: Releases, release: Path) -> Path:
    """A copy that nobody else can change between the check and the switch."""
    if release.stat().st_size > MAX_RELEASE_BYTES:
        raise UpdateError("wrong_file", f"the file has {release.stat().st_size} bytes, at most {MAX_RELEASE_BYTES} do")
    incoming = releases.incoming()
    try:
        shutil.copyfile(release, incoming)
    except OSError:
        incoming.unlink(missing_ok=True)
        raise
    return incoming


def first_release(config: Config, release: Path) -> str:
    """Put the first release in place: whoever runs this trusts the file already.

    Raises:
        UpdateError: `disk_error`.
    """
    releases = Releases(config.path)
    try:
        releases.switch(_copied(releases, release), __version__, None)
    except OSError as error:
        raise UpdateError("disk_error", f"{error.filename or release}: {error.strerror}") from None
    return f"release {__version__} is in place; run it with {config.path / 'launcher.sh'} --loop run, or by systemd"


def _end_running(config: Config) -> bool:
    """Ask the running agent to end; whoever started it (systemd, the launcher) starts the new one."""
    from agent.lock import held

    if not held(config.path):
        return False
    with contextlib.suppress(OSError, ValueError):
        os.kill(int((config.path / "agent.lock").read_text()), signal.SIGTERM)
        return True
    return False
