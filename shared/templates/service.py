"""Templates of the system (shipped files), of organizations, and public ones."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from shared.audit.models import Actor, Target
from shared.audit.service import Audit
from shared.platform.errors import AlreadyExists, NotFound, PreconditionFailed
from shared.platform.ids import OrgId
from shared.store.batch import again_on_conflict
from shared.store.documents import Document
from shared.store.query import Slice
from shared.store.scoped import Store
from shared.templates.documents import as_data, parse
from shared.templates.eggs import Note
from shared.templates.errors import TemplateNotFound, TemplateReadOnly
from shared.templates.models import Template
from shared.templates.stored import PUBLIC, SYSTEM, TemplateHead, TemplateVersion, version_id

SHIPPED: Final = Path(__file__).resolve().parents[2] / "templates"
MAX_CACHED: Final = 500


@dataclass(frozen=True, slots=True)
class Found:
    """A template at one version."""

    id: str
    version: int
    template: Template
    scope: Literal["system", "organization", "public"]


@lru_cache(maxsize=1)
def shipped() -> dict[str, Template]:
    """Our own templates by key; read once, at first use."""
    found = [parse(path.read_text()) for path in sorted(SHIPPED.glob("*.yaml"))]
    return {template.key: template for template in found}


class Templates:
    """What the doors and other domains ask about templates."""

    def __init__(self, store: Store, audit: Audit) -> None:
        self._store, self._audit = store, audit
        self._versions: dict[tuple[OrgId, str, int], Template] = {}

    async def find(self, org: OrgId, ref: str, version: int | None = None) -> Found:
        """A template by its id, or one of ours by its key; the newest version unless one is named.

        Raises:
            TemplateNotFound: there is none for this organization.
        """
        key = ref.removeprefix(SYSTEM)
        ours = shipped().get(key)
        if ours is not None and version in (None, ours.version):
            return Found(SYSTEM + key, ours.version, ours, "system")
        if ours is not None:
            assert version is not None
            return Found(SYSTEM + key, version, await self._version(org, SYSTEM + key, version), "system")
        scope: Literal["organization", "public"] = "organization"
        if version is None:
            head = await self._store.find(org, TemplateHead, ref)
            if head is None:
                head, scope = await self._store.find(PUBLIC, TemplateHead, ref), "public"
            if head is None:
                raise TemplateNotFound(f"there is no template {ref[:80]}")
            version = head.latest
        return Found(ref, version, await self._version(org, ref, version), scope)

    async def _version(self, org: OrgId, template_id: str, version: int) -> Template:
        cached = self._versions.get((org, template_id, version))
        if cached is not None:
            return cached
        for place in (org, PUBLIC):
            kept = await self._store.find(place, TemplateVersion, version_id(template_id, version))
            if kept is not None:
                return self._remember(org, template_id, kept.version, kept.template())
        raise TemplateNotFound(f"there is no version {version} of the template {template_id[:80]}")

    def _remember(self, org: OrgId, template_id: str, version: int, template: Template) -> Template:
        if len(self._versions) >= MAX_CACHED:
            self._versions.pop(next(iter(self._versions)))
        self._versions[(org, template_id, version)] = template
        return template

    async def keep(self, org: OrgId, found: Found) -> None:
        """Keep a version in the organization, so that its servers have it whatever becomes of the original."""
        if found.scope == "organization" or (org, found.id, found.version) in self._versions:
            return
        document = TemplateVersion(
            id=version_id(found.id, found.version),
            org_id=org,
            template_id=found.id,
            version=found.version,
            spec=as_data(found.template),
        )
        with contextlib.suppress(AlreadyExists):  # its first server was made before
            await self._store.create(org, document)
        self._remember(org, found.id, found.version, found.template)

    async def create(
        self,
        org: OrgId,
        template_id: str,
        template: Template,
        notes: Sequence[Note] = (),
        *,
        by: Actor,
        action: str = "template.created",
    ) -> TemplateHead:
        """Keep a new template of the organization; `action` is how the trail calls it."""
        template = template.model_copy(update={"version": 1})
        head = _head(org, template_id, template)
        entry = self._audit.entry(org, by, action, _target(head), after=_shown(head))
        batch = self._store.batch(org).create(head).create(_version(org, template_id, template, notes)).create(entry)
        return _stored(await batch.commit())

    async def add_version(
        self, org: OrgId, template_id: str, template: Template, *, etag: str | None, by: Actor
    ) -> TemplateHead:
        """A new version of an organization's template.

        Raises:
            TemplateReadOnly: it is not the organization's own.
            PreconditionFailed: it was changed since it was read.
        """
        head = await self.head(org, template_id)
        version = head.latest + 1
        template = template.model_copy(update={"version": version})
        changed = _head(org, template_id, template).having(
            latest=version, created_at=head.created_at, etag=etag or head.etag, published=head.published
        )
        entry = self._audit.entry(
            org, by, "template.changed", _target(changed), before=_shown(head), after=_shown(changed)
        )
        batch = self._store.batch(org).replace(changed).create(_version(org, template_id, template, ())).create(entry)
        stored = _stored(await batch.commit())
        if stored.published:
            await self._to_public(org, stored)
        return stored

    async def head(self, org: OrgId, template_id: str) -> TemplateHead:
        """An organization's own template.

        Raises:
            TemplateReadOnly: it is one of ours, or public.
            TemplateNotFound: there is none.
        """
        if template_id.removeprefix(SYSTEM) in shipped():
            raise TemplateReadOnly(f"{template_id} is one of the console's own: export it, and import it as yours")
        head = await self._store.find(org, TemplateHead, template_id)
        if head is None:
            if await self._store.find(PUBLIC, TemplateHead, template_id) is not None:
                raise TemplateReadOnly(f"{template_id} belongs to another organization")
            raise TemplateNotFound(f"there is no template {template_id[:80]}")
        return head

    async def publish(self, org: OrgId, template_id: str, *, by: Actor) -> TemplateHead:
        """Let every organization use the newest version. It is written down here before anybody sees it there."""
        published = await self._mark(org, template_id, published=True, action="template.published", by=by)
        await self._to_public(org, published)
        return published

    async def withdraw(self, org: OrgId, template_id: str, *, by: Actor) -> TemplateHead:
        """Take it back from the public; servers that were made of it keep their version."""
        withdrawn = await self._mark(org, template_id, published=False, action="template.withdrawn", by=by)
        with contextlib.suppress(NotFound):
            await self._store.delete(PUBLIC, TemplateHead, template_id)
        return withdrawn

    async def delete(self, org: OrgId, template_id: str, *, etag: str | None, by: Actor) -> None:
        """Remove it from the list; its versions stay for the servers that were made of them."""
        head = await self.head(org, template_id)
        if etag is not None and head.etag != etag:
            raise PreconditionFailed(f"the template {template_id} was changed in the meantime")
        if head.published:
            head = await self.withdraw(org, template_id, by=by)
        entry = self._audit.entry(org, by, "template.deleted", _target(head), before=_shown(head))
        await self._store.batch(org).delete(TemplateHead, template_id, etag=head.etag).create(entry).commit()

    async def _mark(self, org: OrgId, template_id: str, *, published: bool, action: str, by: Actor) -> TemplateHead:
        async def attempt() -> TemplateHead:
            head = await self.head(org, template_id)
            changed = head.having(published=published)
            entry = self._audit.entry(org, by, action, _target(head), before=_shown(head), after=_shown(changed))
            return _stored(await self._store.batch(org).replace(changed).create(entry).commit())

        return await again_on_conflict(attempt)

    async def _to_public(self, org: OrgId, head: TemplateHead) -> None:
        """Put the newest version where everybody finds it. The version first: a head always leads to one."""
        kept = await self._store.get(org, TemplateVersion, version_id(head.id, head.latest))
        await self._store.upsert(PUBLIC, kept.having(org_id=PUBLIC, etag=None))
        await self._store.upsert(PUBLIC, head.having(org_id=PUBLIC, owner=str(org), etag=None))

    async def page(
        self, org: OrgId, scope: str, *, limit: int, cursor: str | None, game: str | None
    ) -> Slice[TemplateHead]:
        """Templates of one scope."""
        if scope == "system":
            heads = [
                _head(org, SYSTEM + t.key, t).having(latest=t.version)
                for t in shipped().values()
                if game in (None, t.game)
            ]
            return Slice(heads, None)
        place = PUBLIC if scope == "public" else org
        return await self._store.page(
            place, TemplateHead, filters={"game": game}, sort="name", limit=limit, cursor=cursor
        )

    async def notes(self, org: OrgId, template_id: str) -> list[dict[str, str]]:
        """What an import could not carry over."""
        kept = await self._store.find(org, TemplateVersion, version_id(template_id, 1))
        return [] if kept is None else kept.steps


def _head(org: OrgId, template_id: str, template: Template) -> TemplateHead:
    return TemplateHead(
        id=template_id,
        org_id=org,
        key=template.key,
        name=template.name,
        game=template.game,
        draft=bool(template.draft),
        description=template.description,
    )


def _stored(written: Sequence[Document | None]) -> TemplateHead:
    """The head, which is the first of its batch."""
    head = written[0]
    assert isinstance(head, TemplateHead)
    return head


def _target(head: TemplateHead) -> Target:
    return Target(kind="template", id=head.id, name=head.name)


def _shown(head: TemplateHead) -> dict[str, Any]:
    """What the audit trail says of a template."""
    return {"key": head.key, "name": head.name, "version": head.latest, "published": head.published}


def _version(org: OrgId, template_id: str, template: Template, notes: Sequence[Note]) -> TemplateVersion:
    found: list[dict[str, Any]] = [{"part": n.part, "verdict": n.verdict, "reason": n.reason} for n in notes]
    return TemplateVersion(
        id=version_id(template_id, template.version),
        org_id=org,
        template_id=template_id,
        version=template.version,
        spec=as_data(template),
        steps=found,
    )
