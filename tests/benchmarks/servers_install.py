"""The second server of a template on a node, against copying its files; and placement over ten thousand nodes."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agent.servers.installer import Installer, image_key
from agent.servers.store import Image
from shared.messaging.server_install import Install
from shared.messaging.server_install import Write as WriteStep
from shared.placement.index import NodeIndex
from shared.placement.models import Amount, Demand, Hold, Node, Placed, PortGroup, PortWish
from shared.placement.rules import place
from shared.placement.strategy import Strategy
from tests.benchmarks.harness import Aim, Bench, Work, bench

FILES, MIB = 3_000, 400
NODES = 10_000
NOBODY = (65_534, 65_534)


class _Laid:
    """The node installs the template for another server: all that the agent does for that, from the steps to the record.

    The first install's content is made here without steps, of the very files that the other side copies. What nobody waits
    for (laying out for the next server) is not in the latency, and is in the CPU.
    """

    name = "store"
    prepared = True
    wanted = Install(steps=(WriteStep("template", "of the bench"),))
    owner = NOBODY if os.geteuid() == 0 else None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._runner = asyncio.Runner()  # an agent's loop runs already
        self.installer: Installer | None = None
        self.image: Image | None = None

    def start(self) -> None:
        staging = self._folder / "agent" / "staging"
        make_template(staging)
        self.installer = Installer(self._folder / "agent")
        self.image = self.installer.store.ingest(staging, image_key(self.wanted))
        self.run(0)

    def install(self, home: Path) -> None:
        assert self.installer is not None
        home.mkdir()
        installing = self.installer.install(self.wanted, home, self.owner, lambda _percent, _detail: None)
        done = self._runner.run(installing)
        assert done.reused

    def run(self, seconds: float) -> Work:  # one install is a slice
        assert self.installer is not None
        assert self.image is not None
        if not self.prepared:
            self.installer.store.doubt(self.image)
        os.sync()
        begun, cpu = time.perf_counter(), time.process_time()
        self.install(self._folder / f"server-{self._count}")
        took = time.perf_counter() - begun
        self.installer.store.prepare(self.image, self.owner)  # it is at that already: this waits for it
        self._count += 1
        return Work(1, time.process_time() - cpu, [took])

    def pids(self) -> Sequence[int]:
        return []

    def check(self) -> None:
        assert self.image is not None
        for number in (0, self._count - 1):
            kept = self._folder / f"server-{number}" / "files"
            for entry in random.Random(1).sample(self.image.files, 50):
                assert (kept / entry.path).stat().st_size == entry.size

    def stop(self) -> None:
        self._runner.close()


class _LaidAtOnce(_Laid):
    """As the first after a start of the agent: every content is looked at, and nothing is laid out already."""

    name = "store, nothing prepared"
    prepared = False


class _Copied:
    """`cp -r` of the same files."""

    name = "cp -r"

    def __init__(self, folder: Path) -> None:
        self._source, self._folder = folder / "plain", folder
        self._count = 0

    def start(self) -> None:
        make_template(self._source)

    def run(self, seconds: float) -> Work:
        os.sync()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.perf_counter()
        subprocess.run(["cp", "-r", str(self._source), str(self._folder / f"copy-{self._count}")], check=True)
        took = time.perf_counter() - begun
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._count += 1
        return Work(1, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, [took])

    def pids(self) -> Sequence[int]:
        return []

    def check(self) -> None:
        """`cp` says itself when it fails."""

    def stop(self) -> None:
        """The folder is the bench's."""


def make_template(folder: Path) -> None:
    """Files of a template: many small ones, a few large."""
    block = random.Random(7).randbytes(1 << 20)
    for number in range(FILES):
        path = folder / f"part-{number % 50}" / f"file-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = 2 << 20 if number % 20 == 0 else 34 << 10
        with path.open("wb") as file:
            file.write(number.to_bytes(4, "big"))
            while size > 0:
                size -= file.write(block[: min(size, 1 << 20)])


def used(folder: Path) -> int:
    """Bytes on disk, as `du` counts them."""
    done = subprocess.run(["du", "-sk", str(folder)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0]) * 1024


@bench("servers-install")
def servers_install(run: Bench) -> None:
    """The second install of a 400 MiB template, against cp -r.

    Nothing is taken away until the end: ext4 passes over inodes that were freed in the last minutes one by one when it
    looks for a new one, so whoever makes files after a removal pays for it, and `cp` makes most. What was written is
    on the disk before each turn begins. Waiting is the subject, so it is the latency that counts.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, other = Path(name), Path(name, "other")
        other.mkdir()
        laid, at_once, copied = _Laid(folder), _LaidAtOnce(other), _Copied(folder)
        run.compare(
            [laid, at_once, copied],
            [Aim("store", "cp -r", "p50", at_most=1 / 40), Aim("store", "cp -r", "cpu", at_most=1 / 5)],
        )
        assert laid.image is not None
        assert laid.installer is not None
        before = used(folder)
        laid.install(folder / "third")
        laid.installer.store.prepare(laid.image, laid.owner)
        more = (used(folder) - before) / laid.image.size * 100
        run.note("linking", laid.installer.store.linking(laid.owner))
        run.figure("disk of one more server", round(more, 2), "%", at_most=2.0)


def fleet() -> list[Node]:
    """Ten thousand nodes of four sizes in eight zones, some full, some drained."""
    rng = random.Random(11)
    nodes = []
    for number in range(NODES):
        size = rng.choice([8, 16, 32, 64]) * 1024
        holds = tuple(
            Hold(f"s{number}-{index}", Amount(rng.choice([512, 1024, 2048, 4096]), 500, 4096))
            for index in range(rng.randrange(0, 6))
        )
        labels = {"zone": f"z{rng.randrange(8)}"}
        state = "drained" if rng.random() < 0.05 else "online"
        node = Node(f"nod_{number:05d}", f"n{number}", Amount(size, 16_000, 500_000), holds, labels)
        nodes.append(replace(node, state=state))
    return nodes


DEMAND = Demand(Amount(2048, 1000, 8192), (PortGroup((PortWish("game", ("udp",)),)),), {"zone": "z3"})


class _Indexed:
    """Place, and write the hold down, by the index."""

    name = "index"

    def start(self) -> None:
        self._index = NodeIndex(fleet())
        self._count = 0
        self.run(0.2)

    def run(self, seconds: float) -> Work:
        end, units, cpu = time.perf_counter() + seconds, 0, time.process_time()
        while time.perf_counter() < end or units == 0:
            for _ in range(20):
                placed = self._index.place(DEMAND, Strategy.SPREAD)
                assert isinstance(placed, Placed)
                node = self._index.get(placed.node_id)
                assert node is not None
                held = Hold(f"b{self._count}", DEMAND.amount, placed.keys)
                self._index.put(replace(node, holds=(*node.holds[-8:], held)))  # old ones end, so that room remains
                self._count += 1
                units += 1
        return Work(units, time.process_time() - cpu)

    def pids(self) -> Sequence[int]:
        return []

    def check(self) -> None:
        for node in fleet():
            found = self._index.get(node.id)
            assert found is not None
            assert found.free().memory_mib >= 0 or node.free().memory_mib < 0, f"{node.id} is oversubscribed"

    def stop(self) -> None:
        """Nothing runs."""


class _Scanned:
    """Look at every node for each question."""

    name = "scan"

    def start(self) -> None:
        self._nodes = fleet()

    def run(self, seconds: float) -> Work:
        end, units, cpu = time.perf_counter() + seconds, 0, time.process_time()
        while time.perf_counter() < end or units == 0:
            assert isinstance(place(DEMAND, self._nodes, Strategy.SPREAD), Placed)
            units += 1
        return Work(units, time.process_time() - cpu)

    def pids(self) -> Sequence[int]:
        return []

    def check(self) -> None:
        expected = place(DEMAND, self._nodes, Strategy.SPREAD)
        assert expected == NodeIndex(self._nodes).place(DEMAND, Strategy.SPREAD)

    def stop(self) -> None:
        """Nothing runs."""


@bench("servers-placement")
def servers_placement(run: Bench) -> None:
    """Placement over ten thousand nodes, against looking at all of them."""
    run.compare([_Indexed(), _Scanned()], [Aim("index", "scan", "rate", at_least=100)])
