"""One code base for both clients: `await sdk(...)` settles what either of them returns."""

from __future__ import annotations

import inspect
import secrets
from dataclasses import dataclass, field
from typing import Any

from tests.contract.cosmos.target import Target


async def sdk(result: Any) -> Any:
    """Await an awaitable, gather an iterable of either kind, pass on anything else."""
    if inspect.isawaitable(result):
        return await result
    if hasattr(result, "__aiter__"):
        return [item async for item in result]
    if hasattr(result, "__next__"):
        return list(result)
    return result


async def pages(pager: Any) -> list[list[Any]]:
    """All pages of a paged result."""
    if hasattr(pager, "__anext__"):
        return [[item async for item in page] async for page in pager]
    return [list(page) for page in pager]


async def one_page(pager: Any) -> list[Any]:
    """The next page of a paged result."""
    if hasattr(pager, "__anext__"):
        return [item async for item in await pager.__anext__()]
    return list(next(pager))


@dataclass
class Cosmos:
    """A client, sync or aio, on the target's database, and a tenant that no other check uses."""

    target: Target
    mode: str
    client: Any
    tenant: str = field(default_factory=lambda: f"t-{secrets.token_hex(6)}")
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Any:
        return self.client.get_database_client(self.target.database)

    def container(self, shape: str) -> Any:
        return self.database.get_container_client(shape)

    @property
    def plain(self) -> Any:
        return self.container("plain")

    def item(self, item_id: str = "a", **fields: Any) -> dict[str, Any]:
        return {"id": item_id, "tenant": self.tenant, **fields}

    async def fill(self, *items: dict[str, Any], shape: str = "plain") -> None:
        for item in items:
            await sdk(self.container(shape).create_item(item))

    async def query(self, text: str, shape: str = "plain", **options: Any) -> list[Any]:
        """A query within this check's own partition."""
        parameters = options.pop("parameters", None)
        options.setdefault("partition_key", self.tenant)
        named = None if parameters is None else [{"name": name, "value": value} for name, value in parameters.items()]
        found: list[Any] = await sdk(self.container(shape).query_items(text, parameters=named, **options))
        return found

    async def query_all(self, text: str, shape: str = "plain", **options: Any) -> list[Any]:
        """A query over all partitions."""
        if self.mode == "sync":
            options["enable_cross_partition_query"] = True
        parameters = [{"name": "@tenant", "value": self.tenant}]
        found: list[Any] = await sdk(self.container(shape).query_items(text, parameters=parameters, **options))
        return found

    def note_headers(self, headers: Any, _result: Any = None) -> None:
        """A `response_hook` that keeps the last headers."""
        self.headers = {name.lower(): value for name, value in dict(headers).items()}
