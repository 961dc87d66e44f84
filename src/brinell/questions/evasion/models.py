"""What engines are made of: those that a stage names, and what proofs and exact searches read of a target."""

from typing import Any

from brinell.auditing.build import build as build_of
from brinell.auditing.plan import Stage, find
from brinell.errors import CannotRun, UsageError
from brinell.evasion import Objective, cross_entropy, dlr, margin
from brinell.evasion.gradient.start import StartingPoint, Vertices
from brinell.proofs import Exact, Forest, Graph, Verifier, forest_of, trace
from brinell.targets import Target
from brinell.types import Inputs

NO_VOTE = "it speaks of votes over noise, and the target takes none; make one with brinell.targets.smoothed"
"""Why smoothing has nothing to say of a plain target: its certificates would be another classifier's."""


def build(stage: Stage) -> Any:
    """The attack or proof that a stage names. Raises UsageError naming the setting that does not fit."""
    return build_of(stage, _NAMED)


def graph_of(target: Target, x: Inputs) -> Graph | str:
    """What verifiers read of a target, or why there is nothing to read: whatever its reader raised."""
    try:
        return trace(target.module(), target.seen(x[:1]), target.box)
    except (CannotRun, UsageError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 of the user's module, or of PyTorch about it: no proofs, and the audit goes on
        said = str(error).strip().partition("\n")[0]
        return f"the network cannot be read ({type(error).__name__}: {said})"


def model_for(exact: Exact[Any], target: Target, x: Inputs) -> Any:
    """What an exact engine reads of a target; raises CannotRun where there is nothing for it to read."""
    model = forest_or_reason(target) if exact.reads is Forest else graph_of(target, x)
    reason = model if isinstance(model, str) else exact.unfit(model)
    if reason is not None:
        raise CannotRun(reason)
    return model


def forest_or_reason(target: Target) -> Forest | str:
    """The trees of a target, or why there are none to read."""
    try:
        return forest_of(target)
    except CannotRun as error:
        return str(error)


def _verifier(name: object) -> Verifier:
    row = find(name) if isinstance(name, str) else None
    if row is None or row.kind != "proof":
        raise UsageError(f"verifier {name!r} is no proof of the catalogue")
    verifier: Verifier = row.resolve()()
    return verifier


def _objective(name: object) -> Objective:
    known = {"cross_entropy": cross_entropy, "dlr": dlr, "margin": margin}
    if not isinstance(name, str) or name not in known:
        raise UsageError(f"objective {name!r} is not known; there are {', '.join(known)}")
    return known[name]


def _start(name: object) -> StartingPoint:
    if name != "vertices":
        raise UsageError(f"start {name!r} is not known; there is vertices")
    return Vertices()


_NAMED = {"objective": _objective, "verifier": _verifier, "start": _start}
"""Settings that plans give by name."""
