"""Install scripts of eggs: recognised, left to a person, or run in their container."""

from __future__ import annotations

from typing import Any

import pytest

from shared.templates.eggs import Imported, import_egg
from shared.templates.rendering import render, sample
from tests.unit.templates.egg_texts import egg, server, variable

STEAM = (
    "./steamcmd.sh +force_install_dir /mnt/server +login ${STEAM_USER} %s +app_update ${SRCDS_APPID} %s validate +quit"
)
APP = variable("SRCDS_APPID", "required|string", "294420")


def script(
    text: str, *names: dict[str, Any], run: bool = False, container: str = "ghcr.io/example/installers:debian"
) -> Imported:
    installation = {"script": text, "container": container, "entrypoint": "/bin/bash"}
    return import_egg(egg(scripts={"installation": installation}, variables=list(names)), scripts=run)


@pytest.mark.parametrize(
    ("text", "names", "steps"),
    [
        pytest.param(STEAM % ("", ""), [APP], [{"kind": "steamcmd", "app_id": "{{variables.SRCDS_APPID}}"}], id="steamcmd"),
        pytest.param(
            STEAM % ("", '$( [[ -z ${SRCDS_BETAID} ]] || printf %s "-beta ${SRCDS_BETAID}" )'), [APP, variable("SRCDS_BETAID")],
            [{"kind": "steamcmd", "app_id": "{{variables.SRCDS_APPID}}", "beta": "{{variables.SRCDS_BETAID}}"}], id="steamcmd_branch",
        ),
        pytest.param("SRCDS_APPID=258550\n" + STEAM % ("", ""), [], [{"kind": "steamcmd", "app_id": 258550}], id="steamcmd_number"),
        pytest.param(
            "PROJECT=velocity\ncurl https://fill.papermc.io/v3/projects/${PROJECT}", [variable("VELOCITY_VERSION", "required", "latest")],
            [{"kind": "release", "source": "papermc", "project": "velocity", "version": "{{variables.VELOCITY_VERSION}}", "build": "latest", "path": "server.jar"}],
            id="papermc",
        ),
        pytest.param("# nothing\n\nexit 0\n", [], [], id="nothing"),
    ],
)  # fmt: skip
def test_scripts_that_are_known(text: str, names: list[dict[str, Any]], steps: list[dict[str, Any]]) -> None:
    found = script(text, *names)
    assert list(found.template.install) == steps
    assert not found.template.draft


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("git clone ${GIT_ADDRESS} .", [variable("GIT_ADDRESS")], id="git"),
        pytest.param(
            STEAM % ("$( [[ \"${WINDOWS_INSTALL}\" == \"1\" ]] && printf %s '+@sSteamCmdForcePlatformType windows' )", ""),
            [APP, variable("WINDOWS_INSTALL", "required|boolean", "1")], id="windows",
        ),
        pytest.param(STEAM % ("+@sSteamCmdForcePlatformType windows", ""), [APP], id="always_windows"),
        pytest.param(STEAM % ("+app_set_config 90 mod cstrike", ""), [APP], id="app_set_config"),
        pytest.param(STEAM % ("", ""), [APP, variable("STEAM_USER", "required|string")], id="account"),
    ],
)  # fmt: skip
def test_other_scripts_are_left_to_a_person_or_run_in_their_container(text: str, names: list[dict[str, Any]]) -> None:
    left = script(text, *names)
    assert left.template.draft == ("scripts.installation",)
    assert left.template.notes["imported_install_script"] == text
    run = script(text + "\n# uses SERVER_MEMORY", *names, run=True)
    (step,) = run.template.install
    assert (step["kind"], step["image"], step["entrypoint"]) == (
        "script",
        "ghcr.io/example/installers:debian",
        "/bin/bash",
    )
    assert not run.template.draft
    rendered = render(run.template, sample(run.template)).install.steps[0]
    assert rendered.script == text + "\n# uses SERVER_MEMORY"  # type: ignore[union-attr]
    assert rendered.env["SERVER_MEMORY"] == "1024"  # type: ignore[union-attr]


def test_a_script_never_holds_a_members_value() -> None:
    found = script("echo {{variables.NAME}} {{server.name}} > x", variable("NAME"), run=True)
    spec = render(found.template, server(found.template, NAME="$(reboot)"))
    assert spec.install.steps[0].script == "echo {{variables.NAME}} {{server.name}} > x"  # type: ignore[union-attr]


def test_a_script_for_no_image_stays_a_draft() -> None:
    assert script("make", run=True, container="Not An Image").template.draft == ("scripts.installation",)
