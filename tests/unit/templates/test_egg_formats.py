"""Exports of both panels, old and new, in every shape that the catalogue has.

The rows of these files come from reading some sixty eggs of the public catalogue; the eggs are our own.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.templates.eggs import import_egg
from shared.templates.rendering import render
from tests.unit.templates.egg_texts import argv, egg, imported, server, told, values, variable

PELICAN = """\
_comment: 'DO NOT EDIT'
meta: {version: PLCN_v3, update_url: 'https://example.com/egg.yaml'}
name: 'A Proxy'
uuid: 7e22f851-3cf5-4ea8-8542-049e4f6939ba
description: |-
  Two
  lines.
icon: 'data:image/png;base64,%s'
tags: [minecraft, proxy]
features: {  }
docker_images:
  'Java 21': 'ghcr.io/example/yolks:java_21'
  'Java 25': 'ghcr.io/example/yolks:java_25'
file_denylist: {  }
startup_commands:
  Default: 'java -Xmx{{SERVER_MEMORY}}M -jar {{SERVER_JARFILE}}'
  Debug: 'java -agentlib:jdwp -jar {{SERVER_JARFILE}}'
config:
  files:
    proxy.toml:
      parser: file
      find:
        'bind = ': 'bind = "0.0.0.0:{{server.allocations.default.port}}"'
        'motd = ': 'motd = "{{server.environment.MOTD}}"'
  startup: {done: 'Done ('}
  logs: {  }
  stop: end
scripts:
  installation: {script: '', container: 'ghcr.io/example/installers:alpine', entrypoint: ash}
variables:
  - {sort: 2, name: Motd, env_variable: MOTD, default_value: 0, user_viewable: true, user_editable: true, rules: [required, string]}
  - sort: 1
    name: Jar
    env_variable: SERVER_JARFILE
    default_value: proxy.jar
    user_viewable: true
    user_editable: false
    rules: [required, 'max:32', 'regex:/^([\\w\\d._-]+)(\\.jar)$/', '']
"""


def test_a_pelican_export_in_yaml_with_its_picture() -> None:
    found = import_egg(PELICAN % ("A" * 600_000))
    template = found.template
    assert (template.key, template.drivers) == ("a-proxy", ("process", "container"))
    assert argv(template) == ["java", "-Xmx{{server.memory_mib}}M", "-jar", "{{variables.SERVER_JARFILE}}"]
    assert template.files[0].values["bind = "] == 'bind = "0.0.0.0:{{ports.game}}"'
    assert not template.files[0].add
    assert [v.name for v in template.variables] == ["SERVER_JARFILE", "MOTD", "DOCKER_IMAGE"]
    assert template.variables[1].default == "0"
    assert template.variables[2].choices == ("Java 21", "Java 25")
    parts = {note.part for note in found.notes if note.verdict == "dropped"}
    assert parts == {"icon", "tags", "meta.update_url", "startup_commands.Debug"}


def test_the_chosen_image_is_what_the_server_runs_in() -> None:
    template = import_egg(PELICAN % "").template
    assert render(template, server(template)).image == "ghcr.io/example/yolks:java_21"
    assert render(template, server(template, DOCKER_IMAGE="Java 25")).image == "ghcr.io/example/yolks:java_25"


@pytest.mark.parametrize("version", ["PTDL_v1", "PTDL_v2", "PLCN_v1", "PLCN_v2", "PLCN_v3"])
@pytest.mark.parametrize("bom", ["", "\ufeff"], ids=["plain", "byte_order_mark"])
def test_every_format_is_known(version: str, bom: str) -> None:
    found = import_egg(bom + egg(meta={"version": version}))
    assert found.template.name == "Small Game"


@pytest.mark.parametrize(
    ("changes", "images"),
    [
        pytest.param({"image": "quay.io/example/core:java"}, ["quay.io/example/core:java"], id="v1_image"),
        pytest.param(
            {"images": ["ghcr.io/a/b:c", "ghcr.io/a/b:d"]}, ["ghcr.io/a/b:c", "ghcr.io/a/b:d"], id="v1_images"
        ),
        pytest.param({"docker_images": {"Java": "ghcr.io/a/b:c"}}, ["ghcr.io/a/b:c"], id="v2_labels"),
        pytest.param(
            {"docker_images": {"ghcr.io/a/b:c": "Node.js 24"}}, ["ghcr.io/a/b:c"], id="labels_and_images_swapped"
        ),
        pytest.param({"docker_images": {"x": "~local:1"}}, ["local:1"], id="kept_local"),
        pytest.param({"docker_images": {"x": "not an image"}}, [], id="no_image_name"),
        pytest.param({"docker_images": {}, "image": None}, [], id="none"),
        pytest.param(
            {"docker_images": ["registry:5000/a@sha256:" + "0" * 64]},
            ["registry:5000/a@sha256:" + "0" * 64],
            id="digest",
        ),
    ],
)
def test_images_in_every_spelling(changes: dict[str, Any], images: list[str]) -> None:
    assert list(imported(**changes).template.images.values()) == images


@pytest.mark.parametrize(
    ("changes", "part", "verdict"),
    [
        pytest.param({"file_denylist": "secret.txt"}, "file_denylist", "dropped", id="denylist_as_text"),
        pytest.param({"file_denylist": ["a", "b"]}, "file_denylist", "dropped", id="denylist_as_list"),
        pytest.param({"features": ["gsl_token"]}, "features.gsl_token", "dropped", id="features"),
        pytest.param({"features": ["eula"]}, "features.eula", "changed", id="eula"),
        pytest.param({"x-other": {"a": 1}}, "x-other", "dropped", id="another_panels_extension"),
        pytest.param({"description": "x" * 5000}, "description", "changed", id="long_description"),
        pytest.param({"config": {"stop": "quit", "logs": '{"custom": true}'}}, "config.logs", "dropped", id="log_file"),
        pytest.param({"config": {"stop": "quit", "extends": "paper"}}, "config.extends", "dropped", id="extends"),
        pytest.param({"config": {"files": "{not json"}}, "config.files", "dropped", id="files_not_json"),
        pytest.param({"config": {"startup": {"done": "x", "userInteraction": ["eula"]}}}, "config.startup.userInteraction", "dropped", id="asks"),
        pytest.param({"variables": [1, variable("A")]}, "variables", "dropped", id="variable_no_object"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_is_told(changes: dict[str, Any], part: str, verdict: str) -> None:
    assert told(imported(**changes), part, verdict)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"description": None, "author": None, "features": None}, id="nulls"),
        pytest.param({"scripts": {"installation": None}}, id="no_installation"),
        pytest.param(
            {"scripts": {"installation": {"script": None, "container": None, "entrypoint": None}}}, id="no_script"
        ),
        pytest.param({"scripts": None, "config": None, "variables": None}, id="nothing"),
        pytest.param({"config": {"files": [], "startup": [], "logs": [], "stop": None}}, id="empty_lists"),
        pytest.param({"config": {"files": {}, "startup": {"done": []}, "logs": {}, "stop": ""}}, id="empty_objects"),
        pytest.param({"name": "\U0001f384 Würfel | №1"}, id="odd_name"),
        pytest.param({"name": "…"}, id="name_without_letters"),
        pytest.param({"variables": {"0": variable("A")}}, id="variables_as_object"),
    ],
)
def test_what_is_left_out_is_no_fault(changes: dict[str, Any]) -> None:
    assert not imported(**changes).template.draft


def test_a_field_that_stands_there_twice_is_told_of() -> None:
    text = json.dumps(values()).replace('"name": "Small Game"', '"name": "First", "name": "Small Game"')
    assert told(import_egg(text), "name", "changed")
