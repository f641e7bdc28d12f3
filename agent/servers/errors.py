"""Why a step of an operation failed."""

from __future__ import annotations

from shared.messaging.server_messages import TakenPort


class StepFailed(Exception):
    """A step cannot be done. `code` is stable, the text is a sentence with the figures; `output` are the last lines.

    `taken` are the ports of a `port_taken`.
    """

    def __init__(
        self,
        code: str,
        reason: str,
        *,
        output: tuple[str, ...] = (),
        retryable: bool = False,
        taken: tuple[TakenPort, ...] = (),
    ) -> None:
        super().__init__(reason)
        self.code, self.reason, self.output, self.retryable, self.taken = code, reason, output, retryable, taken
