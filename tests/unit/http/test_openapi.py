"""The API's document: made from the declarations, valid, and the same as the one that is checked in."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

from functions import MODULES, declared
from shared.http.openapi import document, document_bytes
from shared.http.principal import Auth
from tests.support.doors import Backing
from tests.support.processes import ROOT
from tests.unit.http.sample import make

CHECKED_IN = Path(__file__).parents[3] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def sample() -> dict[str, Any]:
    return document(make(Backing())[0].declared)


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return document(declared())


def test_the_checked_in_document_is_the_present_one() -> None:
    now = document_bytes(declared())
    assert CHECKED_IN.read_bytes() == now, "run: python -m functions > docs/openapi.json"


def test_the_document_is_valid_openapi_3_1(whole: dict[str, Any], sample: dict[str, Any]) -> None:
    for each in (whole, sample):
        OpenAPIV31SpecValidator(each).validate()


def test_every_declared_route_is_in_it_once(whole: dict[str, Any]) -> None:
    listed = {
        (method.upper(), path): item[method]["operationId"] for path, item in whole["paths"].items() for method in item
    }
    assert listed == {(route.method, route.path): route.name for route in declared()}
    names = list(listed.values())
    assert len(names) == len(set(names))


def test_every_reference_leads_somewhere_and_nothing_lies_unused(whole: dict[str, Any]) -> None:
    text = json.dumps(whole)
    wanted = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert wanted == set(whole["components"]["schemas"])


def test_what_a_declaration_says_is_in_the_document(sample: dict[str, Any]) -> None:
    create = sample["paths"]["/v1/things"]["post"]
    assert create["x-permission"] == "things:write"
    assert create["summary"] == "Create a thing"
    assert create["description"] == "It is placed at once."
    assert create["security"] == [{"access_token": []}]
    assert [p["name"] for p in create["parameters"]] == ["Idempotency-Key"]
    assert set(create["responses"]) == {
        "201",
        "400",
        "401",
        "403",
        "409",
        "411",
        "413",
        "415",
        "422",
        "429",
        "500",
        "503",
    }
    assert "`test_no_room_left`" in create["responses"]["403"]["description"]
    assert set(create["responses"]["201"]["headers"]) == {"X-Request-Id", "Location"}


def test_changes_name_if_match_and_its_refusals(sample: dict[str, Any]) -> None:
    edit = sample["paths"]["/v1/things/{server_id}"]["patch"]
    assert [(p["name"], p["in"], p["required"]) for p in edit["parameters"]] == [
        ("server_id", "path", True),
        ("If-Match", "header", True),
    ]
    assert edit["parameters"][0]["schema"]["pattern"].startswith("^srv_")
    assert {"404", "412", "428"} <= set(edit["responses"])


def test_query_parameters_are_written_out(sample: dict[str, Any]) -> None:
    parameters = {p["name"]: p for p in sample["paths"]["/v1/things"]["get"]["parameters"]}
    assert set(parameters) == {"limit", "cursor", "state", "tags"}
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 50}
    assert parameters["state"]["schema"] == {"type": "string"}
    assert (parameters["tags"]["style"], parameters["tags"]["explode"]) == ("form", False)
    assert "ThingList" not in sample["components"]["schemas"]


def test_a_limit_of_a_routes_own_stands_beside_that_of_its_rate_class(whole: dict[str, Any]) -> None:
    told = whole["paths"]["/v1/invitations"]["post"]["responses"]["429"]
    assert "`rate_limited`" in told["description"]
    assert "`too_many_invitation_mails`" in told["description"]
    assert set(told["headers"]) == {"Retry-After", "RateLimit"}


def test_reasons_are_of_one_form_wherever_they_are_told(whole: dict[str, Any]) -> None:
    """A stable code for programs, a sentence in `reason` for people."""
    schemas = whole["components"]["schemas"]
    lists = {
        name: found["properties"]["reasons"]
        for name, found in schemas.items()
        if "reasons" in found.get("properties", {})
    }
    assert {"HealthView", "NodeVerdict"} <= set(lists)
    for name, listed in lists.items():
        fields = schemas[listed["items"]["$ref"].rsplit("/", 1)[1]]["properties"]
        assert {"code", "reason"} <= set(fields), name


def test_unknown_fields_are_refused_in_the_document_too(sample: dict[str, Any]) -> None:
    assert sample["components"]["schemas"]["ThingCreate"]["additionalProperties"] is False


def test_a_form_and_plain_text_are_named_as_such(sample: dict[str, Any]) -> None:
    assert list(sample["paths"]["/v1/token"]["post"]["requestBody"]["content"]) == ["application/x-www-form-urlencoded"]
    assert list(sample["paths"]["/v1/notes.txt"]["get"]["responses"]["200"]["content"]) == ["text/plain"]


def test_no_handler_is_longer_than_fifteen_lines_and_every_module_is_listed() -> None:
    long = {}
    for route in declared():
        tree = ast.parse(textwrap.dedent(inspect.getsource(route.handler))).body[0]
        assert isinstance(tree, ast.AsyncFunctionDef)
        first, last = tree.body[1] if len(tree.body) > 1 else tree.body[0], tree.body[-1]
        lines = (last.end_lineno or 0) - first.lineno + 1
        if lines > 15:
            long[route.name] = lines
    assert long == {}
    folder = Path(__file__).parents[3] / "functions"
    present = {f"functions.{path.stem}" for path in folder.glob("*.py") if not path.stem.startswith("__")}
    with_routes = {name for name in present if "Routes(" in (folder / f"{name.partition('.')[2]}.py").read_text()}
    assert with_routes == set(MODULES)


def test_who_may_call_without_any_proof_is_a_short_list() -> None:
    """Joining this list is a decision."""
    unproved = {f"{route.method} {route.path}" for route in declared() if route.auth is Auth.ANONYMOUS}
    assert unproved == OPEN_ROUTES


OPEN_ROUTES = {
    "GET /healthz",
    "GET /readyz",
    "GET /openapi.json",
    "GET /docs",
    "GET /docs/style.css",
    "GET /docs/script.js",
    "GET /docs/problems",
    "GET /.well-known/jwks.json",
    "GET /.well-known/oauth-authorization-server",
    "POST /v1/auth/token",  # the proof is in the form
    "POST /v1/auth/revoke",
    "POST /v1/auth/backchannel-logout",
    "GET /v1/pki/revocations.crl",
    "POST /v1/agent/enroll",  # the proof is the enrolment token in the body
}


@pytest.mark.parametrize("name", ["limits", "problems", "containers"])
def test_the_reference_pages_are_those_of_the_code(name: str) -> None:
    page = CHECKED_IN.parent / "reference" / f"{name}.md"
    done = subprocess.run(
        [sys.executable, "-m", "functions", name], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert page.read_text() == done.stdout, f"run: python -m functions {name} > docs/reference/{name}.md"


def open_objects(model: type[BaseModel]) -> set[str]:
    """The models, it and those within it, that pass by what they do not know."""
    schema = model.model_json_schema()
    every = {model.__name__: schema, **schema.get("$defs", {})}
    return {
        name for name, each in every.items() if "properties" in each and each.get("additionalProperties") is not False
    }


def test_no_body_and_no_query_takes_a_field_that_it_does_not_know() -> None:
    """At every depth. Agents' bodies alone are read as the wire contract says: an older console meets newer agents."""
    found = {
        f"{route.method} {route.path}": names
        for route in declared()
        for model in (route.body, route.query)
        if model is not None and not route.path.startswith("/v1/agent/") and (names := open_objects(model))
    }
    assert found == {}


def test_every_refusal_lives_where_the_doors_load_it() -> None:
    """The page of codes is made of what is loaded, and no service is: so refusals live in modules called `errors`."""
    program = """
import importlib, pkgutil, shared
for module in pkgutil.walk_packages(shared.__path__, "shared."):
    importlib.import_module(module.name)
from shared.platform.errors import Fault
print(*sorted(code for code, fault in Fault.codes.items() if not fault.__module__.endswith(".errors")))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["report_refused"]  # told to a queue, never to a caller
