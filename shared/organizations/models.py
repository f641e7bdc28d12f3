"""What an organization consists of.

The roster is the small document that every change of membership replaces by its ETag in the same batch. So the rules
about the whole (there is always an owner, members and invitations stay within the limit, a role's name is unique) are
decided on one consistent picture, however many people act at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.identity.access import Grant
from shared.identity.models import User
from shared.identity.permissions import Permission, Role
from shared.platform.clock import Timestamp
from shared.platform.ids import InvitationId, MemberId, OrgId, RoleId, UserId
from shared.store.documents import Document
from shared.store.unscoped import DirectoryEntry

DEFAULT_MEMBER_LIMIT = 50
MAX_ROLES = 50
MAX_GRANTS = 50  # of one member


class Organization(Document):
    """The tenant itself. Its id is its partition key."""

    type: Literal["organization"] = "organization"
    name: str
    description: str = ""
    member_limit: int = DEFAULT_MEMBER_LIMIT
    invitations_open: bool = True
    deleted_at: Timestamp | None = None
    erase_at: Timestamp | None = None


class Pending(BaseModel):
    """An open invitation, as the roster counts it."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    id: InvitationId
    expires_at: Timestamp


class Roster(Document):
    """Who belongs: owners by name, the others by count, open invitations by the hash of their address."""

    type: Literal["roster"] = "roster"
    owners: tuple[UserId, ...] = ()
    members: int = 0
    by_role: dict[str, int] = Field(default_factory=dict)
    pending: dict[str, Pending] = Field(default_factory=dict)
    roles: dict[str, str] = Field(default_factory=dict)

    def open_invitations(self, now: datetime) -> dict[str, Pending]:
        """The invitations that still count; those past their time no longer do, swept or not."""
        return {key: entry for key, entry in self.pending.items() if now < entry.expires_at}


ROSTER_ID = "roster"


class Member(Document):
    """One person's membership. Its id follows from the person's, so nobody can be a member twice."""

    indexed: ClassVar[tuple[str, ...]] = ("role", "email")
    type: Literal["member"] = "member"
    user_id: UserId
    role: str = Role.VIEWER.value
    grants: tuple[Grant, ...] = ()
    joined_at: Timestamp
    invited_by: UserId | None = None
    email: str | None = None
    name: str | None = None


def member_id(user: UserId) -> MemberId:
    """The id of a person's membership, in every organization."""
    return MemberId(f"mem_{user.removeprefix('usr_')}")


class InvitationState(StrEnum):
    """How far an invitation has come."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


class MailState(StrEnum):
    """What has become of an invitation's mail."""

    NONE = "none"  # mail is not set up: whoever invited has the link
    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"  # the mail server refuses it for good


class Invitation(Document):
    """An invitation to an e-mail address."""

    indexed: ClassVar[tuple[str, ...]] = ("state", "email")
    type: Literal["invitation"] = "invitation"
    email: str
    role: str
    state: InvitationState = InvitationState.PENDING
    token_hash: str
    invited_by: UserId
    expires_at: Timestamp
    answered_by: UserId | None = None
    answered_at: Timestamp | None = None
    mail: MailState = MailState.NONE

    def open(self, now: datetime) -> bool:
        """Whether it can still be answered."""
        return self.state is InvitationState.PENDING and now < self.expires_at


def member_by(invitation: Invitation, user: User, now: datetime) -> Member:
    """The membership that an invitation gives."""
    return Member(
        id=member_id(user.user_id),
        org_id=invitation.org_id,
        user_id=user.user_id,
        role=invitation.role,
        joined_at=now,
        invited_by=invitation.invited_by,
        email=user.email,
        name=user.name,
    )


@dataclass(frozen=True, slots=True)
class Made:
    """A new invitation, and the secret of its link: the only time that it is to be had."""

    invitation: Invitation
    secret: str


@dataclass(frozen=True, slots=True)
class Offer:
    """An invitation as the invited person sees it."""

    invitation: Invitation
    organization: Organization


class CustomRole(Document):
    """A role of the organization's own making."""

    type: Literal["role"] = "role"
    name: str
    description: str = ""
    permissions: tuple[Permission, ...]

    @property
    def role_id(self) -> RoleId:
        """The id, typed."""
        return RoleId(self.id)


class InvitationToken(DirectoryEntry):
    """Which invitation a link belongs to; by the hash of the secret in the link."""

    type: Literal["invitation_token"] = "invitation_token"
    org_id: OrgId
    invitation_id: InvitationId


class Invited(BaseModel):
    """One open invitation of an address."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    org_id: OrgId
    invitation_id: InvitationId
    expires_at: Timestamp


class AddressInvitations(DirectoryEntry):
    """The open invitations of one e-mail address (by its hash), for a person who signs in with it."""

    type: Literal["address_invitations"] = "address_invitations"
    invitations: tuple[Invited, ...] = ()
