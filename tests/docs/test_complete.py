"""What the documents list is all there is, and what they link to is there."""

import re
import sys
from pathlib import Path

import pytest

import brinell
from brinell.auditing import Result
from brinell.catalog import CATALOG
from brinell.questions.evasion import PRESETS, preflight
from docs.blocks import ROOT, pages

sys.path.insert(0, str(ROOT / "docs"))
import tables

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)#\s]+)[^)]*\)|!\[[^\]]*\]\(([^)#\s]+)[^)]*\)|src(?:set)?=\"([^\"]+)\"")
WRITTEN = [*pages(), *(ROOT / name for name in ("ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md"))]


def test_every_finding_has_its_line() -> None:
    source = Path(str(preflight.__file__)).read_text()
    codes = set(re.findall(r'(?:_(?:severe|warning|note)\(\s*|\)\(|code=)"([a-z-]+)"', source)) | {preflight.UNCHECKED}
    listed = set(re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs/preflight.md").read_text(), re.MULTILINE))
    assert len(codes) >= 15
    assert listed == codes


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    for match in LINK.finditer(page.read_text()):
        link = next(group for group in match.groups() if group)
        if not link.startswith(("http://", "https://")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_the_files_that_a_page_names_are_there() -> None:
    named = re.findall(r"`([a-z_0-9]+(?:/[a-z_0-9]+)+(?:\.py)?)`", (ROOT / "docs/papers.md").read_text())
    assert len(named) > 30
    assert [name for name in named if not (ROOT / "src/brinell" / name).exists()] == []
    folders = {path.parent.name for path in (ROOT / "src/brinell/proofs").glob("*/__init__.py")}
    assert folders == {name.split("/")[1] for name in named if name.startswith("proofs/")}


def test_the_tables_of_the_site_hold_every_row() -> None:
    made = tables.on_page_markdown("".join(f"<!-- table: {name} -->\n" for name in tables.TABLES))
    assert "<!--" not in made
    assert all(f"`{row.name}`" in made for row in CATALOG)
    assert all(f"`{stage.label}`" in made for plan in PRESETS.values() for stage in plan.stages)
    assert all(f"`{field.alias or name}" in made for name, field in Result.model_fields.items())


def test_every_page_is_in_the_navigation_and_linked_from_the_index():
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    navigation = (ROOT / "mkdocs.yml").read_text().partition("nav:")[2].partition("exclude_docs")[0]
    assert sorted(re.findall(r"- ([a-z-]+\.md)$", navigation, re.MULTILINE)) == sorted(pages)
    linked = {match[1] for match in LINK.finditer((ROOT / "docs/index.md").read_text())}
    assert pages - linked == {"index.md"}


def test_what_it_costs_is_what_was_measured():
    """Every figure of the tables stands in the results, as it is or rounded to minutes."""
    measured = (ROOT / "benchmarks/RESULTS.md").read_text()
    text = (ROOT / "docs/cost.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    for row in rows:
        for figure in re.findall(r"\[[\d., ]+\]|\d+\.\d+ %|\d+\.\d+ s\b", row):
            assert figure in measured, f"{figure} of {row}"
        for decided, of in re.findall(r"(\d+) of (\d+)", row):
            assert re.search(rf"decided of {of}\b.*\b{decided} decided", measured), row


def test_every_exported_class_and_function_is_in_the_reference() -> None:
    reference = (ROOT / "docs/api.md").read_text()
    constants = {"LEAST_LIKELY", "__version__"}
    modules = {"evasion", "proofs"}
    missing = [
        n for n in brinell.__all__ if n not in constants | modules and not re.search(rf"^::: .*\.{n}$", reference, re.M)
    ]
    assert not missing


def test_no_page_speaks_of_a_place_outside_the_project() -> None:
    for page in WRITTEN:
        assert not re.search(r"/(work|root|home)/", page.read_text()), page.name
