"""The containers: one table, from which the local bootstrap creates them. In Azure, Bicep creates the same ones.

Containers are cut by life and reach, not by type: what must change together lives in one partition of one container,
so that a single transactional batch can change it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from shared.store.documents import INDEX

DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Container:
    """One container of the database.

    `default_ttl` is in seconds; -1 means that only items with a `ttl` of their own expire; None means none ever does.
    Indexed are the partition key, by which each query narrows, and what a document's model names (`Document.indexed`):
    each indexed value makes each write dearer. `id` is always indexed. Where `queried` is False there are only point
    reads, and nothing else is.
    """

    name: str
    partition_key: tuple[str, ...]
    holds: str
    default_ttl: int | None = -1
    queried: bool = True

    @property
    def sub_key(self) -> str | None:
        """The document field of the second level of a hierarchical key."""
        return self.partition_key[1].removeprefix("/") if len(self.partition_key) > 1 else None

    def indexing_policy(self) -> dict[str, Any]:
        """The indexing policy as the service's REST API takes it."""
        paths = (*(f"{path}/?" for path in self.partition_key), f"/{INDEX}/*") if self.queried else ()
        return {
            "indexingMode": "consistent",
            "automatic": True,
            "includedPaths": [{"path": path} for path in paths],
            "excludedPaths": [{"path": "/*"}],
        }


CONTAINERS: Final = {
    container.name: container
    for container in (
        Container(
            "tenants",
            ("/org_id",),
            "organization, members, roles, nodes, servers, ports, reservations, tasks, schedules, subscription, audit trail, requests' keys",
        ),
        Container("usage", ("/org_id", "/period"), "append-only usage ledger and its rollups"),
        Container(
            "metrics",
            ("/org_id", "/source_id"),
            "one-minute samples, hourly rollups",
            default_ttl=31 * DAY,
        ),
        Container(
            "fleet",
            ("/shard",),
            "liveness of many nodes in one document: ids and times only, nothing of a tenant's content",
            queried=False,
        ),
        Container(
            "directory",
            ("/key",),
            "what is looked up before the tenant is known; nonces, idempotency records and rate windows by TTL",
            queried=False,
        ),
    )
}
