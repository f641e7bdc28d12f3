"""From query text to the syntax tree; a refusal says where and why."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from lark import Lark, Token
from lark.exceptions import LarkError, UnexpectedCharacters, UnexpectedInput, UnexpectedToken, VisitError

from local.cosmos.errors import CosmosError, bad_request
from local.cosmos.query.ast import Query
from local.cosmos.query.builder import TreeBuilder

MAX_QUERY_BYTES = 512 * 1024  # https://learn.microsoft.com/azure/cosmos-db/concepts-limits#sql-query-limits
MAX_NESTING = 64  # brackets within brackets; bounds the recursion of everything that walks the tree
MAX_TOKENS = 20_000

_GRAMMAR = Path(__file__).with_name("grammar.lark").read_text()
KEYWORDS = frozenset(_GRAMMAR.split("%declare ", 1)[1].split("\n", 1)[0].split())


def _keyword(token: Token) -> Token:
    word = token.upper()
    return Token.new_borrow_pos(word, token.value, token) if word in KEYWORDS else token


_lark = Lark(_GRAMMAR, parser="lalr", lexer="basic", maybe_placeholders=True, lexer_callbacks={"NAME": _keyword})
_builder = TreeBuilder()


@lru_cache(maxsize=1024)
def parse(text: str) -> Query:
    """Read a query.

    Raises:
        CosmosError: 400 with the position and the reason.
    """
    if len(text.encode()) > MAX_QUERY_BYTES:
        raise bad_request(f"The query has {len(text.encode())} bytes; the limit is {MAX_QUERY_BYTES}.")
    try:
        _check_nesting(text)
        query = _builder.transform(_lark.parse(text))
    except UnexpectedToken as error:
        raise _syntax(text, _position(error), error.token) from None
    except UnexpectedCharacters as error:
        raise _syntax(text, _position(error), text[_position(error)]) from None
    except VisitError as error:
        if isinstance(error.orig_exc, CosmosError):
            raise error.orig_exc from None
        raise
    except RecursionError:
        raise bad_request("The query is too complex: its expressions are nested too deeply.") from None
    except LarkError as error:
        raise bad_request(f"Syntax error: {error}.") from error
    assert isinstance(query, Query)
    return query


def parse_condition(text: str) -> Query:
    """Read the predicate of a patch, `FROM c WHERE ...`.

    Raises:
        CosmosError: 400.
    """
    query = parse(f"SELECT * {text}")
    if query.where is None or query.order_by or query.limit or query.group_by or len(query.sources) != 1:
        raise bad_request(f"A patch condition has the form 'from c where ...', not {text!r}.")
    return query


def _check_nesting(text: str) -> None:
    depth = operators = 0
    for tokens, token in enumerate(_lark.lex(text)):
        if token.value in ("(", "[", "{"):
            depth += 1
            if depth > MAX_NESTING:
                raise bad_request(f"The query is nested deeper than {MAX_NESTING} brackets.")
        elif token.value in (")", "]", "}"):
            depth -= 1
        # Prefix operators, ternaries and `??` nest to the right without any bracket.
        operators = operators + 1 if token.type in ("NOT", "MINUS", "PLUS", "TILDE") else 0
        if operators > MAX_NESTING or tokens > MAX_TOKENS:
            raise bad_request(
                f"The query is too complex: over {MAX_TOKENS} words, or {MAX_NESTING} operators in a row."
            )


def _position(error: UnexpectedInput) -> int:
    position: int | None = error.pos_in_stream
    return position or 0


def _syntax(text: str, position: int, found: Token | str) -> CosmosError:
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    where = f"at line {line}, column {column}"
    if isinstance(found, Token) and found.type == "$END":
        return bad_request("Syntax error: the query ends too early.")
    hint = ""
    if isinstance(found, Token) and found.type in KEYWORDS:
        hint = f" '{found.value}' is a reserved word; a property of that name is written c[\"{found.value}\"]."
    return bad_request(f"Syntax error, incorrect syntax near '{str(found)[:40]}' {where}.{hint}")
