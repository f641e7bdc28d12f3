"""What the suite runs against: a local endpoint of its own, Microsoft's emulator, or a real account.

COSMOS_TEST_ENDPOINT   unset: `local.cosmos` is started on a free port; set: that endpoint
COSMOS_TEST_KEY        its key; or COSMOS_TEST_AAD=1 for a token of the environment
COSMOS_TEST_TARGET     local, emulator or azure (default: azure when an endpoint is given)
COSMOS_TEST_DATABASE   an existing database, for accounts without rights to make one
COSMOS_TEST_RUN_ID     part of the names that are made, so that two runs do not meet
"""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass, field
from typing import Any

from azure.cosmos import CosmosClient, DatabaseProxy, PartitionKey
from azure.cosmos.aio import CosmosClient as AsyncCosmosClient
from azure.cosmos.exceptions import CosmosResourceExistsError

KEY = base64.b64encode(b"a key that only tests use, and every test may know").decode()

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {"partition_key": PartitionKey("/tenant")},
    "hierarchical": {"partition_key": PartitionKey(["/tenant", "/user"])},
    "unique": {
        "partition_key": PartitionKey("/tenant"),
        "unique_key_policy": {"uniqueKeys": [{"paths": ["/email"]}, {"paths": ["/first", "/last"]}]},
    },
    "ttl": {"partition_key": PartitionKey("/tenant"), "default_ttl": -1},
    "composite": {
        "partition_key": PartitionKey("/tenant"),
        "indexing_policy": {
            "compositeIndexes": [
                [{"path": "/a", "order": "ascending"}, {"path": "/b", "order": "descending"}],
            ]
        },
    },
    "nested": {"partition_key": PartitionKey("/owner/id")},
}


def _credential() -> Any:
    if os.environ.get("COSMOS_TEST_AAD"):
        from azure.identity import DefaultAzureCredential

        return DefaultAzureCredential()
    return os.environ.get("COSMOS_TEST_KEY", KEY)


@dataclass(slots=True)
class Target:
    """An endpoint with the containers that the checks share."""

    endpoint: str
    kind: str
    database: str = field(default="")
    made: bool = False

    def client(self, **options: Any) -> CosmosClient:
        """A sync client."""
        return CosmosClient(self.endpoint, _credential(), **options)

    def async_client(self, **options: Any) -> AsyncCosmosClient:
        """An aio client."""
        return AsyncCosmosClient(self.endpoint, _credential(), **options)

    def prepare(self) -> None:
        """Make the database and its six containers."""
        name = os.environ.get("COSMOS_TEST_DATABASE")
        client = self.client()
        if name:
            database: DatabaseProxy = client.get_database_client(name)
        else:
            name = f"conf-{os.environ.get('COSMOS_TEST_RUN_ID', secrets.token_hex(4))}"
            database = client.create_database(name)
            self.made = True
        self.database = name
        for shape, options in SHAPES.items():
            try:
                database.create_container(shape, **options)
            except CosmosResourceExistsError:
                continue

    def clean(self) -> None:
        """Remove what was made."""
        if self.made:
            self.client().delete_database(self.database)
