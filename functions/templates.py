"""Templates: the console's own, an organization's, and public ones; import of Pterodactyl eggs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from shared.audit.actors import actor_of
from shared.composition import services
from shared.http import Call, In, ListQuery, Out, Page, Reply, Routes
from shared.identity.permissions import Permission
from shared.platform.clock import Timestamp
from shared.templates.errors import TemplateInvalid, TemplateNotFound, TemplateReadOnly

if TYPE_CHECKING:
    from shared.templates.eggs import Imported
    from shared.templates.models import Template
    from shared.templates.stored import TemplateHead

routes = Routes("templates", services)
blueprint = routes.blueprint

MAX_TEXT = 262_144
MAX_EGG = 2_097_152  # Pelican's carry the game's picture


class TemplateList(ListQuery):
    """Which ones."""

    scope: Literal["system", "organization", "public"] = "system"
    game: str | None = None


class TemplateSource(In):
    """A template as YAML or JSON text."""

    source: str = Field(max_length=MAX_TEXT)


class EggSource(In):
    """An egg of Pterodactyl (PTDL_v1, PTDL_v2) or Pelican (PLCN_v1 to PLCN_v3), as JSON or YAML text.

    With `scripts`, an install script that is none of the usual things is carried over as it is, to be run in its own
    container on nodes that allow its image; it takes the permission `templates.scripts`.
    """

    egg: str = Field(max_length=MAX_EGG)
    save: bool = True
    scripts: bool = False


class TemplateView(Out):
    """A template in a list."""

    id: str
    key: str
    name: str
    game: str
    description: str
    version: int
    draft: bool
    published: bool
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, head: TemplateHead) -> TemplateView:
        """The view."""
        return cls(version=head.latest, **{n: getattr(head, n) for n in cls.model_fields if n != "version"})


class TemplateDetail(Out):
    """A template with its whole definition."""

    id: str
    version: int
    scope: str
    definition: dict[str, Any]
    notes: list[dict[str, str]] = Field(default_factory=list)


class VersionQuery(In):
    """The newest version unless one is named."""

    version: int | None = Field(None, ge=1)


class CompareQuery(In):
    """Two versions."""

    before: int = Field(ge=1)
    after: int = Field(ge=1)


class ChangeView(Out):
    """One difference."""

    path: str
    before: Any
    after: Any


class Comparison(Out):
    """What differs."""

    changes: list[ChangeView]


class ImportReport(Out):
    """The template that an egg became, and what is not as it was."""

    id: str | None
    definition: dict[str, Any]
    draft: list[str]
    notes: list[dict[str, str]]

    @classmethod
    def of(cls, imported: Imported, id: str | None) -> ImportReport:
        """The report; `id` is there when the template was kept."""
        from shared.templates.documents import as_data

        return cls(
            id=id,
            definition=as_data(imported.template),
            draft=list(imported.template.draft),
            notes=[{"part": n.part, "verdict": n.verdict, "reason": n.reason} for n in imported.notes],
        )


async def _may_run_scripts(call: Call, template: Template) -> None:
    """A script of strangers as root, if only in a container, is more than a template."""
    if any(step.get("kind") == "script" for step in template.install):
        await call.services.authorizer.authorise(call, Permission.TEMPLATES_SCRIPTS, None)


@routes.get("/v1/templates", permission=Permission.TEMPLATES_READ, narrowed="id")
async def list_templates(call: Call, query: TemplateList) -> Page[TemplateView]:
    """List templates of one scope."""
    found = await call.services.templates.page(
        call.org, query.scope, limit=query.limit, cursor=query.cursor, game=query.game
    )
    return call.page(found, TemplateView.of)


@routes.post(
    "/v1/templates",
    permission=Permission.TEMPLATES_CREATE,
    idempotent=True,
    status=201,
    response=TemplateView,
    problems=[TemplateInvalid],
)
async def create_template(call: Call, body: TemplateSource) -> Reply:
    """Create a template of the organization."""

    from shared.templates.documents import parse

    template = parse(body.source)
    await _may_run_scripts(call, template)
    made = await call.services.templates.create(call.org, call.new_id("tpl"), template, by=actor_of(call))
    return Reply(TemplateView.of(made), status=201, etag=made.etag, location=f"/v1/templates/{made.id}")


@routes.post(
    "/v1/templates/import-egg",
    permission=Permission.TEMPLATES_CREATE,
    idempotent=True,
    response=ImportReport,
    problems=[TemplateInvalid],
    body_limit=2 * MAX_EGG,
)
async def import_template(call: Call, body: EggSource) -> ImportReport:
    """Import an egg of Pterodactyl or Pelican; the report names what could not be carried over, and why."""

    from shared.templates.eggs import import_egg

    imported = import_egg(body.egg, scripts=body.scripts)
    await _may_run_scripts(call, imported.template)
    if not body.save:
        return ImportReport.of(imported, None)
    template_id = call.new_id("tpl")
    await call.services.templates.create(
        call.org, template_id, imported.template, imported.notes, by=actor_of(call), action="template.imported"
    )
    return ImportReport.of(imported, template_id)


@routes.get(
    "/v1/templates/{template_id}", permission=Permission.TEMPLATES_READ, resource="template_id", response=TemplateDetail
)
async def read_template(call: Call, template_id: str, query: VersionQuery) -> Reply:
    """Read a template at its newest version, or at one that is named."""

    from shared.templates.documents import as_data

    found = await call.services.templates.find(call.org, template_id, query.version)
    detail = TemplateDetail(id=found.id, version=found.version, scope=found.scope, definition=as_data(found.template))
    if found.scope != "organization":
        return Reply(detail)
    head = await call.services.templates.head(call.org, template_id)
    notes = await call.services.templates.notes(call.org, template_id)
    return Reply(detail.model_copy(update={"notes": notes}), etag=head.etag)


@routes.get(
    "/v1/templates/{template_id}/export",
    permission=Permission.TEMPLATES_READ,
    resource="template_id",
    media_type="application/yaml",
)
async def export_template(call: Call, template_id: str, query: VersionQuery) -> Reply:
    """A template as YAML."""

    from shared.templates.documents import export

    found = await call.services.templates.find(call.org, template_id, query.version)
    return Reply(export(found.template).encode(), content_type="application/yaml")


@routes.get("/v1/templates/{template_id}/compare", permission=Permission.TEMPLATES_READ, resource="template_id")
async def compare_template(call: Call, template_id: str, query: CompareQuery) -> Comparison:
    """What differs between two versions."""

    from shared.templates.versions import compare

    before = await call.services.templates.find(call.org, template_id, query.before)
    after = await call.services.templates.find(call.org, template_id, query.after)
    changes = compare(before.template, after.template)
    return Comparison(changes=[ChangeView(path=c.path, before=c.before, after=c.after) for c in changes])


@routes.put(
    "/v1/templates/{template_id}",
    permission=Permission.TEMPLATES_UPDATE,
    resource="template_id",
    response=TemplateView,
    problems=[TemplateInvalid, TemplateReadOnly, TemplateNotFound],
)
async def replace_template(call: Call, template_id: str, body: TemplateSource) -> Reply:
    """Give a template a new version. Its servers keep theirs until they are upgraded."""

    from shared.templates.documents import parse

    template = parse(body.source)
    await _may_run_scripts(call, template)
    head = await call.services.templates.add_version(
        call.org, template_id, template, etag=call.if_match, by=actor_of(call)
    )
    return Reply(TemplateView.of(head), etag=head.etag)


@routes.delete(
    "/v1/templates/{template_id}",
    permission=Permission.TEMPLATES_DELETE,
    resource="template_id",
    problems=[TemplateReadOnly, TemplateNotFound],
)
async def delete_template(call: Call, template_id: str) -> None:
    """Delete a template. Servers that were made of it keep their version."""
    await call.services.templates.delete(call.org, template_id, etag=call.if_match, by=actor_of(call))


@routes.post(
    "/v1/templates/{template_id}/publish",
    permission=Permission.TEMPLATES_UPDATE,
    resource="template_id",
    response=TemplateView,
    problems=[TemplateReadOnly, TemplateNotFound],
)
async def publish_template(call: Call, template_id: str) -> TemplateView:
    """Let every organization use a template."""
    return TemplateView.of(await call.services.templates.publish(call.org, template_id, by=actor_of(call)))


@routes.post(
    "/v1/templates/{template_id}/withdraw",
    permission=Permission.TEMPLATES_UPDATE,
    resource="template_id",
    response=TemplateView,
    problems=[TemplateReadOnly, TemplateNotFound],
)
async def withdraw_template(call: Call, template_id: str) -> TemplateView:
    """Take a template back from the public."""
    return TemplateView.of(await call.services.templates.withdraw(call.org, template_id, by=actor_of(call)))
