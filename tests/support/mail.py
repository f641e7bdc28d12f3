"""A mail server on a real socket (aiosmtpd), which keeps what it takes and can be told to refuse."""

from __future__ import annotations

import time
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from local.servicebus.tls import ensure_certificates
from tests.support.processes import free_port

USER, PASSWORD = "console", "correct horse"


class MailServer:
    """Takes mail for anybody, with STARTTLS from the one user alone; `answer` is what it says to a recipient or, with
    `to_data`, to the text."""

    def __init__(self, folder: Path, *, security: str = "starttls", port: int | None = None) -> None:
        self.port = port or free_port()
        self.security = security
        self._ca, context = ensure_certificates(folder, ["127.0.0.1"])
        self.answer, self.to_data = "250 OK", False
        self.envelopes: list[Envelope] = []
        self.attempts = 0
        self._context = context
        self._controller: Controller | None = None

    def settings(self) -> dict[str, Any]:
        """What the program needs to know, by field name."""
        found: dict[str, Any] = {
            "smtp_host": "127.0.0.1",
            "smtp_port": self.port,
            "smtp_security": self.security,
            "smtp_from": "Meridian <console@meridian.example>",
            "invitation_url": "https://panel.example/?invitation={token}",
        }
        if self.security != "none":
            found["smtp_ca_file"] = str(self._ca)
        if self.security == "starttls":
            found |= {"smtp_user": USER, "smtp_password": PASSWORD}
        return found

    def mails(self, to: str | None = None) -> list[EmailMessage]:
        """What was taken, oldest first; for one address if one is named."""
        return [
            message
            for envelope in self.envelopes
            for message in [_read(envelope)]
            if to is None or to in envelope.rcpt_tos
        ]

    def wait_for(self, to: str, *, count: int = 1, seconds: float = 60) -> list[EmailMessage]:
        """The mails to an address, once there are that many."""
        deadline = time.monotonic() + seconds
        while len(self.mails(to)) < count:
            assert time.monotonic() < deadline, f"no mail to {to} within {seconds} s"
            time.sleep(0.05)
        return self.mails(to)

    async def handle_RCPT(self, _s: SMTP, _: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        self.attempts += 1
        if not self.to_data and not self.answer.startswith("250"):
            return self.answer
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, _s: SMTP, _: Session, envelope: Envelope) -> str:
        if not self.answer.startswith("250"):
            return self.answer
        self.envelopes.append(envelope)
        return "250 taken"

    def __enter__(self) -> Self:
        options: dict[str, Any] = {"enable_SMTPUTF8": True}
        if self.security == "tls":
            options["ssl_context"] = self._context
        elif self.security == "starttls":
            options |= {"tls_context": self._context, "require_starttls": True}
            options |= {"authenticator": _authenticate, "auth_required": True}
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._controller is not None:
            self._controller.stop()


def _read(envelope: Envelope) -> EmailMessage:
    assert isinstance(envelope.original_content, bytes)
    message = message_from_bytes(envelope.original_content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def _authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=good, handled=False)
