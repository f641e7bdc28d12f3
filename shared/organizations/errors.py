"""Refusals about organizations and who belongs to them."""

from __future__ import annotations

from shared.platform.errors import Conflict, Fault, Forbidden, Gone, Kind, NotFound, QuotaExceeded, RateLimited


class MemberNotFound(NotFound):
    """There is no such member here."""

    code, title = "member_not_found", "There is no such member"


class MemberChanged(Fault):
    """The member is not any more as the caller read them. (Not tried again, unlike a conflict about the roster.)"""

    kind, code, title = Kind.PRECONDITION_FAILED, "member_changed", "The member was changed in the meantime"


class InvitationNotFound(NotFound):
    """There is no such invitation, or it is not yours."""

    code, title = "invitation_not_found", "There is no such invitation"


class TooManyMails(RateLimited):
    """The address was mailed by this organization as often as it may be in a day."""

    code, title = "too_many_invitation_mails", "Too many mails to this address"


class InvitationClosed(Gone):
    """The invitation was answered, withdrawn, or is too old."""

    code, title = "invitation_closed", "The invitation is no longer open"


class InvitationExists(Conflict):
    """The address has an open invitation already."""

    code, title = "invitation_exists", "The address is invited already"


class InvitationsClosed(Conflict):
    """The organization takes no invitations at the moment."""

    code, title = "invitations_disabled", "Invitations are switched off"


class AlreadyMember(Conflict):
    """The person is a member already."""

    code, title = "already_member", "Already a member"


class MemberLimit(QuotaExceeded):
    """Members and open invitations together have reached the limit."""

    code, title = "member_limit_reached", "The organization is full"


class LastOwner(Conflict):
    """An organization always has an owner."""

    code, title = "last_owner", "The last owner stays"


class RoleNotFound(NotFound):
    """There is no such role here."""

    code, title = "role_not_found", "There is no such role"


class RoleInUse(Conflict):
    """Members still have the role."""

    code, title = "role_in_use", "The role is in use"


class RoleNameTaken(Conflict):
    """Another role, or a built-in one, has this name."""

    code, title = "role_name_taken", "The name is taken"


class TooManyRoles(QuotaExceeded):
    """The organization has as many roles as it may have."""

    code, title = "too_many_roles", "Too many roles"


class GrantNotFound(NotFound):
    """The member has no such grant."""

    code, title = "grant_not_found", "There is no such grant"


class TooManyGrants(QuotaExceeded):
    """The member has as many grants as one may have."""

    code, title = "too_many_grants", "Too many grants"


class NotOverThem(Forbidden):
    """Nobody changes the rights of one who has more, or their own."""

    code, title = "member_outranks_you", "You may not change this member"


class OrganizationDeleted(Gone):
    """The organization was deleted; its owners can restore it within the grace."""

    code, title = "organization_deleted", "The organization was deleted"


class NotDeleted(Conflict):
    """There is nothing to restore."""

    code, title = "organization_not_deleted", "The organization is not deleted"


class RoleChanged(Fault):
    """The role is not any more as the caller read it."""

    kind, code, title = Kind.PRECONDITION_FAILED, "role_changed", "The role was changed in the meantime"
