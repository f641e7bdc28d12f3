"""The Key Vault adapter with the unmodified SDK and the app's managed identity, against a vault on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from shared.identity.errors import TokenRefused
from shared.identity.tokens import SECRET, Tokens
from shared.nodes.authority import ISSUER_LIFE, ISSUERS_SECRET, SIGNERS_SECRET, Authority
from shared.platform import vault
from shared.platform.errors import SecretsUnavailable
from shared.platform.ids import Ids, OrgId, UserId
from shared.platform.secrets import AGAIN_SECONDS, FRESH_SECONDS, STALE_SECONDS, Secrets
from shared.platform.vault import KeyVaultSecrets
from tests.support.clocks import SetClock
from tests.support.vault import VaultStandIn


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VaultStandIn]:
    with VaultStandIn(tmp_path) as place:
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)
        yield place


@pytest.fixture
async def source(place: VaultStandIn) -> AsyncIterator[KeyVaultSecrets]:
    source = KeyVaultSecrets(place.url, place.ca_file)
    yield source
    await source.close()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def secrets(source: KeyVaultSecrets, clock: SetClock) -> Secrets:
    return Secrets(source, clock)


async def test_what_is_set_is_read_and_older_versions_stay(place: VaultStandIn, source: KeyVaultSecrets) -> None:
    assert await source.get("name") is None
    await source.set("name", "one")
    await source.set("name", "two")
    assert await source.get("name") == "two"
    assert place.versions("name") == ["one", "two"]
    assert place.requests(401) == 1, "the challenge is answered once, then the token is at hand"


async def test_of_two_creators_the_last_writers_value_is_everybodys(
    place: VaultStandIn, source: KeyVaultSecrets
) -> None:
    made = await asyncio.gather(*(source.create("name", f"v{n}") for n in range(4)))
    settled = await source.get("name")
    assert settled == place.versions("name")[-1]
    assert await source.create("name", "late") == settled
    assert set(made) <= set(place.versions("name"))


async def test_a_rotated_version_is_picked_up_when_the_copy_is_old(
    place: VaultStandIn, secrets: Secrets, clock: SetClock
) -> None:
    place.put("name", "one")
    assert await secrets.get("name") == "one"
    place.put("name", "two")
    asked = len(place.asked)
    clock.advance(FRESH_SECONDS - 1)
    assert await secrets.get("name") == "one"
    assert len(place.asked) == asked
    clock.advance(1)
    assert await secrets.get("name") == "two"


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (403, "Forbidden", "Key Vault Secrets Officer"),
        (429, "Throttled", "asked too often"),
        (503, "ServiceUnavailable", "503"),
    ],
)
async def test_a_refusal_is_told_and_bridged_with_the_last_good_value(
    place: VaultStandIn, secrets: Secrets, clock: SetClock, status: int, code: str, advice: str
) -> None:
    place.put("name", "one")
    assert await secrets.get("name") == "one"
    place.fail = (status, code)
    with pytest.raises(SecretsUnavailable, match=advice):  # closed for what was never read
        await secrets.get("other")
    clock.advance(FRESH_SECONDS)
    assert await secrets.get("name") == "one"
    asked = len(place.asked)
    assert await secrets.get("name") == "one"
    assert len(place.asked) == asked, "a source that is away is not asked by every caller"
    place.fail = None
    place.put("name", "two")
    clock.advance(AGAIN_SECONDS)
    assert await secrets.get("name") == "two"
    place.fail = (status, code)
    clock.advance(STALE_SECONDS + 1)
    with pytest.raises(SecretsUnavailable):  # and closed for what was read too long ago
        await secrets.get("name")


async def test_throttling_that_passes_is_not_noticed(place: VaultStandIn, source: KeyVaultSecrets) -> None:
    place.put("name", "one")
    assert await source.get("name") == "one"
    place.fail, place.retry_after = (429, "Throttled"), 1
    reading = asyncio.create_task(source.get("name"))
    while not place.requests(429):
        await asyncio.sleep(0.01)
    place.fail = None
    assert await reading == "one"


async def test_a_vault_that_is_not_there_ends_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with VaultStandIn(tmp_path) as place:
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)
        source = KeyVaultSecrets(place.url, place.ca_file)
    with pytest.raises(SecretsUnavailable, match="Key Vault does not give name"):
        await source.get("name")
    await source.close()


async def test_a_vault_that_is_silent_is_not_waited_for(
    place: VaultStandIn, source: KeyVaultSecrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault, "PATIENCE_SECONDS", 0.5)
    place.silent.set()
    with pytest.raises(SecretsUnavailable, match=r"within 0\.5 s"):
        await source.get("name")
    place.silent.clear()
    assert await source.get("name") is None


async def test_an_identity_that_gets_no_token_is_a_clear_failure(
    place: VaultStandIn, source: KeyVaultSecrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "of another app")
    with pytest.raises(SecretsUnavailable, match="Key Vault does not give name"):
        await source.get("name")


async def test_another_certificate_is_not_trusted(place: VaultStandIn) -> None:
    source = KeyVaultSecrets(place.url)
    with pytest.raises(SecretsUnavailable):
        await source.get("name")
    await source.close()
    assert place.asked == []


async def test_a_deleted_secret_is_gone_and_its_name_says_why_it_is_not_free(
    place: VaultStandIn, secrets: Secrets, clock: SetClock
) -> None:
    await secrets.set("name", "one")
    place.delete("name")
    clock.advance(FRESH_SECONDS)
    assert await secrets.get("name") is None
    with pytest.raises(SecretsUnavailable, match="recover or purge"):
        await secrets.set("name", "two")


async def test_the_signing_keys_turn_in_the_vault(place: VaultStandIn, source: KeyVaultSecrets) -> None:
    clock = SetClock()
    one, other = (Tokens(Secrets(source, clock), clock, Ids(clock), "https://api.example") for _ in range(2))
    text, _ = await one.issue(UserId("usr_1"), OrgId("org_1"), "panel", "s1", clock.now())
    assert (await other.verify(text)).user == "usr_1", "the ring is one for all instances"
    clock.advance(timedelta(days=29, hours=1).total_seconds())
    assert await one.turn_keys()
    assert len(place.versions(SECRET)) == 2
    assert [key.kid for key in (await other.ring()).keys] == [key.kid for key in (await one.ring()).keys]
    clock.advance(timedelta(days=1).total_seconds())
    young, _ = await one.issue(UserId("usr_1"), OrgId("org_1"), "panel", "s1", clock.now())
    assert (await other.verify(young)).session == "s1", "the next key was published before it signed"
    await one.replace_keys()
    clock.advance(FRESH_SECONDS)
    with pytest.raises(TokenRefused):
        await other.verify(young)


async def test_the_authority_of_nodes_turns_in_the_vault(place: VaultStandIn, source: KeyVaultSecrets) -> None:
    clock = SetClock()
    one, other = (Authority(Secrets(source, clock), clock, "nodes.example") for _ in range(2))
    root = await one.root_pem()
    first = (await one.signer()).key_id
    assert (await other.root_pem(), (await other.signer()).key_id) == (root, first)
    clock.advance((ISSUER_LIFE - timedelta(days=59)).total_seconds())
    await one.signer_chains()
    assert len(place.versions(ISSUERS_SECRET)) == 2
    assert len(place.versions(SIGNERS_SECRET)) == 2
    clock.advance(timedelta(hours=25).total_seconds())
    assert (await one.signer()).key_id == (await other.signer()).key_id != first
    assert await other.root_pem() == root


async def test_the_authority_makes_nothing_while_the_vault_is_away(
    place: VaultStandIn, source: KeyVaultSecrets
) -> None:
    clock = SetClock()
    place.fail = (503, "ServiceUnavailable")
    with pytest.raises(SecretsUnavailable):
        await Authority(Secrets(source, clock), clock, "nodes.example").signer()
    place.fail = None
    assert place.kept == {}
