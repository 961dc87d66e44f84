"""The terminal table says what the result says, within 80 columns, and lets nobody else speak."""

import io
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from brinell.auditing import Finding
from brinell.questions.evasion.page.terminal import table as bracket
from brinell.report import table
from brinell.report.words import count, percent

from .pages import Page
from .runs import write_run

BROKEN = {0: 0.0, 1: 0.02, 2: 0.05, 3: 0.1}
CERTIFIED = {4: 0.1, 5: 0.05, 6: 0.02}


def shown(renderable: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("radii", [(0.1,), (0.02, 0.05, 0.1)])
def test_a_row_a_radius(tmp_path: Path, radii: tuple[float, ...]) -> None:
    run = write_run(tmp_path / "run", radii=radii, broken=BROKEN, certified=CERTIFIED)
    text = shown(table(run, "out/report.html"))
    rows = [line.split() for line in text.splitlines() if line.strip().startswith("linf")]
    assert len(rows) == len(radii)
    for row, r in zip(rows, run.evasion.radii, strict=True):
        assert row[:2] == ["linf", f"{r.radius:g}"]
        assert " ".join(row).count("%") == 2
        assert percent(r.certified) in " ".join(row)
        assert percent(r.unbroken) in " ".join(row)
        assert row[-2:] == [count(r.counts["open"]), count(r.errors)]
    assert f"clean accuracy {percent(run.evasion.clean)}" in text
    assert "page: out/report.html" in text
    assert "…" not in text


def test_large_runs_fit_eighty_columns(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", broken=BROKEN)
    wide = run.evasion.radii[0].model_copy(
        update={
            "radius": 16 / 255,
            "counts": {**run.evasion.radii[0].counts, "open": 100_000},
            "unbroken_interval": (0.5, 0.99),
            "certified_interval": (0.5, 0.99),
        }
    )
    assert "…" not in shown(bracket(run.evasion.model_copy(update={"radii": (wide,)})))


def test_what_is_not_known_is_not_a_number(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", n=2, failed={0: "raised", 1: "raised"})
    text = shown(table(run))
    assert text.count("n/a") >= 2
    assert "nan" not in text


def test_status_and_severe_findings_are_said(tmp_path: Path) -> None:
    finding = Finding(code="flat", severity="severe", message="gradients are\x1b[2J zero", remedy="", accepted=True)
    run = write_run(tmp_path / "run", broken=BROKEN, status="budget", findings=[finding])
    text = shown(table(run, "a\x1b]0;x\x07\nfaked: line [bold]b[/]"))
    assert "time budget was spent" in text
    assert "severe, accepted: flat: gradients are zero" in text
    assert "page: a faked: line [bold]b[/]" in text
    assert "\x1b" not in text


def test_the_notebook_fragment_is_inert_and_shows_every_radius(tmp_path: Path) -> None:
    finding = Finding(code="<b>", severity="severe", message="<script>alert(1)</script>", remedy="")
    audit = write_run(
        tmp_path / "run",
        radii=(0.05, 0.1),
        broken=BROKEN,
        certified=CERTIFIED,
        status="interrupted",
        findings=[finding],
    )
    parsed = Page(audit._repr_html_())
    assert parsed.all("script") == []
    assert "<script>alert(1)</script>" in parsed.text
    assert "interrupted" in parsed.text
    for r in audit.evasion.radii:
        assert f"{percent(r.certified)} {percent(r.unbroken)} {r.counts['open']}" in parsed.text


def test_the_notebook_fragment_of_a_run_that_knows_nothing(tmp_path: Path) -> None:
    audit = write_run(tmp_path / "run", n=2, failed={0: "raised", 1: "raised"})
    assert "n/a" in Page(audit._repr_html_()).text
