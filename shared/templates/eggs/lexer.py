"""A start line cut into words as a shell would cut it, without doing anything that a shell does.

Eggs are written for a line that is read twice: Pterodactyl's images replace `{{NAME}}` by `${NAME}`, then evaluate the
line, and evaluate what came out. So `\\"` in an egg is a quote that survives the first reading: here it is a quote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

OPERATORS: Final = ("&&", "||", ";", "|", "&", "(", ")")
BLANKS: Final = " \t\r"
QUOTES: Final = ('"', "'", '\\"', "\\'")
LITERALS: Final = ('\\\\\\"', "\\\\\\'")  # three backslashes: a quote that is part of the value


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a word: text (with its `$NAME` and `{{NAME}}` left in it), or a command whose output would stand there."""

    text: str
    quoted: bool = False
    kind: Literal["text", "command"] = "text"


@dataclass(frozen=True, slots=True)
class Word:
    """One word of the line."""

    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """Its text, quotes gone; commands as they stood."""
        return "".join(p.text if p.kind == "text" else f"$({p.text})" for p in self.pieces)

    @property
    def quoted(self) -> bool:
        """Whether any of it was in quotes."""
        return any(piece.quoted for piece in self.pieces)

    @property
    def commands(self) -> list[Piece]:
        """What a shell would have to run for it."""
        return [piece for piece in self.pieces if piece.kind == "command"]


@dataclass(frozen=True, slots=True)
class Operator:
    """What stands between commands, or redirects (`>`, `2>&1`, `<&0`)."""

    text: str

    @property
    def redirects(self) -> bool:
        """Whether it is a redirection."""
        return self.text.lstrip("0123456789")[:1] in ("<", ">")


Token = Word | Operator


def lex(line: str) -> list[Token]:
    """The words and operators of a line.

    Raises:
        ValueError: a quote or parenthesis is not closed.
    """
    return _Lexer(line).run()


class _Lexer:
    def __init__(self, line: str) -> None:
        self._line, self._at = line, 0
        self._tokens: list[Token] = []
        self._pieces: list[Piece] = []
        self._text = ""
        self._quote = ""  # as it was opened: with or without a backslash before it
        self._open = False  # whether a word has begun, be it an empty one in quotes

    def run(self) -> list[Token]:
        """See `lex`."""
        while self._at < len(self._line):
            if self._quote:
                self._inside()
            else:
                self._outside()
        if self._quote:
            raise ValueError(f"the quote {self._quote} is not closed")
        self._end_word()
        return self._tokens

    def _inside(self) -> None:
        """In quotes: to their end, which looks as their beginning does. The other kind is part of the text."""
        char = self._line[self._at]
        if self._line.startswith(self._quote, self._at):
            self._flush()
            self._at += len(self._quote)
            self._quote = ""
        elif char == "\\" and self._quote != "'":
            following = self._line[self._at + 1 : self._at + 2]
            self._take(following if following in ('"', "$", "`", "\\") else char + following, 2)
        elif not self._expansion(char):
            self._take("" if self._quote == '\\"' and char == '"' else char, 1)

    def _outside(self) -> None:
        char, line = self._line[self._at], self._line
        if char in BLANKS:
            self._end_word()
            self._at += 1
        elif char == "#" and not self._open:
            self._at = (line + "\n").index("\n", self._at)
        elif char == "\n":
            self._operator(";", 1)
        elif opened := next((quote for quote in QUOTES if line.startswith(quote, self._at)), ""):
            self._flush()
            self._quote, self._open = opened, True
            self._at += len(opened)
        elif char == "\\":
            literal = next(
                (each for each in LITERALS if line.startswith(each, self._at)), line[self._at : self._at + 2]
            )
            self._literal("" if literal == "\\\n" else literal[-1:], len(literal))
        elif not (self._redirection(char) or self._plain_operator() or self._expansion(char)):
            self._take(char, 1)

    def _redirection(self, char: str) -> bool:
        if char not in "<>":
            return False
        number = ""
        if self._open and self._text.isdigit() and not self._pieces:
            number, self._text, self._open = self._text, "", False
        self._end_word()
        end = self._at + 1
        while end < len(self._line) and self._line[end] in "<>&":
            end += 1
        while end < len(self._line) and self._line[end - 1] == "&" and self._line[end] in "0123456789-":
            end += 1
        self._tokens.append(Operator(number + self._line[self._at : end]))
        self._at = end
        return True

    def _plain_operator(self) -> bool:
        for operator in OPERATORS:
            if self._line.startswith(operator, self._at):
                self._operator(operator, len(operator))
                return True
        return False

    def _operator(self, text: str, length: int) -> None:
        self._end_word()
        self._tokens.append(Operator(text))
        self._at += length

    def _expansion(self, char: str) -> bool:
        """`{{NAME}}` and `${NAME...}` stay text, blanks in them do not end the word; commands become pieces."""
        rest = self._line[self._at :]
        if rest.startswith("{{") and "}}" in rest:
            self._take(rest[: rest.index("}}") + 2], rest.index("}}") + 2)
        elif rest.startswith("${") and "}" in rest:
            self._take(rest[: rest.index("}") + 1], rest.index("}") + 1)
        elif rest.startswith("$("):
            end = _closing(rest, 1)
            self._command(rest[2:end], end + 1)
        elif char == "`" and "`" in rest[1:]:
            end = rest.index("`", 1)
            self._command(rest[1:end], end + 1)
        else:
            return False
        return True

    def _command(self, text: str, length: int) -> None:
        self._flush()
        self._pieces.append(Piece(text.strip(), bool(self._quote), "command"))
        self._open = True
        self._at += length

    def _take(self, text: str, length: int) -> None:
        self._text += text
        self._open = True
        self._at += length

    def _literal(self, text: str, length: int) -> None:
        """A character that means itself."""
        self._flush()
        self._pieces.append(Piece(text, quoted=True))
        self._open = True
        self._at += length

    def _flush(self) -> None:
        if self._text or self._quote:
            self._pieces.append(Piece(self._text, bool(self._quote)))
        self._text = ""

    def _end_word(self) -> None:
        if self._open:
            self._flush()
            self._tokens.append(Word(tuple(self._pieces)))
        self._pieces, self._open = [], False


def _closing(text: str, start: int) -> int:
    """Where the parenthesis at `start` closes; those in quotes do not count.

    Raises:
        ValueError: nowhere.
    """
    level, quote, at = 0, "", start
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "()":
            level += 1 if char == "(" else -1
            if level == 0:
                return at
        at += 1
    raise ValueError("a parenthesis is not closed")
