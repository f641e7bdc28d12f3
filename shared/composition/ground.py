"""What everything stands on: the store, secrets, and what passes on the wire between instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.composition import Services
    from shared.platform.mail import Mailer
    from shared.platform.secrets import Secrets
    from shared.store.client import Database
    from shared.store.scoped import Store
    from shared.store.unscoped import Directory


def database(s: Services) -> Database:
    """The one Cosmos client."""
    from shared.store.client import Database

    return Database(s.settings)


def store(s: Services) -> Store:
    """Documents of organizations."""
    from shared.store.cursors import Cursors
    from shared.store.scoped import Store

    return Store(s.database, s.clock, Cursors(s.settings.cursor_secret()))


def directory(s: Services) -> Directory:
    """What is looked up before the organization is known."""
    from shared.store.unscoped import Directory

    return Directory(s.database, s.clock)


def secrets(s: Services) -> Secrets:
    """Key Vault, or files of one machine."""
    from shared.platform.secrets import open_secrets

    return open_secrets(s.settings, s.clock)


def mailer(s: Services) -> Mailer:
    """The mail server; only where one is set."""
    from shared.platform.mail import SmtpMailer

    return SmtpMailer(s.settings, s.clock)
