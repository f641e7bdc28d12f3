"""How nodes with room are chosen between. Apart from what placement looks at: a door's models name it."""

from __future__ import annotations

from enum import StrEnum


class Strategy(StrEnum):
    """`PACKED` fills the fullest node that still has room; `SPREAD` takes the emptiest."""

    PACKED = "packed"
    SPREAD = "spread"
