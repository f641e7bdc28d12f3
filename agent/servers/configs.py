"""Rendering configuration files: given keys are set, all else in the file is left as it is."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from agent.jail import PathEscapes, inside
from agent.servers.errors import StepFailed
from agent.servers.store import Owner
from agent.servers.trees import Values, edit_json, edit_xml, edit_yaml, text_of
from shared.messaging.server_spec import ConfigFile

MAX_BYTES: Final = 8 * 1024 * 1024


def render(file: ConfigFile, folder: Path, owner: Owner | None = None) -> bool:
    """Bring one file to what is wanted; whether it changed. It is replaced as a whole, never half written.

    Raises:
        StepFailed: its path leads out of the folder, or what stands there cannot be read in its format.
    """
    try:
        path = inside(folder, file.path)
    except PathEscapes as error:
        raise StepFailed("path_escapes", str(error)) from None
    try:
        before = _read(path)
        if before is None and not file.create:
            return False
        after = file.text if file.text is not None else _edited(file, before or "")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StepFailed("bad_config", f"{file.path} cannot be set as {file.format}: {error}") from None
    except OSError as error:
        raise StepFailed("disk_error", f"{file.path}: {error.strerror}", retryable=True) from None
    if after == before:
        return False
    _replace(path, after, owner)
    return True


def _edited(file: ConfigFile, before: str) -> str:
    if file.format == "text":
        return _text(before, file.values, add=file.add)
    return _EDITORS[file.format](before, file.values)


def _read(path: Path) -> str | None:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES >> 20} MiB")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _replace(path: Path, text: str, owner: Owner | None) -> None:
    """Write beside it and rename: whoever reads sees the old or the new, and a shared content is never written into."""
    try:
        _make_folders(path.parent, owner)
        mode = path.stat().st_mode & 0o777 | 0o600 if path.exists() else 0o640
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".config-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(mode)
        if owner is not None:
            os.chown(name, *owner)
        Path(name).rename(path)
    except OSError as error:
        raise StepFailed("disk_error", f"{path.name}: {error.strerror}", retryable=True) from None


def _make_folders(folder: Path, owner: Owner | None) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir()
        if owner is not None:
            os.chown(each, *owner)


def one_line(value: Any) -> str:
    """A value that cannot begin a line of its own: a member's name must not become a setting."""
    return re.sub(r"[\r\n\x00]+", " ", text_of(value))


def _properties(before: str, values: Values) -> str:
    """`key=value` lines; keys and values are escaped as java.util.Properties reads them."""
    left = {key: f"{_escape_key(key)}={_escape_value(one_line(value))}" for key, value in values.items()}
    lines = []
    for line in before.splitlines():
        match = re.match(r"\s*((?:\\.|[^#!=:\s\\])(?:\\.|[^=:\s\\])*)\s*[=:\s]?", line)
        key = re.sub(r"\\(.)", r"\1", match.group(1)) if match else None
        lines.append(left.pop(key) if key in left else line)
    return "\n".join([*lines, *left.values(), ""])


def _escape_key(key: str) -> str:
    return _ascii(re.sub(r"([=:\s\\#!])", r"\\\1", key))


def _escape_value(value: str) -> str:
    text = _ascii(value.replace("\\", "\\\\"))
    return "\\" + text if text.startswith(" ") else text  # a blank at the beginning would not be read


def _ascii(text: str) -> str:
    """With `\\uXXXX` for what is not ASCII: Java reads the file as ISO 8859-1, newer games as UTF-8, and all read these."""
    units = text.encode("utf-16-be", "surrogatepass")
    codes = (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    return "".join(chr(code) if code < 128 else f"\\u{code:04X}" for code in codes)


def _ini(before: str, values: Values) -> str:
    """`section.key`, and keys without a section before the first one. Comments and order stay."""
    wanted: dict[str, dict[str, str]] = {}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        wanted.setdefault(section, {})[key] = f"{one_line(key)}={one_line(value)}"
    lines: list[str] = []
    section = ""

    def finish() -> None:
        lines.extend(wanted.pop(section, {}).values())

    for line in before.splitlines():
        header = re.fullmatch(r"\s*\[(.+?)\]\s*", line)
        if header:
            finish()
            section = header.group(1)
        else:
            pair = re.match(r"\s*([^=;#\s][^=]*?)\s*=", line)
            found = wanted.get(section, {}).pop(pair.group(1), None) if pair else None
            line = line if found is None else found
        lines.append(line)
    finish()
    for name, pairs in wanted.items():
        lines += [f"[{one_line(name)}]", *pairs.values()]
    return "\n".join([*lines, ""])


def _text(before: str, values: Values, *, add: bool) -> str:
    """Each line that begins with a key becomes that key's value; with `add` a key that no line begins with is added."""
    left = {key: text_of(value).replace("\r\n", "\n").replace("\0", " ") for key, value in values.items()}
    seen: set[str] = set()
    lines = []
    for line in before.splitlines():
        key = next((key for key in left if line.startswith(key)), None)
        if key is not None:
            seen.add(key)
        lines.append(line if key is None else left[key])
    added = [value for key, value in left.items() if key not in seen] if add else []
    return "\n".join([*lines, *added, ""])


_EDITORS: Final[dict[str, Callable[[str, Values], str]]] = {
    "properties": _properties,
    "ini": _ini,
    "json": edit_json,
    "yaml": edit_yaml,
    "xml": edit_xml,
}


def fill_root(file: ConfigFile, place: Callable[[str], str]) -> ConfigFile:
    """The file with the agent's own placeholders filled in."""
    values = {key: place(value) if isinstance(value, str) else value for key, value in file.values.items()}
    return replace(file, values=values, text=None if file.text is None else place(file.text))


def remove_leftovers(folder: Path, relative: str) -> None:
    """What a kill in the middle of a replacement left beside the file."""
    with contextlib.suppress(OSError, PathEscapes):
        for path in inside(folder, relative).parent.glob(".config-*"):
            path.unlink(missing_ok=True)
