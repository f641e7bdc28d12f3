"""What every stored document has, and how it goes to and from the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from shared.platform.clock import Timestamp
from shared.platform.errors import Internal
from shared.platform.ids import OrgId

#: Stands in a new document until the store stamps it with the time of the write.
UNSTAMPED = datetime(1970, 1, 1, tzinfo=UTC)


#: The part of a document that is indexed.
INDEX: Final = "ix"


class Stored(BaseModel):
    """The part that documents of every container share. Frozen: a change makes a new one with `having`."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, defer_build=True)

    container: ClassVar[str]
    newest: ClassVar[int]

    id: str = Field(min_length=1, max_length=255, pattern=r"^[^/\\?#\x00-\x1f\x7f]+$")
    type: str
    schema_version: int = 1
    etag: str | None = Field(default=None, alias="_etag")
    created_at: Timestamp = UNSTAMPED
    updated_at: Timestamp = UNSTAMPED
    ttl: int | None = Field(default=None, ge=1)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Keep today's version at hand: pydantic's way to a field's default costs more than reading a whole row."""
        cls.newest = cls.__pydantic_fields__["schema_version"].default

    @field_validator("id")
    @classmethod
    def _is_no_path(cls, id: str) -> str:
        if id in (".", ".."):
            raise ValueError("an id that a URL would swallow")
        return id

    def having(self, **changes: Any) -> Self:
        """The same document with these fields changed, validated as a whole."""
        return type(self).model_validate({**{name: getattr(self, name) for name in type(self).model_fields}, **changes})

    def to_wire(self) -> dict[str, Any]:
        """The JSON object to store: aliases used, the ETag and an unset TTL left out."""
        absent = {"etag"} if self.ttl is not None else {"etag", "ttl"}
        return self.model_dump(mode="json", by_alias=True, exclude=absent)

    @classmethod
    def from_wire(cls, raw: dict[str, Any]) -> Self:
        """Read a stored object, brought up to today's shape by `upgrade` first.

        Raises:
            Internal: it was written by a newer version of the program; reading on would lose its new fields.
        """
        version, known = raw.get("schema_version", 1), cls.newest
        if version > known:
            raise Internal(f"{cls.__name__} {raw.get('id')} has schema version {version}, this program knows {known}")
        raw = cls.upgrade(raw, version) if version < known else raw
        return cls.__pydantic_validator__.validate_python(raw)  # type: ignore[no-any-return]

    @classmethod
    def upgrade(cls, raw: dict[str, Any], version: int) -> dict[str, Any]:  # noqa: ARG003 - for overriders
        """Turn an object of an older schema version into one of the present. A model that changed overrides this."""
        return {**raw, "schema_version": cls.newest}


class Document(Stored):
    """A document of one organization. A subclass gives `type` a literal of its own (`type: Literal["server"] = "server"`).

    For a container with a hierarchical key (`usage`, `metrics`) the subclass has the field of the second level too
    (`period`, `source_id`), and reads name its value with `sub=`.
    """

    container: ClassVar[str] = "tenants"
    #: What queries ask for beside id and type, as `state` or `template.id`. Every value costs at each write of the
    #: document, so only what narrows well belongs here; other fields may be filtered by, document by document.
    indexed: ClassVar[tuple[str, ...]] = ()
    #: What every id of the model begins with, for one that is written often and has indexed fields: its lists narrow by the
    #: id, which is indexed at no price, where others narrow by their type, which is one more indexed value.
    id_prefix: ClassVar[str] = ""

    org_id: OrgId = Field(min_length=1)

    def to_wire(self) -> dict[str, Any]:
        """As `Stored.to_wire`; under `ix` stands once more what is indexed, and the containers index nothing else."""
        body = super().to_wire()
        if self.id_prefix and not self.id.startswith(self.id_prefix):
            raise ValueError(f"{self.id} does not begin with {self.id_prefix}: no list would find it")
        body[INDEX] = {} if self.id_prefix else {"type": body["type"]}
        for field in self.indexed:
            _copy(body, body[INDEX], field.split("."))
        return body

    @classmethod
    def type_name(cls) -> str:
        """The literal that tells documents of this model from others in the container."""
        return str(cls.model_fields["type"].default)


def _copy(source: Any, target: dict[str, Any], steps: list[str]) -> None:
    """Copy the value at a path; what is not there is left out."""
    for step in steps[:-1]:
        source = source.get(step)
        if source is None:
            return
        target = target.setdefault(step, {})
    target[steps[-1]] = source.get(steps[-1])
