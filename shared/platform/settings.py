"""The program's settings: one frozen model, read once from the environment, every mistake told at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict


class SettingsError(ValueError):
    """The environment does not make a valid set of settings; the text names every missing or bad name."""


def _named(name: str) -> Any:
    """The exact name of an environment variable that does not start with MERIDIAN_."""
    return AliasChoices(name)


class TrustedIssuer(BaseModel):
    """One sign-in site that is believed: where its keys are, which clients it speaks for, which pages call us for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    issuer: str = Field(min_length=8, max_length=256)
    jwks_uri: str = Field(min_length=8, max_length=512)
    clients: tuple[str, ...] = Field(min_length=1)
    origins: tuple[str, ...] = ()
    refresh_clients: tuple[str, ...] = ("cli",)

    @field_validator("issuer", "jwks_uri")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value


class AgentNamespace(BaseModel):
    """A Service Bus namespace that nodes are connected to. Its rule must be allowed to Listen and to Send."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    connection: SecretStr
    host: str | None = None  # as agents reach it, where that is another name than the connection string's
    amqp_port: int = Field(default=5671, ge=1, le=65_535)
    websocket_port: int = Field(default=443, ge=1, le=65_535)
    tls: bool = True
    ca_file: str | None = None


class Settings(BaseSettings):
    """What can be set from outside. A field `x` is read from `MERIDIAN_X` unless another name stands with it."""

    model_config = SettingsConfigDict(
        env_prefix="MERIDIAN_", frozen=True, extra="ignore", populate_by_name=True, case_sensitive=False
    )

    environment: Literal["development", "production"] = "development"
    public_url: str = "http://localhost:7071"
    region: str = "local"
    version: str = "0.1.0"

    cosmos_endpoint: str = Field(validation_alias=_named("COSMOS_ENDPOINT"))
    cosmos_key: SecretStr | None = Field(default=None, validation_alias=_named("COSMOS_KEY"))
    cosmos_database: str = Field(default="meridian", validation_alias=_named("COSMOS_DATABASE"))

    service_bus_connection: SecretStr | None = Field(default=None, validation_alias=_named("ServiceBusConnection"))
    service_bus_namespace: str | None = Field(
        default=None, validation_alias=_named("ServiceBusConnection__fullyQualifiedNamespace")
    )

    service_bus_admin: SecretStr | None = None  # management address, where it is not that of ServiceBusConnection
    service_bus_ca_file: str | None = None  # authority of the broker's certificate, where it is not a public one
    agent_domain: str | None = None  # trust domain of the nodes' identities; the host of public_url if absent
    agent_namespaces: Annotated[dict[str, AgentNamespace], NoDecode] = Field(default_factory=dict)  # by name, as JSON

    key_vault_url: str | None = None
    key_vault_ca_file: str | None = None  # authority of the vault's certificate, where it is not a public one
    secrets_folder: str | None = None

    smtp_host: str | None = None  # none: no mail is sent, and whoever invites is shown the link
    smtp_port: int = Field(default=587, ge=1, le=65_535)
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    smtp_from: str | None = None
    smtp_ca_file: str | None = None  # authority of the mail server's certificate, where it is not a public one
    invitation_url: str | None = (
        None  # of the page that takes an invitation's secret: `https://.../?invitation={token}`
    )

    trusted_issuers: Annotated[tuple[TrustedIssuer, ...], NoDecode] = ()  # as JSON: [{"issuer": ..., "jwks_uri": ...}]
    cursor_key: SecretStr | None = None
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    body_limit_bytes: int = Field(default=1_048_576, ge=1024, le=16_777_216)
    rate_limits: bool = True
    compare_pause_seconds: float = Field(
        default=60.0, gt=0
    )  # how long after a change a node is compared with the store
    warm_up: bool = True

    telemetry_exporter: Literal["none", "console", "otlp"] = "none"
    telemetry_endpoint: str | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        return value

    @field_validator("agent_namespaces", "trusted_issuers", mode="before")
    @classmethod
    def _read_json(cls, value: object) -> object:
        """Read here: the library would stop at the first that is no JSON, with an error of its own that names no other."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"not JSON ({error})") from None

    @field_validator("public_url", "cosmos_endpoint")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    # What depends on another setting is checked where the later one is read: so a mistake here stands in the one error
    # beside all others, which a check of the finished model would not (there is none while a field is wrong).

    @field_validator("public_url", "cors_origins", "trusted_issuers")
    @classmethod
    def _is_encrypted(cls, value: Any, info: ValidationInfo) -> Any:
        addresses = (value,) if isinstance(value, str) else [getattr(each, "jwks_uri", each) for each in value]
        plain = [address for address in addresses if not address.startswith("https://")]
        if plain and _production(info):
            raise ValueError(f"{', '.join(plain)} must be https:// in production")
        return value

    @field_validator("cursor_key")
    @classmethod
    def _has_a_key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and _production(info):
            raise ValueError("missing: in production page cursors and kept replies need a key of their own")
        return value

    @field_validator("secrets_folder")
    @classmethod
    def _has_a_place(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("key_vault_url") is None and _production(info):
            raise ValueError("missing, and so is MERIDIAN_KEY_VAULT_URL: secrets need a place")
        return value

    @field_validator("smtp_from", "invitation_url")
    @classmethod
    def _is_there_for_mail(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("smtp_host") is not None:
            raise ValueError("missing: mail is sent (MERIDIAN_SMTP_HOST)")
        if value is not None and info.field_name == "invitation_url" and "{token}" not in value:
            raise ValueError("must hold {token}, where the secret of the link goes")
        return value

    @field_validator("smtp_security")
    @classmethod
    def _is_secure(cls, value: str, info: ValidationInfo) -> str:
        if value == "none" and _production(info):
            raise ValueError("must be starttls or tls in production")
        return value

    def cursor_secret(self) -> bytes:
        """The key of page cursors and of kept replies that hold a secret: MERIDIAN_CURSOR_KEY, or in development one that follows from the store's."""
        if self.cursor_key is not None:
            return self.cursor_key.get_secret_value().encode()
        store = self.cosmos_key.get_secret_value() if self.cosmos_key else ""
        return f"development cursors of {self.cosmos_endpoint} {store}".encode()

    @property
    def development(self) -> bool:
        """Whether conveniences of development (request charge in replies, plain-http origins) are on."""
        return self.environment == "development"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the parameters are the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the environment, and what a test passes by hand: no file is read behind anyone's back."""
        return init_settings, env_settings


def _production(info: ValidationInfo) -> bool:
    return info.data.get("environment") == "production"


def _environment_name(location: tuple[int | str, ...]) -> str:
    """The environment variable that an error of pydantic speaks about, and the place in it where it holds JSON."""
    if not location:
        return "settings"
    name = str(location[0])
    variable = f"MERIDIAN_{name.upper()}" if name in Settings.model_fields else name
    return ".".join((variable, *map(str, location[1:])))


def load_settings(values: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings from the environment; `values` (field names) win over it.

    Raises:
        SettingsError: with one line that names every missing or bad setting.
    """
    try:
        return Settings(**(values or {}))
    except ValidationError as error:
        parts = []
        for problem in error.errors(include_url=False, include_input=False):
            name = _environment_name(problem["loc"])
            reason = problem["msg"].removeprefix("Value error, ")
            parts.append(f"{name} is missing" if problem["type"] == "missing" else f"{name}: {reason}")
        raise SettingsError("settings: " + "; ".join(sorted(parts))) from None


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read at first use."""
    return load_settings()
