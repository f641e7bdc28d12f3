"""People, organizations, who may what, and the trail of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.audit.service import Audit
    from shared.composition import Services
    from shared.identity.service import Identity
    from shared.identity.users import Users
    from shared.organizations.access import AccessReader
    from shared.organizations.erasure import Erasure
    from shared.organizations.invitations import Invitations
    from shared.organizations.mails import InvitationLinks, InvitationMails
    from shared.organizations.members import Members
    from shared.organizations.roles import Roles
    from shared.organizations.service import Organizations


def audit(s: Services) -> Audit:
    """Who did what."""
    from shared.audit.service import Audit

    return Audit(s.store, s.clock, s.ids)


def users(s: Services) -> Users:
    """The people that have ever signed in."""
    from shared.identity.users import Users

    return Users(s.directory, s.clock, s.ids)


def identity(s: Services) -> Identity:
    """Tokens, sessions, API keys, permissions."""
    from shared.identity.service import Identity

    return Identity(s)


def memberships(s: Services) -> AccessReader:
    """What a person may do in an organization."""
    from shared.organizations.access import AccessReader

    return AccessReader(s.store, s.clock)


def organizations(s: Services) -> Organizations:
    """The tenants."""
    from shared.organizations.service import Organizations

    return Organizations(s.store, s.users, s.memberships, s.audit, s.clock)


def erasure(s: Services) -> Erasure:
    """The end of organizations whose grace is over."""
    from shared.organizations.erasure import Erasure

    return Erasure(s.store, s.users, s.identity.api_keys, s.nodes, s.memberships, s.clock)


def roles(s: Services) -> Roles:
    """Roles of an organization's own making."""
    from shared.organizations.roles import Roles

    return Roles(s.store, s.memberships, s.audit, s.clock)


def members(s: Services) -> Members:
    """Who belongs to an organization."""
    from shared.organizations.members import Members

    return Members(s.store, s.users, s.memberships, s.roles, s.audit, s.clock)


def invitations(s: Services) -> Invitations:
    """Invitations to organizations."""
    from shared.organizations.index import InvitationIndex
    from shared.organizations.invitations import Invitations

    parts = (s.users, s.memberships, s.roles, s.audit, s.clock)
    return Invitations(s.store, InvitationIndex(s.directory, s.clock), s.invitation_links, *parts)


def invitation_links(s: Services) -> InvitationLinks:
    """The secrets of invitations' links."""
    from shared.organizations.mails import InvitationLinks

    return InvitationLinks(s.secrets)


def invitation_mails(s: Services) -> InvitationMails:
    """The mails of invitations; only where a mail server is set."""
    from shared.organizations.mails import InvitationMails

    return InvitationMails(s.store, s.invitation_links, s.mailer, s.settings.invitation_url or "", s.clock)
