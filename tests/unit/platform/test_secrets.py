from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shared.platform.errors import SecretsUnavailable
from shared.platform.secrets import FolderSecrets, Secrets, open_secrets
from shared.platform.settings import SettingsError, load_settings
from tests.support.clocks import SetClock
from tests.support.metrics import counted


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def folder(tmp_path: Path) -> FolderSecrets:
    return FolderSecrets(tmp_path / "secrets")


async def test_what_is_set_is_read_by_its_owner_alone(folder: FolderSecrets, tmp_path: Path) -> None:
    assert await folder.get("name") is None
    await folder.set("name", "one")
    await folder.set("name", "two")
    assert await folder.get("name") == "two"
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "secrets" / "name").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["name"]


async def test_of_several_creators_one_wins_and_all_agree(folder: FolderSecrets) -> None:
    stored = await asyncio.gather(*(asyncio.to_thread(asyncio.run, folder.create("name", f"v{n}")) for n in range(8)))
    assert len(set(stored)) == 1
    assert await folder.get("name") == stored[0]


async def test_a_file_that_others_can_read_is_no_secret(folder: FolderSecrets, tmp_path: Path) -> None:
    await folder.set("name", "value")
    (tmp_path / "secrets" / "name").chmod(0o644)
    with pytest.raises(SecretsUnavailable, match="chmod 600"):
        await folder.get("name")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a.b", "x" * 128, "ä"])
async def test_names_that_no_vault_takes(folder: FolderSecrets, name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        await folder.get(name)


@pytest.mark.parametrize("value", ["", "x" * 25_001])
async def test_values_that_no_vault_takes(folder: FolderSecrets, value: str) -> None:
    with pytest.raises(ValueError, match="25000 bytes"):
        await folder.set("name", value)


class Vault:
    """A source that can be down, and counts."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {"name": "one"}
        self.up, self.reads = True, 0

    async def get(self, name: str) -> str | None:
        self.reads += 1
        await asyncio.sleep(0)
        if not self.up:
            raise SecretsUnavailable("down")
        return self.values.get(name)

    async def set(self, name: str, value: str) -> None:
        self.values[name] = value

    async def create(self, name: str, value: str) -> str:
        return self.values.setdefault(name, value)

    async def close(self) -> None:
        return


async def test_a_copy_serves_five_minutes_and_many_readers(clock: SetClock) -> None:
    vault = Vault()
    secrets = Secrets(vault, clock)
    assert await asyncio.gather(*(secrets.get("name") for _ in range(10))) == ["one"] * 10
    assert vault.reads == 1
    vault.values["name"] = "two"
    assert await secrets.get("name") == "one"
    clock.advance(300)
    assert await secrets.get("name") == "two"


async def test_an_outage_is_bridged_for_an_hour(clock: SetClock) -> None:
    vault = Vault()
    secrets = Secrets(vault, clock)
    assert await secrets.get("name") == "one"
    vault.up = False
    clock.advance(3600)
    before = counted("meridian.secrets.stale_reads")
    assert await secrets.get("name") == "one"
    assert counted("meridian.secrets.stale_reads") - before == 1
    with pytest.raises(SecretsUnavailable):
        await secrets.get("never-read")
    clock.advance(1)
    with pytest.raises(SecretsUnavailable):
        await secrets.get("name")


async def test_what_was_set_or_created_is_known_at_once(clock: SetClock) -> None:
    secrets = Secrets(Vault(), clock)
    await secrets.get("name")
    await secrets.set("name", "mine")
    assert await secrets.get("name") == "mine"
    assert await secrets.create("name", "late") == "mine"
    secrets.forget("name")
    assert await secrets.get("name") == "mine"


def test_without_a_place_for_secrets_the_program_does_not_start(clock: SetClock) -> None:
    settings = load_settings({"cosmos_endpoint": "http://localhost:1"})
    with pytest.raises(SettingsError, match="MERIDIAN_SECRETS_FOLDER"):
        open_secrets(settings.model_copy(update={"secrets_folder": None, "key_vault_url": None}), clock)
