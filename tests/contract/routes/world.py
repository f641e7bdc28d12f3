"""Two organizations with a person in every role, and the credentials that must open nothing."""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shared.http.route import PLACEHOLDER, Route
from shared.identity import access_tokens
from shared.identity.oauth import LIFE
from shared.identity.permissions import Permission, Role
from shared.identity.signing_keys import KeyRing
from shared.identity.tokens import SECRET
from tests.contract.routes.samples import body_for
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient, Person
from tests.support.waiting import until

#: Queries that a route must have.
QUERIES = {"compare_template": "?before=1&after=1"}

MARK = f"matrix-{uuid.uuid4().hex}"  # in the names of everything that organization A has


@dataclass
class World:
    """Who calls the routes."""

    house: HouseForTests
    roles: dict[Role, ApiClient]  # in organization A
    stranger: ApiClient  # owner of organization B
    homeless: ApiClient  # signed in, belongs to no organization
    expired: str
    keys: dict[Permission, str] = field(default_factory=dict)
    things: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)  # by handler name, where no sample can know
    agent: AgentProcess | None = None

    @property
    def owner(self) -> ApiClient:
        return self.roles[Role.OWNER]

    def key_with(self, scope: Permission) -> str:
        """An API key of organization A with this one scope."""
        if scope not in self.keys:
            made = self.owner.post("/v1/api-keys", {"name": f"{MARK} {scope}", "scopes": [scope.value]})
            assert made.status_code == 201, made.text
            self.keys[scope] = made.json()["key"]
        return self.keys[scope]

    def path(self, route: Route) -> str:
        """The route's path with ids of things that organization A has."""
        names = PLACEHOLDER.findall(route.path)
        unknown = [name for name in names if name not in MAKERS]
        assert not unknown, f"{route.path}: say in MAKERS how organization A comes to a thing for {unknown}"
        path = route.path
        for name in names:
            path = path.replace(f"{{{name}}}", self.thing(name))
        return path + QUERIES.get(route.name, "")

    def body(self, route: Route) -> dict[str, Any] | None:
        """A body that the route would take."""
        return self.bodies.get(route.name) or body_for(route)

    def thing(self, name: str) -> str:
        """The id of a thing that organization A has; made when it is first asked for."""
        if name not in self.things:
            self.things[name] = MAKERS[name](self)
        return self.things[name]

    def close(self) -> None:
        """End what was started for the things."""
        if self.agent is not None:
            self.agent.__exit__()


def nowhere(route: Route, path: str) -> str:
    """The path with the last placeholder's id exchanged for one that exists nowhere."""
    made_up = re.sub(r"_[0-9A-Z]{26}", "_01ARZ3NDEKTSV4RRFFQ69G5FAV", path)
    assert made_up != path, f"{route.path}: what id does it have?"
    return made_up


def malformed(route: Route) -> str:
    """The route's path with ids that no route takes: who may call gets a 400, and nothing happens."""
    path = route.path
    for name in PLACEHOLDER.findall(path):
        path = path.replace(f"{{{name}}}", "!")
    return path


def build(house: HouseForTests) -> World:
    """Sign everybody up."""
    owner = Person.sign_up(house, "owner").found_organization(MARK)
    roles = {Role.OWNER: owner}
    for role in Role:
        if role is not Role.OWNER:
            person = Person.sign_up(house, role.value)
            invited = owner.post("/v1/invitations", {"email": person.email, "role": role.value}).json()
            person.client().post("/v1/invitations/accept", {"token": invited["token"]})
            roles[role] = person.client(owner.organization)
    stranger = Person.sign_up(house, "stranger").found_organization("Strangers")
    homeless = Person.sign_up(house, "homeless").client()
    return World(house, roles, stranger, homeless, _expired(house, owner))


def _expired(house: HouseForTests, owner: ApiClient) -> str:
    """The owner's token as it will be in an hour: signed with the house's own key, its time over."""
    ring = KeyRing.read((Path(house.folder) / "secrets" / SECRET).read_text())
    token = access_tokens.verify(owner.credential or "", ring, house.api, datetime.now(UTC))
    ago = datetime.now(UTC) - timedelta(hours=1)
    old = dataclasses.replace(token, issued_at=ago, expires_at=ago + LIFE)
    key = ring.keys[0].model_copy(update={"signs_from": ago - timedelta(hours=1)})
    return access_tokens.mint(old, KeyRing(keys=(key,)), house.api)


def _member(world: World) -> str:
    person = Person.sign_up(world.house, "member")
    invited = world.owner.post("/v1/invitations", {"email": person.email, "role": "viewer"}).json()
    return str(person.client().post("/v1/invitations/accept", {"token": invited["token"]}).json()["member"])


def _invitation(world: World) -> str:
    body = {"email": f"{uuid.uuid4().hex}@example.com"}
    return str(world.owner.post("/v1/invitations", body).json()["id"])


def _role(world: World) -> str:
    body = {"name": MARK[:50], "permissions": ["org.read"]}
    return str(world.owner.post("/v1/roles", body).json()["id"])


def _api_key(world: World) -> str:
    body = {"name": MARK, "scopes": ["org.read"]}
    return str(world.owner.post("/v1/api-keys", body).json()["id"])


def _grant(world: World) -> str:
    path = f"/v1/members/{world.thing('member_id')}/grants"
    return str(world.owner.post(path, {"permission": "audit.read"}).json()["id"])


def _node(world: World) -> str:
    """A real agent's node: enrolled, connected."""
    agent = AgentProcess.enrolled(
        world.house, world.owner, Path(world.house.folder) / uuid.uuid4().hex[:8], MARK[:40]
    ).start()
    world.agent = agent
    until(lambda: world.owner.get(f"/v1/nodes/{agent.node_id}").json()["presence"] == "online", "the node is online")
    return agent.node_id


def _certificate(world: World) -> str:
    node = world.thing("node_id")
    return str(world.owner.get(f"/v1/nodes/{node}/certificates").json()["items"][0]["id"])


def _enrolment(world: World) -> str:
    return str(world.owner.post("/v1/enrolment-tokens", {"note": MARK}).json()["id"])


def _template(world: World) -> str:
    echo = next(t for t in world.owner.get("/v1/templates?scope=system").json()["items"] if t["key"] == "echo")
    source = world.owner.get(f"/v1/templates/{echo['id']}/export").text
    changed = source.replace("name: Echo", f"name: {MARK[:40]}") if "name: Echo" in source else source
    world.bodies["replace_template"] = {"source": changed}
    made = world.owner.post("/v1/templates", {"source": changed})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def _server(world: World) -> str:
    world.thing("node_id")
    made = world.owner.post("/v1/servers", {"name": MARK[:40], "template": "echo"})
    assert made.status_code == 202, made.text
    world.things["task_id"] = str(made.json()["task_id"])
    return str(made.json()["server_id"])


def _task(world: World) -> str:
    world.thing("server_id")
    return world.things["task_id"]


#: How organization A comes to a thing for each placeholder. A new placeholder without an entry fails the matrix.
MAKERS: dict[str, Callable[[World], str]] = {
    "member_id": _member,
    "invitation_id": _invitation,
    "role_id": _role,
    "key_id": _api_key,
    "grant_id": _grant,
    "node_id": _node,
    "certificate_id": _certificate,
    "enrolment_id": _enrolment,
    "template_id": _template,
    "server_id": _server,
    "task_id": _task,
}
