"""Tables for the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from brinell import Audit
    from brinell.auditing import Difference, Finding, Plan, Ruling
    from brinell.data import Dataset
    from brinell.questions.evasion import AttackSummary, Diagnosis
    from brinell.targets import Target
    from brinell.threat import PerturbationSet


def findings_table(findings: "Sequence[Finding]") -> RenderableType:
    """What the preflight saw."""
    if not findings:
        return "nothing found: ready to audit"
    return _table(
        ("code", "severity", "found", "remedy"), [(f.code, f.severity, f.message, f.remedy) for f in findings]
    )


def diagnosis_table(diagnosis: "Diagnosis", label: str) -> RenderableType:
    """What was put to the test, and what came of it. label: the radius as it was written."""
    checks = ", ".join(diagnosis.checks) or "nothing"
    tried = f"{diagnosis.examples} examples tried at radius {label}: {checks}"
    if not diagnosis.findings:
        return Group(_text(tried), "nothing found that speaks against believing the evaluation")
    rows = [
        (f.code, f.severity, f.message, ", ".join(map(str, f.examples[:5])) + ("…" if f.examples[5:] else ""), f.remedy)
        for f in diagnosis.findings
    ]
    return Group(_text(tried), _table(("code", "severity", "found", "examples", "remedy"), rows))


def alone_table(figures: "AttackSummary") -> RenderableType:
    """What one attack did."""
    rows = [
        ("attack", figures.engine),
        ("threat", figures.threat),
        ("examples", f"{figures.n:,}"),
        ("clean accuracy", _percent(figures.clean)),
        ("accuracy left", _percent(None if figures.broken is None else 1 - figures.broken)),
        ("success on what was right", _percent(figures.success)),
        ("distance", _quartiles(figures.distance)),
        ("queries", _quartiles(figures.queries)),
        ("gradients", _quartiles(figures.gradients)),
    ]
    parts: list[RenderableType] = [_table(("figure", "value"), rows)]
    if figures.curve is not None and figures.curve.asked:
        steps = [figures.curve.quantile(share) for share in (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)]
        radii = [0.0, *dict.fromkeys(r for r in steps if r)]
        parts.append(
            _table(("radius", "accuracy"), [(f"{r:.4g}", _percent(figures.curve.at(r))) for r in radii], (0, 1))
        )
    return Group(*parts)


def radius_table(run: "Audit", most: int = 20) -> RenderableType:
    """Of each example, where its bracket begins and ends; of more than `most`, quantiles."""
    reaches = run.reaches
    heads = ("certified up to", "broken from")
    if len(reaches) <= most:
        rows = [
            (str(row), str(r.label), *(_radius(end) for end in (r.certified, r.broken)))
            for row, r in zip(run.ids, reaches, strict=True)
        ]
        return _table(("row", "label", *heads), rows, right=range(4))
    certified = sorted(-1.0 if r.certified is None else r.certified for r in reaches)
    broken = sorted(float("inf") if r.broken is None else r.broken for r in reaches)
    shares = (0.1, 0.25, 0.5, 0.75, 0.9)
    places = [min(len(reaches) - 1, int(share * len(reaches))) for share in shares]
    rows = [
        (f"{100 * share:.0f} %", *(_radius(None if end in (-1.0, float("inf")) else end) for end in ends))
        for share, ends in ((share, (certified[i], broken[i])) for share, i in zip(shares, places, strict=True))
    ]
    return _table(("of the examples, at most", *heads), rows, right=(1, 2))


def _radius(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"


def _quartiles(values: tuple[float, float, float] | None) -> str:
    return "n/a" if values is None else f"median {values[1]:.4g}, quartiles {values[0]:.4g} to {values[2]:.4g}"


def plan_table(
    plan: "Plan", target: "Target", data: "Dataset", perturbation: "PerturbationSet", radii: Sequence[float]
) -> RenderableType:
    """The stages that would run, and what each costs at most."""
    from brinell.questions.evasion.estimate import estimate

    costs = estimate(plan, target, data, perturbation, len(radii))
    run = [c for c in costs if c.left_out is None]
    rows = [
        (str(i), c.stage.label, c.stage.row.kind, f"{c.rows:,}", "" if c.seconds is None else f"{c.seconds:.1f}")
        for i, c in enumerate(run, 1)
    ]
    always = sum(c.seconds or 0.0 for c in run if c.stage.when == "always")
    waiting = sum(c.seconds or 0.0 for c in run if c.stage.when != "always")
    many = "1 radius" if len(radii) == 1 else f"{len(radii)} radii"
    return Group(
        _table(("", f"plan {plan.name}", "kind", "rows at most", "seconds at most"), rows, right=(3, 4)),
        f"at most {always:.0f} s on one core for {len(data)} examples at {many}; most end far sooner",
        *(["and " + f"{waiting:.0f} s for the attacks that wait"] if waiting else []),
        *(_text(f"{i}: {c.stage.condition}") for i, c in enumerate(run, 1) if c.stage.condition is not None),
        *(_text(f"{c.stage.label} left out: {c.left_out}") for c in costs if c.left_out is not None),
    )


def comparison_table(differences: "Sequence[Difference]") -> RenderableType:
    """Paired differences."""
    rows = [
        (
            d.name,
            str(d.n),
            f"{d.before:.4f}" if d.asked[0] else "not asked",
            f"{d.after:.4f}" if d.asked[1] else "not asked",
            *(
                (f"{d.after - d.before:+.4f}", str(d.gained), str(d.lost), f"{d.p_value:.3g}")
                if all(d.asked)
                else ("",) * 4
            ),
        )
        for d in differences
    ]
    return _table(("figure", "n", "before", "after", "change", "gained", "lost", "McNemar p"), rows, right=range(1, 8))


def rulings_table(rulings: "Sequence[Ruling]") -> RenderableType:
    """What a gate decided."""
    return _table(("gate", "requirement", "seen"), [(r.outcome, r.requirement, r.seen) for r in rulings])


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[int] = ()) -> Table:
    """right: columns of numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_text, row))
    return table


def _text(words: object) -> Text:
    """Other people's words, in which nothing acts: no control character, no markup."""
    return Text("".join(c if c.isprintable() else " " for c in str(words)))
