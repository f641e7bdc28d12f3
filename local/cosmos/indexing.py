"""A container's definition: what is accepted, and the defaults that the service fills in."""

from __future__ import annotations

from typing import Any

from local.cosmos.errors import bad_request
from local.cosmos.partition import KeyDefinition, parse_path

MAX_TTL = 2**31 - 1
DEFAULT_POLICY: dict[str, Any] = {
    "indexingMode": "consistent",
    "automatic": True,
    "includedPaths": [{"path": "/*"}],
    "excludedPaths": [{"path": '/"_etag"/?'}],
}
_KEPT = (
    "partitionKey",
    "indexingPolicy",
    "defaultTtl",
    "uniqueKeyPolicy",
    "conflictResolutionPolicy",
    "geospatialConfig",
)
# Accepted by the service, and not to be accepted here as if it worked.
_REFUSED = (
    "analyticalStorageTtl",
    "vectorEmbeddingPolicy",
    "fullTextPolicy",
    "changeFeedPolicy",
    "computedProperties",
    "clientEncryptionPolicy",
)


def check_definition(body: dict[str, Any]) -> dict[str, Any]:
    """The definition to keep, with defaults.

    Raises:
        CosmosError: 400, a part of it is malformed or not supported.
    """
    for name in _REFUSED:
        if body.get(name):
            raise bad_request(f"'{name}' of a container is not supported by the local endpoint.")
    KeyDefinition.parse(body.get("partitionKey"))
    kept = {name: body[name] for name in _KEPT if body.get(name) is not None}
    kept["partitionKey"] = {"kind": "Hash", "version": 2, **kept["partitionKey"]}
    _check_lifetime(kept.get("defaultTtl"))
    _check_unique_keys(kept)
    kept["indexingPolicy"] = {**DEFAULT_POLICY, **_check_policy(kept.get("indexingPolicy", {}))}
    kept.setdefault("geospatialConfig", {"type": "Geography"})
    kept.setdefault(
        "conflictResolutionPolicy",
        {"mode": "LastWriterWins", "conflictResolutionPath": "/_ts", "conflictResolutionProcedure": ""},
    )
    return kept


def _check_lifetime(ttl: Any) -> None:
    if ttl is not None and (type(ttl) is not int or not (ttl == -1 or 0 < ttl <= MAX_TTL)):
        raise bad_request(f"'defaultTtl' is {ttl!r}; it must be -1 or a whole number of seconds from 1 to {MAX_TTL}.")


def _check_unique_keys(definition: dict[str, Any]) -> None:
    policy = definition.get("uniqueKeyPolicy")
    if policy is None:
        return
    keys = policy.get("uniqueKeys") if isinstance(policy, dict) else None
    if not isinstance(keys, list) or len(keys) > 10:
        raise bad_request("'uniqueKeyPolicy' needs an array of at most 10 'uniqueKeys'.")
    for key in keys:
        paths = key.get("paths") if isinstance(key, dict) else None
        if not isinstance(paths, list) or not 1 <= len(paths) <= 16:
            raise bad_request("A unique key needs one to 16 'paths'.")
        for path in paths:
            parse_path(path)


def _check_policy(policy: Any) -> dict[str, Any]:
    if not isinstance(policy, dict):
        raise bad_request("'indexingPolicy' must be an object.")
    for name in ("vectorIndexes", "fullTextIndexes"):
        if policy.get(name):
            raise bad_request(f"'{name}' is not supported by the local endpoint.")
    if str(policy.get("indexingMode", "consistent")).lower() not in ("consistent", "none"):
        raise bad_request("'indexingMode' is consistent or none.")
    for index in policy.get("compositeIndexes") or []:
        if not isinstance(index, list) or len(index) < 2:
            raise bad_request("A composite index is an array of at least two {path, order}.")
        for entry in index:
            parse_path(entry.get("path") if isinstance(entry, dict) else None)
            if entry.get("order", "ascending") not in ("ascending", "descending"):
                raise bad_request("The order of a composite index entry is ascending or descending.")
    return policy


def composite_indexes(definition: dict[str, Any]) -> list[list[tuple[tuple[str, ...], bool]]]:
    """The container's composite indexes: (path, descending) each."""
    found = definition.get("indexingPolicy", {}).get("compositeIndexes") or []
    return [[(parse_path(entry["path"]), entry.get("order") == "descending") for entry in index] for index in found]
