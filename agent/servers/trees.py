"""Setting keys in JSON, YAML and XML: what is not set stays as it was written, comments, order and quotes included.

A file in which every key has its value already is not touched at all.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from xml.dom.minidom import Document, Element

Values = Mapping[str, Any]
_WIDTH: Final = 1 << 20  # columns: no line is ever folded
_DECLARATION: Final = '<?xml version="1.0" encoding="utf-8"?>\n'


def text_of(value: Any) -> str:
    """A value as a game's file has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def edit_json(before: str, values: Values) -> str:
    """The text with the values set; JSON has no comments, so it is laid out anew if anything changes."""
    tree = json.loads(before) if before.strip() else {}
    tree, changed = _set_all(tree, values, lambda value: value)
    return before if before and not changed else json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def edit_yaml(before: str, values: Values) -> str:
    """The text with the values set.

    Texts are quoted: games read YAML 1.1, in which a plain `on`, `no` or `12:30` is no text.
    """
    from ruamel.yaml import YAML  # most servers have no such file
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

    def written(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return SingleQuotedScalarString(value) if value.isprintable() else DoubleQuotedScalarString(value)

    yaml = YAML()
    yaml.preserve_quotes, yaml.width, yaml.allow_duplicate_keys = True, _WIDTH, True
    try:
        tree = yaml.load(before)
    except YAMLError as error:
        raise ValueError(str(error).splitlines()[0]) from None
    nothing_but_comments = before if tree is None and before.lstrip().startswith("#") else ""
    tree, changed = _set_all({} if tree is None else tree, values, written)
    if before and not changed:
        return before
    yaml.indent(**_indents(before))
    text = io.StringIO()
    yaml.dump(tree, text)
    return nothing_but_comments + text.getvalue()


def _indents(before: str) -> dict[str, int]:
    """How far the file indents its lists, for the lines that are written anew: `- x` below a key, or further in."""
    first = re.search(r"^( *)[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\n(?:[ \t]*(?:#[^\n]*)?\n)*( *)- ", before, re.MULTILINE)
    offset = max(0, len(first.group(2)) - len(first.group(1))) if first else 0
    return {"mapping": 2, "sequence": offset + 2, "offset": offset}


def _set_all(tree: Any, values: Values, written: Callable[[Any], Any]) -> tuple[Any, bool]:
    """The tree with the values set, and whether one of them was not there already."""
    places = [(path.split("."), value) for path, value in values.items()]
    changed = any(not _has(tree, path, value) for path, value in places)
    for path, value in places:
        if not _has(tree, path, value):
            tree = _set(tree, path, written(value))
    return tree, changed


def _has(tree: Any, path: list[str], value: Any) -> bool:
    """Whether the path has the value; of `*`, whether every element has."""
    if not path:
        return isinstance(tree, bool) == isinstance(value, bool) and isinstance(tree, type(value)) and tree == value
    key, rest = path[0], path[1:]
    if isinstance(tree, list):
        if key == "*":
            return all(_has(each, rest, value) for each in tree)
        return key.isdecimal() and int(key) < len(tree) and _has(tree[int(key)], rest, value)
    if isinstance(tree, dict):
        if key == "*":
            return all(_has(each, rest, value) for each in tree.values())
        return key in tree and _has(tree[key], rest, value)
    return key == "*"


def _set(tree: Any, path: list[str], value: Any) -> Any:
    """Set a dotted path; a number in it is a place in a list, `*` is every element that is there."""
    key, rest = path[0], path[1:]
    if key == "*":
        places = range(len(tree)) if isinstance(tree, list) else list(tree) if isinstance(tree, dict) else ()
        for place in places:
            tree[place] = _set(tree[place], rest, value) if rest else value
        return tree
    if isinstance(tree, list):
        index = int(key)
        if index > len(tree):
            raise ValueError(f"the list has {len(tree)} elements, {index} was to be set")
        if index == len(tree):
            tree.append(_nothing_yet(rest) if rest else value)
        tree[index] = _set(tree[index], rest, value) if rest else value
        return tree
    if not isinstance(tree, dict):
        tree = {}
    tree[key] = _set(tree.get(key, _nothing_yet(rest)), rest, value) if rest else value
    return tree


def _nothing_yet(path: list[str]) -> Any:
    """What stands where a path goes on and nothing is: a list for its first element, an object otherwise."""
    return [] if path[:1] == ["0"] else {}


# ---------------------------------------------------------------- XML


def edit_xml(before: str, values: Values) -> str:
    """The text with the values set: `root.child.child`, and `@name` at the end for an attribute.

    Entities are refused: they can unfold without end.
    """
    from xml.dom.minidom import Document, parseString  # documents with a DOCTYPE are refused here
    from xml.parsers.expat import ExpatError

    if re.search(r"<!(DOCTYPE|ENTITY)", before, re.IGNORECASE):
        raise ValueError("it declares entities")
    try:
        document = parseString(before) if before.strip() else Document()  # noqa: S318
    except ExpatError as error:
        raise ValueError(str(error)) from None
    lines = document.documentElement is None or _on_lines(document.documentElement)
    changed = [_set_in(document, path.split("."), text_of(value), lines) for path, value in values.items()]
    if document.documentElement is None or (before and not any(changed)):
        return before
    return _DECLARATION + "".join(node.toxml() + "\n" for node in document.childNodes)


def _set_in(document: Document, path: list[str], value: str, lines: bool) -> bool:
    """Set one element's text or attribute; whether it had another value. With `lines` a new element gets its own line."""
    first, *rest = path
    element = document.documentElement
    if element is None:
        element = document.appendChild(document.createElement(first))
    if element.tagName != first:
        raise ValueError(f"its root is {element.tagName}, not {first}")
    for depth, name in enumerate(rest, 1):
        if name.startswith("@"):
            had = element.hasAttribute(name[1:]) and element.getAttribute(name[1:]) == value
            element.setAttribute(name[1:], value)
            return not had
        children = (node for node in element.childNodes if node.nodeType == node.ELEMENT_NODE)
        found = next((child for child in children if child.tagName == name), None)
        element = _new_child(document, element, name, depth if lines else 0) if found is None else found
    return _set_text(document, element, value)


def _set_text(document: Document, element: Element, value: str) -> bool:
    texts = [node for node in element.childNodes if node.nodeType in (node.TEXT_NODE, node.CDATA_SECTION_NODE)]
    if "".join(node.data for node in texts) == value and (texts or not value):
        return False
    inner = any(node.nodeType == node.ELEMENT_NODE for node in element.childNodes)
    for node in texts:
        if node.data.strip() or not inner:
            element.removeChild(node)
    element.insertBefore(document.createTextNode(value), element.firstChild)
    return True


def _on_lines(root: Element) -> bool:
    """Whether the children of the root stand on lines of their own."""
    first = root.firstChild
    return first is None or (first.nodeType == first.TEXT_NODE and not first.data.strip() and "\n" in first.data)


def _new_child(document: Document, parent: Element, name: str, depth: int) -> Element:
    """A child at the end of its parent; on a line of its own, indented for the depth, unless that is 0."""
    child = document.createElement(name)
    last = parent.lastChild
    if not depth:
        parent.appendChild(child)
    elif last is not None and last.nodeType == last.TEXT_NODE and not last.data.strip():
        first = parent.firstChild  # how the brothers are indented
        lead = (
            first.data
            if first is not None and first is not last and first.nodeType == first.TEXT_NODE
            else "\n" + "  " * depth
        )
        parent.insertBefore(document.createTextNode(lead), last)
        parent.insertBefore(child, last)
    else:
        parent.appendChild(document.createTextNode("\n" + "  " * depth))
        parent.appendChild(child)
        parent.appendChild(document.createTextNode("\n" + "  " * (depth - 1)))
    return child
