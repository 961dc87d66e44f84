"""An audit that spends its time on proofs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from brinell.arguments import checked
from brinell.auditing.subject import Subject
from brinell.data import Dataset
from brinell.evidence import Soundness
from brinell.questions.audit import Audit, audit
from brinell.questions.evasion.evasion import Evasion
from brinell.questions.evasion.plans import PRESETS
from brinell.targets import Target
from brinell.threat import Threat


@checked(but=("data",))
def verify(
    target: Target,
    data: Dataset | tuple[Any, Any],
    threat: Threat,
    budget: float | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    *,
    radii: Sequence[float] | None = None,
    workers: int | None = None,
    soundness: str | Soundness = Soundness.REAL,
    accept: Sequence[str] = (),
) -> Audit:
    """Prove what can be proved of how `target` answers on `data` under `threat`: the audit by the plan `proofs`.

    Arguments, result and errors are those of `audit`. soundness: real, float64 or float32, the level of arithmetic from
    which a certificate counts. Properties of boxes of inputs are decided by `brinell.proofs.decide`.
    """
    plan = PRESETS["proofs"].demanding(soundness)
    subject = Subject(target, data)
    asked = [Evasion(threat, radii)]
    return audit(subject, asked, plan=plan, budget=budget, out=out, seed=seed, workers=workers, accept=accept)
