"""What the function app loads until its first answer. A heavy import here is paid by every cold start."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.support.processes import ROOT

#: Packages from outside that may be loaded before the first answer. Joining this list is a decision, with a measurement.
ALLOWED = {
    "azure.functions",
    "werkzeug",  # azure.functions imports it
    "markupsafe",
    "orjson",  # azure.functions uses it where it is there
    "pydantic",
    "pydantic_core",
    "pydantic_settings",
    "dotenv",  # pydantic_settings imports it
    "annotated_types",
    "typing_extensions",
    "typing_inspection",
    "_cffi_backend",
    "_distutils_hack",
}
HEAVY = (
    "azure.cosmos",
    "azure.core",
    "azure.servicebus",
    "azure.identity",
    "azure.keyvault",
    "azure.durable_functions",
    "aiohttp",
    "opentelemetry",
    "yaml",
    "jwt",
    "regex",
    "requests",
)
MOST_MODULES = 600  # 549 when this was written, on Python 3.11

_PROGRAM = """
import asyncio, json, sys
import function_app
import azure.functions as func
functions = {f.get_function_name(): f for f in function_app.app.get_functions()}
request = func.HttpRequest("GET", "http://localhost/healthz", headers={}, params={}, route_params={}, body=b"")
answer = asyncio.run(functions["healthz"].get_user_function()(req=request))
loaded = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
print(json.dumps({"status": answer.status_code, "loaded": loaded}))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, str]:
    env = {**os.environ, "COSMOS_ENDPOINT": "http://127.0.0.1:9", "COSMOS_KEY": "a2V5"}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["status"] == 200
    found: dict[str, str] = answer["loaded"]
    return found


def test_nothing_heavy_is_loaded_before_the_first_answer(loaded: dict[str, str]) -> None:
    assert sorted(name for name in loaded if name.startswith(HEAVY)) == []


def test_only_known_packages_are_loaded_before_the_first_answer(loaded: dict[str, str]) -> None:
    outside = {name for name, file in loaded.items() if "site-packages" in file}
    packages = {".".join(name.split(".")[:2]) if name.startswith("azure.") else name.split(".")[0] for name in outside}
    assert packages - ALLOWED == set()


def test_no_service_is_loaded_before_it_is_asked_for(loaded: dict[str, str]) -> None:
    """A door needs the models, refusals and views of its domain; what does the work comes with the first call."""
    working = re.compile(
        r"^shared\.placement\.models$|^shared\.\w+\.(service|api_keys|exchange|tokens|keysets|invitations|members|roles|rendering)$"
    )
    assert sorted(name for name in loaded if working.match(name)) == []


def test_the_number_of_modules_stays_where_it_is(loaded: dict[str, str]) -> None:
    assert len(loaded) <= MOST_MODULES
