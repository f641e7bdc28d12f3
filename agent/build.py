"""The agent as one file: `python -m agent.build --out dist/meridian-agent.pyz`.

A zip that Python runs. Compiled libraries cannot be loaded out of a zip, so at its first start it unpacks itself into
a folder that is named after its content, and from then on starts from there.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import re
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
_OWN: Final = ("agent/**/*.py", "agent/launcher.sh", "shared/__init__.py", "shared/messaging/*.py")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the same content makes the same file

_MAIN: Final = """\
import os, shutil, sys, tempfile, zipfile
DIGEST = "{digest}"
def unpacked():
    base = os.environ.get("MERIDIAN_AGENT_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "meridian-agent")
    place = os.path.join(base, DIGEST)
    if not os.path.isdir(place):
        os.makedirs(base, mode=0o700, exist_ok=True)
        aside = tempfile.mkdtemp(dir=base)
        with zipfile.ZipFile(os.path.realpath(sys.argv[0])) as archive:
            archive.extractall(aside, [n for n in archive.namelist() if n.startswith("site/")])
        try:
            os.rename(aside, place)
        except OSError:  # another start was faster
            shutil.rmtree(aside, ignore_errors=True)
    return os.path.join(place, "site")
sys.path.insert(0, unpacked())
from agent.cli import main
sys.exit(main())
"""


def build(out: Path, extras: tuple[str, ...] = (), version: str | None = None, release_key: bytes | None = None) -> str:
    """Write the file; its SHA-256. The libraries are those of the Python that runs this.

    Args:
        out: the file.
        extras: names of the project's optional dependencies that come with it.
        version: stands in for the source's own, to make a release that is only told apart by it.
        release_key: PEM of the public key that this agent wants its updates signed with.
    """
    project = tomllib.loads((ROOT / "agent/pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]
    files = {f"site/{name}": data for name, data in (_own_files() | _library_files(wanted)).items()}
    if version is not None:
        files["site/agent/__init__.py"] = f'__version__ = "{version}"\n'.encode()
    if release_key is not None:
        files["site/agent/release.pub"] = release_key
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in [
            ("__main__.py", _MAIN.format(digest=digest.hexdigest()[:32]).encode()),
            *sorted(files.items()),
        ]:
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(b"#!/usr/bin/env python3\n" + buffer.getvalue())
    out.chmod(0o755)
    return hashlib.sha256(out.read_bytes()).hexdigest()


def _own_files() -> dict[str, bytes]:
    found = {path for pattern in _OWN for path in ROOT.glob(pattern) if "__pycache__" not in path.parts}
    return {str(path.relative_to(ROOT)): path.read_bytes() for path in found}


def _library_files(wanted: list[str]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    waiting, seen = [_name(one) for one in wanted], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        distribution = metadata.distribution(name)
        waiting += [_name(one) for one in distribution.requires or [] if "extra ==" not in one and _applies(one)]
        for file in distribution.files or []:
            path = Path(str(distribution.locate_file(file)))
            if (
                ".." not in file.parts
                and "__pycache__" not in file.parts
                and "tests" not in file.parts
                and path.is_file()
            ):
                files[str(file)] = path.read_bytes()
    return files


def _applies(requirement: str) -> bool:
    """Whether a requirement's marker can hold here; only the kinds that our libraries use are told apart."""
    marker = requirement.partition(";")[2]
    return "python_version <" not in marker and "python_full_version <" not in marker and "win32" not in marker


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found.group()).lower()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m agent.build", description="Build the agent as one file.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist/meridian-agent.pyz")
    parser.add_argument("--games", action="store_true", help="with the libraries that single games need")
    parser.add_argument(
        "--sign", type=Path, help="PEM of the release key: its public half goes in, OUT.manifest comes out"
    )
    options = parser.parse_args()
    key = public = None
    if options.sign:
        from cryptography.hazmat.primitives import serialization

        key = serialization.load_pem_private_key(options.sign.read_bytes(), None)
        encoding = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        public = key.public_key().public_bytes(*encoding)
    digest = build(options.out, ("games",) if options.games else (), release_key=public)
    size = options.out.stat().st_size / 2**20
    sys.stdout.write(f"{options.out}: {size:.1f} MiB, sha256 {digest}\n")
    if key is not None:
        from agent import __version__
        from shared.messaging.releases import sign_release

        manifest = sign_release(options.out, __version__, key)  # type: ignore[arg-type]
        options.out.with_name(options.out.name + ".manifest").write_text(manifest + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
