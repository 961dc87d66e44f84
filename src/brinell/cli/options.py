"""The options of the commands, each declared once. A command takes a group of them as one argument: see `spread`."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, final

import typer

from brinell.cli.configured import read_config, without_config

SUBJECT = "Model and data"
THREAT = "What the adversary may do"
SEARCH = "The search"
REQUIRED = "What is required"
OUTPUT = "Output"

AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON on stdout in place of the table.", rich_help_panel=OUTPUT)
]
Budget = Annotated[
    str | None,
    typer.Option(help="Time to search for: 90s, 5m, 1h.", metavar="TIME", rich_help_panel=SEARCH, show_default=False),
]
Timeout = Annotated[
    str | None,
    typer.Option(help="Time to decide in: 116, 90s, 5m.", metavar="TIME", rich_help_panel=SEARCH, show_default=False),
]
Soundness = Annotated[
    str | None,
    typer.Option(
        help="Count certificates that hold in real, float64 or float32 arithmetic.",
        metavar="LEVEL",
        rich_help_panel=SEARCH,
        show_default=False,
    ),
]
PlanName = Annotated[
    str,
    typer.Option(
        "--plan",
        help="quick, standard, full, autoattack, or a .json or .yaml file.",
        metavar="PLAN",
        rich_help_panel=SEARCH,
    ),
]
Ask = Annotated[
    str,
    typer.Option(help="Questions, separated by commas.", metavar="QUESTIONS", rich_help_panel=SEARCH),
]
Seed = Annotated[
    int,
    typer.Option(
        min=0, max=2**63 - 1, help="Decides the sample and every random choice.", rich_help_panel=SEARCH, metavar="N"
    ),
]
AccessName = Annotated[
    str,
    typer.Option(
        "--access",
        help="What the adversary sees: labels, scores, gradients, weights.",
        metavar="ACCESS",
        rich_help_panel=THREAT,
    ),
]
Queries = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Queries that an attack may spend on an example.",
        rich_help_panel=THREAT,
        show_default=False,
        metavar="N",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Threads; one a core unless given. Figures do not depend on it.",
        rich_help_panel=SEARCH,
        show_default=False,
        metavar="N",
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False)]


@final
@dataclass(frozen=True)
class Configured:
    """Where options come from that are not given. Read first: the file fills the others in."""

    config: Annotated[
        Path | None,
        typer.Option(
            help="A file of options, in place of the brinell.toml of this folder.",
            metavar="FILE",
            is_eager=True,
            callback=read_config,
            show_default=False,
        ),
    ] = None
    no_config: Annotated[
        bool,
        typer.Option("--no-config", help="Read no brinell.toml.", is_eager=True, callback=without_config),
    ] = False


@final
@dataclass(frozen=True)
class SubjectOptions:
    """One model, and the examples it is asked about."""

    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="FILE.py:FACTORY, package.module:FACTORY, .pt2, .onnx, .skops, or digits.",
            show_default=False,
        ),
    ] = None
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help=".npz, idx(.gz), a folder of images, .csv, .parquet, or digits.",
            show_default=False,
        ),
    ] = None
    weights: Annotated[
        str | None,
        typer.Option(
            help=".safetensors or weights-only checkpoint for a factory.",
            metavar="FILE",
            rich_help_panel=SUBJECT,
            show_default=False,
        ),
    ] = None


@final
@dataclass(frozen=True)
class Sample:
    """How examples are read, and which are taken."""

    label: Annotated[
        str | None,
        typer.Option(help="Label column of a table.", metavar="NAME", rich_help_panel=SUBJECT, show_default=False),
    ] = None
    box: Annotated[
        str | None,
        typer.Option(
            help="Valid inputs: LOW,HIGH, or data for the range of each feature. Default 0,1.",
            metavar="BOX",
            rich_help_panel=SUBJECT,
            show_default=False,
        ),
    ] = None
    mean: Annotated[
        str | None,
        typer.Option(
            help="The model sees (x - mean) / std: a number, or one a channel.",
            metavar="NUMBERS",
            rich_help_panel=SUBJECT,
            show_default=False,
        ),
    ] = None
    std: Annotated[
        str | None, typer.Option(help="See --mean.", metavar="NUMBERS", rich_help_panel=SUBJECT, show_default=False)
    ] = None
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            min=1,
            help="Take this many examples, drawn by --seed.",
            rich_help_panel=SUBJECT,
            show_default=False,
            metavar="N",
        ),
    ] = None
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Draw equally many of each class.", rich_help_panel=SUBJECT)
    ] = False
    seed: Seed = 0


@final
@dataclass(frozen=True)
class ThreatOptions:
    """The perturbation set with its radii, and what the adversary wants."""

    set_: Annotated[
        str | None,
        typer.Option(
            "--set",
            "--threat",
            help="Perturbation set and radii: linf:8/255 or l2:0.25,0.5. A single attack also takes l2:inf, for the "
            "smallest change.",
            rich_help_panel=THREAT,
            show_default=False,
            metavar="SET",
        ),
    ] = None
    goal: Annotated[
        str,
        typer.Option(
            help="untargeted, least-likely, or the class to be reached.", metavar="GOAL", rich_help_panel=THREAT
        ),
    ] = "untargeted"


@final
@dataclass(frozen=True)
class RunOptions:
    """How a run is made, and where it is kept."""

    accept: Annotated[
        list[str] | None,
        typer.Option(
            help="Go on in spite of this severe finding, by its code. May be repeated.",
            rich_help_panel=SEARCH,
            show_default=False,
            metavar="CODE",
        ),
    ] = None
    workers: Workers = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The run's folder; the same command continues there.",
            metavar="FOLDER",
            rich_help_panel=OUTPUT,
            show_default=False,
        ),
    ] = None


def spread(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command as typer reads it: a group among its parameters is replaced by the group's options."""
    signature = inspect.signature(command)
    groups: dict[str, Any] = {
        name: taken.annotation for name, taken in signature.parameters.items() if is_dataclass(taken.annotation)
    }
    parameters = [
        option
        for name, taken in signature.parameters.items()
        for option in (_options(groups[name]) if name in groups else [taken])
    ]

    @wraps(command)
    def call(**given: Any) -> Any:
        made = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        return command(**made, **given)

    flat = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in parameters]
    call.__signature__ = signature.replace(parameters=flat)  # type: ignore[attr-defined]
    call.__annotations__ = {option.name: option.annotation for option in flat}
    return call


def _options(group: Any) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in fields(group)
    ]
