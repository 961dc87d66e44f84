"""The command line. Figures go to stdout, everything else to stderr; a foreseen failure is one line and an exit code.

0 done or passed · 1 a gate failed · 2 the command cannot be right · 3 it could not be carried out · 4 the evidence does
not decide · 70 a mistake of Brinell's own · 130 interrupted. Heavy imports stand inside the commands, so that `--help`
is instant.
"""

import json
import signal
import sys
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from brinell import __version__
from brinell.cli.leave import INTERNAL, INTERRUPTED, fail, leave, unforeseen
from brinell.cli.options import (
    Accept,
    AccessOption,
    AsJson,
    Balanced,
    BoxOption,
    Budget,
    Count,
    Data,
    Goal,
    Label,
    Mean,
    Model,
    Out,
    PlanOption,
    Queries,
    Run,
    Seed,
    SetOption,
    SoundnessOption,
    Std,
    ThreatOption,
    Weights,
    Workers,
)
from brinell.cli.runs import check_place, demanding, end, run_audit, show, sources_of
from brinell.cli.runs import dry_run as show_plan
from brinell.cli.words import budget_of, seconds_of, stage_of
from brinell.errors import BrinellError, CannotRun, UsageError, out_of_memory

app = typer.Typer(
    name="brinell",
    help="How hard is your model to break? A bracket: what a proof guarantees, what no attack has yet refuted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Options that belong to no command."""
    if show:
        typer.echo(f"brinell {__version__}")
        raise typer.Exit


@app.command()
def audit(
    model: Model,
    data: Data = None,
    set_: SetOption = None,
    plan: PlanOption = "standard",
    soundness: SoundnessOption = None,
    budget: Budget = None,
    n: Count = None,
    balanced: Balanced = False,
    weights: Weights = None,
    label: Label = None,
    box: BoxOption = None,
    mean: Mean = None,
    std: Std = None,
    goal: Goal = "untargeted",
    access: AccessOption = "weights",
    queries: Queries = None,
    seed: Seed = 0,
    accept: Accept = None,
    workers: Workers = None,
    out: Out = None,
    as_json: AsJson = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost, and run nothing.")] = False,
) -> None:
    """Bracket how often a model can be broken, and write a page that shows it.

    brinell audit digits
    brinell audit net.py:build images/ --weights net.safetensors --set linf:2/255,8/255 --n 1000
    """
    from brinell.questions.evasion.plans import load_plan

    sources = sources_of(model, data, set_, weights, label, box, mean, std, n, balanced, goal, access, queries, seed)
    stages = demanding(load_plan(plan), soundness)
    if dry_run:
        show_plan(sources, stages, as_json)
    else:
        end(run_audit(sources, stages, budget_of(budget), accept or [], workers, out), as_json)


@app.command()
def check(
    model: Model,
    data: Data = None,
    set_: SetOption = None,
    plan: PlanOption = "standard",
    n: Count = None,
    balanced: Balanced = False,
    weights: Weights = None,
    label: Label = None,
    box: BoxOption = None,
    mean: Mean = None,
    std: Std = None,
    access: AccessOption = "weights",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Find what would make an audit worthless, and what it would cost, before it runs. Exit 4 on a severe finding."""
    from brinell.cli.show import findings_table, plan_table
    from brinell.questions.evasion import check as preflight
    from brinell.questions.evasion.plans import load_plan

    sources = sources_of(
        model, data, set_ or "linf:0", weights, label, box, mean, std, n, balanced, "untargeted", access, None, seed
    )
    stages, (sets, radii) = load_plan(plan), sources.sets()
    examples, target = sources.load()
    findings = preflight(target, examples)
    if as_json:
        typer.echo(json.dumps([f.model_dump() for f in findings], indent=2))
    else:
        console = Console(markup=False, highlight=False)
        console.print(f"{target.describe()}; {len(examples)} examples from {examples.source}")
        console.print(findings_table(findings))
        if not any(f.code == "raises" and f.severity == "severe" for f in findings):
            console.print(plan_table(stages, target, examples, sets, radii))
    if any(f.severity == "severe" for f in findings):
        raise typer.Exit(4)


@app.command()
def attack(
    engine: Annotated[str, typer.Argument(metavar="NAME", help="An attack of the catalogue: see brinell list.")],
    model: Model,
    data: Data = None,
    set_: ThreatOption = None,
    setting: Annotated[
        list[str] | None, typer.Option("--setting", "-s", help="A setting of the attack: steps=100. Again for more.")
    ] = None,
    n: Count = None,
    balanced: Balanced = False,
    weights: Weights = None,
    label: Label = None,
    box: BoxOption = None,
    mean: Mean = None,
    std: Std = None,
    goal: Goal = "untargeted",
    access: AccessOption = "weights",
    queries: Queries = None,
    seed: Seed = 0,
    save: Annotated[
        Path | None, typer.Option(help="Keep the witnesses, with their clean examples: .safetensors or .npz.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON on stdout.")] = False,
) -> None:
    """Run one attack, and say how much it broke, how far it had to go, and what it asked.

    brinell attack PGD digits --set linf:0.1 --setting steps=20
    brinell attack DeepFool net.pt2 test.npz --set l2:inf --save witnesses.npz
    """
    from brinell.cli.progress import Bar
    from brinell.cli.show import alone_table
    from brinell.cli.witnesses import kind_of, write
    from brinell.questions.evasion import alone
    from brinell.threat import Threat

    stage, kind = stage_of(engine, setting or []), None if save is None else kind_of(save)
    if save is not None:
        check_place(save, "--save")
    sources = sources_of(model, data, set_, weights, label, box, mean, std, n, balanced, goal, access, queries, seed)
    set_of, radii = sources.sets()
    if len(radii) > 1:
        raise UsageError(f"--set {sources.set!r} has {len(radii)} radii; an attack has one, or inf for the smallest")
    examples, target = sources.load()
    threat = Threat(set_of, sources.goals(), queries=queries)
    with Bar() as bar:
        tell = partial(bar.batch, stage.label, total=len(examples))
        strike = alone(stage, target, examples, threat, seed, tell, sources.labels()[radii[-1]])
    if save is not None and kind is not None:
        write(save, kind, strike)
    if as_json:
        typer.echo(strike.figures.model_dump_json(indent=2))
    else:
        Console(markup=False, highlight=False).print(alone_table(strike.figures))
    if strike.figures.status == "interrupted":
        fail(f"interrupted after {strike.figures.n} of {len(examples)} examples; these are their figures", INTERRUPTED)


@app.command()
def diagnose(
    model: Model,
    data: Data = None,
    set_: ThreatOption = None,
    n: Count = None,
    balanced: Balanced = False,
    weights: Weights = None,
    label: Label = None,
    box: BoxOption = None,
    mean: Mean = None,
    std: Std = None,
    goal: Goal = "untargeted",
    access: AccessOption = "weights",
    seed: Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask whether attacks on a model are to be believed: does it only hide its gradients? Exit 4 on a severe finding.

    brinell diagnose digits --set linf:0.1
    """
    from brinell import diagnose as put_to_the_test
    from brinell.cli.show import diagnosis_table
    from brinell.threat import Threat

    sources = sources_of(model, data, set_, weights, label, box, mean, std, n, balanced, goal, access, None, seed)
    set_of, radii = sources.sets()
    examples, target = sources.load()
    diagnosis = put_to_the_test(target, examples, Threat(set_of, sources.goals()), seed=seed)
    if as_json:
        typer.echo(diagnosis.model_dump_json(indent=2))
    else:
        Console(markup=False, highlight=False).print(diagnosis_table(diagnosis, sources.labels()[radii[-1]]))
    if not diagnosis.believed:
        raise typer.Exit(4)


@app.command()
def transfer(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... DATA", help="Two models or more, each MODEL or NAME=MODEL, then the examples."
        ),
    ],
    set_: ThreatOption = None,
    picture: Annotated[Path | None, typer.Option(help="Draw a heat map: .png or .svg.")] = None,
    n: Count = None,
    balanced: Balanced = False,
    weights: Annotated[
        list[str] | None, typer.Option(help="NAME=FILE: weights for the factory of that model. Again for more.")
    ] = None,
    label: Label = None,
    box: BoxOption = None,
    mean: Mean = None,
    std: Std = None,
    goal: Goal = "untargeted",
    access: AccessOption = "weights",
    seed: Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON on stdout.")] = False,
) -> None:
    """Craft examples on each of several models, show them to all, and say who fools whom.

    brinell transfer net=net.py:build svm.skops forest=forest.py:build test.npz --set linf:0.1 --picture who.svg
    """
    from brinell.cli.transfer import named, transfer_table, weights_of
    from brinell.cli.transfer import transfer as fools
    from brinell.report.heat import check_picture

    *things, data = models
    if picture is not None:
        check_picture(picture)
    chosen = named(things)
    files = weights_of(chosen, weights or [])
    common = sources_of("", data, set_, None, label, box, mean, std, n, balanced, goal, access, None, seed)
    figures = fools(chosen, files, common, picture)
    if as_json:
        typer.echo(figures.model_dump_json(indent=2))
    else:
        Console(markup=False, highlight=False).print(transfer_table(figures))


@app.command()
def verify(
    model: Model,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA|PROPERTY",
            help="Examples, as for audit; or what is unsafe: a VNN-LIB 1.0 file, .vnnlib or .vnnlib.gz.",
            show_default=False,
        ),
    ] = None,
    set_: SetOption = None,
    soundness: SoundnessOption = None,
    monotone: Annotated[
        list[str] | None,
        typer.Option(
            help="FEATURE:+ or FEATURE:-CLASS: can raising it count against, or for, a class? May be repeated."
        ),
    ] = None,
    timeout: Annotated[str | None, typer.Option(help="Time to decide in: 116, 90s, 5m. A property has 300 s.")] = None,
    n: Count = None,
    balanced: Balanced = False,
    weights: Weights = None,
    label: Label = None,
    box: BoxOption = None,
    mean: Mean = None,
    std: Std = None,
    goal: Goal = "untargeted",
    seed: Seed = 0,
    accept: Accept = None,
    workers: Workers = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The run's folder; of a property, a file that the answer is written to."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove what can be proved: of examples within a set, of a property of an ONNX network, of a feature that rises.

    Of a property it answers sat with the input that violates it (exit 1), unsat (0), unknown or timeout (4). An unsat
    holds in exact arithmetic; with --soundness float32, for the network as it runs, in any order of summation.

    brinell verify net.py:build test.npz --set linf:0.1
    brinell verify net.onnx property.vnnlib --timeout 116
    brinell verify net.py:build table.csv --box data --monotone age:+
    """
    from brinell.questions.evasion.plans import load_plan

    if data is not None and data.endswith((".vnnlib", ".vnnlib.gz")):
        from brinell.cli.properties import decide

        asked = {"--set": set_, "--monotone": monotone, "--n": n, "--balanced": balanced, "--weights": weights}
        asked |= {"--label": label, "--box": box, "--mean": mean, "--std": std}
        asked |= {"--accept": accept, "--workers": workers, "--goal": goal != "untargeted"}
        if given := [name for name, value in asked.items() if value]:
            raise UsageError(f"no {', '.join(given)} for a property: it has its own box, and one network")
        if out is not None:
            check_place(out, "--out")
        decide(Path(model), Path(data), seconds_of(timeout or "300", "--timeout"), out, seed, soundness, as_json)
    if monotone:
        from brinell.cli.monotone import decide as rises

        if set_ is not None or soundness is not None or out is not None:
            raise UsageError("--monotone asks about the whole box, in exact arithmetic: no --set, --soundness or --out")
        sources = sources_of(
            model, data, "linf:0", weights, label, box, mean, std, n, balanced, goal, "weights", None, seed
        )
        rises(sources, monotone, seconds_of(timeout or "300", "--timeout"), as_json)
    sources = sources_of(model, data, set_, weights, label, box, mean, std, n, balanced, goal, "weights", None, seed)
    seconds = budget_of(timeout, "--timeout")
    plan = demanding(load_plan("proofs"), soundness)
    end(run_audit(sources, plan, seconds, accept or [], workers, out), as_json)


@app.command()
def radius(
    model: Model,
    data: Data = None,
    set_: SetOption = None,
    soundness: SoundnessOption = None,
    budget: Budget = None,
    n: Count = None,
    balanced: Balanced = False,
    weights: Weights = None,
    label: Label = None,
    box: BoxOption = None,
    mean: Mean = None,
    std: Std = None,
    goal: Goal = "untargeted",
    seed: Seed = 0,
    accept: Accept = None,
    workers: Workers = None,
    out: Out = None,
    save: Annotated[Path | None, typer.Option(help="Write one line an example to this .csv file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find, of each example, the largest radius that a proof certifies and the smallest that an attack breaks it at.

    The radii of --set are those of the page; they limit nothing.

    brinell radius digits --n 20 --save radii.csv
    """
    from brinell.cli.show import radius_table
    from brinell.cli.spreadsheet import write_radii
    from brinell.questions.evasion.plans import load_plan

    if save is not None and save.suffix != ".csv":
        raise UsageError(f"--save {str(save)!r} is no .csv file; name it so")
    if save is not None:
        check_place(save, "--save")
    sources = sources_of(model, data, set_, weights, label, box, mean, std, n, balanced, goal, "weights", None, seed)
    plan = demanding(load_plan("radius"), soundness)
    run = run_audit(sources, plan, budget_of(budget), accept or [], workers, out)
    if save is not None:
        write_radii(save, run)
    if not as_json:
        Console(markup=False, highlight=False).print(radius_table(run))
    end(run, as_json)


@app.command()
def resume(run: Run, budget: Budget = None, workers: Workers = None, as_json: AsJson = False) -> None:
    """Continue a run that was stopped or killed. Refused if its model or data changed."""
    from brinell.auditing import Ledger, Plan
    from brinell.cli.sources import Sources

    with Ledger(run, write=False) as ledger:
        about = ledger.manifest()
    if "identity" not in about:
        raise CannotRun(f"{run} holds a run that had not begun; give its command again")
    if not about["sources"]:
        raise UsageError(f"{run} was started from Python; call brinell.audit again with out={str(run)!r}")
    asked = about["identity"]["questions"]
    plan = Plan.model_validate(next(own["plan"] for key, own in asked.items() if key.startswith("evasion/")))
    sources = Sources.model_validate(about["sources"])
    end(run_audit(sources, plan, budget_of(budget), [], workers, run), as_json)


@app.command()
def report(
    run: Run,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write; default report.html in the run.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the page of a run, finished or not, and print its table."""
    from brinell import Audit

    show(Audit.open(run), as_json, out or run / "report.html")


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="A run.")],
    after: Annotated[Path, typer.Argument(help="Another run, on the same examples.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two runs example by example, with McNemar's exact test."""
    from dataclasses import asdict

    from brinell import Audit
    from brinell.auditing import compare as paired
    from brinell.cli.show import comparison_table

    differences = paired(Audit.open(before), Audit.open(after))
    if as_json:
        typer.echo(json.dumps([asdict(d) for d in differences], indent=2))
    else:
        Console().print(comparison_table(differences))


@app.command()
def gate(
    run: Run,
    require: Annotated[list[str] | None, typer.Option(help="FIGURE@RADIUS>=VALUE, e.g. 'certified@0.1>=0.4'.")] = None,
    baseline: Annotated[Path | None, typer.Option(help="A run this one must not be significantly worse than.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Pass (0), fail (1), or say that the sample does not decide (4). Missing figures fail."""
    from dataclasses import asdict

    from brinell import Audit
    from brinell.auditing import Requirement
    from brinell.auditing import gate as decide
    from brinell.auditing.gate import Outcome, worst
    from brinell.cli.show import rulings_table

    requirements = [Requirement.parse(text) for text in require or []]
    rulings = decide(Audit.open(run), requirements, None if baseline is None else Audit.open(baseline))
    if as_json:
        typer.echo(json.dumps([asdict(r) for r in rulings], indent=2))
    else:
        Console().print(rulings_table(rulings))
    raise typer.Exit({Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INCONCLUSIVE: 4}[worst(rulings)])


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List every engine, with what it needs and where it comes from."""
    from dataclasses import asdict

    from brinell.catalog import CATALOG
    from brinell.cli.show import catalog_table

    if as_json:
        typer.echo(json.dumps([{**asdict(row), "access": row.access.name} for row in CATALOG], indent=2))
    else:
        Console().print(catalog_table(CATALOG))


def main() -> NoReturn:
    """Run a command and leave with its exit code."""
    try:
        _run()
    except SystemExit as left:
        leave(left.code if isinstance(left.code, int) else int(left.code is not None))


def _run() -> NoReturn:
    """Run a command; what it raises becomes a line and an exit code."""
    asked: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        """A polite kill is a Ctrl-C."""
        asked.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        app()
    except BrinellError as error:
        fail(str(error), error.exit_code)
    except OSError as error:
        fail(f"{error.filename or 'the output'} cannot be read or written: {error.strerror or error}", 3)
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
    except SystemExit as left:
        if left.code == INTERRUPTED and left.__context__ is not None:  # typer's, which says nothing
            fail("interrupted", INTERRUPTED)
        if left.code == 1 and isinstance(left.__context__, OSError):  # click's, of a reader who left
            sys.exit(CannotRun.exit_code)
        raise
    except MemoryError:
        fail("memory ran out; give fewer examples with --n, or fewer --workers", CannotRun.exit_code)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is one line
        if asked:  # an import that was cut short fails in ways of its own
            fail("interrupted", INTERRUPTED)
        if out_of_memory(error):
            fail("memory ran out; give fewer examples with --n, or fewer --workers", CannotRun.exit_code)
        fail(unforeseen(error), INTERNAL)
    sys.exit(0)
