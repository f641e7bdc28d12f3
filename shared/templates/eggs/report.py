"""What became of each part of an egg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["changed", "dropped", "needed"]


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that is not as it was. `needed` must be completed by hand before a server can be made of it."""

    part: str
    verdict: Verdict
    reason: str


class Report:
    """Notes, in the order in which they were found, none twice."""

    def __init__(self) -> None:
        self.notes: list[Note] = []

    def add(self, part: str, verdict: Verdict, reason: str) -> None:
        """Write something down."""
        note = Note(_printable(part)[:200], verdict, _printable(reason)[:500])
        if note not in self.notes:
            self.notes.append(note)

    def changed(self, part: str, reason: str) -> None:
        """It was carried over in another form."""
        self.add(part, "changed", reason)

    def dropped(self, part: str, reason: str) -> None:
        """It was not carried over."""
        self.add(part, "dropped", reason)

    def needed(self, part: str, reason: str) -> None:
        """A person must complete it."""
        self.add(part, "needed", reason)


def _printable(text: str) -> str:
    """Text of a file as it can be stored and shown: lone surrogates and control characters are told by their numbers."""
    return "".join(char if char.isprintable() else f"<{ord(char):x}>" if char not in "\n\t" else " " for char in text)
