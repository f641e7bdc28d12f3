"""Route templates: what they take, what they give, which goes first, and which are refused."""

from __future__ import annotations

import pytest

from local.functions_host.router import Router, TemplateError, parse_template


def matched(templates: list[str], path: str) -> tuple[str, dict[str, str]] | None:
    router: Router[str] = Router()
    for template in templates:
        router.add(template, None, template)
    return router.match("GET", path)


TAKEN = [
    # template, path, values
    ("", "/", {}),
    ("a/b", "/a/b", {}),
    ("a/b", "/A/B/", {}),
    ("{x}", "/v", {"x": "v"}),
    ("a/{x:int}", "/a/-7", {"x": "-7"}),
    ("a/{x:long}", "/a/9223372036854775807", {"x": "9223372036854775807"}),
    ("a/{x:guid}", "/a/7b0c1f6e-6f4b-4bb2-9d3a-0c4d2a9f6c11", {"x": "7b0c1f6e-6f4b-4bb2-9d3a-0c4d2a9f6c11"}),
    ("a/{x:bool}", "/a/True", {"x": "True"}),
    ("a/{x:datetime}", "/a/2026-01-31", {"x": "2026-01-31"}),
    ("a/{x:decimal}", "/a/1,000.5", {"x": "1,000.5"}),
    ("a/{x:alpha}", "/a/Abc", {"x": "Abc"}),
    ("a/{x:length(3)}", "/a/abc", {"x": "abc"}),
    ("a/{x:length(2,3)}", "/a/ab", {"x": "ab"}),
    ("a/{x:minlength(2)}", "/a/abc", {"x": "abc"}),
    ("a/{x:range(1,9)}", "/a/9", {"x": "9"}),
    ("a/{x:int:min(1)}", "/a/1", {"x": "1"}),
    (r"a/{x:regex(^\d{{2}}-[a-z/]+$)}", "/a/12-ab", {"x": "12-ab"}),
    ("a/{x=5}", "/a", {"x": "5"}),
    ("a/{x=5}", "/a/6", {"x": "6"}),
    ("a/{x?}", "/a", {}),
    ("a/{x?}/{y?}", "/a/1", {"x": "1"}),
    ("a/{*rest}", "/a/b/c", {"rest": "b/c"}),
    ("a/{*rest}", "/a", {}),
    ("a/{**rest}", "/a/b/c", {"rest": "b/c"}),
    ("{name}.{extension}", "/a.b.c", {"name": "a.b", "extension": "c"}),
    ("v{version:int}/x", "/v12/x", {"version": "12"}),
    ("a/{x}", "/a/%C3%BC%2f", {"x": "ü%2F"}),
]


@pytest.mark.parametrize(("template", "path", "values"), TAKEN, ids=[f"{row[0]} {row[1]}" for row in TAKEN])
def test_takes(template: str, path: str, values: dict[str, str]) -> None:
    assert matched([template], path) == (template, values)


LEFT = [
    ("a/b", "/a"),
    ("a/b", "/a//b"),
    ("{x}", "/"),
    ("a/{x}", "/a"),
    ("a/{x:int}", "/a/2147483648"),
    ("a/{x:int}", "/a/7x"),
    ("a/{x:long}", "/a/9223372036854775808"),
    ("a/{x:guid}", "/a/7b0c"),
    ("a/{x:bool}", "/a/yes"),
    ("a/{x:alpha}", "/a/a1"),
    ("a/{x:length(3)}", "/a/ab"),
    ("a/{x:maxlength(2)}", "/a/abc"),
    ("a/{x:range(1,9)}", "/a/10"),
    ("a/{x:int:min(1)}", "/a/0"),
    ("v{version:int}/x", "/vx/x"),
    ("{name}.{extension}", "/a."),
]


@pytest.mark.parametrize(("template", "path"), LEFT, ids=[f"{row[0]} {row[1]}" for row in LEFT])
def test_leaves(template: str, path: str) -> None:
    assert matched([template], path) is None


FIRST = [
    # best first, then what it goes before
    (["a/b", "a/{x}", "{*rest}"], "/a/b"),
    (["a/{x:int}", "a/{x}", "a/{*rest}"], "/a/1"),
    (["a/{x}", "a/{*rest}"], "/a/z"),
    (["a/{x}/c", "{y}/b/c"], "/a/b/c"),
    (["a/{n}.{e}", "a/{x}"], "/a/n.e"),
    (["a", "a/{x?}"], "/a"),
    (["{*rest:minlength(2)}", "{*rest}"], "/abc"),
    (["{x}/b", "a/c"], "/a/b"),  # a literal that leads nowhere gives way
]


@pytest.mark.parametrize(("templates", "path"), FIRST, ids=[f"{row[0][0]} {row[1]}" for row in FIRST])
def test_precedence_whatever_the_order_of_registration(templates: list[str], path: str) -> None:
    for order in (templates, templates[::-1]):
        found = matched(order, path)
        assert found is not None
        assert found[0] == templates[0]


REFUSED = {
    "a//b": "empty segment",
    "a/{x": "unmatched brace",
    "a/{x:nothing}": "no route constraint nothing",
    "a/{x:length(a)}": "wrong arguments",
    "a/{x:length(1,2,3)}": "wrong arguments",
    "{x}/{X}": "uses the parameter X twice",
    "{*rest}/a": "must come last",
    "{x?}/a": "must come last",
    "a{x?}": "cannot have optional parts",
    "a/{}": "malformed parameter",
}


@pytest.mark.parametrize(("template", "reason"), REFUSED.items(), ids=REFUSED.keys())
def test_refused(template: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        parse_template(template)


def test_methods_choose_among_equal_routes() -> None:
    router: Router[str] = Router()
    router.add("a", frozenset({"GET"}), "get")
    router.add("a", frozenset({"POST"}), "post")
    router.add("{x}", frozenset({"POST", "PUT"}), "other")
    assert [router.match(method, "/a") for method in ("GET", "POST", "PUT", "DELETE")] == [
        ("get", {}),
        ("post", {}),
        ("other", {"x": "a"}),
        None,
    ]
