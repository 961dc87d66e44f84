"""`brinell decide`."""

from pathlib import Path
from typing import Annotated

import typer

from brinell.cli.options import OUTPUT, AsJson, Seed, Soundness, Timeout
from brinell.cli.runs import check_place
from brinell.cli.words import seconds_of
from brinell.errors import UsageError

Network = Annotated[
    Path,
    typer.Argument(
        metavar="NETWORK|INSTANCES",
        help="An ONNX file; or a .csv of lines ONNX,VNNLIB,SECONDS.",
        show_default=False,
    ),
]
PropertyFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="PROPERTY",
        help="What is unsafe: a VNN-LIB 1.0 file, .vnnlib or .vnnlib.gz.",
        show_default=False,
    ),
]
Answers = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Write the answer to this file; of instances the table of results, where the same command goes on.",
        rich_help_panel=OUTPUT,
        metavar="FILE",
        show_default=False,
    ),
]


def decide(
    network: Network,
    property_: PropertyFile = None,
    timeout: Timeout = None,
    soundness: Soundness = None,
    seed: Seed = 0,
    out: Answers = None,
    as_json: AsJson = False,
) -> None:
    """Decide VNN-LIB properties of ONNX networks: sat or unsat.

    sat (exit code 1) comes with an input that violates the property, unsat (0) holds in exact arithmetic, or with
    --soundness float32 for the network as it runs; unknown and timeout end with 4. A property has 300 s.

    brinell decide net.onnx property.vnnlib --timeout 116
    brinell decide instances.csv --out results.csv
    """
    if network.suffix == ".csv":
        from brinell.cli.instances import decide_all

        if property_ is not None:
            raise UsageError(f"{network} names the properties itself; leave {property_} out")
        seconds = None if timeout is None else seconds_of(timeout, "--timeout")
        decide_all(network, seconds, out or Path(f"{network.stem}-results.csv"), seed, soundness, as_json)
    if property_ is None:
        raise UsageError(f"PROPERTY is missing: give a .vnnlib file after {network}, or a .csv of instances alone")
    if not property_.name.endswith((".vnnlib", ".vnnlib.gz")):
        raise UsageError(f"{property_} is no property; give a VNN-LIB file, .vnnlib or .vnnlib.gz")
    from brinell.cli.properties import decide as decide_one

    if out is not None:
        check_place(out, "--out")
    decide_one(network, property_, seconds_of(timeout or "300", "--timeout"), out, seed, soundness, as_json)
