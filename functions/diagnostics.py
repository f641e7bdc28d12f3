"""`/diagnostics/*`, for whoever holds the function app's master key: what is configured, what answers, versions; and
what an operator does when a key got out."""

from __future__ import annotations

import sys
from dataclasses import asdict

from shared.composition import services
from shared.http import Auth, Call, Out, Routes
from shared.http.rates import RATE_CLASSES

routes = Routes("diagnostics", services)
blueprint = routes.blueprint

PACKAGES = ("azure-functions", "azure-functions-durable", "azure-cosmos", "azure-servicebus", "pydantic", "PyJWT")


class Configuration(Out):
    """The settings as this process read them, secrets masked."""

    settings: dict[str, str]


class DependencyView(Out):
    """One thing that this app needs: whether it answered, how fast, and what callers see while it is away."""

    name: str
    ok: bool
    milliseconds: float
    reason: str
    without_it: str


class Dependencies(Out):
    """What answers."""

    dependencies: list[DependencyView]


class RateClassView(Out):
    """Calls a minute of one rate class, by what is counted."""

    name: str
    why: str
    limits: dict[str, int]


class Limits(Out):
    """The limits that hold here."""

    rate_classes: list[RateClassView]
    body_limit_bytes: int
    page_limit: int


class Versions(Out):
    """What runs here."""

    product: str
    python: str
    platform: str
    packages: dict[str, str]
    loaded_modules: int


@routes.get("/diagnostics/configuration", auth=Auth.ADMIN)
async def diagnostics_configuration(call: Call) -> Configuration:
    """The settings of this process, secrets masked."""
    return Configuration(settings={name: str(value) for name, value in call.services.settings})


@routes.get("/diagnostics/dependencies", auth=Auth.ADMIN)
async def diagnostics_dependencies(call: Call) -> Dependencies:
    """Ask everything that this app needs, each for at most 3 s."""
    from shared.platform.checks import ask_all

    found = await ask_all(call.services.dependencies(), call.services.clock)
    return Dependencies(dependencies=[DependencyView(**asdict(each)) for each in found])


@routes.get("/diagnostics/limits", auth=Auth.ADMIN)
async def diagnostics_limits(call: Call) -> Limits:
    """The rate classes and the sizes that are accepted."""
    from shared.store.scoped import MAX_PAGE

    classes = [RateClassView(name=r.name, why=r.why, limits=dict(r.limits())) for r in RATE_CLASSES.values()]
    body = call.services.settings.body_limit_bytes
    return Limits(rate_classes=classes, body_limit_bytes=body, page_limit=MAX_PAGE)


@routes.get("/diagnostics/versions", auth=Auth.ADMIN)
async def diagnostics_versions(call: Call) -> Versions:
    """The versions of the product, of Python and of the packages that matter."""
    import platform
    from importlib.metadata import version

    return Versions(
        product=call.services.settings.version,
        python=sys.version.split()[0],
        platform=platform.platform(),
        packages={name: version(name) for name in PACKAGES},
        loaded_modules=len(sys.modules),
    )


@routes.post("/diagnostics/access-token-keys/replace", auth=Auth.ADMIN)
async def replace_access_token_keys(call: Call) -> None:
    """Replace every key that signs access tokens, for when others may know one. All access tokens end: here at once,
    elsewhere within five minutes; whoever uses one exchanges again."""
    await call.services.identity.tokens.replace_keys()
