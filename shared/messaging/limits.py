"""Sizes and times both sides hold each other to."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

#: Bumped when an older agent could misread a message. The control plane serves this one and the one before.
PROTOCOL_VERSION: Final = 1

# A Service Bus message holds 256 KB, properties included; base64 makes 4 bytes of 3.
MAX_PAYLOAD_BYTES: Final = 128 * 1024
MAX_ENVELOPE_BYTES: Final = 192 * 1024
MAX_DEPTH: Final = 32
MAX_ID_LENGTH: Final = 64
MAX_TEXT_LENGTH: Final = 64 * 1024

DEFAULT_COMMAND_LIFE: Final = timedelta(minutes=15)
MAX_COMMAND_LIFE: Final = timedelta(days=7)
#: What two clocks may differ by. Over 30 s is shown to the owner, over 120 s is refused.
CLOCK_LEEWAY: Final = timedelta(seconds=120)
CLOCK_WARNING: Final = timedelta(seconds=30)
#: How long a signed proof may be used, and so how long its id is remembered.
PROOF_LIFE: Final = timedelta(seconds=120)
#: A report older than this says nothing of use; the same as the agent's journal.
MAX_REPORT_AGE: Final = timedelta(days=7)

BEAT_CALM_SECONDS: Final = 60
BEAT_WATCHED_SECONDS: Final = 10
BEAT_JITTER: Final = 0.2
SILENT_AFTER: Final = timedelta(seconds=90)
LOST_AFTER: Final = timedelta(minutes=10)
