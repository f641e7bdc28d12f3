"""What the doors cost: a guarded create against FastAPI and Django REST, a list behind every guard against one behind none."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.harness import Aim, Bench, MissingPeer, Work, bench
from tests.benchmarks.load import http_load, http_once, request_bytes
from tests.benchmarks.machine import children_of, pinned
from tests.support.cosmos import CosmosPart
from tests.support.processes import ROOT, free_port, wait_for_port

APP = ROOT / "tests" / "benchmarks" / "doors_app"
BODY = json.dumps(
    {
        "name": "Friday night survival",
        "template": "minecraft-paper",
        "memory_mib": 4096,
        "cpu_percent": 200,
        "disk_mib": 20480,
        "ports": [{"number": 25565, "protocol": "tcp"}, {"number": 25575, "protocol": "tcp"}, {"number": 24454}],
        "variables": {
            "MOTD": "Welcome to the Friday night server",
            "DIFFICULTY": "hard",
            "VIEW_DISTANCE": "12",
            "SEED": "-4172144997902289642",
        },
        "tags": ["survival", "friday", "public"],
        "description": "Opens at eight. Ask in the forum for the white list. " * 4,
    }
).encode()


@dataclass
class World:
    """The parts that every side shares: the store with one organization in it, and a token of its owner."""

    env: dict[str, str]
    token: str
    org: str
    public_pem: str
    issuer: str
    cosmos: CosmosPart

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """A request of the owner's."""
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", "Accept": "*/*"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return request_bytes(method, path, body=body, headers=sent)


@contextlib.contextmanager
def world(folder: Path) -> Iterator[World]:
    """Start the store and found the organization."""
    cosmos = CosmosPart(folder)
    with cosmos.part:
        values = cosmos.database()
        env = {
            "COSMOS_ENDPOINT": values["cosmos_endpoint"],
            "COSMOS_KEY": values["cosmos_key"],
            "COSMOS_DATABASE": values["cosmos_database"],
            "MERIDIAN_SECRETS_FOLDER": str(folder / "secrets"),
            "MERIDIAN_PUBLIC_URL": "http://localhost:7071",
            "PYTHONPATH": str(ROOT),
        }
        token, org, pem = asyncio.run(_seed({**values, "secrets_folder": env["MERIDIAN_SECRETS_FOLDER"]}))
        yield World(env, token, org, pem, env["MERIDIAN_PUBLIC_URL"], cosmos)


async def _seed(values: dict[str, str]) -> tuple[str, str, str]:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from shared.composition import Services
    from shared.platform.settings import load_settings
    from tests.support.seeding import seed_owner

    services = Services(load_settings(values))
    owner = await seed_owner(services)
    ring = await services.identity.tokens.ring()
    public = ring.signer(services.clock.now()).public
    await services.close()
    return owner.token, owner.org, public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


class Server:
    """A side: a server in a process of its own, asked the same thing over and over."""

    def __init__(
        self,
        name: str,
        command: list[str],
        port: int,
        request: bytes,
        env: dict[str, str],
        *,
        beside: CosmosPart | None = None,
        needs: str | None = None,
        connections: int = 16,
    ) -> None:
        self.name, self._command, self._port, self._request, self._env = name, command, port, request, env
        self._beside, self._needs, self._connections = beside, needs, connections
        self._process: subprocess.Popen[bytes] | None = None
        self.answered = 0
        self.last: Any = None

    def start(self) -> None:
        if self._needs is not None and importlib.util.find_spec(self._needs) is None:
            raise MissingPeer(f"{self._needs} is not installed (tests/benchmarks/requirements.txt)")
        with (Path(self._env["LOGS"]) / f"{self._port}.log").open("wb") as log:
            self._process = subprocess.Popen(
                pinned(0, self._command), cwd=ROOT, env={**os.environ, **self._env}, stdout=log, stderr=log
            )
        wait_for_port(self._port, self._process)
        http_load(self._port, self._request, 1.0, self._connections)

    def run(self, seconds: float) -> Work:
        work = http_load(self._port, self._request, seconds, self._connections)
        self.answered += work.units
        return Work(work.units)

    def pids(self) -> Sequence[int]:
        assert self._process is not None
        found = children_of(self._process.pid)
        if self._beside is not None and self._beside.part.process is not None:
            found.append(self._beside.part.process.pid)
        return found

    def check(self) -> None:
        assert self.answered > 0, "no request was answered"
        self.last = json.loads(http_once(self._port, self._request))

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)


def ours(name: str, place: World, folder: Path, request: bytes, *, stored: bool = False) -> Server:
    """The doors behind the local functions host."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "local.functions_host",
        str(APP),
        "--port",
        str(port),
        "--data",
        str(folder / f"host-{port}"),
        "--quiet",
    ]
    return Server(
        name, command, port, request, {**place.env, "LOGS": str(folder)}, beside=place.cosmos if stored else None
    )


def fastapi(place: World, folder: Path, request: bytes, *, stored: bool = False) -> Server:
    """FastAPI, pydantic, PyJWT on uvicorn."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.doors_peers.fastapi_app",
        str(port),
        place.public_pem,
        place.issuer,
    ]
    env = {**place.env, "LOGS": str(folder)}
    return Server("FastAPI", command, port, request, env, beside=place.cosmos if stored else None, needs="fastapi")


def django(place: World, folder: Path, request: bytes) -> Server:
    """Django REST framework under gunicorn."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "-w",
        "1",
        "-k",
        "gthread",
        "--threads",
        "1",
        "--keep-alive",
        "75",
        "-b",
        f"127.0.0.1:{port}",
        "tests.benchmarks.doors_peers.django_app:application",
    ]
    env = {
        **place.env,
        "LOGS": str(folder),
        "MERIDIAN_BENCH_PEM": place.public_pem,
        "MERIDIAN_BENCH_ISSUER": place.issuer,
    }
    return Server("Django REST", command, port, request, env, needs="rest_framework", connections=4)


@bench("doors-create")
def doors_create(run: Bench) -> None:
    """A guarded create without its store call: token, permission, rate class, validation, ETag, problem mapping."""
    with tempfile.TemporaryDirectory() as name, world(Path(name)) as place:
        request = place.request("POST", "/v1/bench/guarded", BODY)
        folder = Path(name)
        run.compare(
            [
                ours("the doors", place, folder, request),
                ours("hello", place, folder, place.request("GET", "/v1/bench/hello")),
                fastapi(place, folder, request),
                django(place, folder, request),
            ],
            [
                Aim("the doors", "FastAPI", "rate", at_least=3.0),
                Aim("the doors", "Django REST", "rate", at_least=3.0),
                Aim("the doors", "hello", "rate", at_least=0.4),
            ],
        )


@bench("doors-create-stored")
def doors_create_stored(run: Bench) -> None:
    """A guarded create with its store call, on the same Cosmos endpoint; the endpoint's CPU counts on both sides."""
    with tempfile.TemporaryDirectory() as name, world(Path(name)) as place:
        request = place.request("POST", "/v1/bench/stored", BODY)
        folder = Path(name)
        run.compare(
            [ours("the doors", place, folder, request, stored=True), fastapi(place, folder, request, stored=True)],
            [Aim("the doors", "FastAPI", "rate", at_least=1.0)],
        )


@bench("doors-list-guards")
def doors_list_guards(run: Bench) -> None:
    """A list query behind every guard against the same query and answer by the plain SDK without any guard."""
    with tempfile.TemporaryDirectory() as name, world(Path(name)) as place:
        folder = Path(name)
        filler = ours("filler", place, folder, place.request("POST", "/v1/bench/stored", BODY))
        filler.start()
        while filler.answered < 60:  # a full page, and a next one
            filler.run(0.5)
        filler.stop()
        run.slice_seconds = 2.0  # some two hundred lists a second, and the difference looked for is a tenth of one
        paths = {"guarded": "things?limit=50", "unguarded": "unguarded", "untyped": "untyped"}
        sides = [
            ours(side, place, folder, place.request("GET", f"/v1/bench/{path}", X_Bench_Org=place.org), stored=True)
            for side, path in paths.items()
        ]
        run.compare(sides, [Aim("guarded", "unguarded", "cpu", at_most=1.1)])
        first, *others = [side.last["items"] for side in sides]
        assert len(first) == 50, f"{len(first)} things were listed, not 50"
        assert all(other == first for other in others), "the sides did not list the same things"
