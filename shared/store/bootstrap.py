"""`python -m shared.store.bootstrap`: create the database and its containers where no Bicep does it.

The application itself never creates a container: with the roles it has in Azure it could not.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shared.platform.settings import Settings, SettingsError, load_settings
from shared.store.containers import CONTAINERS, Container

if TYPE_CHECKING:
    from azure.cosmos.aio import DatabaseProxy


class OtherLayout(Exception):
    """The store holds what another version wrote."""


async def bootstrap(settings: Settings) -> list[str]:
    """Create what is missing; the names of the containers that were created. Existing ones are left as they are.

    Raises:
        OtherLayout: containers are there that another version made: its documents would not be found by ours.
    """
    from azure.cosmos.aio import CosmosClient

    if settings.cosmos_key is None:
        raise SettingsError("COSMOS_KEY is missing: in Azure the containers are made by the deployment, not by this")
    async with CosmosClient(settings.cosmos_endpoint, credential=settings.cosmos_key.get_secret_value()) as client:
        database = await client.create_database_if_not_exists(settings.cosmos_database)
        present = {str(properties["id"]): properties async for properties in database.list_containers()}
        if other := [name for name, container in CONTAINERS.items() if _differs(present.get(name), container)]:
            raise OtherLayout(
                f"another version of Meridian made {', '.join(other)} of {settings.cosmos_endpoint}, and what is stored there "
                "would not be found: go on with that version, or (on one machine) forget it with `make clean-data`"
            )
        missing = [container for name, container in CONTAINERS.items() if name not in present]
        for container in missing:
            await _create(database, container)
    return [container.name for container in missing]


def _differs(found: Mapping[str, Any] | None, wanted: Container) -> bool:
    """Whether a container is indexed otherwise than ours are: what a query asks for lies elsewhere in its documents."""
    if found is None:
        return False
    there, ours = found["indexingPolicy"], wanted.indexing_policy()
    return any(_paths(there, part) != _paths(ours, part) for part in ("includedPaths", "excludedPaths"))


def _paths(policy: Mapping[str, Any], part: str) -> set[str]:
    """The service adds the ETag's path by itself."""
    return {str(each["path"]) for each in policy.get(part, ())} - {'/"_etag"/?'}


async def _create(database: DatabaseProxy, container: Container) -> None:
    from azure.cosmos import PartitionKey

    options: dict[str, Any] = {"indexing_policy": container.indexing_policy()}
    if container.default_ttl is not None:
        options["default_ttl"] = container.default_ttl
    paths = container.partition_key
    key = PartitionKey(path=list(paths), kind="MultiHash") if len(paths) > 1 else PartitionKey(path=paths[0])
    await database.create_container_if_not_exists(container.name, key, **options)


def main() -> int:
    """Create and report; 2 with one clear line if that cannot be done."""
    from azure.core.exceptions import AzureError

    try:
        created = asyncio.run(bootstrap(load_settings()))
    except (SettingsError, OtherLayout) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except AzureError as error:
        sys.stderr.write(f"the store does not answer as it should: {str(error).splitlines()[0]}\n")
        return 2
    sys.stdout.write(f"created {', '.join(created)}\n" if created else "nothing to create\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
