"""`/diagnostics/*`, for whoever holds the function app's master key: what is configured, what answers, versions."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version

from shared.composition import services
from shared.http import Auth, Call, Out, Routes

routes = Routes("diagnostics", services)
blueprint = routes.blueprint

PACKAGES = ("azure-functions", "azure-functions-durable", "azure-cosmos", "azure-servicebus", "pydantic", "PyJWT")


class Configuration(Out):
    """The settings as this process read them, secrets masked."""

    settings: dict[str, str]


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


@routes.get("/diagnostics/versions", auth=Auth.ADMIN)
async def diagnostics_versions(call: Call) -> Versions:
    """The versions of the product, of Python and of the packages that matter."""
    return Versions(
        product=call.services.settings.version,
        python=sys.version.split()[0],
        platform=platform.platform(),
        packages={name: version(name) for name in PACKAGES},
        loaded_modules=len(sys.modules),
    )
