"""Start lines as eggs write them: without a shell where that can be, else in the egg's image."""

from __future__ import annotations

from typing import Any

import pytest

from shared.templates.rendering import render
from tests.unit.templates.egg_texts import IMAGE, argv, imported, server, variable


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("./a -n{{NAME}} -w'' ", ["./a", "-n{{variables.NAME}}", "-w"], id="joined"),
        pytest.param("./a '{{NAME}}'", ["./a", "{{variables.NAME}}"], id="single_quotes_are_filled"),
        pytest.param(r"./a ?S=\\\"{{NAME}}\\\"?P=1", ["./a", '?S="{{variables.NAME}}"?P=1'], id="quotes_for_the_game"),
        pytest.param("./a --x {{env.NAME}} {{server.build.env.NAME}}", ["./a", "--x", "{{variables.NAME}}", "{{variables.NAME}}"], id="prefixes"),
        pytest.param("./a {{name}}", ["./a", "{{variables.NAME}}"], id="small_letters"),
        pytest.param("./a -p {{server.build.default.port}}", ["./a", "-p", "{{ports.game}}"], id="panel_name"),
        pytest.param("./a {{MAYBE}}", ["./a", ("MAYBE", "", [], ["{{variables.MAYBE}}"])], id="empty_makes_no_argument"),
        pytest.param('./a "{{MAYBE}}"', ["./a", "{{variables.MAYBE}}"], id="empty_in_quotes_does"),
        pytest.param("./a {{EXTRA_ARGS}}", ["./a", "{{variables.EXTRA_ARGS}}"], id="further_arguments"),
        pytest.param("./a ${NAME:-none}", ["./a", ("NAME", "", ["none"], ["{{variables.NAME}}"])], id="default"),
        pytest.param("./a -x=${MAYBE:+-y}", ["./a", ("MAYBE", "", ["-x="], ["-x=-y"])], id="alternative"),
        pytest.param('./a m?x=1$( [ "$FLAG" == "1" ] || printf %s \'?p=2\' )?q=3 -b', ["./a", ("FLAG", "1", ["m?x=1?q=3"], ["m?x=1?p=2?q=3"]), "-b"], id="condition_in_a_word"),
        pytest.param('./a m?x={{NAME}}$( [ "$FLAG" = "1" ] || printf %s \' -No\' ) -b', ["./a", ("FLAG", "1", ["m?x={{variables.NAME}}"], ["m?x={{variables.NAME}}", "-No"]), "-b"], id="condition_that_ends_a_word"),
        pytest.param('./a $( [[ -n ${MAYBE} ]] && echo "-m {{MAYBE}}" )', ["./a", ("MAYBE", "", [], ["-m", "{{variables.MAYBE}}"])], id="echo"),
        pytest.param("./a $( [[ ! -z $MAYBE ]] && printf %s ' -m=' $MAYBE )", ["./a", ("MAYBE", "", [], ["-m={{variables.MAYBE}}"])], id="printf_of_several"),
        pytest.param("./a $( [ $FLAG -eq 1 ] && printf '%s' '-on' || printf '%s' '-off' )", ["./a", ("FLAG", "1", ["-on"], ["-off"])], id="numbers"),
        pytest.param("cd bin/linux && ./a -p ${SERVER_PORT}", ["./a", "-p", "{{ports.game}}"], id="cd"),
        pytest.param("cd /home/container; ./a", ["./a"], id="cd_home"),
        pytest.param("export A={{NAME}} B=2 && exec ./a", ["./a"], id="export"),
        pytest.param("A=1 B='x y' ./a", ["./a"], id="assignments"),
        pytest.param("$(pwd)/bin/a --lib \"$PWD/lib\" --at /home/container/x", ["{{node.root}}/bin/a", "--lib", "{{node.root}}/lib", "--at", "{{node.root}}/x"], id="places"),
        pytest.param("./a -q $@", ["./a", "-q"], id="arguments_of_no_script"),
        pytest.param("./a 2>&1 | sed -r \"s/x//g\"", ["./a"], id="filter"),
        pytest.param("./a # comment", ["./a"], id="comment"),
        pytest.param("./a \\\n  -b", ["./a", "-b"], id="continued"),
    ],
)  # fmt: skip
def test_lines_that_need_no_shell(line: str, expected: list[Any]) -> None:
    names = [variable("NAME", "required|string", "x"), variable("FLAG", "required|boolean", "1")]
    found = imported(startup=line, variables=[*names, variable("MAYBE"), variable("EXTRA_ARGS")])
    assert argv(found.template) == expected
    assert not found.template.draft


def test_what_stands_before_the_program() -> None:
    template = imported(startup="export A={{NAME}} B=2 && cd sub/dir && C=3 ./a", variables=[variable("NAME")]).template
    assert (template.start.directory, argv(template)) == ("sub/dir", ["./a"])
    assert {name: template.start.env[name] for name in "ABC"} == {"A": "{{variables.NAME}}", "B": "2", "C": "3"}


NEED_A_SHELL = [
    pytest.param("if [[ -d .git ]]; then git pull; fi; node index.js", id="if"),
    pytest.param('[ ! -f "x.zip" ] && ./a --create x.zip; ./a --start x.zip', id="file_test"),
    pytest.param(
        "java $( [[ ! -f args.txt ]] && printf %s '-jar a.jar' || printf %s '@args.txt' )", id="file_in_a_condition"
    ),
    pytest.param("stop() { rcon stop; exit; }; trap stop 15; ./a & wait $!", id="trap"),
    pytest.param("./a -log x & until nc -z 127.0.0.1 1; do sleep 5; done && telnet 127.0.0.1", id="background"),
    pytest.param('coproc c ( ./b ); ./a >&"${c[1]}"', id="coprocess"),
    pytest.param("./a --seed $(date +%s)", id="computed"),
    pytest.param("./a `hostname`", id="backticks"),
    pytest.param("java -jar forge-*.jar", id="pattern_of_files"),
    pytest.param("./a ${NAME^^} ${NAME%.jar}", id="expansion"),
    pytest.param("rm -f old; ./a", id="before"),
    pytest.param("redis-server --daemonize yes && redis-cli; redis-cli shutdown", id="daemon"),
    pytest.param("bash -c 'cd /x && ./a'", id="shell_by_name"),
    pytest.param('./a $( [ "$A" == "1" ] && [ "$NAME" == "2" ] && printf %s x )', id="two_tests"),
    pytest.param('./a x$( [ "$NAME" == "1" ] && printf %s x )$( [ -z $NAME ] && printf %s y )', id="two_in_a_word"),
]


@pytest.mark.parametrize("line", NEED_A_SHELL)
def test_lines_that_need_a_shell_get_one_in_their_image_and_nowhere_else(line: str) -> None:
    names = [variable("NAME", "required|string", "x")]
    found = imported(startup=line, variables=names, docker_images=IMAGE)
    assert found.template.drivers == ("container",)
    assert found.template.start.argv[:2] == ("bash", "-c")
    assert not found.template.draft
    assert any(note.part == "startup" and note.verdict == "changed" for note in found.notes)
    alone = imported(startup=line, variables=names)
    assert alone.template.draft == ("startup",), "without an image a person has to write the line"
    assert alone.template.notes["imported_startup"] == line


def test_a_members_value_never_becomes_text_of_a_shell() -> None:
    line = (
        "if true; then ./a --name '{{NAME}}' -p {{SERVER_PORT}} \\\"{{env.NAME}}\\\" {{server.build.default.port}}; fi"
    )
    template = imported(startup=line, variables=[variable("NAME")], docker_images=IMAGE).template
    text = template.start.argv[2]
    assert text == 'if true; then ./a --name "${NAME}" -p ${SERVER_PORT} "${NAME}" ${SERVER_PORT}; fi'
    spec = render(template, server(template, NAME='"; rm -rf / #'))
    assert spec.launch.argv[2] == text
    assert spec.launch.env["NAME"] == '"; rm -rf / #'


@pytest.mark.parametrize(
    ("line", "drivers"),
    [
        ("./game", ("process", "container")),
        ("java -jar a.jar", ("process", "container")),
        ("mongod --port 1", ("container",)),
        ("/usr/local/bin/python bot.py", ("container",)),
        ("bash ./start.sh", ("container",)),
    ],
)
def test_a_program_of_the_image_runs_in_the_image(line: str, drivers: tuple[str, ...]) -> None:
    assert imported(startup=line, docker_images=IMAGE).template.drivers == drivers


def test_the_environment_is_the_one_that_the_panels_give() -> None:
    names = [variable("LD_LIBRARY_PATH", "required|string", "."), variable("QUERY_PORT", "required|integer", "27015")]
    env = imported(variables=names).template.start.env
    assert env["LD_LIBRARY_PATH"] == "{{variables.LD_LIBRARY_PATH}}"
    assert (env["QUERY_PORT"], env["SERVER_PORT"]) == ("{{ports.query_port}}", "{{ports.game}}")
    assert env["SERVER_MEMORY"] == "{{server.memory_mib}}"
