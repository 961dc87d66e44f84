"""A property of a network, decided as VNN-COMP's tools do."""

import math
import time
from pathlib import Path
from typing import NoReturn

import typer

from brinell.cli.leave import INTERRUPTED, fail
from brinell.errors import out_of_memory
from brinell.proofs import Watch, deployed, read_vnnlib
from brinell.proofs import decide as search
from brinell.proofs.vnnlib import answer_text


def decide(network: Path, property_: Path, timeout: float, out: Path | None, seed: int) -> NoReturn:
    """Print the answer, and leave with its exit code. Interrupted, or without memory, it is unknown."""
    watch, interrupted = Watch(), False
    try:
        text = _answer(network, property_, timeout, seed, watch)
    except KeyboardInterrupt:
        text, interrupted = "unknown\n", True
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        text = "unknown\n"
        typer.echo("memory ran out", err=True)
    typer.echo(text, nl=False)
    verdict = text.partition("\n")[0]
    if verdict in ("unknown", "timeout") and math.isfinite(watch.bound):
        typer.echo(f"no margin of the property is below {watch.bound:g}", err=True)
    if out is not None:
        out.write_text(text)
    if interrupted:
        fail("interrupted; a property is decided anew each time", INTERRUPTED)
    raise typer.Exit({"unsat": 0, "sat": 1}.get(verdict, 4))


def _answer(network: Path, property_: Path, timeout: float, seed: int, watch: Watch) -> str:
    start = time.monotonic()
    goal, model = read_vnnlib(property_), deployed(network)
    left = timeout - (time.monotonic() - start)
    if not left > 0:
        return "timeout\n"
    answer = search(model.graph, goal, model, timeout=left, precision=model.precision, seed=seed, watch=watch)
    return answer_text(answer.verdict, answer.witness)
