"""Changing servers: name, labels, variables, resources, the template's version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shared.audit.models import Actor
from shared.platform.errors import AlreadyExists, PreconditionFailed
from shared.servers.asking import shown, target_of
from shared.servers.demand import amount_of, spec_of
from shared.servers.errors import NameTaken
from shared.servers.models import NameHeld, Server, ServerObserved, TemplateRef, name_id
from shared.servers.porting import ports_after, same_ports
from shared.servers.wishes import complete_template, resources_for, values_for
from shared.templates.versions import effect

if TYPE_CHECKING:
    from shared.audit.service import Audit
    from shared.platform.ids import OrgId
    from shared.servers.models import NodeLedger
    from shared.servers.reserving import Reserver
    from shared.servers.sealing import Sealer
    from shared.servers.views import ServerEdit
    from shared.store.scoped import Store
    from shared.templates.models import Scalar, Template
    from shared.templates.service import Found, Templates


class Editing:
    """See the module."""

    def __init__(self, store: Store, audit: Audit, templates: Templates, reserver: Reserver, sealer: Sealer) -> None:
        self._store, self._audit = store, audit
        self._templates, self._reserver, self._sealer = templates, reserver, sealer

    async def edit(
        self, org: OrgId, known: tuple[Server, ServerObserved | None], body: ServerEdit, *, etag: str | None, by: Actor
    ) -> tuple[Server, ServerObserved | None, str]:
        """Change a server that was just read; with it comes what it takes to be in force: "none", "restart" or "reinstall".

        Raises:
            NameTaken, NoRoom, VariablesInvalid, PreconditionFailed: as their names say.
        """
        server, observed = known
        if etag is not None and server.etag != etag:
            raise PreconditionFailed(f"Server {server.id} was changed in the meantime")
        before = await self._templates.find(org, server.template.id, server.template.version)
        after = before
        if body.version is not None:
            after = await complete_template(self._templates, org, server.template.id, body.version)
        await self._templates.keep(org, after)
        secrets = await self._sealer.open(server.id, server.spec.get("sealed", ""))
        changed, secret = await self._changed(server, secrets, body, after)
        changed, held = await self._held(org, server, changed, before.template, after.template)
        needs = effect(spec_of(server, before.template, secrets), spec_of(changed, after.template, secret))
        if needs == "reinstall":
            desired = changed.desired.model_copy(update={"generation": changed.desired.generation + 1})
            changed = changed.having(desired=desired)
        return await self._write(org, server, changed, held, by), observed, needs

    async def _held(
        self, org: OrgId, server: Server, changed: Server, before: Template, after: Template
    ) -> tuple[Server, NodeLedger | None]:
        """The server with the ports that it needs now, and its node's ledger if it holds something else by that."""
        same = same_ports(before, after)
        if server.node_id is None or (same and changed.resources == server.resources):
            return changed, None
        find = None if same else (lambda node: ports_after(node, server, before, after))
        ledger, ports = await self._reserver.changed(org, server, amount_of(changed.resources), find)
        return changed.having(ports=dict(ports)), ledger

    async def _changed(
        self, server: Server, secrets: Mapping[str, Scalar], body: ServerEdit, after: Found
    ) -> tuple[Server, Mapping[str, Scalar]]:
        """The changed server, and its secret values."""
        kept = {n: v for n, v in {**server.variables, **secrets}.items() if after.template.variable(n)}
        touched = body.variables or {}
        values = values_for(after.template, {**kept, **touched}, changed=touched)
        changed = server.having(
            name=body.name or server.name,
            labels=dict(server.labels if body.labels is None else body.labels),
            resources=resources_for(after.template, body.resources or server.resources),
            template=TemplateRef(id=after.id, key=after.template.key, version=after.version),
            spec={**server.spec, **values.kept(await self._sealer.seal(server.id, values.secret))},
            revision=server.revision + 1,
        )
        return changed, values.secret

    async def _write(self, org: OrgId, before: Server, after: Server, held: NodeLedger | None, by: Actor) -> Server:
        batch = self._store.batch(org)
        if after.name != before.name:
            batch.create(NameHeld(id=name_id(after.name), org_id=org, server_id=before.id))
            batch.delete(NameHeld, name_id(before.name))
        if held is not None:
            batch.replace(held)
        entry = self._audit.entry(
            org, by, "server.changed", target_of(before), before=shown(before), after=shown(after)
        )
        batch.replace(after).create(entry)
        try:
            stored = await batch.commit()
        except AlreadyExists:
            raise NameTaken(f"there is a server named {after.name}") from None
        return next(document for document in stored if isinstance(document, Server))
