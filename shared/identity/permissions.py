"""Every permission there is, and the roles that hold them.

`Permission` is the only list of permissions: routes declare them, roles and grants are made of them, and the table in
docs/reference/permissions.md is written from this module. A permission that is not here cannot be asked for, and one
that no route asks for is found by a test.
"""

from __future__ import annotations

from enum import StrEnum


class Permission(StrEnum):
    """`<resource>.<action>`. A value is stored in roles, grants and API keys: never rename one, never reuse one."""

    ORG_READ = "org.read"
    ORG_UPDATE = "org.update"
    ORG_DELETE = "org.delete"
    ORG_TRANSFER = "org.transfer"
    MEMBERS_READ = "members.read"
    MEMBERS_INVITE = "members.invite"
    MEMBERS_UPDATE = "members.update"
    MEMBERS_REMOVE = "members.remove"
    ROLES_READ = "roles.read"
    ROLES_MANAGE = "roles.manage"
    GRANTS_READ = "grants.read"
    GRANTS_MANAGE = "grants.manage"
    API_KEYS_READ = "api_keys.read"
    API_KEYS_MANAGE = "api_keys.manage"
    AUDIT_READ = "audit.read"
    AUDIT_EXPORT = "audit.export"
    BILLING_READ = "billing.read"
    BILLING_MANAGE = "billing.manage"

    NODES_READ = "nodes.read"
    NODES_UPDATE = "nodes.update"
    NODES_MAINTAIN = "nodes.maintain"
    NODES_DECOMMISSION = "nodes.decommission"
    NODES_COMMANDS = "nodes.commands"
    ENROLMENT_READ = "enrolment.read"
    ENROLMENT_MANAGE = "enrolment.manage"

    TEMPLATES_READ = "templates.read"
    TEMPLATES_CREATE = "templates.create"
    TEMPLATES_UPDATE = "templates.update"
    TEMPLATES_DELETE = "templates.delete"
    TEMPLATES_SCRIPTS = "templates.scripts"

    SERVERS_READ = "servers.read"
    SERVERS_CREATE = "servers.create"
    SERVERS_UPDATE = "servers.update"
    SERVERS_DELETE = "servers.delete"
    SERVERS_START = "servers.start"
    SERVERS_STOP = "servers.stop"
    SERVERS_RESTART = "servers.restart"
    SERVERS_KILL = "servers.kill"
    SERVERS_REINSTALL = "servers.reinstall"
    SERVERS_SUSPEND = "servers.suspend"
    SERVERS_MOVE = "servers.move"
    SERVERS_SECRETS = "servers.secrets"
    PLACEMENTS_SIMULATE = "placements.simulate"
    TASKS_READ = "tasks.read"
    TASKS_CANCEL = "tasks.cancel"
    TASKS_RETRY = "tasks.retry"
    CONSOLE_READ = "console.read"
    CONSOLE_WRITE = "console.write"
    METRICS_READ = "metrics.read"

    FILES_READ = "files.read"
    FILES_WRITE = "files.write"
    FILES_DELETE = "files.delete"
    MODS_READ = "mods.read"
    MODS_MANAGE = "mods.manage"
    BACKUPS_READ = "backups.read"
    BACKUPS_CREATE = "backups.create"
    BACKUPS_RESTORE = "backups.restore"
    BACKUPS_DELETE = "backups.delete"
    SCHEDULES_READ = "schedules.read"
    SCHEDULES_MANAGE = "schedules.manage"
    NOTIFICATIONS_READ = "notifications.read"
    NOTIFICATIONS_MANAGE = "notifications.manage"
    WEBHOOKS_READ = "webhooks.read"
    WEBHOOKS_MANAGE = "webhooks.manage"


class Role(StrEnum):
    """The built-in roles. Custom roles are documents of an organization (`rol_...`)."""

    OWNER = "owner"
    ADMIN = "admin"
    OPERATOR = "operator"
    BILLING = "billing"
    VIEWER = "viewer"


P = Permission

# What only owners do: end the organization, hand it over, and spend its money.
_OWNERS_ALONE = frozenset({P.ORG_DELETE, P.ORG_TRANSFER, P.BILLING_MANAGE})

_VIEWER = frozenset(
    {
        P.ORG_READ,
        P.MEMBERS_READ,
        P.ROLES_READ,
        P.NODES_READ,
        P.TEMPLATES_READ,
        P.SERVERS_READ,
        P.TASKS_READ,
        P.CONSOLE_READ,
        P.METRICS_READ,
        P.FILES_READ,
        P.MODS_READ,
        P.BACKUPS_READ,
        P.SCHEDULES_READ,
        P.NOTIFICATIONS_READ,
    }
)

_OPERATOR = _VIEWER | {
    P.NODES_MAINTAIN,
    P.SERVERS_CREATE,
    P.SERVERS_UPDATE,
    P.SERVERS_START,
    P.SERVERS_STOP,
    P.SERVERS_RESTART,
    P.SERVERS_KILL,
    P.SERVERS_REINSTALL,
    P.SERVERS_MOVE,
    P.PLACEMENTS_SIMULATE,
    P.TASKS_CANCEL,
    P.TASKS_RETRY,
    P.CONSOLE_WRITE,
    P.FILES_WRITE,
    P.FILES_DELETE,
    P.MODS_MANAGE,
    P.BACKUPS_CREATE,
    P.BACKUPS_RESTORE,
    P.SCHEDULES_MANAGE,
}

ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.OWNER: frozenset(Permission),
    Role.ADMIN: frozenset(Permission) - _OWNERS_ALONE,
    Role.OPERATOR: _OPERATOR,
    Role.BILLING: frozenset({P.ORG_READ, P.MEMBERS_READ, P.ROLES_READ, P.BILLING_READ, P.BILLING_MANAGE}),
    Role.VIEWER: _VIEWER,
}

DESCRIPTIONS: dict[Permission, str] = {
    P.ORG_READ: "See the organization.",
    P.ORG_UPDATE: "Change the organization's name and settings.",
    P.ORG_DELETE: "Delete the organization, and take a deletion back.",
    P.ORG_TRANSFER: "Hand the organization over to another member.",
    P.MEMBERS_READ: "See members and invitations.",
    P.MEMBERS_INVITE: "Invite people, and withdraw invitations.",
    P.MEMBERS_UPDATE: "Give members other roles.",
    P.MEMBERS_REMOVE: "Remove members.",
    P.ROLES_READ: "See the organization's roles and all permissions.",
    P.ROLES_MANAGE: "Make, change and delete the organization's own roles.",
    P.GRANTS_READ: "See what members are granted and denied beside their role.",
    P.GRANTS_MANAGE: "Grant and deny single permissions to members.",
    P.API_KEYS_READ: "See API keys (never their secrets).",
    P.API_KEYS_MANAGE: "Make and revoke API keys.",
    P.AUDIT_READ: "Read the audit trail.",
    P.AUDIT_EXPORT: "Export the audit trail.",
    P.BILLING_READ: "See plan, usage and invoices.",
    P.BILLING_MANAGE: "Change the plan and the means of payment.",
    P.NODES_READ: "See nodes, their capacity and health.",
    P.NODES_UPDATE: "Rename and tag nodes.",
    P.NODES_MAINTAIN: "Put nodes into maintenance, drain them, and take them back.",
    P.NODES_DECOMMISSION: "Decommission nodes and revoke their certificates.",
    P.NODES_COMMANDS: "See what waits for nodes, retry it or drop it.",
    P.ENROLMENT_READ: "See enrolment tokens (never their secrets).",
    P.ENROLMENT_MANAGE: "Make and revoke enrolment tokens.",
    P.TEMPLATES_READ: "See templates.",
    P.TEMPLATES_CREATE: "Make and import templates.",
    P.TEMPLATES_UPDATE: "Change templates.",
    P.TEMPLATES_DELETE: "Delete templates.",
    P.TEMPLATES_SCRIPTS: "Make templates that run install scripts in containers, on nodes that allow their images.",
    P.SERVERS_READ: "See servers and their state.",
    P.SERVERS_CREATE: "Create servers.",
    P.SERVERS_UPDATE: "Change servers.",
    P.SERVERS_DELETE: "Delete servers.",
    P.SERVERS_START: "Start servers.",
    P.SERVERS_STOP: "Stop servers.",
    P.SERVERS_RESTART: "Restart servers.",
    P.SERVERS_KILL: "Kill servers that do not stop.",
    P.SERVERS_REINSTALL: "Install servers anew.",
    P.SERVERS_SUSPEND: "Suspend servers and resume them.",
    P.SERVERS_MOVE: "Move servers to other nodes.",
    P.SERVERS_SECRETS: "See secret variables of servers.",
    P.PLACEMENTS_SIMULATE: "Ask where a server would be placed, and why not elsewhere.",
    P.TASKS_READ: "See tasks and their steps.",
    P.TASKS_CANCEL: "Cancel tasks.",
    P.TASKS_RETRY: "Retry failed tasks.",
    P.CONSOLE_READ: "Read consoles.",
    P.CONSOLE_WRITE: "Send console commands.",
    P.METRICS_READ: "See figures and their history.",
    P.FILES_READ: "Read files of servers.",
    P.FILES_WRITE: "Write files of servers.",
    P.FILES_DELETE: "Delete files of servers.",
    P.MODS_READ: "See mods.",
    P.MODS_MANAGE: "Install, update and remove mods.",
    P.BACKUPS_READ: "See backups.",
    P.BACKUPS_CREATE: "Make backups.",
    P.BACKUPS_RESTORE: "Restore backups.",
    P.BACKUPS_DELETE: "Delete backups.",
    P.SCHEDULES_READ: "See schedules.",
    P.SCHEDULES_MANAGE: "Make, change and delete schedules.",
    P.NOTIFICATIONS_READ: "See notifications and their channels.",
    P.NOTIFICATIONS_MANAGE: "Change channels and rules of notifications.",
    P.WEBHOOKS_READ: "See webhooks (never their secrets).",
    P.WEBHOOKS_MANAGE: "Make, change and delete webhooks.",
}


def table() -> str:
    """The page docs/reference/permissions.md."""
    from shared.identity.access import limit_of

    roles = list(Role)
    lines = [
        "# Who may what",
        "",
        "Written from `shared/identity/permissions.py` by `python -m shared.identity.permissions`; a test compares the two.",
        "",
        "A member has one role: a built-in one, or one that the organization has made of the permissions below. A grant",
        "adds a single permission to one member, a deny takes one away; either may be limited to a time, and to one thing of",
        "the kind that the table names. Lists, and actions on many things, then leave the others out. A deny beats every grant and every role. Nobody gives what they lack, and nobody changes",
        "the rights of a member who holds more than they do. An API key can do what its scopes say and its maker still may,",
        "whichever is less; no key may delete or hand over the organization, or make keys.",
        "",
        f"| permission | lets one | can be limited to one | {' | '.join(roles)} |",
        f"|---|---|---|{'|'.join(':-:' for _ in roles)}|",
    ]
    for permission, text in DESCRIPTIONS.items():
        marks = ("yes" if permission in ROLE_PERMISSIONS[role] else "" for role in roles)
        lines.append(f"| `{permission}` | {text} | {limit_of(permission) or ''} | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(table())
