"""What the routes cost in the store."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.harness import Bench, bench
from tests.support.house import HouseForTests
from tests.support.seeding import seed_house

#: Writes whose charge is worth knowing, in an order that works on a new organization; `{id}` is that of the one before.
_WRITES: Sequence[tuple[str, str, dict[str, object] | None]] = (
    ("POST", "/v1/roles", {"name": "Watch", "permissions": ["servers.read"]}),
    ("PATCH", "/v1/roles/{id}", {"description": "May look"}),
    ("DELETE", "/v1/roles/{id}", None),
    ("POST", "/v1/invitations", {"email": "lee@example.com", "role": "viewer"}),
    ("DELETE", "/v1/invitations/{id}", None),
    ("POST", "/v1/api-keys", {"name": "nightly", "scopes": ["servers.read"]}),
    ("DELETE", "/v1/api-keys/{id}", None),
    ("POST", "/v1/enrolment-tokens", {"note": "cellar", "minutes": 60}),
    ("PATCH", "/v1/organization", {"description": "Friday night"}),
)


@bench("doors-request-units")
def doors_request_units(run: Bench) -> None:
    """Request units of the routes, read off the development header: a table, counted and free of noise."""
    import requests

    from functions import declared
    from shared.http.principal import Auth

    settings = {"MERIDIAN_RATE_LIMITS": "false"}
    with (
        tempfile.TemporaryDirectory() as name,
        HouseForTests(Path(name), "cosmos", "bus", "host", settings=settings) as house,
    ):
        session = requests.Session()
        session.headers.update({"Authorization": f"Bearer {asyncio.run(seed_house(house.settings())).token}"})
        session.get(f"{house.api}/v1/organization", timeout=60)  # membership and session are known from here on
        for route in declared():
            if route.method == "GET" and route.auth is Auth.USER and "{" not in route.path:
                run.result.figures[f"RU GET {route.path}"] = _charge(session.get(house.api + route.path, timeout=60))
        made = ""
        for number, (method, path, body) in enumerate(_WRITES):
            headers = {"If-Match": "*", "Idempotency-Key": f"bench-{number}"}
            url = house.api + path.replace("{id}", made)
            reply = session.request(method, url, json=body, headers=headers, timeout=60)
            run.result.figures[f"RU {method} {path}"] = _charge(reply)
            made = reply.json().get("id", made) if reply.content else made


def _charge(reply: object) -> str:
    """The charge, and the status where it is not a success."""
    status, headers = reply.status_code, reply.headers  # type: ignore[attr-defined]
    return f"{float(headers.get('X-Request-Charge', 0)):.2f}" + ("" if status < 400 else f"  (status {status})")
