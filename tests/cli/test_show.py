import io

from rich.console import Console

from brinell.auditing import Finding, Ruling
from brinell.auditing.gate import Outcome
from brinell.cli.engines import catalog_table
from brinell.cli.progress import Bar
from brinell.cli.show import findings_table, rulings_table


def printed(table: object, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_other_peoples_words_do_not_act():
    evil = "[/red] [bold]x[/bold] \x1b[31m\x07\r\u202e"
    text = printed(findings_table([Finding(code="raises", severity="severe", message=evil, remedy=evil)]))
    assert "[/red] [bold]x[/bold]" in text
    assert not set("\x1b\x07\r\u202e") & set(text)
    assert "[/red]" in printed(rulings_table([Ruling(evil, Outcome.FAIL, evil)]))


def test_nothing_found_is_said():
    assert "ready to audit" in printed(findings_table([]))


def test_a_narrow_terminal_loses_no_word():
    from brinell.catalog import CATALOG

    text = "".join(printed(catalog_table(CATALOG), 80).split())
    for row in CATALOG:
        assert row.name in text


def step(stage="PGD(x=[/red])", done=1):
    from brinell.auditing import Progress, Stage

    return Progress(Stage(engine=stage), 0.1, done, 10, 5, 1.0)


def test_a_log_has_one_line_a_stage(capsys):
    with Bar() as bar:
        for done in range(5):
            bar.step(step(done=done))
        bar.step(step("IBP", 6))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split("s  ")[1] for line in err.splitlines()] == [
        "PGD(x=[/red])() at 0.1, 5 open",
        "IBP() at 0.1, 5 open",
    ]


def test_a_terminal_has_a_bar(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with Bar() as bar:
        bar.step(step())
    assert "5 open" in capsys.readouterr().err
