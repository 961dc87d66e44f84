"""Tables for the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # the catalogue is shown without torch
    from brinell.auditing import Difference, Finding, Plan, Ruling
    from brinell.catalog import Row
    from brinell.data import Dataset
    from brinell.targets import Target
    from brinell.threat import PerturbationSet


def findings_table(findings: "Sequence[Finding]") -> RenderableType:
    """What the preflight saw."""
    if not findings:
        return "nothing found: ready to audit"
    return _table(
        ("code", "severity", "found", "remedy"), [(f.code, f.severity, f.message, f.remedy) for f in findings]
    )


def plan_table(
    plan: "Plan", target: "Target", data: "Dataset", set: "PerturbationSet", radii: Sequence[float]
) -> RenderableType:
    """The stages that would run, and what each costs at most."""
    from brinell.auditing.estimate import estimate

    costs = estimate(plan, target, data, set, len(radii))
    run = [c for c in costs if c.left_out is None]
    rows = [(str(i), c.stage.label, c.stage.row.kind, f"{c.rows:,}", f"{c.seconds:.1f}") for i, c in enumerate(run, 1)]
    total = sum(c.seconds for c in run)
    many = "1 radius" if len(radii) == 1 else f"{len(radii)} radii"
    return Group(
        _table(("", f"plan {plan.name}", "kind", "rows at most", "seconds at most"), rows, right=(3, 4)),
        f"at most {total:.0f} s on one core for {len(data)} examples at {many}; most end far sooner",
        *(_text(f"{c.stage.label} left out: {c.left_out}") for c in costs if c.left_out is not None),
    )


def comparison_table(differences: "Sequence[Difference]") -> RenderableType:
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


def rulings_table(rulings: "Sequence[Ruling]") -> RenderableType:
    """What a gate decided."""
    return _table(("gate", "requirement", "seen"), [(r.outcome, r.requirement, r.seen) for r in rulings])


def catalog_table(rows: "Sequence[Row]") -> RenderableType:
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
        table.add_row(*map(_text, row))
    return table


def _text(words: object) -> Text:
    """Other people's words, in which nothing acts: no control character, no markup."""
    return Text("".join(c if c.isprintable() else " " for c in str(words)))
