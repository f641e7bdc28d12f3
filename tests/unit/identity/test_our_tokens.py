from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from shared.identity import access_tokens, signing_keys
from shared.identity.access_tokens import AccessToken
from shared.identity.errors import TokenRefused
from shared.identity.memory import Memory
from shared.identity.oauth import LIFE
from shared.identity.signing_keys import PUBLISHED_AFTER, PUBLISHED_AHEAD, SIGNS_FOR, KeyRing, make_key, turn
from shared.identity.tokens import SECRET, Tokens
from shared.platform.ids import Ids, OrgId, UserId
from shared.platform.secrets import FolderSecrets, Secrets
from tests.support.clocks import SetClock

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
API = "https://api.example"
RING = signing_keys.first_ring(NOW)
TOKEN = AccessToken(
    token_id="tok_1",
    user=UserId("usr_1"),
    org=OrgId("org_1"),
    client="panel",
    session="session-1",
    issued_at=NOW,
    authenticated_at=NOW - timedelta(minutes=3),
    expires_at=NOW + LIFE,
)


def crafted(headers: dict[str, Any] | None = None, ring: KeyRing = RING, **changes: Any) -> str:
    text = access_tokens.mint(TOKEN, ring, API)
    claims = {**jwt.decode(text, options={"verify_signature": False}), **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    key = ring.keys[0]
    return jwt.encode(claims, key.private, "ES256", headers={"typ": "at+jwt", "kid": key.kid, **(headers or {})})


def test_what_is_minted_is_read_back() -> None:
    assert access_tokens.verify(access_tokens.mint(TOKEN, RING, API), RING, API, NOW) == TOKEN


def test_a_token_may_be_for_no_organization() -> None:
    bare = dataclasses.replace(TOKEN, org=None)
    assert access_tokens.verify(access_tokens.mint(bare, RING, API), RING, API, NOW).org is None


REFUSED: dict[str, str] = {
    "another kind": crafted({"typ": "JWT"}),
    "no kind": crafted({"typ": ""}),
    "critical extension": crafted({"crit": ["x"], "x": 1}),
    "another issuer": crafted(iss="https://other.example"),
    "another audience": crafted(aud="https://other.example"),
    "several audiences": crafted(aud=[API, "https://other.example"]),
    "unknown key": crafted({"kid": "another"}),
    "another's key under our id": crafted({"kid": RING.keys[0].kid}, ring=signing_keys.first_ring(NOW)),
    "no subject": crafted(sub=None),
    "no session": crafted(sid=None),
    "time as text": crafted(exp="2099-01-01"),
    "empty": "",
    "too long": "a.b." + "c" * 5000,
    "three dots": "a.b.c.d",
    "not ascii": "ä.b.c",
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    with pytest.raises(TokenRefused):
        access_tokens.verify(REFUSED[name], RING, API, NOW)


def test_no_algorithm_but_ours() -> None:
    _head, payload, _ = access_tokens.mint(TOKEN, RING, API).split(".")
    for algorithm in ("none", "HS256", "ES384", "RS256"):
        forged = jwt.utils.base64url_encode(
            json.dumps({"alg": algorithm, "typ": "at+jwt", "kid": RING.keys[0].kid}).encode()
        ).decode()
        with pytest.raises(TokenRefused):
            access_tokens.verify(f"{forged}.{payload}.", RING, API, NOW)


TIMES = {"at once": (0.0, True), "just before": (599.9, True), "at the end": (600.0, False), "too early": (-6.0, False)}


@pytest.mark.parametrize("name", TIMES)
def test_a_token_lives_ten_minutes(name: str) -> None:
    offset, good = TIMES[name]
    text, moment = access_tokens.mint(TOKEN, RING, API), NOW + timedelta(seconds=offset)
    if good:
        assert access_tokens.verify(text, RING, API, moment) == TOKEN
        return
    with pytest.raises(TokenRefused):
        access_tokens.verify(text, RING, API, moment)


# --- rotation --------------------------------------------------------------------------------------------------------


def test_the_next_key_is_published_before_it_signs_and_the_old_one_stays_a_while() -> None:
    first = RING.keys[0].kid
    ring, moment = RING, NOW
    seen: list[tuple[timedelta, int, str]] = []
    while moment < NOW + SIGNS_FOR + timedelta(days=1):
        ring = turn(ring, moment)
        state = (len(ring.keys), ring.signer(moment).kid)
        if not seen or seen[-1][1:] != state:
            seen.append((moment - NOW, *state))
        moment += timedelta(minutes=30)
    second = ring.keys[-1].kid
    assert seen == [
        (timedelta(0), 1, first),
        (SIGNS_FOR - PUBLISHED_AHEAD, 2, first),
        (SIGNS_FOR, 2, second),
        (SIGNS_FOR + PUBLISHED_AFTER, 1, second),
    ]


def test_no_token_ever_outlives_the_publication_of_its_key() -> None:
    ring, moment = RING, NOW
    while moment < NOW + 3 * SIGNS_FOR:
        ring = turn(ring, moment)
        signer = ring.signer(moment).kid
        later = turn(ring, moment + LIFE)
        assert later.find(signer) is not None
        moment += timedelta(minutes=55)


def test_a_rotation_that_was_missed_still_publishes_ahead() -> None:
    late = NOW + SIGNS_FOR + timedelta(days=40)
    ring = turn(RING, late)
    assert ring.signer(late).kid == RING.keys[0].kid
    assert ring.keys[-1].signs_from == late + PUBLISHED_AHEAD


def test_a_key_that_others_know_is_replaced_at_once() -> None:
    ring = signing_keys.first_ring(NOW)
    assert ring.find(RING.keys[0].kid) is None
    with pytest.raises(TokenRefused):
        access_tokens.verify(access_tokens.mint(TOKEN, RING, API), ring, API, NOW)


def test_the_published_set_holds_nothing_private() -> None:
    document = json.loads(KeyRing(keys=(make_key(NOW), make_key(NOW))).published())
    assert len(document["keys"]) == 2
    for key in document["keys"]:
        assert key.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert "PRIVATE" not in repr(RING)


# --- as a service ----------------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


def opened(folder: Path, clock: SetClock) -> Tokens:
    return Tokens(Secrets(FolderSecrets(folder), clock), clock, Ids(clock), API)


async def test_a_new_installation_makes_one_ring_whoever_asks_first(tmp_path: Path, clock: SetClock) -> None:
    one, two = opened(tmp_path, clock), opened(tmp_path, clock)
    assert (await one.ring()).keys[0].kid == (await two.ring()).keys[0].kid
    assert (tmp_path / SECRET).stat().st_mode & 0o777 == 0o600


async def test_a_remembered_token_ends_with_its_time_and_with_its_key(tmp_path: Path, clock: SetClock) -> None:
    tokens = opened(tmp_path, clock)
    text, token = await tokens.issue(UserId("usr_1"), None, "panel", "session-1", NOW)
    assert await tokens.verify(text) == await tokens.verify(text) == token
    await tokens.replace_keys()
    with pytest.raises(TokenRefused, match="no longer"):
        await tokens.verify(text)
    text, _ = await tokens.issue(UserId("usr_1"), None, "panel", "session-1", NOW)
    await tokens.verify(text)
    clock.advance(600)
    with pytest.raises(TokenRefused, match="expired"):
        await tokens.verify(text)


async def test_another_instance_follows_a_rotation_within_five_minutes(tmp_path: Path, clock: SetClock) -> None:
    one, two = opened(tmp_path, clock), opened(tmp_path, clock)
    await two.ring()
    await one.replace_keys()
    clock.advance(300)
    text, token = await one.issue(UserId("usr_1"), None, "panel", "session-1", NOW)
    assert await two.verify(text) == token


async def test_turning_when_nothing_is_due_changes_nothing(tmp_path: Path, clock: SetClock) -> None:
    tokens = opened(tmp_path, clock)
    await tokens.ring()
    assert not await tokens.turn_keys()
    clock.advance((SIGNS_FOR - PUBLISHED_AHEAD).total_seconds())
    assert await tokens.turn_keys()
    assert len((await tokens.ring()).keys) == 2


def test_memory_is_bounded_and_forgets_what_was_used_longest_ago(clock: SetClock) -> None:
    memory: Memory[int, str] = Memory(clock, 10, capacity=3)
    for number in range(3):
        memory.put(number, "x")
    memory.get(0)
    memory.put(3, "x")
    assert [number for number in range(4) if memory.get(number)] == [0, 2, 3]
    clock.advance(10)
    assert [number for number in range(4) if memory.get(number)] == []
    assert len(memory) == 0
