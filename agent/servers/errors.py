"""Why a step of an operation failed."""

from __future__ import annotations


class StepFailed(Exception):
    """A step cannot be done. `code` is stable, the text is a sentence with the figures; `output` are the last lines."""

    def __init__(self, code: str, reason: str, *, output: tuple[str, ...] = (), retryable: bool = False) -> None:
        super().__init__(reason)
        self.code, self.reason, self.output, self.retryable = code, reason, output, retryable
