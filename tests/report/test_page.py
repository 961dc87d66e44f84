"""The page says what the result says, of every run there can be, and nothing on it acts."""

import re
from pathlib import Path

import pytest
import torch

from brinell import Audit
from brinell.auditing import Finding
from brinell.auditing.ledger import ARTIFACTS
from brinell.questions.evasion.page.charts import curve
from brinell.questions.evasion.page.words import certified, unbroken
from brinell.report import render, write_report
from brinell.report.words import count, interval, percent

from .pages import Page
from .runs import changed, write_run

BROKEN = {0: 0.0, 1: 0.02, 2: 0.05, 3: 0.1}
CERTIFIED = {4: 0.1, 5: 0.05, 6: 0.02}
HOSTILE = '"><script>alert(1)</script><img src=https://evil.example/x onerror=alert(1)>\x1b[31m\u202egnp.\x07'


def page(audit: Audit) -> Page:
    return Page(render(audit))


def shown(text: str) -> str:
    """As it stands in the text of a page, where units keep to their numbers."""
    return " ".join(text.split())


@pytest.mark.sweep(3)
@pytest.mark.parametrize("radii", [(0.1,), (0.0,), (0.01, 0.02, 0.05, 0.08, 0.1), tuple(i / 255 for i in range(1, 21))])
def test_every_figure_of_the_result_is_shown(tmp_path: Path, radii: tuple[float, ...]) -> None:
    broken = {item: d for item, d in BROKEN.items() if d <= radii[-1]}
    audit = write_run(tmp_path / "run", radii=radii, broken=broken, certified=CERTIFIED if radii[-1] else {})
    text = page(audit).text
    assert shown(percent(audit.evasion.clean)) in text
    for r in audit.evasion.radii:
        cells = [r.label, *(count(r.counts[s]) for s in ("certified", "open", "broken", "error"))]
        cells += [percent(r.certified), interval(r.certified_interval)] if r.certified_asked else ["not asked"]
        cells += [percent(r.unbroken), interval(r.unbroken_interval)] if r.unbroken_asked else ["not asked"]
        assert shown("  ".join(cells)) in text
    for c in audit.evasion.classes:
        last = c.radii[-1]
        cells = [c.name, count(c.n), percent(c.clean), certified(last), unbroken(last)]
        assert shown("  ".join(cells)) in text
    for e in audit.evasion.engines:
        cells = [e.engine, e.kind, *map(count, (e.asked, e.settled, e.forwards, e.gradients))]
        assert shown("  ".join(cells)) in text
        assert all(word in text for word in (*e.atlas, *e.nist))


def test_the_headline_is_one_sentence_that_says_the_bracket(tmp_path: Path) -> None:
    text = page(write_run(tmp_path / "run", broken=BROKEN, certified=CERTIFIED)).text
    assert (
        "At linf 0.1, between 10.0 % (proved) and 60.0 % (not yet broken) of 10 examples keep their correct answer "
        "under any allowed change; 50.0 % are open."
    ) in text


def test_where_nothing_is_open_the_headline_says_exactly(tmp_path: Path) -> None:
    audit = write_run(tmp_path / "run", n=2, broken={0: 0.1}, certified={1: 0.1})
    assert "exactly 50.0 % of 2 examples" in page(audit).text


def test_where_no_proof_was_tried_the_headline_says_so(tmp_path: Path) -> None:
    assert "nothing is proved, as no proof was tried" in page(write_run(tmp_path / "run", broken=BROKEN)).text


def test_a_goal_is_named_in_the_headline(tmp_path: Path) -> None:
    audit = write_run(tmp_path / "run", broken=BROKEN, certified=CERTIFIED, goal="targeted at 3")
    assert "resist an adversary with the goal “targeted at 3” under any allowed change" in page(audit).text


@pytest.mark.parametrize(
    ("status", "says"),
    [("budget", "time budget was spent"), ("interrupted", "was interrupted"), ("running", "has not ended")],
)
def test_a_partial_run_says_so(tmp_path: Path, status: str, says: str) -> None:
    text = page(write_run(tmp_path / "run", broken=BROKEN, status=status)).text
    assert "Partial run." in text
    assert says in text
    assert "plan complete" not in text


def test_a_complete_run_has_no_such_note(tmp_path: Path) -> None:
    assert "Partial run." not in page(write_run(tmp_path / "run", broken=BROKEN)).text


def test_a_run_that_has_not_asked_anything_yet(tmp_path: Path) -> None:
    text = page(write_run(tmp_path / "run", asked=False, status="running")).text
    assert "Clean accuracy n/a" in text
    assert "No stage has done any work yet." in text
    assert "No witness was found." in text


def test_a_run_in_which_nothing_could_be_asked(tmp_path: Path) -> None:
    text = page(write_run(tmp_path / "run", n=3, failed=dict.fromkeys(range(3), "raised"))).text
    assert "No example could be asked" in text
    assert "n/a" in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_every_finding_and_note_is_shown_and_severe_ones_come_first(tmp_path: Path) -> None:
    findings = (
        Finding(code="a-note", severity="note", message="small sample", remedy="give more"),
        Finding(code="a-warning", severity="warning", message="low accuracy", remedy="check the labels"),
        Finding(code="flat", severity="severe", message="gradients are zero", remedy="remove it", accepted=True),
    )
    audit = write_run(tmp_path / "run", broken=BROKEN, findings=findings, notes=["CROWN left out: no rule for Erf"])
    text = page(audit).text
    for f in findings:
        assert f.code in text
        assert f.message[1:] in text
        assert f.remedy[1:] in text
    assert "CROWN left out: no rule for Erf." in text
    assert text.index("flat (accepted): Gradients are zero.") < text.index("By radius")
    assert text.count("severe, accepted") == 1


def test_the_most_fragile_come_first_and_the_misclassified_are_left_out(tmp_path: Path) -> None:
    parsed = page(write_run(tmp_path / "run", broken={0: 0.0, 1: 0.05, 2: 0.1, 3: 0.02}))
    assert re.findall(r"#(\d+), labelled", parsed.text) == ["103", "101", "102"]
    assert "distance 0.02" in parsed.text
    images = parsed.all("img")
    assert len(images) == 9
    assert all(i["src"].startswith("data:image/png;base64,") and i["alt"] for i in images)
    assert "dog 87.5 % → cat 62.5 %" in parsed.text


def test_where_only_misclassified_ones_are_broken_they_are_shown(tmp_path: Path) -> None:
    text = page(write_run(tmp_path / "run", broken={0: 0.0, 1: 0.0})).text
    assert "Misclassified as they are" in text
    assert "labelled cat" in text


@pytest.mark.parametrize(("features", "name"), [(("age", "height", "weight"), "height"), (None, "1")])
def test_vectors_show_the_features_changed_most(tmp_path: Path, features: tuple[str, ...] | None, name: str) -> None:
    audit = write_run(tmp_path / "run", broken={1: 0.05}, shape=(3,), features=features, box=[[0.0] * 3, 1.0])
    parsed = page(audit)
    assert parsed.all("img") == []
    assert "feature original witness" in parsed.text
    assert re.search(rf"\b{name} [\d.]+ [\d.-]+", parsed.text)


def test_a_witness_that_was_changed_on_disk_is_not_shown(tmp_path: Path) -> None:
    audit = write_run(tmp_path / "run", broken=BROKEN)
    (artifact,) = (tmp_path / "run" / ARTIFACTS).iterdir()
    artifact.write_bytes(b"not what it was")
    parsed = page(audit)
    assert parsed.all("img") == []
    assert "Some witnesses cannot be shown" in parsed.text


def test_hostile_strings_are_inert(tmp_path: Path) -> None:
    audit = write_run(
        tmp_path / "run",
        broken=BROKEN,
        certified=CERTIFIED,
        classes=[HOSTILE, HOSTILE * 50],
        findings=[Finding(code=HOSTILE, severity="severe", message=HOSTILE, remedy=HOSTILE)],
        notes=[HOSTILE],
        environment=dict.fromkeys(("command", "target", "data", "platform", "started"), HOSTILE),
    )
    html = render(audit)
    parsed = Page(html)
    assert "alert(1)" in parsed.text
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in parsed.tags}
    for tag, attributes in parsed.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "https://arxiv.org/abs/").startswith("https://arxiv.org/abs/")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)
    assert "[31m" not in html
    assert len(html) < 200_000


def test_a_name_that_is_no_unicode_is_shown(tmp_path: Path) -> None:
    audit = write_run(tmp_path / "run", broken=BROKEN, environment={"data": "caf\udce9.npz"})
    assert "caf.npz" in page(audit).text


def test_the_page_fetches_nothing_and_forbids_it(tmp_path: Path) -> None:
    html = render(write_run(tmp_path / "run", broken=BROKEN, certified=CERTIFIED))
    parsed = Page(html)
    assert parsed.all("script") == []
    policies = [m["content"] for m in parsed.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    ]
    assert "url(" not in html
    assert "@import" not in html
    assert all(link["rel"] == "noopener noreferrer" for link in parsed.all("a"))


def test_the_page_can_be_read_without_seeing_it(tmp_path: Path) -> None:
    parsed = page(write_run(tmp_path / "run", radii=(0.05, 0.1), broken=BROKEN, certified=CERTIFIED))
    assert parsed.all("html")[0]["lang"] == "en"
    assert [tag for tag, _ in parsed.tags if re.fullmatch("h[1-6]", tag)][:2] == ["h1", "h2"]
    assert len(parsed.all("table")) == len(parsed.all("caption"))
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for _, attributes in parsed.tags:
        assert set((attributes.get("aria-labelledby") or "").split()) <= set(ids)
        assert attributes.get("role") != "img" or attributes.get("aria-label") or attributes.get("aria-labelledby")


def test_charts_are_small_and_take_the_colours_of_the_page(tmp_path: Path) -> None:
    audit = write_run(tmp_path / "run", radii=tuple(i / 100 for i in range(1, 21)), broken=BROKEN, certified=CERTIFIED)
    charts = re.findall(r"<svg.*?</svg>", curve(audit.evasion))
    assert len(charts) == 2
    for svg in charts:
        assert len(svg) < 60_000
        assert "var(--certified)" in svg
        assert "#" not in svg
        assert "white" not in svg


@pytest.mark.sweep(3)
@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 224, 224), (1, 300, 20)])
def test_sixty_four_pictures_stay_below_three_megabytes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """The pictures are noise, which compresses worst."""
    audit = write_run(tmp_path / "run", n=80, broken={i: 0.01 + i / 1000 for i in range(80)}, shape=shape)
    html = render(audit)
    assert len(Page(html).all("img")) == 3 * 64
    assert len(html.encode()) <= 3_000_000


def test_of_very_many_classes_those_most_broken_are_shown(tmp_path: Path) -> None:
    """Labels are 0 and 1, so the classes are made by hand."""
    audit = write_run(tmp_path / "run", broken=BROKEN, certified=CERTIFIED)
    cat = audit.evasion.classes[0]
    many = tuple(cat.model_copy(update={"label": i, "name": f"class {i}"}) for i in range(1000))
    whole = cat.model_copy(
        update={"label": 1000, "name": "whole", "radii": (cat.radii[0].model_copy(update={"unbroken": 1.0}),)}
    )
    changed(audit, classes=(*many, whole))
    text = page(audit).text
    assert "The 40 of 1,001 classes with the most broken examples" in text
    assert "whole" not in text


def test_writing_replaces_the_page_as_a_whole(tmp_path: Path) -> None:
    audit = write_run(tmp_path / "run", broken=BROKEN)
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(audit, path)
    assert path.read_text(encoding="utf-8") == render(audit)
    assert [p.name for p in tmp_path.iterdir() if p.name != "run"] == ["report.html"]


def test_rendering_leaves_the_run_alone(tmp_path: Path) -> None:
    audit = write_run(tmp_path / "run", broken=BROKEN)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    state = torch.get_rng_state()
    render(audit)
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before
    assert torch.equal(torch.get_rng_state(), state)
