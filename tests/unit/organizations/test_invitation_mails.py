"""The mails of invitations, over a real store and a real mail server; what a crash leaves, and what is never sent."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from shared.audit.models import Actor
from shared.composition import Services
from shared.identity.caller import Caller
from shared.organizations.errors import InvitationExists, TooManyMails
from shared.organizations.mails import LINK_SECRET
from shared.organizations.models import Invitation, Made, MailState
from shared.platform.ids import InvitationId, OrgId
from shared.platform.mail import MailNotTaken
from shared.platform.settings import load_settings
from tests.support.clocks import SetClock
from tests.support.mail import MailServer
from tests.support.seeding import Owner, seed_owner


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[MailServer]:
    with MailServer(tmp_path, security="none") as server:
        yield server


@pytest_asyncio.fixture
async def services(
    database: dict[str, str], clock: SetClock, tmp_path: Path, mail: MailServer
) -> AsyncIterator[Services]:
    values = {**database, "secrets_folder": str(tmp_path / "secrets"), **mail.settings()}
    made = Services(load_settings(values), clock=clock)
    yield made
    await made.close()


@dataclass
class Desk:
    """Somebody who invites; what they begin is written down."""

    services: Services
    owner: Owner
    begun: list[InvitationId] = field(default_factory=list)
    stored_when_begun: list[bool] = field(default_factory=list)

    @property
    def org(self) -> OrgId:
        return self.owner.org

    async def invite(self, email: str, *, mailed: bool = True) -> Made:
        id = InvitationId(self.services.ids.new("inv"))
        access = await self.services.memberships.access(self.org, self.owner.user)
        caller = Caller(Actor(kind="user", id=self.owner.user), self.owner.user, access)

        async def begin() -> None:
            self.begun.append(id)
            self.stored_when_begun.append(await self.services.store.find(self.org, Invitation, id) is not None)

        return await self.services.invitations.invite(
            self.org, id, email=email, role="operator", by=caller, begin_mail=begin if mailed else None
        )

    async def send(self, made: Made) -> str:
        return await self.services.invitation_mails.send(self.org, InvitationId(made.invitation.id))

    async def state(self, made: Made) -> MailState:
        return (await self.services.invitations.get(self.org, InvitationId(made.invitation.id))).mail


@pytest_asyncio.fixture
async def desk(services: Services) -> Desk:
    return Desk(services, await seed_owner(services))


def address() -> str:
    return f"{uuid.uuid4().hex}@example.com"


async def test_the_mail_holds_the_link_that_opens_the_invitation(desk: Desk, mail: MailServer) -> None:
    made = await desk.invite(to := address())
    assert await desk.state(made) is MailState.WAITING
    assert await desk.send(made) == "sent"
    assert await desk.state(made) is MailState.SENT
    (got,) = mail.mails(to)
    assert got["Subject"] == "Invitation to Test servers"
    found = re.search(r"https://panel\.example/\?invitation=(\S{43})\n", got.get_content().replace("\r", ""))
    assert found is not None
    assert found[1] == made.secret
    assert (await desk.services.invitations.by_secret(found[1])).invitation.id == made.invitation.id


async def test_what_sends_it_begins_before_it_is_stored_and_finds_nothing(desk: Desk, mail: MailServer) -> None:
    made = await desk.invite(address())
    assert (desk.begun, desk.stored_when_begun) == ([made.invitation.id], [False])
    assert await desk.services.invitation_mails.send(desk.org, InvitationId(desk.services.ids.new("inv"))) == "absent"
    assert mail.attempts == 0


async def test_a_refused_invitation_begins_nothing(desk: Desk) -> None:
    await desk.invite(to := address())
    with pytest.raises(InvitationExists):
        await desk.invite(to)
    assert len(desk.begun) == 1


async def test_a_mail_server_that_is_away_is_asked_again_and_gets_the_same_mail(
    desk: Desk, mail: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    made = await desk.invite(to := address())
    mail.answer = "451 later"
    with pytest.raises(MailNotTaken) as caught:
        await desk.send(made)
    assert to not in str(caught.value)
    assert await desk.state(made) is MailState.WAITING
    mail.answer = "250 OK"
    assert await desk.send(made) == "sent"
    assert await desk.send(made) == "sent"  # begun a second time: nothing happens
    # The process died after the server had taken it and before that was written down: it is sent again, and is the same.
    await desk.services.store.update(
        desk.org, Invitation, made.invitation.id, lambda found: found.having(mail=MailState.WAITING)
    )
    assert await desk.send(made) == "sent"
    one, two = mail.mails(to)
    assert one["Message-ID"] == two["Message-ID"]
    assert one.get_content() == two.get_content()
    assert to not in caplog.text


async def test_an_address_that_the_server_refuses_is_given_up(desk: Desk, mail: MailServer) -> None:
    made = await desk.invite(address())
    mail.answer = "550 no such person"
    assert await desk.send(made) == "failed"
    assert await desk.state(made) is MailState.FAILED
    mail.answer = "250 OK"
    assert await desk.send(made) == "failed"
    assert mail.mails() == []


async def test_an_invitation_that_is_closed_or_too_old_is_not_mailed(
    desk: Desk, mail: MailServer, clock: SetClock
) -> None:
    withdrawn, old = await desk.invite(address()), await desk.invite(address())
    access = await desk.services.memberships.access(desk.org, desk.owner.user)
    by = Caller(Actor(kind="user", id=desk.owner.user), desk.owner.user, access)
    await desk.services.invitations.withdraw(desk.org, InvitationId(withdrawn.invitation.id), etag=None, by=by)
    clock.advance(7 * 24 * 3600)
    assert [await desk.send(withdrawn), await desk.send(old)] == ["closed", "closed"]
    assert mail.attempts == 0


async def test_without_mail_nothing_waits(desk: Desk) -> None:
    made = await desk.invite(address(), mailed=False)
    assert await desk.state(made) is MailState.NONE
    assert (await desk.services.invitations.by_secret(made.secret)).invitation.id == made.invitation.id


async def test_a_changed_key_of_the_links_leaves_old_links_good_and_new_mails_unsent(
    desk: Desk, mail: MailServer
) -> None:
    made = await desk.invite(address())
    await desk.services.secrets.set(LINK_SECRET, "another key")
    assert await desk.send(made) == "failed"
    assert mail.mails() == []
    assert (await desk.services.invitations.by_secret(made.secret)).invitation.id == made.invitation.id


async def test_nothing_that_opens_a_door_is_stored(desk: Desk) -> None:
    made = await desk.invite(address())
    stored = await desk.services.store.get(desk.org, Invitation, made.invitation.id)
    assert made.secret not in stored.model_dump_json()


async def test_nobody_is_mailed_more_than_three_times_a_day_by_one_organization(desk: Desk, clock: SetClock) -> None:
    to = address()

    async def invited(by: Desk, *, mailed: bool = True) -> None:
        made = await by.invite(to, mailed=mailed)
        access = await by.services.memberships.access(by.org, by.owner.user)
        caller = Caller(Actor(kind="user", id=by.owner.user), by.owner.user, access)
        await by.services.invitations.withdraw(by.org, InvitationId(made.invitation.id), etag=None, by=caller)

    await invited(desk, mailed=False)  # a link that was passed on by hand is no mail
    for _ in range(3):
        clock.advance(3600)
        await invited(desk)
    with pytest.raises(TooManyMails, match="was mailed 3 invitations within a day") as caught:
        await invited(desk)
    assert (caught.value.retry_after, caught.value.figures) == (22 * 3600, {"limit": 3})
    assert len(desk.begun) == 3, "a refused one begins nothing"
    await desk.invite(address())
    await invited(Desk(desk.services, await seed_owner(desk.services)))
    clock.advance(22 * 3600)
    await invited(desk)
    with pytest.raises(TooManyMails):
        await invited(desk)
