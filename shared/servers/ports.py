"""What this domain needs of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from shared.platform.ids import OrgId

if TYPE_CHECKING:
    from shared.placement.models import Node


class NodeSource(Protocol):
    """The organization's nodes, as placement sees them, without what is held there."""

    async def placeable(self, org: OrgId, *, within: float = ...) -> list[Node]:
        """All of them, as they were at most so many seconds ago; those included that take nothing: a refusal names them too."""

    async def still(self, org: OrgId, node: Node) -> bool:
        """Whether a node is what `placeable` said of it; if not, that is read anew next time."""


class Flows(Protocol):
    """What starts orchestrations and tells them things; the durable client is one."""

    async def start_new(
        self, orchestration_function_name: str, instance_id: str | None = None, client_input: Any = None
    ) -> str:
        """Begin."""

    async def raise_event(self, instance_id: str, event_name: str, event_data: Any = None) -> None:
        """Tell."""
