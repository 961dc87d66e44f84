"""`brinell attack`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brinell.cli.leave import INTERRUPTED, fail
from brinell.cli.options import (
    OUTPUT,
    SEARCH,
    AccessName,
    AsJson,
    Configured,
    Queries,
    Sample,
    SubjectOptions,
    ThreatOptions,
)
from brinell.cli.runs import check_place, sources_of
from brinell.cli.words import stage_of
from brinell.errors import UsageError

if TYPE_CHECKING:
    from brinell.auditing import Stage
    from brinell.cli.sources import Sources
    from brinell.questions.evasion.alone import AttackRun

Setting = Annotated[
    list[str] | None,
    typer.Option(
        "--setting",
        "-s",
        help="A setting of the attack: steps=100. May be repeated.",
        rich_help_panel=SEARCH,
        show_default=False,
        metavar="NAME=VALUE",
    ),
]
Witnesses = Annotated[
    Path | None,
    typer.Option(
        help="Keep the witnesses, with their clean examples: .safetensors or .npz.",
        rich_help_panel=OUTPUT,
        metavar="FILE",
        show_default=False,
    ),
]


def attack(
    configured: Configured,
    engine: Annotated[str, typer.Argument(metavar="NAME", help="An attack of the catalogue: see brinell list.")],
    subject: SubjectOptions,
    sample: Sample,
    threat: ThreatOptions,
    access: AccessName = "weights",
    queries: Queries = None,
    setting: Setting = None,
    save: Witnesses = None,
    as_json: AsJson = False,
) -> None:
    """Run one attack: what it broke, how far it went, what it asked.

    brinell attack PGD digits --set linf:0.1 --setting steps=20
    brinell attack DeepFool net.pt2 test.npz --set l2:inf --save witnesses.npz
    """
    from rich.console import Console

    from brinell.cli.show import alone_table
    from brinell.cli.witnesses import kind_of, write

    stage = stage_of(engine, setting or [])
    kind = None if save is None else kind_of(save)
    if save is not None:
        check_place(save, "--save")
    total, strike = _strike(stage, sources_of(subject, sample, threat, access, queries))

    if save is not None and kind is not None:
        write(save, kind, strike)
    if as_json:
        typer.echo(strike.figures.model_dump_json(indent=2))
    else:
        Console(markup=False, highlight=False).print(alone_table(strike.figures))
    if strike.figures.status == "interrupted":
        fail(f"interrupted after {strike.figures.n} of {total} examples; these are their figures", INTERRUPTED)


def _strike(stage: "Stage", sources: "Sources") -> "tuple[int, AttackRun]":
    """(how many examples there are, what the attack did to them)."""
    from brinell.cli.progress import Bar
    from brinell.questions.evasion import alone
    from brinell.threat import Threat

    set_of, radii = sources.sets()
    if len(radii) > 1:
        raise UsageError(f"--set {sources.set!r} has {len(radii)} radii; an attack has one, or inf for the smallest")
    examples, target = sources.load()
    threat = Threat(set_of, sources.goals(), queries=sources.queries)
    with Bar() as bar:
        tell = partial(bar.batch, stage.label, total=len(examples))
        found = alone(stage, target, examples, threat, sources.seed, tell, sources.labels()[radii[-1]])
    return len(examples), found
