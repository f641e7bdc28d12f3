"""The flows, one file each: the orchestrator first, its activities below it.

A module here has `blueprint = df.Blueprint()` (or `func.Blueprint()`). Its name stands in `MODULES`.
"""

from typing import Final

MODULES: Final[tuple[str, ...]] = (
    "orchestrations.node_reports",
    "orchestrations.node_command",
    "orchestrations.fleet_sweep",
    "orchestrations.server_flows",
    "orchestrations.reconcile_server",
    "orchestrations.task_sweep",
    "orchestrations.erase_organization",
    "orchestrations.signing_keys",
    "orchestrations.mail_invitation",
)
