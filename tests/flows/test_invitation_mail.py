"""An invitation's mail from the API's answer to the mailbox: the whole house, a mail server that comes late, a crash."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.house import HouseForTests
from tests.support.mail import MailServer
from tests.support.people import ApiClient, Person
from tests.support.processes import wait_for_port


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> MailServer:
    return MailServer(tmp_path_factory.mktemp("mail"))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, mail: MailServer) -> Iterator[HouseForTests]:
    settings = {f"MERIDIAN_{name.upper()}": str(value) for name, value in mail.settings().items()}
    folder: Path = tmp_path_factory.mktemp("mailing")
    with HouseForTests(folder, "cosmos", "bus", "auth", "host", settings=settings) as house:
        yield house


@pytest.fixture(scope="module")
def owner(house: HouseForTests) -> ApiClient:
    return Person.sign_up(house, "olga").found_organization("Olga's")


def address() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def until_sent(owner: ApiClient, invitation: str) -> None:
    deadline = time.monotonic() + 60
    while owner.get(f"/v1/invitations/{invitation}").json()["mail"] != "sent":
        assert time.monotonic() < deadline, "never noted as sent"
        time.sleep(0.05)


def test_a_person_without_an_account_comes_in_by_mail(house: HouseForTests, owner: ApiClient, mail: MailServer) -> None:
    to = address()
    with mail:
        made = owner.post("/v1/invitations", {"email": to, "role": "operator"})
        assert made.status_code == 201, made.text
        assert made.json()["token"] is None, "who is mailed the link proves to have the mailbox"
        (got,) = mail.wait_for(to)
        until_sent(owner, made.json()["id"])
    secret = re.search(r"invitation=([\w-]+)", got.get_content())
    assert secret is not None
    newcomer = Person.sign_up(house, "lee", to)
    joined = newcomer.client().post("/v1/invitations/accept", {"token": secret[1]})
    assert joined.json()["role"] == "operator"
    assert newcomer.client(owner.organization).get("/v1/organization").json()["name"] == "Olga's"


def test_several_are_mailed_each(owner: ApiClient, mail: MailServer) -> None:
    to = [address() for _ in range(3)]
    with mail:
        reply = owner.post("/v1/invitations/bulk", {"emails": to}).json()
        assert reply["succeeded"] == 3
        assert len({mail.wait_for(each)[0]["Message-ID"] for each in to}) == 3


def test_the_answer_does_not_wait_and_a_crash_loses_no_mail(
    house: HouseForTests, owner: ApiClient, mail: MailServer
) -> None:
    to = address()
    made = owner.post("/v1/invitations", {"email": to}).json()  # nobody listens at the mail server's port
    assert owner.get(f"/v1/invitations/{made['id']}").json()["mail"] == "waiting"
    house.kill("host")
    with mail:
        part = house.start("host")
        wait_for_port(part.port, part.process)
        (got,) = mail.wait_for(to)
        until_sent(owner, made["id"])
        assert made["id"] in got["Message-ID"]
    assert to not in house.output("host"), "an address stands in the log"
