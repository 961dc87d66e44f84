"""The command line. Figures go to stdout, everything else to stderr; a foreseen failure is one line and an exit code.

0 done or passed · 1 a gate failed · 2 the command cannot be right · 3 it could not be carried out · 4 the evidence does
not decide · 130 interrupted. Heavy imports stand inside the commands, so that `--help` is instant.
"""

import json
import signal
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from brinell import __version__
from brinell.errors import BrinellError, CannotRun, UsageError

if TYPE_CHECKING:
    from brinell.auditing import Audit, Diagnosis, Plan, Stage
    from brinell.cli.sources import Sources
    from brinell.data import Dataset
    from brinell.targets import Target
    from brinell.threat import Threat

INTERRUPTED = 130

app = typer.Typer(
    name="brinell",
    help="How hard is your model to break? A bracket: what a proof guarantees, what no attack has yet refuted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Model = Annotated[str, typer.Argument(help="FILE.py:FACTORY, package.module:FACTORY, .pt2, .onnx, .skops, or digits.")]
Data = Annotated[
    str | None,
    typer.Argument(help=".npz, idx(.gz), image folder, .csv, .parquet, or digits.", show_default=False),
]
SetOption = Annotated[
    str | None, typer.Option("--set", help="Perturbation set and radii: linf:8/255 or l2:0.25,0.5.", show_default=False)
]
ThreatOption = Annotated[
    str | None,
    typer.Option(
        "--set",
        "--threat",
        help="Perturbation set and radius: linf:8/255, or l2:inf for the smallest.",
        show_default=False,
    ),
]
Weights = Annotated[str | None, typer.Option(help=".safetensors or weights-only checkpoint for a factory.")]
Label = Annotated[str | None, typer.Option(help="Label column of a table.")]
BoxOption = Annotated[str | None, typer.Option("--box", help="Valid inputs: LOW,HIGH, or data. Default 0,1.")]
Mean = Annotated[str | None, typer.Option(help="The model sees (x - mean) / std: a number, or one a channel.")]
Std = Annotated[str | None, typer.Option(help="See --mean.")]
Count = Annotated[int | None, typer.Option("--n", min=1, help="Audit this many examples, drawn by --seed.")]
Balanced = Annotated[bool, typer.Option("--balanced", help="Draw equally many of each class.")]
Goal = Annotated[str, typer.Option(help="untargeted, least-likely, or a class number to be reached.")]
AccessOption = Annotated[
    str, typer.Option("--access", help="What the adversary sees: labels, scores, gradients, weights.")
]
Queries = Annotated[int | None, typer.Option(min=1, help="Forward rows an attack may spend on an example.")]
PlanOption = Annotated[str, typer.Option("--plan", help="quick, standard, full, autoattack, or a .json or .yaml file.")]
Budget = Annotated[str | None, typer.Option(help="Time to search for: 90s, 5m, 1h.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Decides the sample and every random choice.")]
Accept = Annotated[list[str] | None, typer.Option(help="Go on in spite of this severe finding, by its code.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Threads; default one a core. Figures do not depend on it.")]
Out = Annotated[Path | None, typer.Option(help="The run's folder; the same command continues there.")]
Run = Annotated[Path, typer.Argument(help="The folder of a run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print result.json on stdout in place of the table.")]


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
    from brinell.auditing import load_plan

    sources = _sources(model, data, set_, weights, label, box, mean, std, n, balanced, goal, access, queries, seed)
    if dry_run:
        _dry_run(sources, load_plan(plan), as_json)
    else:
        _end(_run(sources, load_plan(plan), _budget(budget), accept or [], workers, out), as_json)


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
    from brinell.auditing import check as preflight
    from brinell.auditing import load_plan
    from brinell.cli.show import findings_table, plan_table

    sources = _sources(
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
    from brinell.auditing import alone
    from brinell.cli.progress import Bar
    from brinell.cli.show import alone_table
    from brinell.cli.witnesses import kind_of, write
    from brinell.threat import Threat

    stage, kind = _stage(engine, setting or []), None if save is None else kind_of(save)
    sources = _sources(model, data, set_, weights, label, box, mean, std, n, balanced, goal, access, queries, seed)
    set_of, radii = sources.sets()
    if len(radii) > 1:
        raise UsageError(f"--set {sources.set!r} has {len(radii)} radii; an attack has one, or inf for the smallest")
    examples, target = sources.load()
    threat = Threat(set_of, sources.goals(), queries=queries)
    with Bar() as bar:
        strike = alone(stage, target, examples, threat, seed, partial(bar.batch, stage.label, total=len(examples)))
    if save is not None and kind is not None:
        write(save, kind, strike)
    if as_json:
        typer.echo(strike.figures.model_dump_json(indent=2))
    else:
        Console(markup=False, highlight=False).print(alone_table(strike.figures))
    if strike.figures.status == "interrupted":
        _fail(f"interrupted after {strike.figures.n} of {len(examples)} examples; these are their figures", INTERRUPTED)


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
    from brinell.auditing import diagnose as put_to_the_test
    from brinell.cli.show import diagnosis_table
    from brinell.threat import Threat

    sources = _sources(model, data, set_, weights, label, box, mean, std, n, balanced, goal, access, None, seed)
    set_of, _ = sources.sets()
    examples, target = sources.load()
    diagnosis = put_to_the_test(target, examples, Threat(set_of, sources.goals()), seed=seed)
    if as_json:
        typer.echo(diagnosis.model_dump_json(indent=2))
    else:
        Console(markup=False, highlight=False).print(diagnosis_table(diagnosis))
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
    common = _sources("", data, set_, None, label, box, mean, std, n, balanced, goal, access, None, seed)
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
            metavar="[DATA|PROPERTY]",
            help="Examples, as for audit; or what is unsafe: a VNN-LIB 1.0 file, .vnnlib or .vnnlib.gz.",
            show_default=False,
        ),
    ] = None,
    set_: SetOption = None,
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
    """Prove what can be proved: of examples within a perturbation set, or of a property of an ONNX network.

    Of a property it answers sat with the input that violates it (exit 1), unsat (0), unknown or timeout (4).

    brinell verify net.py:build test.npz --set linf:0.1
    brinell verify net.onnx property.vnnlib --timeout 116
    """
    from brinell.auditing import load_plan

    if data is not None and data.endswith((".vnnlib", ".vnnlib.gz")):
        _decide(Path(model), Path(data), _seconds(timeout or "300", "--timeout"), out, seed)
    sources = _sources(model, data, set_, weights, label, box, mean, std, n, balanced, goal, "weights", None, seed)
    _end(
        _run(sources, load_plan("proofs"), _budget(timeout, "--timeout"), accept or [], workers, out, diagnosing=False),
        as_json,
    )


@app.command()
def radius(
    model: Model,
    data: Data = None,
    set_: SetOption = None,
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
    from brinell.auditing import load_plan
    from brinell.cli.show import radius_table
    from brinell.cli.spreadsheet import write_radii

    if save is not None and save.suffix != ".csv":
        raise UsageError(f"--save {str(save)!r} is no .csv file; name it so")
    sources = _sources(model, data, set_, weights, label, box, mean, std, n, balanced, goal, "weights", None, seed)
    run = _run(sources, load_plan("radius"), _budget(budget), accept or [], workers, out)
    if save is not None:
        write_radii(save, run)
    if not as_json:
        Console(markup=False, highlight=False).print(radius_table(run))
    _end(run, as_json)


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
    accepted = [f["code"] for f in about["findings"] if f["accepted"]]
    plan = Plan.model_validate(about["identity"]["plan"])
    sources, diagnosing = Sources.model_validate(about["sources"]), plan.name != "proofs"
    _end(_run(sources, plan, _budget(budget), accepted, workers, run, diagnosing), as_json)


@app.command()
def report(
    run: Run,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write; default report.html in the run.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the page of a run, finished or not, and print its table."""
    from brinell.auditing import Audit

    _show(Audit.open(run), as_json, out or run / "report.html")


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="A run.")],
    after: Annotated[Path, typer.Argument(help="Another run, on the same examples.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two runs example by example, with McNemar's exact test."""
    from dataclasses import asdict

    from brinell.auditing import Audit
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

    from brinell.auditing import Audit, Requirement
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
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except BrinellError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        _fail(f"{error.filename or 'the output'} cannot be read or written: {error.strerror or error}", 3)
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)
    sys.exit(0)


def _decide(network: Path, property_: Path, timeout: float, out: Path | None, seed: int) -> NoReturn:
    from brinell.verify import decide, deployed, read_vnnlib
    from brinell.verify.vnnlib import answer_text

    start = time.monotonic()
    goal, model = read_vnnlib(property_), deployed(network)
    left = timeout - (time.monotonic() - start)
    answer = decide(model.graph, goal, model, timeout=left, precision=model.precision, seed=seed) if left > 0 else None
    text = "timeout\n" if answer is None else answer_text(answer.verdict, answer.witness)
    typer.echo(text, nl=False)
    if out is not None:
        out.write_text(text)
    raise typer.Exit({"unsat": 0, "sat": 1}.get(text.partition("\n")[0], 4))


def _dry_run(sources: "Sources", plan: "Plan", as_json: bool) -> None:
    from brinell.cli.show import plan_table

    set_, radii = sources.sets()
    examples, target = sources.load()
    if as_json:
        typer.echo(plan.for_access(target.access, target.sight).model_dump_json(indent=2))
    else:
        Console().print(plan_table(plan, target, examples, set_, radii))


def _run(
    sources: "Sources",
    plan: "Plan",
    seconds: float | None,
    accepted: list[str],
    workers: int | None,
    out: Path | None,
    diagnosing: bool = True,
) -> "Audit":
    """An audit from preflight to the end, or to an interruption: that one is told once its page is written."""
    from brinell.auditing import accept, diagnosed
    from brinell.auditing import audit as run
    from brinell.auditing import check as preflight
    from brinell.cli.progress import Bar
    from brinell.threat import Threat

    start = time.monotonic()
    set_, radii = sources.sets()
    threat = Threat(set_, sources.goals(), queries=sources.queries)
    examples, target = sources.load()
    threat.within(target.box)  # a radius that cannot be right is refused before anything is measured
    findings = accept(preflight(target, examples), set(accepted))
    out = out or _folder(sources, target, examples, plan)
    diagnosis = (
        None if not diagnosing or diagnosed(out) else _diagnosis(target, examples, threat, seconds, sources.seed)
    )
    left = None
    if seconds is not None:
        left = max(0.0, seconds - _REPORTING * min(1.0, seconds / 60) - (time.monotonic() - start))
    with Bar() as bar:
        return run(
            target,
            examples,
            threat,
            plan,
            left,
            out,
            sources.seed,
            radii=radii,
            workers=workers,
            findings=findings,
            diagnosis=diagnosis,
            sources=sources.model_dump(mode="json"),
            on_progress=bar.step,
        )


def _diagnosis(
    target: "Target", data: "Dataset", threat: "Threat", seconds: float | None, seed: int
) -> "Diagnosis | None":
    """Whether what follows is to be believed, for its page; None where a tenth of the budget does not suffice."""
    from brinell.auditing import diagnose
    from brinell.auditing.clock import Clock, Stopped

    if not threat.set.radius > 0:
        return None
    clock = Clock(None if seconds is None else seconds / 10)
    try:
        return diagnose(target, data, threat, seed=seed, checkpoint=clock.checkpoint)
    except Stopped:
        return None


_REPORTING = 3.0
"""Seconds kept of a budget of a minute or more, for writing the page."""


def _sources(
    model: str,
    data: str | None,
    set_: str | None,
    weights: str | None,
    label: str | None,
    box: str | None,
    mean: str | None,
    std: str | None,
    n: int | None,
    balanced: bool,
    goal: str,
    access: str,
    queries: int | None,
    seed: int,
) -> "Sources":
    from brinell.cli.sources import DIGITS, Sources, absolute, absolute_set, default_set

    if data is None and model != DIGITS:
        raise UsageError("DATA is missing: give labelled examples, e.g. images/ or test.npz")
    return Sources(
        model=absolute(model),
        data=absolute(data or DIGITS),
        set=absolute_set(set_ or default_set(model)),
        weights=None if weights is None else absolute(weights),
        label=label,
        box=box,
        mean=mean,
        std=std,
        n=n,
        balanced=balanced,
        goal=goal,
        access=access,
        queries=queries,
        seed=seed,
    )


def _folder(sources: "Sources", target: "Target", data: "Dataset", plan: "Plan") -> Path:
    """runs/MODEL-DATA-DIGEST: the same command finds its own run again, any other gets a folder of its own."""
    import hashlib

    names = "-".join(Path(name.rpartition(":")[0] or name).stem for name in (sources.model, sources.data))
    identity = f"{sources.model_dump_json()} {plan.model_dump_json()} {target.digest} {data.digest}"
    return Path("runs") / f"{names}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def _end(run: "Audit", as_json: bool) -> None:
    """The page and the table of a run that was just made, and its exit code where it was interrupted."""
    _show(run, as_json, run.path / "report.html")
    if run.result.status == "interrupted":
        _fail(f"interrupted; continue with: brinell resume {run.path}", INTERRUPTED)


def _show(result: "Audit", as_json: bool, page: Path) -> None:
    from brinell.report import table, write_report

    write_report(result, page)
    if as_json:
        typer.echo(result.result.to_json(), nl=False)
    else:
        console = Console(markup=False, highlight=False)
        console.print(table(result.result))
        console.print(f"page: {page}", soft_wrap=True)


def _stage(engine: str, settings: list[str]) -> "Stage":
    """An attack with its settings, each `name=value` as a plan would have it."""
    import yaml

    from brinell.auditing import Stage

    values = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--setting {text!r} is not understood; write e.g. steps=100")
        values[name] = yaml.safe_load(value)
    stage = Stage(engine=engine, settings=values)
    stage.row  # noqa: B018 - an unknown engine is refused here
    return stage


def _budget(text: str | None, option: str = "--budget") -> float | None:
    return None if text is None else _seconds(text, option)


def _seconds(text: str, option: str = "--budget") -> float:
    """90s, 5m, 1h, or a number of seconds."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = float("nan")
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{option} {text!r} is not a time; write 90s, 5m or 1h")
    return seconds


def _fail(message: str, code: int) -> NoReturn:
    text = "".join(c if c.isprintable() else " " for c in message)
    typer.echo(f"brinell: {text}", err=True)
    sys.exit(code)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    """A polite kill is a Ctrl-C."""
    signal.raise_signal(signal.SIGINT)
