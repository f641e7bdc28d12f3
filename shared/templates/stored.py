"""Templates as they are kept: a head that names the newest version, and versions that never change."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from shared.platform.ids import OrgId
from shared.store.documents import Document
from shared.templates.documents import validate
from shared.templates.models import Template

#: A partition that belongs to no organization: what organizations have published for all. No organization has this id.
PUBLIC: Final = OrgId("public")
SYSTEM: Final = "system:"


class TemplateHead(Document):
    """A template of an organization."""

    indexed: ClassVar[tuple[str, ...]] = ("name", "game")
    type: Literal["template"] = "template"
    key: str
    name: str
    game: str
    latest: int = 1
    draft: bool = False
    archived: bool = False
    published: bool = False
    owner: str = ""  # in the public partition: whose it is
    description: str = ""


class TemplateVersion(Document):
    """One version; its content never changes."""

    type: Literal["template_version"] = "template_version"
    template_id: str
    version: int
    spec: dict[str, Any] = Field(default_factory=dict)
    steps: list[dict[str, str]] = Field(default_factory=list)  # notes of an import

    def template(self) -> Template:
        """The definition."""
        return validate(self.spec)


def version_id(template_id: str, version: int) -> str:
    """The id of a version's document."""
    return f"{template_id}:{version}"
