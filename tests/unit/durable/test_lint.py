"""The linter: each rule with code that breaks it and code that does not."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from local.durable.lint.__main__ import main
from local.durable.lint.checker import check_source
from local.durable.lint.rules import RULES

HEAD = """
import asyncio, datetime, os, random, time, uuid
import datetime as clock
from datetime import datetime as moment
from time import time as tick
import azure.durable_functions as df

@app.orchestration_trigger(context_name="context")
"""

IN_ORCHESTRATOR = {
    "clock by module": ("x = datetime.datetime.now()", "DUR101"),
    "clock by alias": ("x = clock.datetime.utcnow()", "DUR101"),
    "clock by imported class": ("x = moment.now()", "DUR101"),
    "clock by imported function": ("x = tick()", "DUR101"),
    "random number": ("x = random.random()", "DUR102"),
    "random id": ("x = uuid.uuid4()", "DUR102"),
    "file": ("x = open('a')", "DUR103"),
    "environment call": ("x = os.getenv('A')", "DUR103"),
    "environment subscript": ("x = os.environ['A']", "DUR103"),
    "path object": ("x = path.read_text()", "DUR103"),
    "blocking sleep": ("time.sleep(1)", "DUR104"),
    "asyncio": ("asyncio.run(f())", "DUR104"),
    "module state": ("global seen", "DUR105"),
    "set literal": ("for x in {1, 2}:\n        pass", "DUR106"),
    "set call in comprehension": ("x = [y for y in set(z)]", "DUR106"),
    "call_http": ("yield context.call_http('GET', 'http://x')", "DUR205"),
    "links": ("x = client.create_check_status_response(req, i)", "DUR206"),
}


@pytest.mark.parametrize(("line", "code"), IN_ORCHESTRATOR.values(), ids=IN_ORCHESTRATOR.keys())
def test_found_in_an_orchestrator(line: str, code: str) -> None:
    source = HEAD + f"def flow(context):\n    {line}\n    yield context.call_activity('a', 1)\n"
    findings = check_source(source, "flow.py")
    assert [finding.code for finding in findings] == [code]
    assert findings[0].line == source[: source.index(line)].count("\n") + 1
    assert str(findings[0]).startswith(f"flow.py:{findings[0].line}: {code} ")


GOOD_IN_ORCHESTRATOR = {
    "the context's clock": "x = context.current_utc_datetime + datetime.timedelta(seconds=1)",
    "a fixed moment": "x = datetime.datetime(2026, 1, 1)",
    "the context's ids": "x = context.new_guid()",
    "id from a name": "x = uuid.uuid5(uuid.NAMESPACE_URL, 'a')",
    "a sorted set": "x = [y for y in sorted({1, 2})]",
    "signal with nothing": "context.signal_entity(e, 'add', 0)",
    "a method of that name": "x = self.random()",
    "allowed with a reason": "x = os.getenv('A')  # durable: allow DUR103 constant in every deployment",
}


@pytest.mark.parametrize("line", GOOD_IN_ORCHESTRATOR.values(), ids=GOOD_IN_ORCHESTRATOR.keys())
def test_nothing_found_in_an_orchestrator(line: str) -> None:
    source = HEAD + f"def flow(context):\n    {line}\n    yield context.call_activity('a', 1)\n"
    assert check_source(source, "flow.py") == []


ANYWHERE = {
    "retry timeout": ("x = {'retryTimeoutInMilliseconds': 5}", ["DUR204"]),
    "falsy signal": ("async def f(client):\n    await client.signal_entity(e, 'add', 0)", ["DUR203"]),
    "falsy signal by name": (
        "async def f(client):\n    await client.signal_entity(e, 'a', operation_input={})",
        ["DUR203"],
    ),
    "signal with a value": ("async def f(client):\n    await client.signal_entity(e, 'add', {'by': 0})", []),
    "body as input": ("async def f(req, client):\n    await client.start_new('a', None, req.get_json())", ["DUR201"]),
    "body by way of a name": (
        "async def f(req, client):\n    body = req.get_json()\n    await client.start_new('a', client_input=body)",
        ["DUR201"],
    ),
    "wrapped body": ("async def f(req, client):\n    await client.start_new('a', None, {'body': req.get_json()})", []),
    "event with a parsed text": ("async def f(c):\n    await c.raise_event(i, 'n', json.loads(t))", []),
    "child with a parsed text": ("def f(c):\n    yield c.call_sub_orchestrator('n', json.loads(t))", ["DUR201"]),
    "plain function with a client": (
        "@app.durable_client_input(client_name='c')\ndef f(req, c):\n    pass",
        ["DUR207"],
    ),
    "async function with a client": ("@app.durable_client_input(client_name='c')\nasync def f(req, c):\n    pass", []),
    "async orchestrator": (
        "@bp.orchestration_trigger(context_name='c')\nasync def f(c):\n    await g()",
        ["DUR107", "DUR107"],
    ),
    "activities may do anything": ("@app.activity_trigger(input_name='x')\ndef a(x):\n    return time.time()", []),
    "helper by annotation": (
        "def helper(context: df.DurableOrchestrationContext):\n    import random\n    return random.random()",
        ["DUR102"],
    ),
    "helper by call": (
        "import time\ndef helper():\n    return time.time()\n"
        "@app.orchestration_trigger(context_name='c')\ndef f(c):\n    yield c.call_activity('a', helper())",
        ["DUR101"],
    ),
    "not Python": ("def (", ["DUR299"]),
    "allowed without a reason": ("x = {'retryTimeoutInMilliseconds': 5}  # durable: allow DUR204", ["DUR204"]),
}


@pytest.mark.parametrize(("source", "codes"), ANYWHERE.values(), ids=ANYWHERE.keys())
def test_anywhere(source: str, codes: list[str]) -> None:
    assert [finding.code for finding in check_source(source, "a.py")] == codes


def test_every_rule_has_a_bad_sample() -> None:
    tried = {code for _, code in IN_ORCHESTRATOR.values()} | {code for _, codes in ANYWHERE.values() for code in codes}
    assert tried | {"DUR202"} == set(RULES)


def test_the_command_prints_what_it_finds_and_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "flow.py").write_text(textwrap.dedent("x = {'retryTimeoutInMilliseconds': 5}\n"))
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith(f"{tmp_path}/flow.py:1: DUR204 ")
    (tmp_path / "flow.py").write_text("x = 1\n")
    assert main([str(tmp_path)]) == 0


def test_the_command_wants_strict_typing_in_the_app_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "host.json").write_text("{}")
    (tmp_path / "functions").mkdir()
    settings = tmp_path / "local.settings.example.json"
    settings.write_text('{"Values": {}}')
    assert main([str(tmp_path / "functions")]) == 1
    assert "DUR202" in capsys.readouterr().out
    settings.write_text('{"Values": {"AZURE_FUNCTIONS_DURABLE_STRICT_TYPING": "1"}}')
    assert main([str(tmp_path / "functions")]) == 0


def test_the_command_refuses_a_path_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no/such/folder"]) == 2
    assert "no/such/folder" in capsys.readouterr().err
