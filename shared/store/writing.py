"""One write of one document, certain of its own outcome.

The SDK sends a write again when the answer was 503, and we do after 408 and 449. If the first attempt had been applied
after all, the second one meets its own work:

```
create  -> applied, answer lost -> sent again -> 409 "exists already"      (it is ours)
replace -> applied, answer lost -> sent again -> 412 "was changed"         (by us)
```
So every write puts a random `write_id` into the document. A 409 or 412 is followed by one read: if the stored document
carries our `write_id`, the write has succeeded, and only otherwise was there somebody else.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final, Literal

from shared.platform.errors import AlreadyExists, Fault, NotFound, PreconditionFailed

if TYPE_CHECKING:
    from shared.store.client import Database

Operation = Literal["create", "replace", "upsert"]
PartitionKey = str | list[str]


_ID: Final = re.compile(r"^[^/\\?#\x00-\x1f\x7f]{1,255}$")


def new_write_id() -> str:
    """A mark that no other write has."""
    return os.urandom(9).hex()


def if_match(etag: str | None) -> dict[str, Any]:
    """The SDK's arguments for "only if it still has this ETag"."""
    if etag is None:
        return {}
    from azure.core import MatchConditions

    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


async def write(
    database: Database,
    operation: Operation,
    container: str,
    key: PartitionKey,
    body: dict[str, Any],
    *,
    what: str,
    etag: str | None = None,
) -> dict[str, Any]:
    """Write a document; what is stored now.

    Raises:
        AlreadyExists: a create, and somebody else's document has the id.
        PreconditionFailed: a replace, and somebody else changed it.
        NotFound: a replace, and there is nothing.
        Fault: the store's other refusals.
    """
    id, mark = str(body["id"]), new_write_id()
    body["write_id"] = mark

    def act(proxy: Any, hook: Any) -> Any:
        if operation == "create":
            return proxy.create_item(body, response_hook=hook)
        if operation == "upsert":
            return proxy.upsert_item(body, response_hook=hook)
        return proxy.replace_item(id, body, response_hook=hook, **if_match(etag))

    try:
        return dict(await database.call(operation, container, what, act, repeatable=True))
    except (AlreadyExists, PreconditionFailed) as refusal:
        return await ours_or(refusal, database, container, key, id, mark, what)


async def ours_or(
    refusal: Fault, database: Database, container: str, key: PartitionKey, id: str, mark: str, what: str
) -> dict[str, Any]:
    """The stored document if it carries our mark.

    Raises:
        Fault: the given refusal, if it does not.
    """
    try:
        stored = await read(database, container, key, id, what)
    except NotFound:
        raise refusal from refusal.__cause__
    if stored.get("write_id") != mark:
        raise refusal from refusal.__cause__
    return stored


def check_id(id: str, what: str) -> None:
    """Ids that no document can have are not sent: in a URL they would name something else (`..`), or nothing.

    Raises:
        NotFound: there can be no such thing.
    """
    if not _ID.match(id) or id in (".", ".."):
        raise NotFound(f"{what[:200]} does not exist")


async def read(database: Database, container: str, key: PartitionKey, id: str, what: str) -> dict[str, Any]:
    """One point read.

    Raises:
        NotFound: there is none.
    """
    check_id(id, what)
    found = await database.call(
        "read",
        container,
        what,
        lambda proxy, hook: proxy.read_item(id, partition_key=key, response_hook=hook),
        repeatable=True,
    )
    return dict(found)
