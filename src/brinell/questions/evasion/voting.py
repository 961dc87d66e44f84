"""Statements about smoothed classifiers as evidence: certificates that chance may spoil, and that say so."""

import torch

from brinell.auditing.work import Checkpoint, Engine, Shard, ShardResult
from brinell.evidence import ProbabilisticCertificate
from brinell.proofs import Smoothing
from brinell.targets import Smoothed, Target
from brinell.threat import REALS, Threat
from brinell.types import Scores


def voting(smoothing: Smoothing, label: str, threat: Threat) -> Engine:
    """Randomized smoothing as an engine, of a smoothed target. Any set serves that the noise's ball can hold."""

    def engine(target: Target, shard: Shard, checkpoint: Checkpoint) -> ShardResult:
        assert isinstance(target.backend, Smoothed)
        order, rng = target.backend.noise.order, torch.Generator(shard.x.device).manual_seed(shard.seed)
        need = threat.set.extent(shard.x, order)
        found = smoothing.certify(target, shard.x, rng, need, checkpoint)
        radii = _radii(threat, shard, order, need, found.radius)
        right = (found.labels == shard.y) & (radii > 0)
        rows = right.nonzero().flatten().tolist()
        return ShardResult(
            [
                ProbabilisticCertificate(shard.items[i], label, float(radii[i]), found.alpha, int(found.draws[i]))
                for i in rows
            ],
            forwards=int(found.draws.sum()) + smoothing.select * len(shard.items),
        )

    return engine


def _radii(threat: Threat, shard: Shard, order: float, need: Scores, reach: Scores) -> Scores:
    """The threat's radius where the noise's ball holds the set; where it does not, that of a smaller one it holds."""
    radii = torch.full_like(reach, threat.set.radius).where(reach >= need, 0.0)
    unit = threat.set.within(REALS).resized(1.0).extent(shard.x, order)
    smaller = (reach / unit * (1 - 1e-9)).nan_to_num(0.0).clamp(max=threat.set.radius)
    for i in ((radii == 0) & (smaller > 0)).nonzero().flatten().tolist():
        one = threat.set.resized(float(smaller[i])).extent(shard.x[i : i + 1], order)
        radii[i] = smaller[i] if one <= reach[i] else 0.0
    return radii
