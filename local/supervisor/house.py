"""The parts of the one-machine edition and how they know of each other."""

from __future__ import annotations

import base64
import json
import secrets
import sys
from pathlib import Path

from local.common.folder import DataFolder, secret_file
from local.supervisor.parts import Part
from local.supervisor.ports import Ports, Public

AZURITE_ACCOUNT = "devstoreaccount1"
# Azurite's published account key: the same in every copy, so the blob port must stay on loopback.
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

COSMOS_KEY_FILE = "cosmos.key"
BUS_KEY_FILE = "root.key"


class House:
    """The parts for one data folder and one set of ports."""

    def __init__(
        self, root: Path, folder: DataFolder, ports: Ports, *, verbose: bool = True, public: Public | None = None
    ) -> None:
        """Describe it.

        Args:
            verbose: false leaves the lines of successful calls out of the host's log.
            public: opens the house to other machines; without it everything stays on loopback.
        """
        self.root, self.ports, self._verbose, self._public = root, ports, verbose, public
        self.data = folder.path
        # The parts find their keys in their own folders: on a command line everybody on the machine could read them.
        self.cosmos_key = self._key("cosmos", COSMOS_KEY_FILE, 64)
        self.bus_key = self._key("servicebus", BUS_KEY_FILE, 32)

    def _key(self, part: str, name: str, size: int) -> str:
        folder = self.data / part
        folder.mkdir(mode=0o700, exist_ok=True)
        return secret_file(folder / name, base64.b64encode(secrets.token_bytes(size)).decode())

    @property
    def api(self) -> str:
        """Where the API answers."""
        return f"http://localhost:{self.ports.host}"

    @property
    def public_url(self) -> str:
        """Where machines that enrol find the API."""
        return f"https://{self._public.host}:{self._public.port}" if self._public else self.api

    @property
    def auth(self) -> str:
        """Where people sign in."""
        return f"http://localhost:{self.ports.auth}"

    def settings(self) -> dict[str, str]:
        """The app settings: the only thing by which the product learns of its surroundings."""
        ports = self.ports
        bus = (
            f"Endpoint=sb://localhost:{ports.bus};SharedAccessKeyName=RootManageSharedAccessKey;"
            f"SharedAccessKey={self.bus_key};UseDevelopmentEmulator=true"
        )
        return {
            **self._for_other_machines(bus),
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "AZURE_FUNCTIONS_DURABLE_STRICT_TYPING": "1",
            "AzureWebJobsStorage": (
                f"DefaultEndpointsProtocol=http;AccountName={AZURITE_ACCOUNT};AccountKey={AZURITE_KEY};"
                f"BlobEndpoint=http://127.0.0.1:{ports.blob}/{AZURITE_ACCOUNT};"
            ),
            "MERIDIAN_ENVIRONMENT": "development",
            "MERIDIAN_PUBLIC_URL": self.public_url,
            "MERIDIAN_CORS_ORIGINS": self.auth,
            "MERIDIAN_TRUSTED_ISSUERS": json.dumps(
                [
                    {
                        "issuer": self.auth,
                        "jwks_uri": f"{self.auth}/api/auth/jwks",
                        "clients": ["panel", "cli"],
                        "origins": [self.auth],
                    }
                ]
            ),
            "MERIDIAN_SECRETS_FOLDER": str(self.data / "secrets"),
            "MERIDIAN_SERVICE_BUS_ADMIN": (
                f"Endpoint=sb://localhost:{ports.bus_admin};SharedAccessKeyName=RootManageSharedAccessKey;"
                f"SharedAccessKey={self.bus_key};UseDevelopmentEmulator=true"
            ),
            "MERIDIAN_SERVICE_BUS_CA_FILE": str(self.data / "servicebus" / "ca.pem"),
            "COSMOS_ENDPOINT": f"http://localhost:{ports.cosmos}",
            "COSMOS_KEY": self.cosmos_key,
            "COSMOS_DATABASE": "meridian",
            "ServiceBusConnection": bus,
        }

    def _for_other_machines(self, bus: str) -> dict[str, str]:
        if self._public is None:
            return {}
        namespace = {
            "connection": bus,
            "host": self._public.host,
            "amqp_port": self.ports.bus_tls,
            "websocket_port": self.ports.bus_websocket,
            "ca_file": str(self.data / "servicebus" / "ca.pem"),
        }
        # The trust domain stays what it was: nodes that enrolled before the house was opened keep their certificates.
        return {"MERIDIAN_AGENT_NAMESPACES": json.dumps({"default": namespace}), "MERIDIAN_AGENT_DOMAIN": "localhost"}

    def parts(self) -> tuple[Part, ...]:
        """The control plane, in no order: each part names what it needs."""
        parts = (self._cosmos(), self._bus(), self._blob(), self._auth(), self._containers(), self._host())
        return parts if self._public is None else (*parts, self._front(self._public))

    def main_job(self, template: str, *, stay: bool = True) -> tuple[Part, ...]:
        """What a person would do first: sign up and enrol this machine; its agent; a first server from a template."""
        return (self._enrol(), self._agent(), self._welcome(template, stay=stay))

    @staticmethod
    def _shown(file: Path) -> Path:
        """A path as short as it can be told."""
        return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file

    def _cosmos(self) -> Part:
        port = self.ports.cosmos
        return Part(
            name="cosmos",
            command=_python("local.cosmos", "--port", port, "--data", self.data / "cosmos"),
            port=port,
            port_option="--cosmos-port",
            addresses=(
                ("Cosmos DB and its data explorer", f"http://localhost:{port}"),
                ("  the explorer's key", str(self._shown(self.data / "cosmos" / COSMOS_KEY_FILE))),
            ),
            quiet=True,
        )

    def _bus(self) -> Part:
        ports = self.ports
        options = ("--port", ports.bus, "--tls-port", ports.bus_tls, "--websocket-port", ports.bus_websocket)
        more = ("--admin-port", ports.bus_admin, "--data", self.data / "servicebus")
        queues = ("--queue", "reports", *(("--hostname", self._public.host) if self._public else ()))
        return Part(
            name="bus",
            command=_python("local.servicebus", *options, *more, *queues),
            port=ports.bus,
            port_option="--bus-port",
            addresses=(
                (
                    "Service Bus: AMQP, TLS, WebSocket",
                    f"localhost:{ports.bus}, {ports.bus_tls}, {ports.bus_websocket}",
                ),
            ),
            quiet=True,
        )

    def _blob(self) -> Part:
        port = self.ports.blob
        azurite = str(self.root / "node_modules/.bin/azurite-blob")
        options = ("--blobPort", str(port), "--location", str(self.data / "blob"), "--silent", "--disableTelemetry")
        return Part(
            name="blob",
            command=(azurite, *options),
            port=port,
            port_option="--blob-port",
            addresses=(("Blob storage (Azurite)", f"http://127.0.0.1:{port}/{AZURITE_ACCOUNT}"),),
            quiet=True,
        )

    def _auth(self) -> Part:
        port = self.ports.auth
        audience = ("--audience", f"{self.public_url}/v1/auth/token")
        return Part(
            name="auth",
            command=_python("local.auth", "--port", port, "--data", self.data / "auth", "--api", self.api, *audience),
            port=port,
            port_option="--auth-port",
            addresses=(("Sign up and sign in", self.auth),),
            quiet=True,
        )

    def _containers(self) -> Part:
        return Part(
            name="containers",
            command=_python("shared.store.bootstrap"),
            env=self.settings(),
            needs=("cosmos",),
            once=True,
        )

    def _host(self) -> Part:
        port = self.ports.host
        return Part(
            name="host",
            command=_python(
                "local.functions_host", self.root, "--port", port, "--data", self.data / "host", *self._host_options()
            ),
            port=port,
            ready_path="/healthz",
            port_option="--host-port",
            env=self.settings(),
            needs=("containers", "bus", "blob", "auth"),
            addresses=(("The API", f"{self.api}/v1"), ("  its documentation", f"{self.api}/docs")),
        )

    def _front(self, public: Public) -> Part:
        bus, websocket = self.ports.bus_tls, self.ports.bus_websocket
        doors = (
            "--tls",
            f"{public.port}={self.ports.host}",
            "--pass",
            f"{bus}={bus}",
            "--pass",
            f"{websocket}={websocket}",
        )
        return Part(
            name="front",
            command=_python("local.front", "--host", public.host, "--data", self.data / "front", *doors),
            needs=("host",),
            addresses=(
                ("For other machines", self.public_url),
                ("  the authority they trust", str(self._shown(self.data / "front" / "ca.pem"))),
            ),
            quiet=True,
        )

    def _enrol(self) -> Part:
        return Part(
            name="enrol",
            command=_python("cli", "welcome", "enrol", "--auth", self.auth, "--agent-folder", self.agent_folder),
            env=self._person(),
            needs=("host",),
            once=True,
        )

    def _agent(self) -> Part:
        return Part(
            name="agent",
            command=_python("agent", "run", "--folder", self.agent_folder),
            needs=("enrol",),
            # The games of a node outlive its agent, as they should; those of this house end with it.
            farewell=_python("agent", "stop-games", "--folder", self.agent_folder),
        )

    def _welcome(self, template: str, *, stay: bool) -> Part:
        return Part(
            name="welcome",
            command=_python("cli", "welcome", "server", "--template", template, "--stays" if stay else "--ends"),
            env=self._person(),
            needs=("agent",),
            once=True,
            optional=True,
        )

    def _person(self) -> dict[str, str]:
        """The demo user's own configuration folder, so that nobody's real sign-in is touched."""
        return {
            "MERIDIAN_API": self.api,
            "MERIDIAN_CONFIG_DIR": str(self.data / "person"),
            "MERIDIAN_AUTH": self.auth,
            "COLUMNS": "160",
        }

    @property
    def agent_folder(self) -> Path:
        """Where this machine's agent keeps its key, its journal and the servers."""
        return self.data / "agent"

    def _host_options(self) -> tuple[str, ...]:
        ports = self.ports
        cosmos, bus = f"http://127.0.0.1:{ports.cosmos}", f"https://127.0.0.1:{ports.bus_admin}"
        meters = ("--meter-source", f"cosmos={cosmos}/_local/meter", "--meter-source", f"bus={bus}/_local/meter")
        return meters if self._verbose else (*meters, "--quiet")


def _python(module: str, *arguments: object) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *map(str, arguments))
