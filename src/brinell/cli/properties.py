"""A property of a network, decided as VNN-COMP's tools do."""

import json
import math
import time
from pathlib import Path
from typing import NoReturn

import typer

from brinell.cli.leave import INTERRUPTED, fail
from brinell.errors import out_of_memory
from brinell.evidence import Soundness
from brinell.proofs import Decision, SearchProgress, deployed, read_vnnlib
from brinell.proofs import decide as search
from brinell.proofs.property.vnnlib import answer_text


def decide(
    network: Path, property_: Path, timeout: float, out: Path | None, seed: int, soundness: str | None, as_json: bool
) -> NoReturn:
    """Print the answer, and leave with its exit code. Interrupted, or without memory, it is unknown.

    In which arithmetic a proof holds is told beside it.
    """
    level = Soundness.of(soundness or Soundness.REAL)
    progress = SearchProgress()
    interrupted = False
    try:
        answer = answered(network, property_, timeout, seed, progress, level)
    except KeyboardInterrupt:
        interrupted = True
        answer = Decision("unknown", None, 0.0, progress.bound, level)
    text = answer_text(answer.verdict, answer.witness)
    typer.echo(json.dumps(record(answer), indent=2) + "\n" if as_json else text, nl=False)
    if answer.verdict in ("unknown", "timeout") and math.isfinite(progress.bound):
        typer.echo(f"no margin of the property is below {progress.bound:g}", err=True)
    if answer.verdict == "unsat":
        typer.echo(_said(level), err=True)
    if out is not None:
        out.write_text(text)
    if interrupted:
        fail("interrupted; a property is decided anew each time", INTERRUPTED)
    raise typer.Exit({"unsat": 0, "sat": 1}.get(answer.verdict, 4))


def answered(
    network: Path, property_: Path, timeout: float, seed: int, progress: SearchProgress, level: Soundness
) -> Decision:
    """The answer to one property; unknown where memory runs out, which is told."""
    try:
        return _search(network, property_, timeout, seed, progress, level)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        typer.echo("memory ran out", err=True)
        return Decision("unknown", None, 0.0, progress.bound, level)


def _search(
    network: Path, property_: Path, timeout: float, seed: int, progress: SearchProgress, level: Soundness
) -> Decision:
    start = time.monotonic()
    goal, model = read_vnnlib(property_), deployed(network)
    left = timeout - (time.monotonic() - start)
    if not left > 0:
        return Decision("timeout", None, timeout, soundness=level)
    return search(
        model.graph, goal, model, timeout=left, precision=model.precision, seed=seed, progress=progress, soundness=level
    )


def _said(level: Soundness) -> str:
    """What an unsat of a level means."""
    if level is Soundness.REAL:
        return "proved in exact arithmetic (real), which says nothing of rounding; --soundness float32 asks for that"
    return f"proved for {level.name.lower()}, whatever the order of its sums"


def record(answer: Decision) -> dict[str, object]:
    """soundness: of a proof. bound: how far one had come, where it is known."""
    witness = answer.witness
    return {
        "verdict": answer.verdict,
        "soundness": answer.soundness.value if answer.verdict == "unsat" else None,
        "seconds": answer.seconds,
        "bound": answer.bound if math.isfinite(answer.bound) else None,
        "witness": None if witness is None else {"x": witness.x.tolist(), "y": witness.y.tolist()},
    }
