"""What identity keeps: people and their sign-ins in the directory, API keys with their organization."""

from __future__ import annotations

import ipaddress
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.identity.permissions import Permission
from shared.platform.clock import Timestamp
from shared.platform.ids import ApiKeyId, OrgId, UserId
from shared.store.documents import Document
from shared.store.unscoped import DirectoryEntry

MAX_ORGANIZATIONS = 50  # of one person; each is an entry in one small document


class IdentityLink(DirectoryEntry):
    """Which of our users a (issuer, subject) is. Its creation decides who of two first sign-ins at once makes the user."""

    type: Literal["identity_link"] = "identity_link"
    user_id: UserId


class Membership(BaseModel):
    """An organization that a person may be a member of. A hint for lists: the member document is the truth."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    org_id: OrgId
    since: Timestamp


class User(DirectoryEntry):
    """A person, made at the first exchange."""

    type: Literal["user"] = "user"
    issuer: str
    subject: str
    email: str | None = None
    email_verified: bool = False
    name: str | None = None
    memberships: tuple[Membership, ...] = ()
    preferred_org: OrgId | None = None
    last_seen_on: str | None = None
    deleted_at: Timestamp | None = None

    @property
    def user_id(self) -> UserId:
        """The id, typed."""
        return UserId(self.id)

    @property
    def verified_email(self) -> str | None:
        """The address, if the site has verified that it is theirs."""
        return self.email if self.email_verified else None


class RevokedSession(DirectoryEntry):
    """A sign-in session that has ended: its tokens are refused."""

    type: Literal["revoked_session"] = "revoked_session"
    reason: str


class RefreshFamily(DirectoryEntry):
    """The chain of refresh tokens that grew from one sign-in: one current, the used ones remembered."""

    type: Literal["refresh_family"] = "refresh_family"
    user_id: UserId
    org_id: OrgId | None
    client: str
    session: str
    authenticated_at: Timestamp
    ends_at: Timestamp
    current: str
    used: tuple[str, ...] = ()
    revoked_reason: str | None = None


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address or network") from None


Network = Annotated[str, Field(max_length=50), AfterValidator(_network)]


class ApiKeyIndex(DirectoryEntry):
    """Which organization's key has this hash."""

    type: Literal["api_key_index"] = "api_key_index"
    org_id: OrgId
    key_id: ApiKeyId


class ApiKey(Document):
    """A key for automation. It can do what its scopes say and its maker still may, whichever is less."""

    indexed: ClassVar[tuple[str, ...]] = ("revoked_at",)
    type: Literal["api_key"] = "api_key"
    name: str
    prefix: str
    hash: str
    scopes: tuple[Permission, ...]
    expires_at: Timestamp | None = None
    networks: tuple[Network, ...] = ()
    made_by: UserId
    revoked_at: Timestamp | None = None

    def live(self, now: datetime) -> bool:
        """Whether it opens anything."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def allows_address(self, address: str) -> bool:
        """Whether a call may come from there; an address that cannot be read never may if a list is set."""
        if not self.networks:
            return True
        try:
            caller = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(caller, ipaddress.IPv6Address) and caller.ipv4_mapped is not None:
            caller = (
                caller.ipv4_mapped
            )  # a front that listens on both families writes 203.0.113.7 as ::ffff:203.0.113.7
        return any(caller in ipaddress.ip_network(network) for network in self.networks)


class ApiKeyUse(Document):
    """When and from where a key was last used. Apart from the key, so that a use never fights with an edit."""

    indexed: ClassVar[tuple[str, ...]] = ("key_id",)
    type: Literal["api_key_use"] = "api_key_use"
    key_id: ApiKeyId
    used_at: Timestamp
    address: str
