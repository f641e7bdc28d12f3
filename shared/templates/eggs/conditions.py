"""The one thing that eggs have a shell compute and that needs none: text that depends on a variable.

$( [ "$X" == "1" ] && printf %s '-a' || printf %s '-b' )        ${X:-otherwise}
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shared.templates.eggs.lexer import Operator, Token, Word, lex

PREFIX: Final = r"(?:server\.build\.env(?:ironment)?\.|server\.environment\.|env\.)?"
REFERENCE: Final = re.compile(rf"\$\{{?([A-Za-z_]\w*)\}}?|\{{\{{\s*{PREFIX}([A-Za-z_]\w*)\s*\}}\}}")
DEFAULT: Final = re.compile(r"\$\{([A-Za-z_]\w*):?([-+])([^{}]*)\}")
EQUAL, UNEQUAL = ("=", "==", "-eq"), ("!=", "-ne")
FLAGS: Final = re.compile(r"-[neE]+")


@dataclass(frozen=True, slots=True)
class Choice:
    """Text that depends on a variable: `held` when it equals `equals`, `otherwise` when not. Unquoted text is split."""

    name: str
    equals: str
    held: str
    otherwise: str
    quoted: bool

    def swapped(self) -> Choice:
        """With the two texts changed over."""
        return Choice(self.name, self.equals, self.otherwise, self.held, self.quoted)


def condition(command: str, *, quoted: bool, known: Callable[[str], bool]) -> Choice | None:
    """What `$(command)` comes to, if it is a test of one known variable that says one thing or another."""
    try:
        tokens = [each for each in lex(command) if not (isinstance(each, Operator) and each.text == ";")]
    except ValueError:
        return None
    closing = next((i for i, each in enumerate(tokens) if isinstance(each, Word) and each.text in ("]", "]]")), -1)
    if closing < 2 or not isinstance(tokens[0], Word) or tokens[0].text not in ("[", "[["):
        return None
    tested = _test(tokens[1:closing], known, pattern=tokens[0].text == "[[")
    said = _said(tokens[closing + 1 :])
    if tested is None or said is None:
        return None
    (name, equals, positive), (first, one, two) = tested, said
    held, otherwise = (one, two) if first == "&&" else (two, one)
    choice = Choice(name, equals, held, otherwise, quoted)
    return choice if positive else choice.swapped()


def _test(tokens: list[Token], known: Callable[[str], bool], *, pattern: bool) -> tuple[str, str, bool] | None:
    """The variable, what it is compared with, and whether the test wants them equal."""
    words = [each for each in tokens if isinstance(each, Word) and not each.commands]
    if len(words) != len(tokens):
        return None
    negated = words[0].text == "!"
    match words[1:] if negated else words:
        case [flag, subject] if flag.text in ("-z", "-n"):
            found = subject, "", flag.text == "-z"
        case [subject]:
            found = subject, "", False
        case [subject, operator, value] if operator.text in (*EQUAL, *UNEQUAL):
            text = value.text
            if REFERENCE.search(text) or (pattern and not value.quoted and re.search(r"[*?\[]", text)):
                return None
            found = subject, text, operator.text in EQUAL
        case _:
            return None
    name = reference(found[0].text)
    return (name, found[1], found[2] != negated) if name is not None and known(name) else None


def _said(tokens: list[Token]) -> tuple[str, str, str] | None:
    """`&& say` or `|| say`, then perhaps `|| say`: the first operator, what is said after it, and what instead."""
    parts: list[list[Word]] = [[]]
    operators: list[str] = []
    for each in tokens:
        if isinstance(each, Operator):
            operators.append(each.text)
            parts.append([])
        else:
            parts[-1].append(each)
    texts = [_saying(part) for part in parts[1:]]
    if parts[0] or None in texts or operators not in (["&&"], ["||"], ["&&", "||"]):
        return None
    return operators[0], str(texts[0]), str(texts[1]) if len(texts) > 1 else ""


def _saying(words: list[Word]) -> str | None:
    """What `printf` or `echo` would print."""
    texts = [word.text for word in words]
    if len(texts) < 2 or any(word.commands for word in words):
        return None
    if texts[0] == "echo":
        return " ".join(text for text in texts[1:] if not FLAGS.fullmatch(text))
    if texts[0] != "printf":
        return None
    shape, arguments = texts[1], texts[2:]
    if "%" not in shape and not arguments:
        return shape
    if shape == "%s":
        return "".join(arguments)
    return shape.replace("%s", arguments[0]) if shape.count("%") == shape.count("%s") == len(arguments) == 1 else None


def default(match: re.Match[str], *, quoted: bool) -> Choice:
    """`${X:-text}` is the text when X is empty; `${X:+text}` when it is not."""
    name, kind, text = match.groups()
    choice = Choice(name, "", text, f"${{{name}}}", quoted)
    return choice if kind == "-" else Choice(name, "", "", text, quoted)


def reference(text: str) -> str | None:
    """The variable that a word names, if it names one and nothing else."""
    match = REFERENCE.fullmatch(text)
    return (match.group(1) or match.group(2)) if match else None
