"""Releases of the agent, built, signed and served; and an agent that runs under its launcher, as on a machine."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import json
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.build import build
from agent.storage import Storage
from shared.messaging.codec import to_json
from shared.messaging.releases import sign_release
from shared.messaging.server_spec import Launch, ServerSpec
from tests.support.nodes import AgentProcess

TRIAL_SECONDS = 12
KEY = ec.generate_private_key(ec.SECP256R1())
GAME = ServerSpec("srv_game", 1, "game", "on", Launch(("python3", "-c", "import time; time.sleep(3600)")))


class Shop:
    """Releases: built, signed, and served to whoever asks. `hold` keeps a request waiting."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked = threading.Event()
        self.hold: threading.Event | None = None
        shop = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(folder))

            def do_GET(self) -> None:
                shop.asked.set()
                if shop.hold is not None:
                    shop.hold.wait(60)
                with contextlib.suppress(OSError):
                    super().do_GET()

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def release(self, version: str, changes: dict[str, bytes] | None = None, key: Any = KEY) -> Path:
        """A release with its manifest beside it."""
        file = self.folder / f"{version}.pyz"
        build(file, version=version)
        if changes:
            spoil(file, changes)
        file.with_name(f"{file.name}.manifest").write_text(sign_release(file, version, key))
        return file

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()


def spoil(file: Path, changes: dict[str, bytes]) -> None:
    """Break a release in one place. It unpacks itself under a name of its own, as any other release does."""
    with zipfile.ZipFile(file) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for name, content in changes.items():
        files[name] = content.replace(b"%s", files[name])
    main = files["__main__.py"].decode()
    old = main.split('DIGEST = "')[1].split('"')[0]
    new = hashlib.sha256(repr(sorted(changes)).encode() + old.encode()).hexdigest()[:32]
    files["__main__.py"] = main.replace(old, new).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    file.write_bytes(buffer.getvalue())


class Launched:
    """An enrolled agent in a folder of its own, run by its launcher."""

    def __init__(self, agent: AgentProcess, first: Path) -> None:
        self.agent, self.folder = agent, agent.folder
        public = KEY.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        key_file = agent.folder / "release.pub"
        key_file.write_bytes(public)
        self.env = agent.env | {
            "MERIDIAN_AGENT_PYTHON": sys.executable,
            "MERIDIAN_AGENT_PAUSE": "0.2",
            "MERIDIAN_AGENT_TRIAL_SECONDS": str(TRIAL_SECONDS),
            "MERIDIAN_AGENT_RELEASE_KEY_FILE": str(key_file),
            "MERIDIAN_AGENT_CACHE": str(agent.folder / "releases" / "unpacked"),
        }
        self.env.pop("PYTHONPATH", None)
        assert self.call(str(first), "install", str(first)).returncode == 0
        self._keep_a_game()
        with agent.log.open("ab") as log:
            self.launcher = subprocess.Popen(
                [str(self.folder / "launcher.sh"), "--loop", "run"], cwd="/", env=self.env, stdout=log, stderr=log
            )

    def _keep_a_game(self) -> None:
        storage = Storage(self.folder / "agent.db")
        storage.put_server(GAME.server_id, 1, to_json(GAME).decode())
        storage.put_server_state(GAME.server_id, '{"state": "stopped"}')
        (self.folder / "servers" / GAME.server_id / "files").mkdir(parents=True)
        storage.close()

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments, as the agent's user."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd="/", env=self.env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the release that is in force."""
        return self.call(str(self.folder / "releases" / "current"), *arguments)

    @property
    def status(self) -> dict[str, Any]:
        """What `status --json` tells."""
        done = self.command("status", "--json")
        return json.loads(done.stdout) if done.stdout else {"running": False}

    @property
    def current(self) -> str:
        """The file of the release that is in force."""
        return str((self.folder / "releases" / "current").readlink())

    def game(self) -> tuple[int, str]:
        """The running game's process and when it began."""
        storage = Storage(self.folder / "agent.db")
        kept = storage.server(GAME.server_id)
        storage.close()
        assert kept is not None
        handle = json.loads(kept.state).get("handle")
        if not handle:
            return 0, ""
        pid = json.loads(handle["token"])["pid"]
        return pid, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]

    def close(self) -> None:
        """End it, and its game."""
        self.launcher.terminate()
        self.launcher.wait(30)
        self.agent.run("uninstall", "--yes")
