"""An egg's start line, written for a shell, as tokens that no shell reads."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

from shared.templates.eggs.report import Report

# What eggs write for "this flag only if that variable is set": [ "$X" == "1" ] && printf %s 'A' || printf %s 'B'
_TEST = (
    r"\[\[?\s*(?:(?P<flag>-[zn])\s+)?(?P<left>\"?\$?\{?\{?[A-Za-z0-9_]+\}?\}?\"?)"
    r"(?:\s*(?P<operator>==?|!=|-eq|-ne)\s*(?P<right>\"[^\"$]*\"|'[^']*'|[A-Za-z0-9_.-]+))?\s*\]\]?"
)
_SAY = r"(?:printf(?:\s+(?:%s|'%s'|\"%s\"))?|echo(?:\s+-[ne]+)*)\s+(?P<{name}>\"(?:\\.|[^\"\\])*\"|'[^']*'|[^\s|&;)]+)"
_CONDITION = re.compile(
    r"\$\(\s*"
    + _TEST
    + r"\s*(?P<first>&&|\|\|)\s*"
    + _SAY.format(name="one")
    + r"(?:\s*\|\|\s*"
    + _SAY.format(name="two")
    + r")?\s*;?\s*\)"
)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_OPERATORS = {"|", "||", "&&", ";", "&", ">", ">>", "<", "<<", "2>&1", "(", ")", "`"}


class Startup:
    """Turns the line into tokens and conditionals. `place` gives the placeholder of a variable's name, or None."""

    def __init__(self, place: Callable[[str], str | None], variables: set[str], report: Report) -> None:
        self._place, self._variables, self._report = place, variables, report

    def tokens(self, line: str) -> list[Any]:
        """The `start.argv` of a template; at least one token."""
        conditions: list[dict[str, Any]] = []

        def hold(match: re.Match[str]) -> str:
            conditional = self._conditional(match)
            if conditional is None:
                return match.group(0)
            conditions.append(conditional)
            return f"\0{len(conditions) - 1}\0"

        line = _CONDITION.sub(hold, line.replace("\r", "").replace("\\\n", " "))
        line = self._drop_substitutions(line)
        argv: list[Any] = []
        for word in self._split(line):
            argv += self._word(word, conditions)
        return self._without_shell(argv) or ["./start"]

    def _split(self, line: str) -> list[str]:
        unescaped = re.sub(r'\\"', '"', line)
        for attempt in (unescaped, line, unescaped.replace("'", "")):
            try:
                return shlex.split(attempt)
            except ValueError:
                continue
        self._report.changed("startup", "its quotes do not match: split at blanks")
        return line.split()

    def _word(self, word: str, conditions: list[dict[str, Any]]) -> list[Any]:
        if "\0" not in word:
            return [self.fill(word)]
        alone = re.fullmatch(r"\0(\d+)\0", word)
        if alone:
            return [conditions[int(alone.group(1))]]
        self._report.dropped(
            "startup", "a condition in the middle of a word cannot be expressed: the word is left without it"
        )
        return [self.fill(re.sub(r"\0\d+\0", "", word))]

    def _drop_substitutions(self, line: str) -> str:
        while (match := re.search(r"\$\((?:[^()]|\([^()]*\))*\)|`[^`]*`|\$\(\(", line)) is not None:
            self._report.needed(
                "startup",
                f"`{match.group(0)[:120]}` is computed by a shell, and agents run none: put its result into a variable",
            )
            line = line[: match.start()] + " " + line[match.end() :]
        return line

    def _without_shell(self, argv: list[Any]) -> list[Any]:
        """Only one program is started: what chains several keeps the last, pipes and redirections go."""
        texts = [token if isinstance(token, str) else "" for token in argv]
        chained = [index for index, token in enumerate(texts) if token in ("&&", ";", "||") or token.endswith(";")]
        if chained:
            before = " ".join(text for text in texts[: chained[-1]] if text)
            self._report.needed(
                "startup", f"`{before[:160]}` runs before the game: an install step or a file must do it"
            )
            argv = argv[chained[-1] + 1 :]
        while argv and isinstance(argv[0], str) and (match := re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", argv[0])):
            self.env[match.group(1)] = match.group(2)
            argv = argv[1:]
        kept: list[Any] = []
        for token in argv:
            if isinstance(token, str) and (token in _OPERATORS or re.match(r"\d?[<>]", token)):
                self._report.dropped("startup", f"from `{token}` on: there is no shell to pipe or redirect")
                break
            kept.append(token)
        if kept and kept[0] in ("exec", "bash", "sh", "eval") and len(kept) > 1:
            self._report.changed("startup", f"started without `{kept[0]}`")
            kept = kept[1:]
        return kept

    @property
    def env(self) -> dict[str, str]:
        """Assignments before the program's name."""
        if not hasattr(self, "_env"):
            self._env: dict[str, str] = {}
        return self._env

    def fill(self, text: str) -> str:
        """`{{NAME}}`, `${NAME}` and `$NAME` as our placeholders; unknown names are left out and reported."""

        def one(match: re.Match[str]) -> str:
            name = next(group for group in match.groups() if group)
            place = self._place(name)
            if place is None:
                self._report.dropped("startup", f"{match.group(0)} names nothing that the egg defines: left empty")
                return ""
            return place

        pattern = (
            r"\{\{\s*(?:server\.build\.env\.|env\.|server\.environment\.)?([A-Za-z0-9_.]+)\s*\}\}"
            r"|\$\{([A-Za-z_]\w*)(?:[:%#/,^@-][^}]*)?\}|\$([A-Za-z_]\w*)"
        )
        return re.sub(pattern, one, text)

    def _conditional(self, match: re.Match[str]) -> dict[str, Any] | None:
        found = _WORD.search(match.group("left"))
        name = found.group(0) if found else ""
        if name not in self._variables:
            return None
        one, two = self._said(match.group("one")), self._said(match.group("two"))
        held, not_held = (one, two) if match.group("first") == "&&" else ([], one)
        flag, operator = match.group("flag"), match.group("operator")
        if flag == "-z" or operator in ("!=", "-ne"):
            held, not_held = not_held, held
        conditional: dict[str, Any] = {"when": name, "then": held, "otherwise": not_held}
        if operator is not None:
            conditional["equals"] = match.group("right").strip("\"'")
        self._report.changed("startup", f"`{match.group(0)[:80]}` became a condition on {name}")
        return conditional

    def _said(self, text: str | None) -> list[str]:
        if not text:
            return []
        if text[0] in "\"'":
            text = text[1:-1]
        try:
            words = shlex.split(text.replace('\\"', '"'))
        except ValueError:
            words = text.split()
        return [self.fill(word) for word in words]
