"""App settings: placeholders, connections, switched-off functions, durations, host.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.common.errors import StartError
from local.functions_host.hostjson import load_host_json
from local.functions_host.settings import Connection, is_disabled, resolve, resolve_connection
from local.functions_host.timespan import parse_timespan


def test_placeholders_are_replaced() -> None:
    assert resolve("a-%ONE%-%TWO%", "here", {"ONE": "1", "TWO": "2"}) == "a-1-2"
    assert resolve("plain", "here", {}) == "plain"


@pytest.mark.parametrize("settings", [{}, {"ONE": ""}], ids=["absent", "empty"])
def test_a_missing_setting_is_named_with_its_place(settings: dict[str, str]) -> None:
    with pytest.raises(StartError, match="function f needs the app setting ONE"):
        resolve("%ONE%", "function f", settings)


CONNECTIONS = {
    "as named": ({"Bus": "Endpoint=x"}, Connection("Bus", connection_string="Endpoint=x")),
    "with Azure's prefix": ({"AzureWebJobsBus": "Endpoint=x"}, Connection("Bus", connection_string="Endpoint=x")),
    "by identity": ({"Bus__fullyQualifiedNamespace": "n.example"}, Connection("Bus", namespace="n.example")),
    "by identity, with a colon": (
        {"Bus:fullyQualifiedNamespace": "n.example"},
        Connection("Bus", namespace="n.example"),
    ),
    "the string goes first": (
        {"Bus": "Endpoint=x", "Bus__fullyQualifiedNamespace": "n.example"},
        Connection("Bus", connection_string="Endpoint=x"),
    ),
}


@pytest.mark.parametrize(("settings", "expected"), CONNECTIONS.values(), ids=CONNECTIONS.keys())
def test_connections(settings: dict[str, str], expected: Connection) -> None:
    assert resolve_connection("Bus", "here", settings) == expected


def test_a_missing_connection_names_both_settings() -> None:
    with pytest.raises(StartError, match=r"Bus \(a connection string\) or Bus__fullyQualifiedNamespace"):
        resolve_connection("Bus", "here", {})


@pytest.mark.parametrize(
    ("name", "value", "off"),
    [
        ("AzureWebJobs.f.Disabled", "true", True),
        ("AzureWebJobs.f.Disabled", "1", True),
        ("AzureWebJobs_f_Disabled", "True", True),
        ("AzureWebJobs.f.Disabled", "false", False),
        ("AzureWebJobs.g.Disabled", "true", False),
    ],
)
def test_disabled(name: str, value: str, off: bool) -> None:
    assert is_disabled("f", {name: value}) is off


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:00:01", 1),
        ("00:05:00", 300),
        ("01:00:00", 3600),
        ("1.00:00:00", 86_400),
        ("00:00:00.5", 0.5),
        ("02:30", 9000),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_timespan(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "24:00:00", "00:60:00", "00:00:61", "a:b:c", "00:00:00.12345678"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_timespan(text)


def test_host_json_defaults_are_azures(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    settings = load_host_json(tmp_path)
    assert (settings.route_prefix, settings.timeout, settings.hub_name) == ("api", 1800.0, "TestHubName")
    assert (settings.service_bus.concurrent_calls, settings.service_bus.lock_renewal) == (16, 300.0)


def test_host_json_is_read(tmp_path: Path) -> None:
    document = {
        "version": "2.0",
        "functionTimeout": "-1",
        "extensions": {
            "http": {"routePrefix": "/v1/"},
            "durableTask": {"hubName": "hub"},
            "serviceBus": {
                "maxConcurrentCalls": 3,
                "maxAutoLockRenewalDuration": "00:01:00",
                "autoCompleteMessages": False,
            },
        },
    }
    (tmp_path / "host.json").write_text("\ufeff" + json.dumps(document), encoding="utf-8")
    settings = load_host_json(tmp_path)
    assert (settings.route_prefix, settings.timeout, settings.hub_name) == ("v1", None, "hub")
    assert (settings.service_bus.concurrent_calls, settings.service_bus.lock_renewal) == (3, 60.0)
    assert settings.service_bus.auto_complete is False
