"""`brinell verify`."""

from typing import Annotated

import typer

from brinell.cli.options import (
    SEARCH,
    AsJson,
    Configured,
    RunOptions,
    Sample,
    Soundness,
    SubjectOptions,
    ThreatOptions,
)
from brinell.cli.runs import demanding, end, run_audit, sources_of
from brinell.cli.words import budget_of
from brinell.errors import UsageError


def verify(
    configured: Configured,
    subject: SubjectOptions,
    sample: Sample,
    threat: ThreatOptions,
    run: RunOptions,
    soundness: Soundness = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            "--budget",
            help="Time to prove for: 90s, 5m, 1h.",
            rich_help_panel=SEARCH,
            metavar="TIME",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove that no change within a set flips an answer.

    An audit that spends its time on proofs. A VNN-LIB property is decided by brinell decide, and whether a score can
    fall where a feature rises by brinell monotone.

    brinell verify net.py:build test.npz --weights net.safetensors --set linf:0.02
    """
    from brinell.questions.evasion.plans import load_plan

    if subject.data is not None and subject.data.endswith((".vnnlib", ".vnnlib.gz")):
        raise UsageError(f"{subject.data} is a property; ask: brinell decide {subject.model} {subject.data}")
    sources = sources_of(subject, sample, threat)
    seconds = budget_of(budget, "--timeout")
    end(run_audit(sources, demanding(load_plan("proofs"), soundness), seconds, run), as_json)
