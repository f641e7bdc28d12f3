"""The decisions about membership. Pure: a roster in, a roster (or a refusal) out."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from shared.identity.access import Access, Effect
from shared.identity.errors import CannotPassOn
from shared.identity.permissions import Permission, Role
from shared.organizations.errors import (
    InvitationExists,
    LastOwner,
    MemberLimit,
    NotOverThem,
    RoleInUse,
    RoleNameTaken,
    TooManyRoles,
)
from shared.organizations.models import MAX_ROLES, Pending, Roster
from shared.platform.ids import InvitationId, RoleId, UserId
from shared.platform.results import Denied

INVITATION_LIFE = timedelta(days=7)
DELETION_GRACE = timedelta(days=30)


def address_key(email: str) -> str:
    """What stands for an address in the roster: its hash, for the roster is read often and shown to nobody."""
    return hashlib.sha256(email.encode()).hexdigest()[:32]


def normal_address(email: str) -> str:
    """The address as we compare it: outer blanks gone, lower case. (RFC 5321 would allow a mailbox to differ by case;
    no provider lets it.)"""
    return email.strip().lower()


def with_invitation(
    roster: Roster, key: str, invitation: InvitationId, limit: int, now: datetime, life: timedelta = INVITATION_LIFE
) -> Roster:
    """The roster with one more open invitation; those past their time are dropped on the way.

    Raises:
        InvitationExists: the address has an open one.
        MemberLimit: members and open invitations together are at the limit.
    """
    still_open = roster.open_invitations(now)
    if key in still_open:
        raise InvitationExists(
            f"the address has an open invitation ({still_open[key].id})", invitation=still_open[key].id
        )
    taken = roster.members + len(still_open)
    if taken >= limit:
        reason = f"{roster.members} members and {len(still_open)} open invitations; {limit} are allowed"
        raise MemberLimit(reason, members=roster.members, invitations=len(still_open), limit=limit)
    return roster.having(pending={**still_open, key: Pending(id=invitation, expires_at=now + life)})


def without_invitation(roster: Roster, key: str, invitation: InvitationId) -> Roster:
    """The roster without that invitation (if the address has been invited anew since, the new one stays)."""
    found = roster.pending.get(key)
    if found is None or found.id != invitation:
        return roster
    return roster.having(pending={k: v for k, v in roster.pending.items() if k != key})


def with_member(roster: Roster, user: UserId, role: str) -> Roster:
    """The roster with one more member."""
    owners = (*roster.owners, user) if role == Role.OWNER else roster.owners
    return roster.having(owners=owners, members=roster.members + 1, by_role=_counted(roster, {role: 1}))


def without_member(roster: Roster, user: UserId, role: str) -> Roster:
    """The roster with one member less.

    Raises:
        LastOwner: nobody would own the organization.
    """
    owners = _owners_without(roster, user) if role == Role.OWNER else roster.owners
    return roster.having(owners=owners, members=roster.members - 1, by_role=_counted(roster, {role: -1}))


def with_role_changed(roster: Roster, user: UserId, before: str, after: str) -> Roster:
    """The roster after one member's change of role.

    Raises:
        LastOwner: nobody would own the organization.
    """
    if before == after:
        return roster
    owners = roster.owners
    if before == Role.OWNER:
        owners = _owners_without(roster, user)
    if after == Role.OWNER:
        owners = (*owners, user)
    return roster.having(owners=owners, by_role=_counted(roster, {before: -1, after: 1}))


def with_ownership_moved(roster: Roster, old: UserId, new: UserId, new_role_before: str) -> Roster:
    """The roster after an owner has handed over: the new one owns, the old one is an admin."""
    roster = with_role_changed(roster, new, new_role_before, Role.OWNER.value)
    return with_role_changed(roster, old, Role.OWNER.value, Role.ADMIN.value)


def with_role(roster: Roster, role: RoleId, name: str) -> Roster:
    """The roster with a new custom role, or an old one renamed.

    Raises:
        RoleNameTaken: another one, or a built-in one, is called so.
        TooManyRoles: there are 50.
    """
    wanted = name.casefold()
    others = {other.casefold() for id, other in roster.roles.items() if id != role}
    if wanted in others or wanted in {builtin.value for builtin in Role}:
        raise RoleNameTaken(f"there is a role called {name!r}")
    if role not in roster.roles and len(roster.roles) >= MAX_ROLES:
        raise TooManyRoles(f"an organization has at most {MAX_ROLES} roles of its own", limit=MAX_ROLES)
    return roster.having(roles={**roster.roles, role: name})


def without_role(roster: Roster, role: RoleId) -> Roster:
    """The roster without a custom role.

    Raises:
        RoleInUse: members have it.
    """
    holders = roster.by_role.get(role, 0)
    if holders:
        raise RoleInUse(f"{holders} members have the role", members=holders)
    return roster.having(roles={id: name for id, name in roster.roles.items() if id != role})


def check_may_assign(actor: Access, permissions: frozenset[Permission], now: datetime) -> None:
    """Return if the actor may give a role with these permissions: holding each of them, everywhere and for good.

    Raises:
        CannotPassOn: one is lacking; the reason names it.
    """
    allowed = actor.may_pass_on_all(permissions, now)
    if isinstance(allowed, Denied):
        raise CannotPassOn(allowed.reason)


def check_may_change(actor: Access, actor_user: UserId, target: Access, target_user: UserId, now: datetime) -> None:
    """Return if the actor may change the target's role and grants: never one's own, never those of one who has more.

    Raises:
        NotOverThem: it is the actor, or one who holds what the actor lacks.
    """
    if actor_user == target_user:
        raise NotOverThem("nobody changes their own rights; another member with the permission can")
    held = [(permission, None, None) for permission in sorted(target.base)]
    granted = [
        (g.permission, g.resource, g.expires_at) for g in target.grants if g.effect is Effect.ALLOW and g.live(now)
    ]
    more = [each[0].value for each in (*held, *granted) if isinstance(actor.may_pass_on(*each, now), Denied)]
    if more:
        raise NotOverThem(f"the member holds what you lack: {', '.join(more[:5])}")


def _owners_without(roster: Roster, user: UserId) -> tuple[UserId, ...]:
    rest = tuple(owner for owner in roster.owners if owner != user)
    if not rest:
        raise LastOwner("the organization would have no owner; make another member an owner first", owners=1)
    return rest


def _counted(roster: Roster, changes: dict[str, int]) -> dict[str, int]:
    counts = dict(roster.by_role)
    for role, change in changes.items():
        counts[role] = counts.get(role, 0) + change
    return {role: count for role, count in counts.items() if count > 0}
