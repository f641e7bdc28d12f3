"""Queue descriptions: properties, their bounds, and durations in ISO 8601.

https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace

from local.servicebus.sas import Rule

FOREVER_MS = 922_337_203_685_477  # .NET's TimeSpan.MaxValue: "never"
MINUTE_MS, DAY_MS = 60_000, 86_400_000
DEAD_LETTER = "$deadletterqueue"
STATUSES = ("Active", "Disabled", "SendDisabled", "ReceiveDisabled")
QUEUE_LIMIT = 10_000  # of a Basic or Standard namespace
RULE_LIMIT = 12
NAME_LIMIT = 260
MAX_MESSAGE_BYTES = 262_144  # Standard tier


class InvalidEntity(ValueError):
    """A description that Service Bus refuses; the text names the property and its bounds."""


@dataclass(frozen=True, slots=True)
class QueueProperties:
    """What can be set on a queue. Durations are milliseconds."""

    lock_duration_ms: int = MINUTE_MS
    max_size_mb: int = 1024
    requires_duplicate_detection: bool = False
    requires_session: bool = False
    default_ttl_ms: int = FOREVER_MS
    dead_letter_on_expiry: bool = False
    duplicate_window_ms: int = 10 * MINUTE_MS
    max_delivery_count: int = 10
    batched_operations: bool = True
    status: str = "Active"
    user_metadata: str = ""
    auto_delete_on_idle_ms: int = FOREVER_MS
    rules: tuple[Rule, ...] = field(default=())

    def to_json(self) -> dict[str, object]:
        """For the store."""
        plain = asdict(replace(self, rules=()))
        plain["rules"] = [
            {"name": r.name, "rights": sorted(r.rights), "primary": r.primary_key, "secondary": r.secondary_key}
            for r in self.rules
        ]
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, object]) -> QueueProperties:
        """From the store."""
        values = dict(plain)
        stored = values.pop("rules", [])
        assert isinstance(stored, list)
        rules = tuple(Rule(r["name"], frozenset(r["rights"]), r["primary"], r["secondary"]) for r in stored)
        return cls(**values, rules=rules)  # type: ignore[arg-type]  # written by to_json


IMMUTABLE = ("requires_duplicate_detection", "requires_session")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/\-]*[A-Za-z0-9_])?")


def check_name(name: str) -> None:
    """Refuse a name that Service Bus would.

    Raises:
        InvalidEntity: too long, or with characters or slashes where none may be.
    """
    if not name or len(name) > NAME_LIMIT:
        raise InvalidEntity(f"an entity's name has 1 to {NAME_LIMIT} characters, this one {len(name)}")
    if not _NAME.fullmatch(name) or "//" in name:
        raise InvalidEntity(
            f"'{name}' is no entity name: letters, digits, '.', '-', '_' and '/', beginning and ending with a letter or digit"
        )


def check_properties(properties: QueueProperties, *, lax: bool) -> None:
    """Refuse values out of bounds.

    Args:
        properties: the wanted values.
        lax: allow locks, duplicate windows and idle times shorter than Azure's minimum (for quick tests).

    Raises:
        InvalidEntity: with the property and its bounds.
    """
    floor = 1 if lax else 5000
    _between("LockDuration", properties.lock_duration_ms, floor, 5 * MINUTE_MS)
    _between("DuplicateDetectionHistoryTimeWindow", properties.duplicate_window_ms, 1 if lax else 20_000, 7 * DAY_MS)
    _between("DefaultMessageTimeToLive", properties.default_ttl_ms, 1 if lax else 1000, FOREVER_MS)
    _between("AutoDeleteOnIdle", properties.auto_delete_on_idle_ms, 1 if lax else 5 * MINUTE_MS, FOREVER_MS)
    if not 1 <= properties.max_delivery_count <= 2000:
        raise InvalidEntity(f"MaxDeliveryCount must be 1 to 2000, not {properties.max_delivery_count}")
    sizes = (1024, 2048, 3072, 4096, 5120) if not lax else range(1, 5121)
    if properties.max_size_mb not in sizes:
        raise InvalidEntity(f"MaxSizeInMegabytes must be 1024, 2048, 3072, 4096 or 5120, not {properties.max_size_mb}")
    if properties.status not in STATUSES:
        raise InvalidEntity(f"Status must be one of {', '.join(STATUSES)}, not '{properties.status}'")
    if len(properties.user_metadata) > 1024:
        raise InvalidEntity(f"UserMetadata has at most 1024 characters, not {len(properties.user_metadata)}")
    if len(properties.rules) > RULE_LIMIT:
        raise InvalidEntity(f"an entity has at most {RULE_LIMIT} rules, not {len(properties.rules)}")


def _between(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InvalidEntity(
            f"{name} must be {format_duration(low)} to {format_duration(high)}, not {format_duration(value)}"
        )


def check_update(old: QueueProperties, new: QueueProperties) -> None:
    """Refuse a change of what is fixed at creation.

    Raises:
        InvalidEntity: with the property.
    """
    for name in IMMUTABLE:
        if getattr(old, name) != getattr(new, name):
            raise InvalidEntity(f"{name} is fixed when the queue is created")


_DURATION = re.compile(
    r"P(?:(?P<days>\d{1,9})D)?(?:T(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,9}(?:\.\d{1,9})?)S)?)?"
)


def parse_duration(text: str) -> int:
    """Milliseconds of an ISO 8601 duration without years and months.

    Raises:
        InvalidEntity: not such a duration.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise InvalidEntity(f"'{text}' is no duration such as PT30S or P1DT2H")
    part = {name: float(value or 0) for name, value in match.groupdict().items()}
    seconds = ((part["days"] * 24 + part["hours"]) * 60 + part["minutes"]) * 60 + part["seconds"]
    return min(FOREVER_MS, round(seconds * 1000))


def format_duration(milliseconds: int) -> str:
    """An ISO 8601 duration, as Service Bus writes it."""
    if milliseconds >= FOREVER_MS:
        return "P10675199DT2H48M5.4775807S"
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    fraction = f".{rest:03d}".rstrip("0") if rest else ""
    time = (
        f"{hours}H" * bool(hours) + f"{minutes}M" * bool(minutes) + f"{seconds}{fraction}S" * bool(seconds or fraction)
    )
    text = "P" + f"{days}D" * bool(days) + (f"T{time}" if time else "")
    return text if text != "P" else "PT0S"
