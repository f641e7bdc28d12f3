"""An egg's start line, written for a shell: as tokens that no shell reads, where that can be, else for a shell in a container."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from shared.templates.eggs.conditions import DEFAULT, PREFIX, Choice, condition, default, reference
from shared.templates.eggs.lexer import Operator, Piece, Token, Word, lex
from shared.templates.eggs.report import Report

ROOT: Final = "{{node.root}}"
PLACES: Final = re.compile(r"/home/container(?![\w.-])|/mnt/server(?![\w.-])")
NAMED: Final = re.compile(rf"\{{\{{\s*{PREFIX}([A-Za-z_][\w.]*)\s*\}}\}}|\$\{{([A-Za-z_]\w*)\}}|\$([A-Za-z_]\w*)")
ARGUMENTS: Final = re.compile(r"ARGS?|ARGUMENTS?|FLAGS?|PARAMS?|PARAMETERS?|OPTIONS?|EXTRA|ADDITIONAL")
FILTERS: Final = ("tee", "sed", "grep", "cat", "awk", "ts", "stdbuf")
KEYWORDS: Final = frozenset([
    "if", "for", "while", "until", "case", "function", "{", "(", "[", "[[", "!", "coproc", "trap", "eval", "time", "select",
    "source", ".",
])  # fmt: skip
ASSIGNMENT: Final = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
SHELLS: Final = ("bash", "sh", "ash", "dash", "/bin/bash", "/bin/sh", "/bin/ash")


class NeedsShell(Exception):
    """Something that only a shell can do; the text is what."""


@dataclass(slots=True)
class Line:
    """The start line, translated. `lists` are variables whose text becomes several arguments."""

    argv: list[Any]
    env: dict[str, str] = field(default_factory=dict)
    directory: str = "."
    lists: set[str] = field(default_factory=set)
    by_shell: bool = False


class Startup:
    """Translates one line."""

    def __init__(
        self,
        place: Callable[[str], str | None],
        variables: Iterable[str],
        optional: Iterable[str],
        texts: Iterable[str],
        report: Report,
        *,
        images: bool,
    ) -> None:
        """Args:
        place: our placeholder for a name that the line uses, or None.
        variables: names of the egg's variables.
        optional: those that may be empty: unquoted, a shell makes no argument of them then.
        texts: those that may hold any text, so several arguments too.
        report: gets what is not as it was.
        images: whether there is a container to run a shell in.
        """
        self._place, self._report, self._images = place, report, images
        self._variables, self._optional, self._texts = set(variables), set(optional), set(texts)

    def read(self, text: str) -> Line:
        """The line as what an agent can start; a draft's stand-in where nothing can be made of it."""
        text = text.replace("\r", "").replace("\\\n", " ").strip()
        try:
            tokens = lex(text)
        except ValueError:
            self._report.changed("startup", "its quotes do not match: split at blanks")
            tokens = [Word((Piece(word),)) for word in re.sub(r"[\"'`\\]", "", text).split()]
        try:
            return self._plain(tokens)
        except NeedsShell as need:
            return self._shelled(text, str(need))

    # ---------------------------------------------------------------- without a shell

    def _plain(self, tokens: list[Token]) -> Line:
        line = Line([])
        commands = _commands(tokens)
        while len(commands) > 1 and self._prelude(*commands[0], line):
            commands = commands[1:]
        game, operator = commands[0] if commands else ([], "")
        self._afterwards(commands[1:], operator)
        for word in self._start(self._without_redirections(game), line):
            line.argv += self._word(word, line)
        if not line.argv or not isinstance(line.argv[0], str):
            raise NeedsShell("the program itself is computed")
        return line

    def _prelude(self, words: list[Token], operator: str, line: Line) -> bool:
        """`export A=b &&` and `cd folder &&` before the game."""
        if operator not in ("&&", ";") or not all(isinstance(word, Word) for word in words):
            return False
        first, *rest = [word for word in words if isinstance(word, Word)] or [Word(())]
        if first.text == "cd" and len(rest) == 1:
            folder = self._text(rest[0]).replace(ROOT, ".").removeprefix("./")
            if folder.startswith(("/", "~")) or ".." in folder.split("/") or line.directory != ".":
                raise NeedsShell(f"cd {rest[0].text}")
            line.directory = folder.strip("/") or "."
            return True
        found = [ASSIGNMENT.fullmatch(self._text(word)) for word in rest if word.text != "export"]
        if first.text != "export" or not found or None in found:
            return False
        line.env |= {match.group(1): match.group(2) for match in found if match}
        return True

    def _afterwards(self, commands: list[tuple[list[Token], str]], operator: str) -> None:
        """What stands after the game: a filter of its output can be left out, anything else takes a shell."""
        names = [next((word.text for word in words if isinstance(word, Word)), "") for words, _ in commands]
        if not any(names) and operator in ("", ";"):
            return
        if operator == "|" and names and all(name in FILTERS for name in names):
            self._report.dropped("startup", f"what filters its output (`| {names[0]}`): console lines are as they come")
            return
        shown = next((name for name in names if name), "the background")
        raise NeedsShell(f"`{operator} {shown}`")

    def _without_redirections(self, tokens: list[Token]) -> list[Word]:
        kept: list[Word] = []
        skip = False
        for token in tokens:
            if isinstance(token, Operator):
                if "<" in token.text:
                    raise NeedsShell(f"`{token.text}`")
                self._report.dropped("startup", f"`{token.text}`: its output is the console's")
                skip = not re.search(r"&[\d-]$", token.text)
            elif skip:
                skip = False
            else:
                kept.append(token)
        return kept

    def _start(self, words: list[Word], line: Line) -> list[Word]:
        """Without what a shell reads before a program's name."""
        while words and (match := ASSIGNMENT.fullmatch(words[0].text)) and not words[0].pieces[0].quoted:
            line.env[match.group(1)] = ASSIGNMENT.fullmatch(self._text(words[0])).group(2)  # type: ignore[union-attr]
            words = words[1:]
        if len(words) > 1 and words[0].text in ("exec", "env", "command"):
            self._report.changed("startup", f"started without `{words[0].text}`")
            return self._start(words[1:], line)
        if words and (words[0].text in KEYWORDS or words[0].text.endswith("()")):
            raise NeedsShell(f"`{words[0].text}`")
        if len(words) > 1 and words[0].text in SHELLS:
            if words[1].text.startswith("-"):
                raise NeedsShell(f"`{words[0].text} {words[1].text}`")
            if not self._images:
                self._report.changed("startup", f"started without `{words[0].text}`")
                return words[1:]
        return words

    def _word(self, word: Word, line: Line) -> list[Any]:
        """The tokens of a word: none for an empty one, a condition where one variable decides."""
        text = word.text
        if not word.quoted and (name := reference(text)) is not None and name.upper() in self._variables:
            placed = self.fill(text)
            if name.upper() not in self._optional:
                return [placed]
            if name.upper() in self._texts and ARGUMENTS.search(name.upper()):
                line.lists.add(name.upper())
                return [placed]
            return [{"when": name.upper(), "equals": "", "then": [], "otherwise": [placed]}]
        fragments = self._fragments(word)
        choices = [each for each in fragments if isinstance(each, Choice)]
        if not choices:
            filled = "".join(map(str, fragments))
            return [filled] if filled or word.quoted or self._has_names(text) else []
        if len(choices) > 1:
            raise NeedsShell(f"`{text[:120]}` (several conditions in one word)")
        at = fragments.index(choices[0])
        before, after = "".join(map(str, fragments[:at])), "".join(map(str, fragments[at + 1 :]))
        choice = choices[0]
        sides = [self._joined(before, said, after, choice) for said in (choice.held, choice.otherwise)]
        self._report.changed("startup", f"`{text[:80]}` became a condition on {choice.name.upper()}")
        return [{"when": choice.name.upper(), "equals": choice.equals, "then": sides[0], "otherwise": sides[1]}]

    def _joined(self, before: str, said: str, after: str, choice: Choice) -> list[str]:
        """The arguments that a word with a text in it comes to."""
        if choice.quoted:
            whole = before + self.fill(said) + after
            return [whole]
        try:
            found = [each for each in lex(said) if isinstance(each, Word)]
        except ValueError:
            found = [Word((Piece(each),)) for each in said.split()]
        words = [self._text(each) for each in found]
        if before:
            words = [before, *words] if not words or said[:1].isspace() else [before + words[0], *words[1:]]
        if after:
            words = [*words, after] if not words or said[-1:].isspace() else [*words[:-1], words[-1] + after]
        if before and after and not said.strip():
            words = [before, after] if said else [before + after]
        return words

    def _fragments(self, word: Word) -> list[str | Choice]:
        """A word's parts, names filled in: texts, and choices between texts."""
        found: list[str | Choice] = []
        for piece in word.pieces:
            if piece.kind == "command":
                found.append(self._command(piece))
                continue
            if not piece.quoted and re.search(r"\*|^~", re.sub(r"\{\{.*?\}\}|\$\{.*?\}|\$\*", "", piece.text)):
                raise NeedsShell(f"`{piece.text[:80]}` (a pattern of file names)")
            at = 0
            for match in DEFAULT.finditer(piece.text):
                if match.group(1).upper() not in self._variables:
                    raise NeedsShell(f"`{match.group(0)}`")
                found += [self.fill(piece.text[at : match.start()]), default(match, quoted=piece.quoted)]
                at = match.end()
            found.append(self.fill(piece.text[at:]))
        return found

    def _command(self, piece: Piece) -> str | Choice:
        if piece.text in ("pwd", "pwd -P", "echo $PWD"):
            return ROOT
        found = condition(piece.text, quoted=piece.quoted, known=lambda name: name.upper() in self._variables)
        if found is None:
            raise NeedsShell(f"`$({piece.text[:120]})` is computed by a shell")
        return found

    def _text(self, word: Word) -> str:
        """A word that must be plain text."""
        fragments = self._fragments(word)
        if any(isinstance(each, Choice) for each in fragments):
            raise NeedsShell(f"`{word.text[:80]}`")
        return "".join(map(str, fragments))

    @staticmethod
    def _has_names(text: str) -> bool:
        return NAMED.search(text) is not None and not text.startswith("$")

    def fill(self, text: str) -> str:
        """`{{NAME}}`, `${NAME}` and `$NAME` as our placeholders; unknown names are left out and reported."""

        def one(match: re.Match[str]) -> str:
            place = self._place(next(group for group in match.groups() if group))
            if place is None:
                self._report.dropped("startup", f"{match.group(0)} names nothing that the egg defines: left empty")
            return place or ""

        text = re.sub(r"\$[@*]", "", text)
        if strange := re.search(r"\$(?:\{(?![A-Za-z_]\w*\})[^}]*\}?|[\d!?$#-])|\$\{[A-Za-z_]\w*[^\w}][^}]*\}", text):
            raise NeedsShell(f"`{strange.group(0)}`")
        return PLACES.sub(ROOT, NAMED.sub(one, text))

    # ---------------------------------------------------------------- with one

    def _shelled(self, text: str, what: str) -> Line:
        """The whole line for a shell in the egg's own image. Values reach it by the environment, never as its text."""
        if not self._images:
            reason = f"{what}: agents run no shell, and the egg names no image to run one in"
            self._report.needed("startup", f"{reason}; the line is kept in the notes")
            return Line(["./start"])
        self._report.changed(
            "startup",
            f"{what}: the line is read by bash in the egg's own image, so its nodes' driver must be containers",
        )
        text = re.sub(r"'([^']*\{\{[^']*)'", lambda match: '"' + match.group(1).replace('"', '\\"') + '"', text)
        text = re.sub(r"\\([\"'])", r"\1", text)
        named = re.sub(rf"\{{\{{\s*{PREFIX}([\w.]+)\s*\}}\}}", self._environment_name, text)
        return Line(["bash", "-c", named], by_shell=True)

    def _environment_name(self, match: re.Match[str]) -> str:
        name = match.group(1)
        name = {"server.build.default.port": "SERVER_PORT", "server.allocations.default.port": "SERVER_PORT"}.get(
            name, name
        )
        if self._place(name) is None or not re.fullmatch(r"\w+", name):
            self._report.dropped("startup", f"{match.group(0)} names nothing that the egg defines: left empty")
            return ""
        return f"${{{name.upper()}}}"


def _commands(tokens: list[Token]) -> list[tuple[list[Token], str]]:
    """The line's commands with the operator behind each."""
    found: list[tuple[list[Token], str]] = []
    current: list[Token] = []
    for token in tokens:
        if isinstance(token, Operator) and not token.redirects:
            if token.text in ("(", ")"):
                raise NeedsShell(f"`{token.text}`")
            found.append((current, token.text))
            current = []
        else:
            current.append(token)
    return [*found, (current, "")] if current or not found else found
