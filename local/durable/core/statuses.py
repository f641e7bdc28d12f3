"""The states of an instance, with DurableTask's numbers (`OrchestrationStatus`) and the API's names."""

from __future__ import annotations

from typing import Final

RUNNING: Final = 0
COMPLETED: Final = 1
CONTINUED_AS_NEW: Final = 2
FAILED: Final = 3
CANCELED: Final = 4
TERMINATED: Final = 5
PENDING: Final = 6
SUSPENDED: Final = 7

NAMES: Final = {
    RUNNING: "Running",
    COMPLETED: "Completed",
    CONTINUED_AS_NEW: "ContinuedAsNew",
    FAILED: "Failed",
    CANCELED: "Canceled",
    TERMINATED: "Terminated",
    PENDING: "Pending",
    SUSPENDED: "Suspended",
}
BY_NAME: Final = {name.lower(): number for number, name in NAMES.items()}
FINISHED: Final = frozenset({COMPLETED, FAILED, CANCELED, TERMINATED})
