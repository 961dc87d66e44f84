"""What is read of each example, and the measures of calibration that follow.

Expected calibration error: Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599, eq. 3. It is above 0 also for a
perfectly calibrated model, by the chance of a finite sample. So it stands beside its null: the same error of labels
drawn from the model's own confidences, as in consistency resampling (Broecker and Smith 2007), which draws forecasts
besides.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from brinell.auditing.work import Checkpoint, Shard, ShardResult
from brinell.evidence import Evidence, Failure
from brinell.targets import Target
from brinell.targets.probabilities import log_probabilities

Numbers = NDArray[np.float64]

BINS = 15
"""Of equal width, as in Guo et al. 2017: bin b holds confidences in (b / 15, (b + 1) / 15]."""

DRAWS = 1000
"""Of the null, and of the bootstrap."""

CHUNK = 50
"""Of them at once."""


@final
@dataclass(frozen=True)
class Scored(Evidence):
    """One example: its largest probability, whether that class is right, and the proper scores of its label.

    confidence: 0 to 1. brier: sum over classes of (p - [class is the label])^2, 0 to 2. nll: -log p of the label.
    """

    item: int
    engine: str
    confidence: float
    right: bool
    brier: float
    nll: float
    kind: ClassVar[str] = "scored"

    def columns(self) -> tuple[float | None, dict[str, Any]]:
        return self.confidence, {"right": self.right, "brier": self.brier, "nll": self.nll}

    @classmethod
    def read(cls, item: int, engine: str, value: float, artifact: str | None, detail: dict[str, Any]) -> "Scored":
        return cls(item, engine, value, detail["right"], detail["brier"], detail["nll"])


@final
@dataclass(frozen=True)
class Probabilities:
    """The engine: one forward pass. Scores that are no probabilities already pass through softmax."""

    def __call__(self, target: Target, shard: Shard, checkpoint: Checkpoint) -> ShardResult:
        checkpoint()
        scores = target.scores(shard.x).double()
        log_p = log_probabilities(scores)
        p = log_p.exp()
        right = p.argmax(1) == shard.y
        own = p.gather(1, shard.y[:, None]).squeeze(1)
        brier = p.square().sum(1) - 2 * own + 1
        nll = -log_p.gather(1, shard.y[:, None]).squeeze(1)

        outcome = ShardResult(forwards=len(shard.items))
        columns = (p.amax(1).tolist(), right.tolist(), brier.tolist(), nll.tolist())
        for item, finite, row in zip(
            shard.items, scores.isfinite().all(1).tolist(), zip(*columns, strict=True), strict=True
        ):
            failed = Failure(item, "", "the target's scores are not finite")
            outcome.evidence.append(Scored(item, "", *row) if finite else failed)
        return outcome


def binned(confidence: Numbers) -> NDArray[np.int64]:
    """The bin of each confidence."""
    edges = np.arange(1, BINS) / BINS
    return np.asarray(np.digitize(confidence, edges, right=True))


def gaps(confidence: Numbers, right: Numbers) -> Numbers:
    """|accuracy - mean confidence| of each bin; 0 of those without an example."""
    onto = np.eye(BINS)[binned(confidence)]  # [n, bins]
    return np.asarray(np.abs((right - confidence) @ onto) / np.maximum(onto.sum(0), 1))


def ece(confidence: Numbers, right: Numbers, weight: Numbers | float = 1.0) -> Numbers:
    """Expected calibration error of samples: (..., n) to (...).

    Each bin's gap weighs as much as it has examples, so that the sum is one of |sum of (right - confidence)| / n.
    right: 0 or 1. weight: how often each example counts.
    """
    onto = np.eye(BINS)[binned(confidence)]  # [n, bins]
    return np.asarray(np.abs((weight * (right - confidence)) @ onto).sum(-1) / len(confidence))


def null(confidence: Numbers, seed: int) -> Numbers:
    """The error that a perfectly calibrated model shows on a sample of these confidences: DRAWS of it."""
    rng = np.random.default_rng(seed)
    parts = (rng.random((CHUNK, len(confidence))) < confidence for _ in range(DRAWS // CHUNK))
    return np.concatenate([ece(confidence, part.astype(float)) for part in parts])


def bootstrap(confidence: Numbers, right: Numbers, seed: int) -> tuple[float, float]:
    """A 95 % interval of the error: the basic bootstrap over examples, which takes the bias of resampling off.

    It is widened where it would leave the error itself out.
    """
    rng = np.random.default_rng(seed)
    n = len(right)
    parts = (rng.multinomial(n, np.full(n, 1 / n), size=CHUNK).astype(float) for _ in range(DRAWS // CHUNK))
    resampled = np.concatenate([ece(confidence, right, part) for part in parts])
    low, high = np.quantile(resampled, (0.025, 0.975))
    value = float(ece(confidence, right))
    return max(0.0, min(value, 2 * value - high)), min(1.0, max(value, 2 * value - low))
