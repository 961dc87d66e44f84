"""What a newcomer reads first: help at 80 columns, mistakes in one line, engines one by one."""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

import brinell
from brinell.catalog import CATALOG
from brinell.cli import options
from brinell.cli.app import COMMANDS
from brinell.cli.words import CODES
from brinell.errors import did_you_mean
from brinell.questions.evasion import PRESETS
from docs.blocks import ROOT

NAMES = [name for commands in COMMANDS.values() for name in commands]
SOURCES = sorted((Path(str(brinell.__file__)).parent / "cli").rglob("*.py"))


def test_every_command_has_a_file_and_every_file_a_command():
    folder = Path(str(brinell.__file__)).parent / "cli/commands"
    assert sorted(NAMES) == sorted(path.stem for path in folder.glob("[a-z]*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_a_page_fits_80_columns_and_begins_with_the_line_of_the_contents(brinell, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    done = brinell(name, "--help")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 80
    line = next(commands[name] for commands in COMMANDS.values() if name in commands)
    assert done.out.splitlines()[2].strip() == line
    assert f"brinell {name}" in done.out.split("Options:")[0], "there is an example"
    module = import_module(f"brinell.cli.commands.{name}")
    function = getattr(module, name, None) or getattr(module, f"{name}_")
    assert inspect.getdoc(function).splitlines()[0] == line


def test_the_contents_fit_80_columns_and_no_line_is_cut(brinell, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = brinell("--help")
    assert max(map(len, done.out.splitlines())) <= 80
    for commands in COMMANDS.values():
        for name, line in commands.items():
            assert re.search(rf"^  {name} +{re.escape(line)}$", done.out, re.MULTILINE)
    assert brinell().out == done.out


def test_no_option_is_declared_twice():
    helps = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.Option":
                helps += [ast.unparse(word.value) for word in node.keywords if word.arg == "help"]
    assert len(helps) > 25
    assert sorted(helps) == sorted(set(helps))


def test_no_function_of_the_command_line_is_long():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 50, f"{path.name}: {node.name}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verfy"], "No such command 'verfy' (did you mean verify?); see brinell --help"),
        (["zzz"], "No such command 'zzz'; see brinell --help"),
        (["audit", "--wieghts", "x"], "No such option: --wieghts (did you mean --weights?); see brinell audit --help"),
        (["compare", "a"], "Missing argument 'AFTER'; see brinell compare --help"),
        (["audit", "--n", "many"], "Invalid value for '--n': "),
        (["list", "PGDD"], "engine 'PGDD' is not known (did you mean PGD?); see brinell list"),
        (["attack", "DeepFol", "digits"], "engine 'DeepFol' is not known (did you mean DeepFool?)"),
        (["attack", "PGD", "digits", "--set", "linf:0.1", "-s", "step_s=3"], "(did you mean steps?)"),
        (["audit", "digits", "--plan", "quik"], "plan 'quik' is not known (did you mean quick?)"),
        (["audit", "digits", "--access", "weigths"], "(did you mean weights?)"),
        (["audit", "digits", "--goal", "untargetted"], "(did you mean untargeted?)"),
        (["audit", "digits", "--accept", "raise"], "(did you mean raises?)"),
        (["verify", "net.onnx", "p.vnnlib"], "p.vnnlib is a property; ask: brinell decide net.onnx p.vnnlib"),
    ],
)
def test_a_mistake_is_one_line_with_what_was_meant(brinell, words, said):
    done = brinell(*words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_what_is_near_is_proposed_whatever_its_case():
    assert did_you_mean("pgd", ["PGD", "APGD"]) == " (did you mean PGD?)"
    assert did_you_mean("standrad", PRESETS) == " (did you mean standard?)"
    assert did_you_mean("xyzzy", PRESETS) == ""
    assert did_you_mean("", []) == ""


def test_the_codes_that_can_be_accepted_are_those_of_the_pages():
    listed = set()
    for page in ("preflight", "diagnose"):
        text = (ROOT / f"docs/{page}.md").read_text()
        listed |= set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE))
    assert set(CODES) == listed


def test_the_list_fits_80_columns_and_loses_no_name(brinell, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = brinell("list")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [name for row in CATALOG if not re.search(rf"^  {row.name} ", done.out, re.M) for name in [row.name]] == []


@pytest.mark.parametrize("name", ["PGD", "CROWN", "UAP", "RotateShift", "Clean"])
def test_one_engine_is_shown_with_its_settings(brinell, name):
    done = brinell("list", name)
    assert done.code == 0
    row = next(row for row in CATALOG if row.name == name)
    assert row.paper in done.out
    for setting in inspect.signature(row.resolve()).parameters:
        assert re.search(rf"^  {setting} ", done.out, re.MULTILINE)


def test_groups_of_options_are_met_as_one_argument():
    def command(first: int, run: options.RunOptions, last: str = "x") -> tuple[object, ...]:
        return first, run, last

    flat = options.spread(command)
    assert list(inspect.signature(flat).parameters) == ["first", "accept", "workers", "out", "last"]
    given = {"accept": ["raises"], "workers": 2, "out": None}
    assert flat(first=1, **given, last="y") == (1, options.RunOptions(**given), "y")
