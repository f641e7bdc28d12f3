"""Tokens: signed by whom, for where, until when."""

from __future__ import annotations

import pytest

from local.servicebus.sas import Grant, Rule, TokenRefused, allows, segments, sign, verify

NOW = 1_000_000.0
HOSTS = frozenset({"localhost", "bus.example"})
ROOT = Rule("root", frozenset({"Manage", "Send", "Listen"}), "k1", "k2")
AGENT = Rule("agent", frozenset({"Listen"}), "a1", "")
RULES = {(): (ROOT,), ("tenants", "t1"): (AGENT,)}


def check(token: str, audience: str, now: float = NOW) -> Grant:
    return verify(token, audience, now=now, hosts=HOSTS, rules=RULES)


@pytest.mark.parametrize(
    ("name", "token", "audience", "path"),
    [
        ("the namespace", sign("sb://localhost/", "root", "k1", 1_000_100), "sb://localhost:5672/q", ("q",)),
        ("the secondary key", sign("sb://localhost/q", "root", "k2", 1_000_100), "sb://localhost/q", ("q",)),
        ("case of host and path", sign("sb://LOCALHOST/Q", "ROOT", "k1", 1_000_100), "amqps://localhost/q", ("q",)),
        ("below the signed path", sign("sb://bus.example/a", "root", "k1", 1_000_100), "sb://bus.example/a/b", ("a", "b")),
        ("a rule of a parent", sign("sb://localhost/tenants/t1/n", "agent", "a1", 1_000_100), "sb://localhost/tenants/t1/n", ("tenants", "t1", "n")),
        ("dead letters", sign("sb://localhost/q", "root", "k1", 1_000_100), "sb://localhost/q/$DeadLetterQueue", ("q", "$deadletterqueue")),
    ],
)  # fmt: skip
def test_good_tokens(name: str, token: str, audience: str, path: tuple[str, ...]) -> None:
    assert check(token, audience).path == path


@pytest.mark.parametrize(
    ("name", "token", "audience"),
    [
        ("expired", sign("sb://localhost/q", "root", "k1", 999_999), "sb://localhost/q"),
        ("expires now", sign("sb://localhost/q", "root", "k1", 1_000_000), "sb://localhost/q"),
        ("wrong key", sign("sb://localhost/q", "root", "no", 1_000_100), "sb://localhost/q"),
        ("an empty key is no key", sign("sb://localhost/tenants/t1", "agent", "", 1_000_100), "sb://localhost/tenants/t1"),
        ("unknown rule", sign("sb://localhost/q", "who", "k1", 1_000_100), "sb://localhost/q"),
        ("other queue", sign("sb://localhost/q", "root", "k1", 1_000_100), "sb://localhost/r"),
        ("prefix of the name", sign("sb://localhost/node-1", "root", "k1", 1_000_100), "sb://localhost/node-10"),
        ("parent of what was signed", sign("sb://localhost/a/b", "root", "k1", 1_000_100), "sb://localhost/a"),
        ("other host", sign("sb://evil/q", "root", "k1", 1_000_100), "sb://localhost/q"),
        ("audience of another host", sign("sb://localhost/q", "root", "k1", 1_000_100), "sb://evil/q"),
        ("a rule of another entity", sign("sb://localhost/q", "agent", "a1", 1_000_100), "sb://localhost/q"),
        ("expiry changed", sign("sb://localhost/q", "root", "k1", 1_000_100).replace("1000100", "9000100"), "sb://localhost/q"),
        ("no fields", "SharedAccessSignature x", "sb://localhost/q"),
        ("expiry is no number", "SharedAccessSignature sr=a&sig=b&se=soon&skn=root", "sb://localhost/q"),
        ("not a signature", "eyJhbGciOi", "sb://localhost/q"),
        ("too long", "SharedAccessSignature " + "x" * 9000, "sb://localhost/q"),
        ("audience is no URI", sign("sb://localhost/q", "root", "k1", 1_000_100), "q"),
        ("a broken IPv6 host", sign("sb://localhost/q", "root", "k1", 1_000_100), "sb://[::1/q"),
    ],
)  # fmt: skip
def test_bad_tokens(name: str, token: str, audience: str) -> None:
    with pytest.raises(TokenRefused):
        check(token, audience)


@pytest.mark.parametrize(
    ("right", "path", "when", "allowed"),
    [
        ("Listen", "q", NOW, True),
        ("Send", "q", NOW, False),
        ("Listen", "q/$management", NOW, True),
        ("Listen", "q1", NOW, False),
        ("Listen", "q", NOW + 100, False),
        ("Send", "all", NOW, True),
    ],
)
def test_what_grants_allow(right: str, path: str, when: float, allowed: bool) -> None:
    grants = [Grant(("q",), frozenset({"Listen"}), NOW + 50), Grant(("all",), frozenset({"Manage"}), NOW + 50)]
    assert allows(grants, segments(path), right, when) is allowed  # type: ignore[arg-type]
