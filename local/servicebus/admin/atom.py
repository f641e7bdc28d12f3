"""Queue descriptions as ATOM XML, both ways.

https://learn.microsoft.com/rest/api/servicebus/
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree as ET

from local.servicebus.entities import InvalidEntity, QueueProperties, format_duration, parse_duration
from local.servicebus.queue import ACTIVE, DEFERRED, SCHEDULED, Queue
from local.servicebus.sas import Rule

ATOM = "http://www.w3.org/2005/Atom"
SB = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
COUNTS = "http://schemas.microsoft.com/netservices/2011/06/servicebus"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
RIGHTS = frozenset({"Manage", "Send", "Listen"})
KEY_LIMIT = 256

# Prefixes are left to ElementTree: `register_namespace` would change them for the whole process, and the SDK, where it
# runs in the same one, then writes requests with an attribute twice.


def stamp(milliseconds: int) -> str:
    """A time as Service Bus writes it."""
    when = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise InvalidEntity(f"'{text[:50]}' is neither true nor false")
    return text.lower() == "true"


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 10:
        raise InvalidEntity(f"'{text[:50]}' is no number")
    return int(text)


READ: dict[str, tuple[str, Callable[[str], object]]] = {
    "LockDuration": ("lock_duration_ms", parse_duration),
    "MaxSizeInMegabytes": ("max_size_mb", _number),
    "RequiresDuplicateDetection": ("requires_duplicate_detection", _flag),
    "RequiresSession": ("requires_session", _flag),
    "DefaultMessageTimeToLive": ("default_ttl_ms", parse_duration),
    "DeadLetteringOnMessageExpiration": ("dead_letter_on_expiry", _flag),
    "DuplicateDetectionHistoryTimeWindow": ("duplicate_window_ms", parse_duration),
    "MaxDeliveryCount": ("max_delivery_count", _number),
    "EnableBatchedOperations": ("batched_operations", _flag),
    "Status": ("status", str),
    "UserMetadata": ("user_metadata", str),
    "AutoDeleteOnIdle": ("auto_delete_on_idle_ms", parse_duration),
}
REFUSED = {
    "ForwardTo": "forwarding is not supported by this endpoint",
    "ForwardDeadLetteredMessagesTo": "forwarding is not supported by this endpoint",
}


def read_description(body: bytes, base: QueueProperties) -> QueueProperties:
    """The properties in an entry: those that are absent are taken from `base`.

    Raises:
        InvalidEntity: not such an entry, a bad value, or a feature that this endpoint lacks.
    """
    description = _parse(body)
    values: dict[str, object] = {}
    for element in description:
        name, text = element.tag.rpartition("}")[2], (element.text or "").strip()
        if name in READ and (text or name == "UserMetadata"):
            field, convert = READ[name]
            values[field] = convert(text)
        elif name in REFUSED and text:
            raise InvalidEntity(f"{name}: {REFUSED[name]}")
        elif name == "EnablePartitioning" and _flag(text or "false"):
            raise InvalidEntity("EnablePartitioning: partitioned queues are not supported by this endpoint")
        elif name == "AuthorizationRules":
            values["rules"] = tuple(_rule(rule) for rule in element)
    return replace(base, **values)  # type: ignore[arg-type]  # READ pairs each field with its converter


def _parse(body: bytes) -> ET.Element:
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise InvalidEntity("the body holds a document type, which is not allowed")
    try:
        root = ET.fromstring(body)  # noqa: S314 - document types, and with them entities, are refused above
    except ET.ParseError as error:
        raise InvalidEntity(f"the body is not XML: {error}") from None
    found = root.find(f".//{{{SB}}}QueueDescription")
    if found is None:
        if any(
            one.tag.endswith(("TopicDescription", "SubscriptionDescription", "RuleDescription")) for one in root.iter()
        ):
            raise InvalidEntity("topics and subscriptions are not supported by this endpoint")
        raise InvalidEntity("the body holds no QueueDescription")
    return found


def _rule(element: ET.Element) -> Rule:
    def text(name: str) -> str:
        return (element.findtext(f"{{{SB}}}{name}") or "").strip()

    rights = frozenset((one.text or "").strip() for one in element.iter(f"{{{SB}}}AccessRights"))
    name, primary, secondary = text("KeyName"), text("PrimaryKey"), text("SecondaryKey")
    if not name or not rights or not rights <= RIGHTS:
        raise InvalidEntity("a rule needs a KeyName and rights out of Listen, Manage, Send")
    if "Manage" in rights and rights != RIGHTS:
        raise InvalidEntity(f"rule '{name}': Manage goes with Send and Listen")
    if len(primary) > KEY_LIMIT or len(secondary) > KEY_LIMIT:
        raise InvalidEntity(f"rule '{name}': a key has at most {KEY_LIMIT} characters")
    return Rule(name, rights, primary, secondary)


def entry(queue: Queue, base: str, namespace: str) -> ET.Element:
    """An ATOM entry of a queue."""
    root = ET.Element(f"{{{ATOM}}}entry")
    _child(root, "id", f"{base}/{queue.name}")
    _child(root, "title", queue.name).set("type", "text")
    _child(root, "published", stamp(queue.created_at))
    _child(root, "updated", stamp(queue.updated_at))
    author = ET.SubElement(root, f"{{{ATOM}}}author")
    _child(author, "name", namespace)
    ET.SubElement(root, f"{{{ATOM}}}link", {"rel": "self", "href": f"{base}/{queue.name}"})
    content = ET.SubElement(root, f"{{{ATOM}}}content", {"type": "application/xml"})
    content.append(_description(queue))
    return root


def _child(parent: ET.Element, name: str, text: str, space: str = ATOM) -> ET.Element:
    element = ET.SubElement(parent, f"{{{space}}}{name}")
    element.text = text
    return element


def _description(queue: Queue) -> ET.Element:
    q, dead = queue.properties, queue.dead_letter
    assert dead is not None
    root = ET.Element(f"{{{SB}}}QueueDescription")
    before = {
        "LockDuration": format_duration(q.lock_duration_ms),
        "MaxSizeInMegabytes": q.max_size_mb,
        "RequiresDuplicateDetection": q.requires_duplicate_detection,
        "RequiresSession": q.requires_session,
        "DefaultMessageTimeToLive": format_duration(q.default_ttl_ms),
        "DeadLetteringOnMessageExpiration": q.dead_letter_on_expiry,
        "DuplicateDetectionHistoryTimeWindow": format_duration(q.duplicate_window_ms),
        "MaxDeliveryCount": q.max_delivery_count,
        "EnableBatchedOperations": q.batched_operations,
        "SizeInBytes": queue.size + dead.size,
        "MessageCount": len(queue.messages) + len(dead.messages),
        "IsAnonymousAccessible": False,
    }
    after = {
        "Status": q.status,
        "CreatedAt": stamp(queue.created_at),
        "UpdatedAt": stamp(queue.updated_at),
        "AccessedAt": stamp(queue.accessed_at),
        "SupportOrdering": True,
        "AutoDeleteOnIdle": format_duration(q.auto_delete_on_idle_ms),
        "EnablePartitioning": False,
        "EntityAvailabilityStatus": "Available",
        "EnableExpress": False,
    }
    _fill(root, before)
    rules = ET.SubElement(root, f"{{{SB}}}AuthorizationRules")
    for rule in q.rules:
        rules.append(_rule_element(rule))
    if q.user_metadata:
        _child(root, "UserMetadata", q.user_metadata, SB)
    _fill(root, after)
    root.append(_counts(queue, dead))
    return root


def _fill(root: ET.Element, values: dict[str, object]) -> None:
    for name, value in values.items():
        _child(root, name, str(value).lower() if isinstance(value, bool) else str(value), SB)


def _counts(queue: Queue, dead: Queue) -> ET.Element:
    details = ET.Element(f"{{{SB}}}CountDetails")
    counts = {
        "ActiveMessageCount": queue.counts[ACTIVE] + queue.counts[DEFERRED],
        "DeadLetterMessageCount": len(dead.messages),
        "ScheduledMessageCount": queue.counts[SCHEDULED],
        "TransferMessageCount": 0,
        "TransferDeadLetterMessageCount": 0,
    }
    for name, count in counts.items():
        _child(details, name, str(count), COUNTS)
    return details


def _rule_element(rule: Rule) -> ET.Element:
    element = ET.Element(f"{{{SB}}}AuthorizationRule", {f"{{{XSI}}}type": "SharedAccessAuthorizationRule"})
    _child(element, "ClaimType", "SharedAccessKey", SB)
    _child(element, "ClaimValue", "None", SB)
    rights = ET.SubElement(element, f"{{{SB}}}Rights")
    for right in sorted(rule.rights):
        _child(rights, "AccessRights", right, SB)
    _child(element, "KeyName", rule.name, SB)
    _child(element, "PrimaryKey", rule.primary_key, SB)
    _child(element, "SecondaryKey", rule.secondary_key, SB)
    return element


def feed(entries: list[ET.Element], base: str, title: str, next_link: str | None) -> ET.Element:
    """A feed of entries. The SDK takes the second link of a feed for the next page."""
    root = ET.Element(f"{{{ATOM}}}feed")
    _child(root, "title", title).set("type", "text")
    _child(root, "id", f"{base}/{title}")
    ET.SubElement(root, f"{{{ATOM}}}link", {"rel": "self", "href": f"{base}/{title}"})
    if next_link is not None:
        ET.SubElement(root, f"{{{ATOM}}}link", {"rel": "next", "href": next_link})
    root.extend(entries)
    return root


def namespace_entry(name: str, base: str, created_at: int) -> ET.Element:
    """The entry of the namespace itself."""
    root = ET.Element(f"{{{ATOM}}}entry")
    _child(root, "id", f"{base}/$namespaceinfo")
    _child(root, "title", name).set("type", "text")
    _child(root, "updated", stamp(created_at))
    content = ET.SubElement(root, f"{{{ATOM}}}content", {"type": "application/xml"})
    info = ET.SubElement(content, f"{{{SB}}}NamespaceInfo")
    values = {
        "CreatedTime": stamp(created_at), "MessagingSKU": "Standard", "ModifiedTime": stamp(created_at), "Name": name,
        "NamespaceType": "Messaging",
    }  # fmt: skip
    for key, value in values.items():
        _child(info, key, value, SB)
    return root
