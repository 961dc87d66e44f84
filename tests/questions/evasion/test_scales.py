"""Units of the input and a positive factor on the scores change no verdict, whatever the plan."""

import pytest
import torch
from torch import nn

from brinell.evidence import State
from brinell.questions.audit import Audit, audit
from brinell.questions.evasion.plans import PRESETS
from brinell.targets import Target, TorchBackend
from brinell.threat import Linf, Threat
from evasion.test_units import p_value
from models import UNIT, Of, generator, relu_net

N = 16
each_plan = pytest.mark.parametrize(
    "plan", [plan if plan == "quick" else pytest.param(plan, marks=pytest.mark.slow) for plan in PRESETS]
)


def audited(plan: str, factor: float = 1.0, unit: float = 1.0) -> Audit:
    """Scores multiplied by `factor`, inputs by `unit`."""
    net: nn.Module = Of(lambda scores: factor * scores, relu_net((6,)))
    x = torch.rand(N, 6, generator=generator(3))
    y = relu_net((6,))(x).argmax(1)
    target = Target(TorchBackend(net), UNIT.rescaled(1 / unit), std=unit)
    radius = float("inf") if plan == "radius" else 0.1 * unit
    return audit(target, (x * unit, y), Threat(Linf(radius)), plan, workers=1)


def evidence(run: Audit) -> list[object]:
    """All that was shown, with each engine's name."""
    return [(w.item, w.engine, w.distance) for w in run.witnesses] + [(r.certified, r.broken) for r in run.reaches]


@pytest.mark.slow
@each_plan
def test_powers_of_two_on_the_scores_show_the_same_to_the_last_bit(plan) -> None:
    one, other = audited(plan, 2.0**-12), audited(plan, 2.0**14)
    assert one.witnesses
    assert evidence(other) == evidence(one)


@pytest.mark.slow
@each_plan
@pytest.mark.parametrize(("factor", "unit"), [(1e4, 1.0), (1e-3, 1.0), (1.0, 256.0), (1.0, 0.01)])
def test_other_factors_settle_as_many(plan, factor, unit) -> None:
    """McNemar's exact test of what was broken, and of what was certified, is not significant at 1 in 1,000.

    A shard's seed depends on the radius, so in other units all chance is another.
    """
    one, other = audited(plan), audited(plan, factor, unit)
    radius = 0.1 if plan == "radius" else one.radii[-1]
    for state in (State.BROKEN, State.CERTIFIED):
        ours = torch.tensor([v.state is state for v in one.verdicts_at(radius)])
        theirs = torch.tensor([v.state is state for v in other.verdicts_at(radius * unit)])
        assert p_value(ours, theirs) >= 0.001
