"""A registry of npm and one of Python on loopback, with one package each that runs a program while it is installed."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAME, VERSION = "meridian-facts", "1.0.0"

_BACKEND = """
import runpy, zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    runpy.run_path("facts.py")
    name = "meridian_facts-1.0.0-py3-none-any.whl"
    info = "meridian_facts-1.0.0.dist-info"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.write("facts.json", "meridian_facts/facts.json")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: meridian-facts\\nVersion: 1.0.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""
_PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def _archive(folder: str, files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _npm(program: str, url: str) -> dict[str, bytes]:
    package: dict[str, Any] = {"name": NAME, "version": VERSION, "scripts": {"install": "python3 facts.py"}}
    content = _archive("package", {"package.json": json.dumps(package), "facts.py": program})
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    tarball = {"tarball": f"{url}/{NAME}.tgz", "integrity": integrity}
    version = {**package, "hasInstallScript": True, "dist": tarball}
    listing = {"name": NAME, "dist-tags": {"latest": VERSION}, "versions": {VERSION: version}}
    return {f"/{NAME}": json.dumps(listing).encode(), f"/{NAME}.tgz": content}


def _python(program: str) -> dict[str, bytes]:
    about = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n"
    files = {"PKG-INFO": about, "pyproject.toml": _PROJECT, "backend.py": _BACKEND, "facts.py": program}
    file = f"{NAME}-{VERSION}.tar.gz"
    listing = f'<!doctype html><a href="/files/{file}">{file}</a>'
    return {f"/simple/{NAME}/": listing.encode(), f"/files/{file}": _archive(f"{NAME}-{VERSION}", files)}


@contextmanager
def registries(program: str) -> Iterator[dict[str, str]]:
    """Serve both; what the agent's environment must hold to use them. `program` makes `facts.json` where it stands."""
    content: dict[str, bytes] = {}

    class Door(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = content.get(self.path)
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "text/html" if self.path.startswith("/simple") else "application/json")
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        content |= _npm(program, url) | _python(program)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield {"npm_config_registry": f"{url}/", "PIP_INDEX_URL": f"{url}/simple/"}
        finally:
            server.shutdown()
            thread.join()
