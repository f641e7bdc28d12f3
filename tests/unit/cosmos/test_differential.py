"""The push-down into SQLite against the evaluator: the same random queries over the same documents, the same answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.cosmos.query.plan import make_plan
from tests.unit.cosmos.engines import fill, open_storage, query

SEED = 20260711
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    1.0,
    1.5,
    -0.25,
    1e16,
    9007199254740991,
    "",
    "a",
    "A",
    "ab",
    "abc",
    "b",
    "1",
    "true",
    "null",
    "é",
    "z\u00ff",
    "\U0001f600",
    'quo"te',
    "per%cent",
    [],
    [1],
    [1, "a", None],
    ["a", ["a"]],
    {},
    {"x": 1},
    {"y": None, "x": "a"},
]
PATHS = ["c.a", "c.b", "c.n.x", "c.n.y", "c.list[0]", "c.list[1]", "c.id", "c.missing", 'c["b"]', "c.n"]
SIMPLE = [value for value in VALUES if not isinstance(value, (list, dict))]


def documents(rng: random.Random, count: int) -> list[dict[str, Any]]:
    made = []
    for number in range(count):
        item: dict[str, Any] = {"id": rng.choice(["a", "b", "k"]) + str(number), "pk": "t"}
        for name in ("a", "b"):
            if rng.random() < 0.85:
                item[name] = rng.choice(VALUES)
        if rng.random() < 0.8:
            item["n"] = rng.choice(
                [{"x": rng.choice(VALUES), "y": rng.choice(VALUES)}, {"x": rng.choice(VALUES)}, "n", 7]
            )
        if rng.random() < 0.8:
            item["list"] = [rng.choice(VALUES) for _ in range(rng.randrange(4))]
        made.append(item)
    return made


class Maker:
    """Makes random predicates with parameters."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.parameters: dict[str, Any] = {}

    def value(self) -> str:
        value = self.rng.choice(SIMPLE if self.rng.random() < 0.9 else VALUES)
        name = f"@p{len(self.parameters)}"
        self.parameters[name] = value
        return name

    def text(self) -> str:
        name = f"@p{len(self.parameters)}"
        self.parameters[name] = self.rng.choice([value for value in SIMPLE if isinstance(value, str)])
        return name

    def path(self) -> str:
        return self.rng.choice(PATHS)

    def predicate(self, depth: int = 0) -> str:
        if depth < 3 and self.rng.random() < 0.45:
            kind = self.rng.choice(["AND", "OR", "NOT"])
            if kind == "NOT":
                return f"NOT ({self.predicate(depth + 1)})"
            return "(" + f" {kind} ".join(self.predicate(depth + 1) for _ in range(self.rng.choice([2, 2, 3]))) + ")"
        return self.atom()

    def atom(self) -> str:
        choice = self.rng.randrange(14)
        if choice < 4:
            return f"{self.path()} {self.rng.choice(['=', '!=', '<', '<=', '>', '>='])} {self.value()}"
        makers = [
            lambda: f"{self.value()} {self.rng.choice(['=', '<', '>='])} {self.path()}",
            lambda: f"{self.path()} {self.rng.choice(['', 'NOT '])}IN ({', '.join(self.value() for _ in range(3))})",
            lambda: f"{self.path()} BETWEEN {self.value()} AND {self.value()}",
            lambda: (
                f"IS_{self.rng.choice(['DEFINED', 'NULL', 'BOOL', 'NUMBER', 'STRING', 'ARRAY', 'OBJECT', 'PRIMITIVE'])}({self.path()})"
            ),
            lambda: f"{self.rng.choice(['STARTSWITH', 'CONTAINS', 'ENDSWITH'])}({self.path()}, {self.text()})",
            lambda: f"{self.path()} LIKE '{self.rng.choice(['a%', '%', 'ab%', 'a_', 'é%', '%b', '[a-b]%'])}'",
            lambda: f"ARRAY_CONTAINS({self.rng.choice(['c.list', 'c.a', 'c.n.x'])}, {self.value()})",
            lambda: self.path(),
            lambda: f"{self.path()} = {self.path()}",
            lambda: f"LENGTH({self.path()}) > 1",
        ]
        return self.rng.choice(makers)()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    storage = open_storage(tmp_path_factory.mktemp("differential"))
    container = fill(storage, documents(random.Random(SEED), 100))
    assert not container.scan_only
    yield storage, container
    storage.close()


def test_predicates_agree(corpus: Any) -> None:
    storage, container = corpus
    rng = random.Random(SEED + 1)
    pushed = 0
    for number in range(1200):
        maker = Maker(rng)
        text = f"SELECT VALUE c.id FROM c WHERE {maker.predicate()}"
        fast = query(storage, container, text, maker.parameters)
        slow = query(storage, container, text, maker.parameters, push_down=False)
        assert fast == slow, f"query {number}: {text} with {maker.parameters}"
        pushed += bool(make_plan(text, maker.parameters).pushed.where)
    assert pushed > 500, "the push-down was hardly tried"


def test_orders_agree_and_pages_neither_double_nor_lose(corpus: Any) -> None:
    storage, container = corpus
    rng = random.Random(SEED + 2)
    for number in range(150):
        maker = Maker(rng)
        keys = [f"{path} {rng.choice(['ASC', 'DESC'])}" for path in rng.sample(PATHS, rng.choice([1, 1, 2, 3]))]
        where = f" WHERE {maker.predicate()}" if rng.random() < 0.5 else ""
        tail = f" OFFSET {rng.randrange(20)} LIMIT {rng.randrange(60)}" if rng.random() < 0.3 else ""
        text = f"SELECT VALUE c.id FROM c{where} ORDER BY {', '.join(keys)}{tail}"
        slow = query(storage, container, text, maker.parameters, push_down=False)
        note = f"query {number}: {text} with {maker.parameters}"
        assert query(storage, container, text, maker.parameters) == slow, note
        assert query(storage, container, text, maker.parameters, page=7) == slow, note
        assert query(storage, container, text, maker.parameters, page=7, push_down=False) == slow, note


@pytest.mark.parametrize(
    "text",
    [
        "SELECT VALUE COUNT(1) FROM c WHERE c.a > 0",
        "SELECT COUNT(1) AS n FROM c",
        "SELECT VALUE SUM(c.a) FROM c WHERE IS_NUMBER(c.a)",
        "SELECT c.a, COUNT(1) AS n FROM c GROUP BY c.a",
        "SELECT DISTINCT VALUE c.b FROM c",
        "SELECT c.id, t AS tag FROM c JOIN t IN c.list WHERE IS_STRING(t)",
        "SELECT VALUE t FROM t IN c.list",
        "SELECT TOP 5 c.id FROM c WHERE IS_DEFINED(c.a)",
        "SELECT VALUE c.n.x FROM c WHERE IS_DEFINED(c.n.x) OFFSET 3 LIMIT 9",
        'SELECT VALUE {"i": c.id} FROM c WHERE c.a = 1',
    ],
)
@pytest.mark.parametrize("page", [1, 4, 1000])
def test_shapes_agree(corpus: Any, text: str, page: int) -> None:
    storage, container = corpus
    assert query(storage, container, text, page=page) == query(storage, container, text, push_down=False)


def test_a_page_goes_on_behind_the_last_row_although_rows_came_before_it(tmp_path: Path) -> None:
    import asyncio

    from local.cosmos import documents as items
    from local.cosmos.query.execution import QueryRun, run_page
    from tests.unit.cosmos.engines import NOW, everything

    storage = open_storage(tmp_path)
    container = fill(storage, [{"id": f"i{n}", "pk": "t", "n": n} for n in range(10)])
    plan = make_plan("SELECT VALUE c.n FROM c ORDER BY c.n", {})
    first = run_page(storage.reader, QueryRun(plan, everything(container), {}, 5, None))

    async def insert() -> None:
        with storage.committer.unit() as db:
            document = {"id": "new", "pk": "t", "n": -1}
            items.create(db, container, container.key.of_document(document), document, NOW)
        await storage.committer.committed()

    asyncio.run(insert())
    second = run_page(storage.reader, QueryRun(plan, everything(container), {}, 5, first.state))
    assert [int(row) for row in second.rows] == [5, 6, 7, 8, 9]
    storage.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [("a NUL", "a\0b"), ("a double that SQLite may misread", 0.1 + 0.2), ("a tiny double", 5e-324)],
)
def test_values_that_sqlite_reads_differently_are_left_to_the_evaluator(tmp_path: Path, name: str, value: Any) -> None:
    storage = open_storage(tmp_path)
    container = fill(storage, [{"id": "x", "pk": "t", "v": value}, {"id": "y", "pk": "t", "v": 1}])
    text = "SELECT VALUE c.id FROM c WHERE c.v = @v"
    assert query(storage, container, text, {"@v": value}, push_down=not container.scan_only) == ["x"], name
    storage.close()
