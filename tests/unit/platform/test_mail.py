"""The mail adapter against a real mail server on a real socket."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.platform.mail import Mail, MailNotTaken, MailRefused, SmtpMailer
from shared.platform.settings import load_settings
from tests.support.clocks import SetClock
from tests.support.mail import MailServer

GOOD = {"cosmos_endpoint": "http://localhost:1"}


def mailer(server: MailServer, **changed: Any) -> SmtpMailer:
    return SmtpMailer(load_settings({**GOOD, **server.settings(), **changed}), SetClock())


def mail(to: str = "lee@example.com", **changed: str) -> Mail:
    return Mail(
        **{"key": "inv_1", "to": to, "subject": "Invitation to Ann's", "text": "Grüße\nhttps://x/?t=1\n", **changed}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mail")


@pytest.fixture(params=["starttls", "tls", "none"])
def server(folder: Path, request: pytest.FixtureRequest) -> Iterator[MailServer]:
    with MailServer(folder, security=request.param) as server:
        yield server


@pytest.fixture
def plain(folder: Path) -> Iterator[MailServer]:
    with MailServer(folder, security="none") as server:
        yield server


async def test_a_mail_arrives_as_it_was_written(server: MailServer) -> None:
    await mailer(server).send(mail())
    (envelope,), (got,) = server.envelopes, server.mails()
    assert (envelope.mail_from, envelope.rcpt_tos) == ("console@meridian.example", ["lee@example.com"])
    assert got["To"] == "lee@example.com"
    assert got["From"] == "Meridian <console@meridian.example>"
    assert got["Subject"] == "Invitation to Ann's"
    assert got["Message-ID"] == "<inv_1@meridian.example>"
    assert got["Auto-Submitted"] == "auto-generated"
    assert got["Date"].datetime == SetClock().now()
    assert got.get_content().splitlines() == ["Grüße", "https://x/?t=1"]


async def test_the_same_mail_has_the_same_name(plain: MailServer) -> None:
    for _ in range(2):
        await mailer(plain).send(mail())
    one, two = plain.mails()
    assert one["Message-ID"] == two["Message-ID"]


async def test_a_line_break_begins_no_header(plain: MailServer) -> None:
    await mailer(plain).send(mail(subject="Hello\r\nBcc: all@example.com"))
    (got,) = plain.mails()
    assert got["Bcc"] is None
    assert got["Subject"] == "Hello Bcc: all@example.com"
    assert plain.envelopes[0].rcpt_tos == ["lee@example.com"]


@pytest.mark.parametrize(
    "to", ["a b@example.com", "a@example.com, b@example.com", "<a@example.com", "a@b@c.example", ""]
)
async def test_what_is_no_address_is_refused_before_anybody_is_asked(plain: MailServer, to: str) -> None:
    with pytest.raises(MailRefused):
        await mailer(plain).send(mail(to))
    assert plain.attempts == 0


async def test_an_address_beyond_ascii(plain: MailServer) -> None:
    await mailer(plain).send(mail("jörg@example.com"))
    assert plain.envelopes[0].rcpt_tos == ["jörg@example.com"]


@pytest.mark.parametrize("to_data", [False, True], ids=["recipient", "text"])
@pytest.mark.parametrize(("answer", "error"), [("550 no such person", MailRefused), ("451 later", MailNotTaken)])
async def test_for_good_and_for_now(plain: MailServer, answer: str, error: type[Exception], to_data: bool) -> None:
    plain.answer, plain.to_data = answer, to_data
    with pytest.raises(error) as caught:
        await mailer(plain).send(mail())
    assert str(caught.value) == f"the mail server answered {answer[:3]}"
    assert caught.value.__cause__ is None, "the library's error holds the address"


async def test_a_server_that_is_not_there(folder: Path) -> None:
    with pytest.raises(MailNotTaken, match="ConnectionRefusedError"):
        await mailer(MailServer(folder)).send(mail())


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"smtp_password": "wrong"}, id="another password"),
        pytest.param({"smtp_ca_file": None}, id="a certificate that is not trusted"),
        pytest.param({"smtp_security": "none"}, id="no encryption"),
        pytest.param({"smtp_security": "tls"}, id="the other kind of encryption"),
    ],
)
async def test_what_an_operator_can_mend_is_tried_again(folder: Path, changed: dict[str, Any]) -> None:
    with MailServer(folder) as server:
        with pytest.raises(MailNotTaken) as caught:
            await mailer(server, **changed).send(mail(f"{uuid.uuid4().hex}@example.com"))
        assert "example.com" not in str(caught.value)
        assert "wrong" not in str(caught.value)
        with pytest.raises(MailNotTaken):
            await mailer(server, **changed).ping()
        assert server.envelopes == []
        await mailer(server).ping()
        await mailer(server).send(mail())


def test_without_a_server_there_is_no_mailer() -> None:
    with pytest.raises(ValueError, match="not set up"):
        SmtpMailer(load_settings(GOOD), SetClock())
