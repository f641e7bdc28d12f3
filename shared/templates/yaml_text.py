"""YAML, read without aliases and written for people. Imported at first use: the library takes its time."""

from __future__ import annotations

from typing import Any

import yaml

from shared.templates.errors import TemplateInvalid, fault


class _Loader(yaml.SafeLoader):
    """Without aliases: a few lines of them unfold to gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise TemplateInvalid([fault("", "alias", "YAML aliases are not allowed")])
        return super().compose_node(parent, index)


def load(text: str) -> Any:
    """Plain values of a YAML text.

    Raises:
        TemplateInvalid: it is not YAML, or has aliases.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506  # a subclass of SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise TemplateInvalid([fault("", "not_yaml", str(error).replace("\n", " ")[:300])]) from None


class _Dumper(yaml.SafeDumper):
    """Long texts as blocks."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = all(char.isprintable() or char == "\n" for char in value)
    style = '"' if not plain else "|" if "\n" in value else None  # only quoted text escapes odd line ends
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def dump(values: Any) -> str:
    """Plain values as YAML."""
    return str(yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))
