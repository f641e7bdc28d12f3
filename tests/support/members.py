"""Members for tests: invited and joined through the API, and several who act at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import requests

from tests.support.house import HouseForTests
from tests.support.people import ApiClient, Person


def join(person: Person, owner: ApiClient, role: str) -> ApiClient:
    """Invite a person, let them accept by the link, and give a client for the organization."""
    invited = owner.post("/v1/invitations", {"email": person.email, "role": role})
    assert invited.status_code == 201, invited.text
    bare = person.client()
    joined = bare.post("/v1/invitations/accept", {"token": invited.json()["token"]})
    assert joined.status_code == 200, joined.text
    return person.client(joined.json()["organization"])


def newcomer(house: HouseForTests, owner: ApiClient, role: str) -> ApiClient:
    """A person of their own for this one test, who has joined with the role."""
    return join(Person.sign_up(house, role), owner, role)


def member_of(client: ApiClient) -> str:
    """The id of the membership that a client acts by."""
    return "mem_" + client.get("/v1/me").json()["id"].removeprefix("usr_")


def code_of(reply: requests.Response) -> str:
    """The code of a refusal."""
    return str(reply.json()["code"])


def at_once(*acts: Callable[[], requests.Response]) -> list[requests.Response]:
    """What each of several acts, begun at the same time, is answered."""
    with ThreadPoolExecutor(len(acts)) as pool:
        return [future.result() for future in [pool.submit(act) for act in acts]]
