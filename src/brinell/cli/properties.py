"""A property of a network, decided as VNN-COMP's tools do."""

import math
import time
from pathlib import Path
from typing import NoReturn

import typer

from brinell.verify import decide as search
from brinell.verify import deployed, read_vnnlib
from brinell.verify.vnnlib import answer_text


def decide(network: Path, property_: Path, timeout: float, out: Path | None, seed: int) -> NoReturn:
    """Print the answer, and leave with its exit code."""
    start = time.monotonic()
    goal, model = read_vnnlib(property_), deployed(network)
    left = timeout - (time.monotonic() - start)
    answer = search(model.graph, goal, model, timeout=left, precision=model.precision, seed=seed) if left > 0 else None
    text = "timeout\n" if answer is None else answer_text(answer.verdict, answer.witness)
    typer.echo(text, nl=False)
    if answer is not None and math.isfinite(answer.bound):
        typer.echo(f"no margin of the property is below {answer.bound:g}", err=True)
    if out is not None:
        out.write_text(text)
    raise typer.Exit({"unsat": 0, "sat": 1}.get(text.partition("\n")[0], 4))
