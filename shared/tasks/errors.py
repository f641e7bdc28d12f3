"""Refusals about tasks."""

from __future__ import annotations

from shared.platform.errors import Fault, Kind


class TaskOver(Fault):
    """It has ended: there is nothing to cancel."""

    kind, code, title = Kind.CONFLICT, "task_over", "The task has ended"


class TaskNotRetryable(Fault):
    """It has not failed, or something newer has been asked since."""

    kind, code, title = Kind.CONFLICT, "task_not_retryable", "The task cannot be retried"
