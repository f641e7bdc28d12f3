"""Queue descriptions: durations, names, bounds, and their ATOM form."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from local.servicebus.admin.atom import entry, read_description
from local.servicebus.entities import (
    FOREVER_MS,
    InvalidEntity,
    QueueProperties,
    check_name,
    check_properties,
    check_update,
    format_duration,
    parse_duration,
)
from local.servicebus.queue import Queue
from local.servicebus.sas import Rule


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("PT30S", 30_000),
        ("PT1M", 60_000),
        ("P1DT2H3M4.5S", 93_784_500),
        ("PT0S", 0),
        ("PT0.25S", 250),
        ("P10675199DT2H48M5.4775807S", FOREVER_MS),
        ("P14D", 1_209_600_000),
    ],
)
def test_durations_both_ways(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds
    assert parse_duration(format_duration(milliseconds)) == milliseconds


@pytest.mark.parametrize("text", ["", "P", "PT", "30", "P1Y", "PT-3S", "P1D2H", "soon", "PT9999999999S"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidEntity):
        parse_duration(text)


@pytest.mark.parametrize("name", ["q", "cmd-0a", "a/b/c", "Queue_1", "a.b", "x" * 260])
def test_good_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "$management", "a b", "ü", "a?b", "x" * 261, "-a", "a\n"])
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidEntity):
        check_name(name)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"lock_duration_ms": 4999}, "LockDuration"),
        ({"lock_duration_ms": 300_001}, "LockDuration"),
        ({"duplicate_window_ms": 19_999}, "DuplicateDetectionHistoryTimeWindow"),
        ({"default_ttl_ms": 999}, "DefaultMessageTimeToLive"),
        ({"auto_delete_on_idle_ms": 299_999}, "AutoDeleteOnIdle"),
        ({"max_delivery_count": 0}, "MaxDeliveryCount"),
        ({"max_size_mb": 1}, "MaxSizeInMegabytes"),
        ({"status": "Asleep"}, "Status"),
        ({"user_metadata": "x" * 1025}, "UserMetadata"),
        ({"rules": (Rule("r", frozenset({"Send"}), "k", ""),) * 13}, "12 rules"),
    ],
)
def test_values_out_of_bounds_are_named(change: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidEntity, match=named):
        check_properties(replace(QueueProperties(), **change), lax=False)  # type: ignore[arg-type]


def test_what_is_fixed_stays_fixed() -> None:
    check_update(QueueProperties(), QueueProperties(max_delivery_count=3))
    with pytest.raises(InvalidEntity, match="requires_session"):
        check_update(QueueProperties(), QueueProperties(requires_session=True))


PROPERTIES = QueueProperties(
    lock_duration_ms=45_000, max_size_mb=2048, requires_duplicate_detection=True, requires_session=True,
    default_ttl_ms=86_400_000, dead_letter_on_expiry=True, duplicate_window_ms=300_000, max_delivery_count=7,
    batched_operations=False, status="SendDisabled", user_metadata="<a> & b", auto_delete_on_idle_ms=600_000,
    rules=(Rule("agents", frozenset({"Listen", "Send"}), "p", "s"),),
)  # fmt: skip


def test_a_description_survives_xml_and_json() -> None:
    queue = Queue(1, "q", PROPERTIES)
    body = ET.tostring(entry(queue, "https://host", "ns"))
    assert read_description(body, QueueProperties()) == PROPERTIES
    assert QueueProperties.from_json(PROPERTIES.to_json()) == PROPERTIES


_HEAD = b'<entry xmlns="http://www.w3.org/2005/Atom"><content><QueueDescription xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect">'
_TAIL = b"</QueueDescription></content></entry>"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("no XML", b"{}"),
        ("no description", b"<entry/>"),
        ("an entity bomb", b'<!DOCTYPE x [<!ENTITY a "b">]><x/>'),
        ("forwarding", _HEAD + b"<ForwardTo>x</ForwardTo>" + _TAIL),
        ("partitions", _HEAD + b"<EnablePartitioning>true</EnablePartitioning>" + _TAIL),
        ("a flag that is neither", _HEAD + b"<RequiresSession>maybe</RequiresSession>" + _TAIL),
        ("a number that is none", _HEAD + b"<MaxDeliveryCount>-1</MaxDeliveryCount>" + _TAIL),
        ("a rule without rights", _HEAD + b"<AuthorizationRules><AuthorizationRule><KeyName>x</KeyName></AuthorizationRule></AuthorizationRules>" + _TAIL),
    ],
)  # fmt: skip
def test_bad_descriptions_are_refused(name: str, body: bytes) -> None:
    with pytest.raises(InvalidEntity):
        read_description(body, QueueProperties())


def test_a_topic_is_told_to_be_one() -> None:
    with pytest.raises(InvalidEntity, match="topics"):
        read_description((_HEAD + _TAIL).replace(b"QueueDescription", b"TopicDescription"), QueueProperties())


def test_the_sdk_still_writes_good_xml_in_a_process_that_has_loaded_ours() -> None:
    """ElementTree keeps one table of prefixes for the whole process; the SDK relies on it."""
    assert not {"http://www.w3.org/2005/Atom", "http://www.w3.org/2001/XMLSchema-instance"} & (
        {space for space, prefix in ET._namespace_map.items() if prefix in ("", "i")}  # type: ignore[attr-defined]
    )
