"""Sending mail: one port, and SMTP behind it (a server of one's own, or Azure Communication Services, which speaks it too).

No address and no text of a mail stands in an error: errors are logged, and kept in the history of a flow.
"""

from __future__ import annotations

import asyncio
import re
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from shared.platform.clock import Clock
    from shared.platform.settings import Settings

TIMEOUT_SECONDS: Final = 20.0
#: One bare address: nothing that a header could read as two, as a name or as a comment (RFC 5322, 3.4).
_ONE_ADDRESS: Final = re.compile(r"^[^\s@<>()\[\]\\,;:\"]{1,64}@[^\s@<>()\[\]\\,;:\"]{1,255}$")


class MailNotTaken(Exception):
    """The mail was not taken this time; the same mail may be later."""


class MailRefused(Exception):
    """The mail will never be taken: there is no such address, or the server does not want what it says."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to one address.

    `key` names it: a mail that is sent again after a crash has the same Message-ID, by which mailboxes know it again.
    """

    key: str
    to: str
    subject: str
    text: str


class Mailer(Protocol):
    """Sends mails."""

    async def send(self, mail: Mail) -> None:
        """Hand it to the mail server; returns when the server has taken charge of it.

        Raises:
            MailNotTaken: not this time.
            MailRefused: never.
        """

    async def ping(self) -> None:
        """Return if the server would take mail from us.

        Raises:
            MailNotTaken: it would not.
        """


class SmtpMailer:
    """Implements `Mailer` over SMTP (RFC 5321) with submission's habits (RFC 6409): TLS, then the user's name."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        if settings.smtp_host is None or settings.smtp_from is None:
            raise ValueError("mail is not set up")
        self._host, self._from, self._settings, self._clock = settings.smtp_host, settings.smtp_from, settings, clock

    async def send(self, mail: Mail) -> None:
        """See `Mailer.send`. A thread waits for the server, so that nothing else does."""
        await asyncio.to_thread(self._deliver, mail, self._message(mail))

    async def ping(self) -> None:
        """See `Mailer.ping`: connects and signs in."""
        await asyncio.to_thread(lambda: self._reached().close())

    def _message(self, mail: Mail) -> EmailMessage:
        if not _ONE_ADDRESS.match(mail.to):
            raise MailRefused("the address is none that a mail can have")
        message = EmailMessage(policy=SMTP if mail.to.isascii() else SMTPUTF8)
        message["To"] = mail.to
        message["Subject"] = " ".join(mail.subject.split())  # a line break would begin a header of its own
        message["From"] = self._from
        message["Date"] = format_datetime(self._clock.now())
        message["Message-ID"] = f"<{mail.key}@{self._from.rpartition('@')[2].rstrip('>')}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answer of an absent person comes back
        message.set_content(mail.text)
        return message

    def _deliver(self, mail: Mail, message: EmailMessage) -> None:
        server = self._reached()
        try:
            server.send_message(message, self._from, [mail.to])
        except smtplib.SMTPRecipientsRefused as error:
            ((code, _),) = error.recipients.values()
            raise _refusal(code) from None
        except smtplib.SMTPResponseException as error:
            raise _refusal(error.smtp_code) from None
        except smtplib.SMTPNotSupportedError:
            raise MailRefused("the mail server does not take addresses beyond ASCII") from None
        except (OSError, smtplib.SMTPException) as error:
            raise MailNotTaken(f"the mail server broke off: {_said(error)}") from None
        finally:
            server.close()

    def _reached(self) -> smtplib.SMTP:
        try:
            return self._connected()
        except (OSError, smtplib.SMTPException) as error:
            raise MailNotTaken(f"the mail server is not to be had: {_said(error)}") from None

    def _connected(self) -> smtplib.SMTP:
        settings = self._settings
        tls = ssl.create_default_context(cafile=settings.smtp_ca_file) if settings.smtp_security != "none" else None
        server: smtplib.SMTP
        if settings.smtp_security == "tls":
            server = smtplib.SMTP_SSL(self._host, settings.smtp_port, timeout=TIMEOUT_SECONDS, context=tls)
        else:
            server = smtplib.SMTP(self._host, settings.smtp_port, timeout=TIMEOUT_SECONDS)
        try:
            if settings.smtp_security == "starttls":
                server.starttls(context=tls)
            if settings.smtp_user is not None:
                password = settings.smtp_password.get_secret_value() if settings.smtp_password else ""
                server.login(settings.smtp_user, password)
        except BaseException:
            server.close()
            raise
        return server


def _refusal(code: int) -> Exception:
    said = f"the mail server answered {code}"
    return MailRefused(said) if code >= 500 else MailNotTaken(said)


def _said(error: Exception) -> str:
    code = getattr(error, "smtp_code", None) or getattr(error, "errno", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__
