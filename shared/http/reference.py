"""Reference pages written from the code: limits, problem codes, containers."""

from __future__ import annotations

from shared.http import problems
from shared.http.bodies import MAX_DEPTH, MAX_FORM_FIELDS
from shared.http.idempotency import KEPT_SECONDS, LEASE
from shared.http.ratelimit import SHARE_FRACTION
from shared.http.rates import RATE_CLASSES
from shared.platform.errors import Fault
from shared.store.containers import CONTAINERS
from shared.store.scoped import MAX_PAGE

_COLUMNS = ("client", "org", "user", "address")


def limits() -> str:
    """`docs/reference/limits.md`."""
    rows = "\n".join(
        f"| `{rate.name}` | {rate.why} | " + " | ".join(_figure(getattr(rate, column)) for column in _COLUMNS) + " |"
        for rate in RATE_CLASSES.values()
    )
    return f"""# Limits

Written from the code: `python -m functions limits > docs/reference/limits.md`.

## Calls a minute

Each route belongs to a rate class; the API's document names it as `x-rate-class`. What is reached first counts. A refusal is
429 with `Retry-After`; every answer carries `RateLimit-Policy` and, for the tightest window, `RateLimit`.

| class | for | front end | organization | person, key or node | address |
|---|---|---|---|---|---|
{rows}

The minute slides: two windows of the clock count, of which the older fades. Instances share them through the store whenever
one has grown by 1/{SHARE_FRACTION} of its limit; `sign_in` is shared at every call. Without the store each instance goes on by its own
count (it fails open). A refused call uses nothing up.

## Sizes

| what | limit |
|---|---|
| body | `MERIDIAN_BODY_LIMIT_BYTES`, 1 MiB unless set |
| depth of JSON | {MAX_DEPTH} |
| fields of a form | {MAX_FORM_FIELDS} |
| items of a page | {MAX_PAGE} |
| reply kept for an `Idempotency-Key` | {KEPT_SECONDS // 3600} h; an attempt holds its key for {LEASE.seconds} s |
"""


def problem_codes() -> str:
    """`docs/reference/problems.md`: every refusal that has been loaded."""
    rows = "\n".join(
        f"| `{code}` | {problems.status_of(fault)} | {fault.title} |"
        for code, fault in sorted(Fault.codes.items())
        if not fault.__module__.startswith("tests.")
    )
    return f"""# Problem codes

Written from the code: `python -m functions problems > docs/reference/problems.md`.

A refusal is a problem document (RFC 9457). Its `code` is stable and made for programs; `detail` names the figures that decided.

| code | status | meaning |
|---|---|---|
{rows}
"""


def containers() -> str:
    """`docs/reference/containers.md`."""
    rows = "\n".join(
        f"| `{each.name}` | {', '.join(f'`{path}`' for path in each.partition_key)} | {_life(each.default_ttl)} | {each.holds} |"
        for each in CONTAINERS.values()
    )
    return f"""# Containers

Written from the code: `python -m functions containers > docs/reference/containers.md`.

Bicep creates them in Azure, `python -m shared.store.bootstrap` on one machine; the application itself never does.

| container | partition key | lifetime | holds |
|---|---|---|---|
{rows}
"""


def _figure(limit: int | None) -> str:
    return "" if limit is None else f"{limit:,}"


def _life(ttl: int | None) -> str:
    if ttl is None:
        return "for ever"
    return "as each item says" if ttl == -1 else f"{ttl // 86_400} days"
