"""Tables for the terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from brinell.auditing import Difference, Finding, Ruling, load_plan
from brinell.auditing.estimate import estimate
from brinell.catalog import Row
from brinell.data import Dataset
from brinell.targets import Target


def findings_table(findings: Sequence[Finding]) -> RenderableType:
    """What the preflight saw."""
    if not findings:
        return "nothing found: ready to audit"
    return _table(
        ("code", "severity", "found", "remedy"), [(f.code, f.severity, f.message, f.remedy) for f in findings]
    )


def plan_table(plan: str, target: Target, data: Dataset, radii: int) -> RenderableType:
    """The stages that would run, and what each costs at most."""
    loaded = load_plan(plan)
    costs = estimate(loaded.for_access(target.access), target, data, radii)
    rows = [(str(i), c.stage.label, c.stage.row.kind, f"{c.rows:,}", f"{c.seconds:.1f}") for i, c in enumerate(costs)]
    kept = {c.stage.label for c in costs}
    left_out = [s.label for s in loaded.stages if s.label not in kept]
    total = sum(c.seconds for c in costs)
    lines: list[RenderableType] = [
        _table(("", f"plan {loaded.name}", "kind", "rows at most", "seconds at most"), rows, right=(3, 4)),
        f"at most {total:.0f} s on one core for {len(data)} examples at {radii} radii; most end far sooner",
    ]
    if left_out:
        lines.append(f"left out, the target shows {target.access.name} only: {', '.join(left_out)}")
    return Group(*lines)


def comparison_table(differences: Sequence[Difference]) -> RenderableType:
    """Paired differences."""
    rows = [
        (
            f"{d.edge}@{d.radius:g}",
            str(d.n),
            f"{d.before:.4f}",
            f"{d.after:.4f}",
            f"{d.after - d.before:+.4f}",
            str(d.gained),
            str(d.lost),
            f"{d.p_value:.3g}",
        )
        for d in differences
    ]
    return _table(("figure", "n", "before", "after", "change", "gained", "lost", "McNemar p"), rows, right=range(1, 8))


def rulings_table(rulings: Sequence[Ruling]) -> RenderableType:
    """What a gate decided."""
    return _table(("gate", "requirement", "seen"), [(r.outcome, r.requirement, r.seen) for r in rulings])


def catalog_table(rows: Sequence[Row]) -> RenderableType:
    """Every engine."""
    return _table(
        ("engine", "kind", "family", "needs", "paper"),
        [(r.name, r.kind, r.family, r.access.name, r.paper) for r in rows],
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[int] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*("".join(c if c.isprintable() else " " for c in str(cell)) for cell in row))
    return table
