"""What an agent with eight servers costs the machine that has games to run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agent.storage import Storage
from shared.messaging.codec import to_json
from shared.messaging.server_spec import Launch, ServerSpec
from tests.benchmarks.harness import Bench, bench
from tests.benchmarks.machine import cpu_seconds, private_bytes
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import Person

SERVERS = 8
SETTLE_SECONDS = 25.0
MEASURE_SECONDS = 60.0

#: The same duties the usual way: the SDKs imported at the start, the SDK's receiver open, psutil every five seconds.
NAIVE = """
import asyncio, sys
import azure.cosmos.aio, azure.identity.aio, azure.keyvault.secrets.aio, azure.servicebus.aio, aiohttp, pydantic, psutil, jwt, cryptography.x509
from azure.servicebus.aio import ServiceBusClient
async def sample():
    while True:
        psutil.cpu_percent(); psutil.virtual_memory()
        for process in psutil.Process().children(recursive=True):
            process.cpu_percent(); process.memory_info()
        await asyncio.sleep(5)
async def main():
    children = [await asyncio.create_subprocess_exec("sleep", "600") for _ in range(8)]
    task = asyncio.create_task(sample())
    async with ServiceBusClient.from_connection_string(sys.argv[1]) as client, client.get_queue_receiver("reports") as receiver:
        print("up", flush=True)
        while True:
            await receiver.receive_messages(1, max_wait_time=30)
asyncio.run(main())
"""


def _measured(pid: int) -> tuple[float, float]:
    """Private memory in MiB and CPU in ms a minute."""
    before = cpu_seconds([pid])
    time.sleep(MEASURE_SECONDS)
    return private_bytes(pid) / 2**20, (cpu_seconds([pid]) - before) * 1000 * 60 / MEASURE_SECONDS


def _keep_servers(agent: AgentProcess) -> None:
    """Eight installed servers in the journal, as if they had been sent: the agent starts them."""
    storage = Storage(agent.folder / "agent.db")
    for number in range(SERVERS):
        server_id = f"srv_bench{number}"
        spec = ServerSpec(
            server_id, 1, f"game {number}", "on", Launch(("python3", "-c", "import time; time.sleep(3600)"))
        )
        storage.put_server(server_id, 1, to_json(spec).decode())
        storage.put_server_state(server_id, '{"state": "stopped"}')
        (agent.folder / "servers" / server_id / "files").mkdir(parents=True)
    storage.close()


def _low_port() -> int:
    """A free port of those that zabbix-agent2 takes: up to 32767."""
    for port in range(20_000, 32_000, 7):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise RuntimeError("no free port below 32767")


def _zabbix(folder: Path) -> subprocess.Popen[bytes] | None:
    program = shutil.which("zabbix_agent2", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        return None
    (folder / "zabbix.conf").write_text(
        f"PidFile={folder}/z.pid\nLogFile={folder}/z.log\nServer=127.0.0.1\nListenPort={_low_port()}\nHostname=bench\n"
        f"ControlSocket={folder}/z.sock\nPluginSocket={folder}/p.sock\n"
    )
    return subprocess.Popen([program, "-f", "-c", str(folder / "zabbix.conf")], stdout=subprocess.DEVNULL)


@bench("agent-footprint")
def agent_footprint(run: Bench) -> None:
    """Private memory and CPU a minute of an idle agent with eight servers, against zabbix-agent2 and the naive way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with HouseForTests(folder / "house", "cosmos", "bus", "auth", "host") as house:
            api = Person.sign_up(house, "ann").found_organization("Bench")
            agent = AgentProcess.enrolled(house, api, folder / "agent", "bench")
            _keep_servers(agent)
            script = [sys.executable, "-c", NAIVE, house.settings()["ServiceBusConnection"]]
            naive = subprocess.Popen(script, stdout=subprocess.PIPE, start_new_session=True)
            zabbix = _zabbix(folder)
            try:
                with agent:
                    time.sleep(SETTLE_SECONDS)
                    assert agent.process is not None
                    running = sum(1 for log in agent.folder.glob("run/*/stdin"))
                    assert running == SERVERS, f"{running} of {SERVERS} servers run\n{agent.output()[-2000:]}"
                    _report(run, agent.process.pid, naive.pid, zabbix)
            finally:
                for process in (naive, zabbix):
                    if process is not None:
                        process.kill()
                        process.wait()


def _report(run: Bench, ours: int, naive: int, zabbix: subprocess.Popen[bytes] | None) -> None:
    from concurrent.futures import ThreadPoolExecutor

    pids = {"agent": ours, "naive": naive, **({"zabbix-agent2": zabbix.pid} if zabbix else {})}
    with ThreadPoolExecutor(len(pids)) as pool:
        found = dict(zip(pids, pool.map(_measured, pids.values()), strict=True))
    for name, (memory, cpu) in found.items():
        run.figure(f"{name}: private memory", round(memory, 1), "MiB")
        run.figure(f"{name}: CPU", round(cpu, 1), "ms/min")
    run.figure("memory, agent / naive", round(found["agent"][0] / found["naive"][0], 2), at_most=0.5)
    if zabbix is None:
        run.missing("memory and CPU against zabbix-agent2", "Debian's package is not installed")
        return
    run.figure("memory, agent / zabbix-agent2", round(found["agent"][0] / found["zabbix-agent2"][0], 2), at_most=2)
    run.figure("CPU, agent / zabbix-agent2", round(found["agent"][1] / found["zabbix-agent2"][1], 2), at_most=2)
