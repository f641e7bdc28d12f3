from __future__ import annotations

import pytest
from pydantic import ValidationError

from shared.platform.settings import Settings, SettingsError, load_settings

GOOD = {"cosmos_endpoint": "http://localhost:8081", "cosmos_key": "c2VjcmV0LWtleQ=="}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COSMOS_ENDPOINT", "COSMOS_KEY", "COSMOS_DATABASE", "ServiceBusConnection", "MERIDIAN_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)


def test_every_missing_and_bad_name_stands_in_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MERIDIAN_ENVIRONMENT", "staging")
    monkeypatch.setenv("MERIDIAN_BODY_LIMIT_BYTES", "many")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    text = str(caught.value)
    for name in ("COSMOS_ENDPOINT is missing", "MERIDIAN_ENVIRONMENT: ", "MERIDIAN_BODY_LIMIT_BYTES: "):
        assert name in text
    assert "\n" not in text


def test_what_is_no_json_stands_in_the_same_error_and_what_json_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MERIDIAN_AGENT_NAMESPACES", '{"eu": {"connection": "SharedAccessKey=geheim"')
    monkeypatch.setenv("MERIDIAN_TRUSTED_ISSUERS", '[{"issuer": "https://a.example", "clients": ["panel"]}]')
    with pytest.raises(SettingsError) as caught:
        load_settings()
    text = str(caught.value)
    for name in (
        "COSMOS_ENDPOINT is missing",
        "MERIDIAN_AGENT_NAMESPACES: not JSON",
        "MERIDIAN_TRUSTED_ISSUERS.0.jwks_uri is missing",
    ):
        assert name in text
    assert "geheim" not in text


def test_what_production_lacks_stands_in_the_same_error() -> None:
    issuer = {"issuer": "https://a.example", "jwks_uri": "http://a.example/jwks", "clients": ["panel"]}
    with pytest.raises(SettingsError) as caught:
        load_settings(
            {
                "environment": "production",
                "public_url": "http://console.example",
                "cors_origins": ("https://a.example", "http://b.example"),
                "trusted_issuers": (issuer,),
                "smtp_host": "mail.example",
                "smtp_security": "none",
                "body_limit_bytes": 1,
            }
        )
    text = str(caught.value)
    for name in (
        "COSMOS_ENDPOINT is missing",
        "MERIDIAN_PUBLIC_URL: ",
        "MERIDIAN_CORS_ORIGINS: http://b.example must",
        "MERIDIAN_TRUSTED_ISSUERS: http://a.example/jwks must",
        "MERIDIAN_CURSOR_KEY: ",
        "MERIDIAN_SECRETS_FOLDER: ",
        "MERIDIAN_SMTP_SECURITY: ",
        "MERIDIAN_SMTP_FROM: ",
        "MERIDIAN_INVITATION_URL: ",
        "MERIDIAN_BODY_LIMIT_BYTES: ",
    ):
        assert name in text


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSMOS_ENDPOINT", "http://localhost:8081/")
    monkeypatch.setenv("COSMOS_KEY", "a2V5")
    monkeypatch.setenv("MERIDIAN_CORS_ORIGINS", "https://a.example, https://b.example/")
    settings = load_settings()
    assert settings.cosmos_endpoint == "http://localhost:8081"
    assert settings.cors_origins == ("https://a.example", "https://b.example")


def test_a_secret_shows_nowhere() -> None:
    settings = load_settings({**GOOD, "cursor_key": "cursor-secret"})
    for text in (repr(settings), str(settings), str(settings.model_dump())):
        assert "c2VjcmV0" not in text
        assert "cursor-secret" not in text


def test_a_bad_secret_is_not_repeated_in_the_error() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({**GOOD, "public_url": "ftp://user:pass@host"})
    assert "pass" not in str(caught.value)


def test_settings_cannot_be_changed() -> None:
    settings = load_settings(GOOD)
    with pytest.raises(ValidationError, match="frozen"):
        settings.region = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        pytest.param({"public_url": "http://console.example"}, "MERIDIAN_PUBLIC_URL", id="plain http"),
        pytest.param({"cors_origins": ("http://a.example",)}, "MERIDIAN_CORS_ORIGINS", id="plain-http origin"),
        pytest.param({"cursor_key": None}, "MERIDIAN_CURSOR_KEY", id="no key for cursors"),
        pytest.param({"key_vault_url": None}, "MERIDIAN_KEY_VAULT_URL", id="no place for secrets"),
        pytest.param({"smtp_security": "none"}, "MERIDIAN_SMTP_SECURITY", id="mail in the clear"),
        pytest.param({"smtp_host": "mail.example"}, "MERIDIAN_SMTP_FROM", id="mail from nobody"),
        pytest.param({"invitation_url": "https://a.example/"}, "MERIDIAN_INVITATION_URL", id="a link without secret"),
    ],
)
def test_production_is_stricter(values: dict[str, object], named: str) -> None:
    good = {
        **GOOD,
        "environment": "production",
        "public_url": "https://console.example",
        "cursor_key": "k",
        "key_vault_url": "https://vault.example",
    }
    assert not load_settings(good).development
    with pytest.raises(SettingsError, match=named):
        load_settings({**good, **values})


def test_only_the_settings_module_reads_the_environment() -> None:
    import re
    from pathlib import Path

    root = Path(__file__).parents[3]
    readers = [
        str(path.relative_to(root))
        for folder in ("shared", "functions", "orchestrations")
        for path in (root / folder).rglob("*.py")
        if re.search(r"os\.environ|os\.getenv|from os import .*(environ|getenv)", path.read_text())
    ]
    assert readers == []
    assert issubclass(Settings, object)
