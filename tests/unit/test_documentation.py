"""What the pages for people say is there: links, decisions, commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli.app import app
from tests.support.processes import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^|`|&& )meridian((?: [^\s`|&#]+)+)", re.MULTILINE)


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in {slug(line.lstrip("#")) for line in there.read_text().splitlines() if line.startswith("#")}


def test_every_decision_is_in_the_index_once() -> None:
    folder = ROOT / "docs" / "decisions"
    pages = sorted(page.name for page in folder.glob("[0-9]*.md"))
    listed = re.findall(r"\]\((\d{4}[^)]+)\)", (folder / "README.md").read_text())
    assert sorted(listed) == pages
    assert len({name[:4] for name in pages}) == len(pages)


def told_commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        if page.name != "command-line.md":
            for words in COMMAND.findall(page.read_text()):
                yield str(page.relative_to(ROOT)), words.strip()


def test_commands_that_pages_tell_are_commands_with_those_options() -> None:
    root: Any = get_command(app)
    seen = 0
    for page, text in told_commands():
        words = text.split()
        command, rest = root, list(words)
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        assert not hasattr(command, "commands") or words[0].startswith("--"), f"{page}: meridian {text}"
        known = {word for option in command.params for word in (*option.opts, *option.secondary_opts)}
        unknown = {word for word in rest if re.match(r"--?[a-z]", word)} - known - {"--help", "-h"}
        assert not unknown, f"{page}: meridian {text}"
        seen += 1
    assert seen > 20
