"""An egg's text as plain values of one shape, whichever panel wrote it.

Known are PTDL_v1 and PTDL_v2 (Pterodactyl, JSON) and PLCN_v1 to PLCN_v3 (Pelican, JSON or YAML). They differ in where
images, start commands and settings stand; what follows sees images as a map and start commands as a map.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from shared.messaging.server_install import IMAGE
from shared.templates.documents import MAX_DEPTH, depth
from shared.templates.eggs.report import Report
from shared.templates.errors import TemplateInvalid, fault
from shared.templates.models import MAX_DOCUMENT_BYTES

FORMATS: Final = ("PTDL_v1", "PTDL_v2", "PLCN_v1", "PLCN_v2", "PLCN_v3")
MAX_EGG_BYTES: Final = 2 * 1024 * 1024  # Pelican puts the game's picture into the file; half a mebibyte is not rare
MAX_IMAGES: Final = 30
KNOWN: Final = frozenset(
    [
        "_comment",
        "meta",
        "exported_at",
        "name",
        "author",
        "uuid",
        "description",
        "features",
        "docker_images",
        "images",
        "image",
        "icon",
        "tags",
        "file_denylist",
        "startup",
        "startup_commands",
        "config",
        "scripts",
        "variables",
    ]
)
_PICTURE: Final = re.compile(r'("(?:icon|image)"\s*:\s*)"data:[^"]*"|^((?:icon|image):\s*)(\'|")data:[^\'"\n]*\3', re.M)


def read(text: str, report: Report) -> dict[str, Any]:
    """The egg's values.

    Raises:
        TemplateInvalid: it is too large, neither JSON nor YAML, or not an egg of a format that is known.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_EGG_BYTES:
        raise TemplateInvalid([fault("", "too_large", f"more than {MAX_EGG_BYTES} bytes")])
    text, pictures = _PICTURE.subn(lambda match: (match.group(1) or match.group(2)) + '""', text.removeprefix("\ufeff"))
    if pictures:
        report.dropped("icon", "templates carry no picture")
    if len(text.encode("utf-8", "surrogatepass")) > MAX_DOCUMENT_BYTES:
        raise TemplateInvalid([fault("", "too_large", f"more than {MAX_DOCUMENT_BYTES} bytes beside its picture")])
    egg = _json(text, report) if text.lstrip()[:1] in ("{", "[", '"') else _yaml(text)
    if not isinstance(egg, dict) or depth(egg) > MAX_DEPTH:
        raise TemplateInvalid([fault("", "not_an_egg", "an egg is an object of named fields")])
    meta = egg.get("meta")
    version = meta.get("version") if isinstance(meta, dict) else None
    if version not in FORMATS:
        named = f"{str(version)[:40]!r} is not one of {', '.join(FORMATS)}"
        raise TemplateInvalid([fault("meta.version", "unknown_format", named)])
    for name in egg.keys() - KNOWN:
        report.dropped(str(name)[:80], "no part of an egg that is known here")
    if isinstance(meta, dict) and meta.get("update_url"):
        report.dropped("meta.update_url", "a newer egg is not fetched by itself: import it again")
    return egg


def _json(text: str, report: Report) -> Any:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) < len(found):
            twice = next(name for name, _ in found if sum(other == name for other, _ in found) > 1)
            report.changed(twice[:80], "stands there twice: the last one counts")
        return made

    try:
        return json.loads(text, strict=False, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        raise TemplateInvalid([fault("", "not_json", str(error)[:200])]) from None


def _yaml(text: str) -> Any:
    from shared.templates.yaml_text import load

    return load(text)


def words(value: Any) -> list[str]:
    """A list of texts, however it was written: one text, a list, a map (empty lists of Pelican are empty maps)."""
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, dict):
        value = list(value.values())
    return [str(each) for each in value if each not in (None, "")] if isinstance(value, list) else []


def truth(value: Any, default: bool) -> bool:
    """A flag as `true`, `1` or `"1"`."""
    if value is None:
        return default
    return str(value).strip().lower() not in ("0", "false", "no", "off", "")


def plain(value: Any) -> str:
    """A scalar as an egg means it: nothing is an empty text, flags are 1 and 0 as in a server's environment."""
    if value is None or isinstance(value, dict | list):
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value)


def startup_of(egg: dict[str, Any], report: Report) -> str:
    """The start command; of several (Pelican's) the first.

    Raises:
        TemplateInvalid: there is none.
    """
    several = egg.get("startup_commands")
    found = {str(k): v for k, v in several.items()} if isinstance(several, dict) else {}
    found = {name: line for name, line in found.items() if isinstance(line, str) and line.strip()}
    if isinstance(egg.get("startup"), str) and egg["startup"].strip():
        found = {"startup": egg["startup"], **{k: v for k, v in found.items() if v != egg["startup"]}}
    if not found:
        raise TemplateInvalid([fault("startup", "missing", "the egg has no start command")])
    first, *others = found
    for name in others:
        line = found[name].strip()[:160]
        report.dropped(
            f"startup_commands.{name[:40]}", f"a template has one start command; another template's is `{line}`"
        )
    return str(found[first])


def images_of(egg: dict[str, Any], report: Report) -> dict[str, str]:
    """Images by their labels, in order; the first is the usual one."""
    raw = egg.get("docker_images") or egg.get("images") or egg.get("image")
    pairs: list[tuple[str, str]] = []
    if isinstance(raw, dict):
        pairs = [(str(label), str(image)) for label, image in raw.items() if image is not None]
    else:
        pairs = [(each, each) for each in words(raw)]
    found: dict[str, str] = {}
    for label, image in pairs:
        name = image.strip().removeprefix("~").removeprefix("https://")
        if not IMAGE.fullmatch(name) and IMAGE.fullmatch(label.strip()) and re.search("[/:]", label):
            label, name = image, label.strip()  # written the other way round
        if not IMAGE.fullmatch(name) or len(name) > 300:
            report.dropped("docker_images", f"{image[:80]!r} is not the name of an image")
        elif len(found) >= MAX_IMAGES:
            report.dropped("docker_images", f"{label[:60]!r}: a template has at most {MAX_IMAGES} images")
        else:
            if name != image:
                report.changed("docker_images", f"{image[:80]!r} is taken as {name}")
            found[label.strip()[:100] or name] = name
    return found
