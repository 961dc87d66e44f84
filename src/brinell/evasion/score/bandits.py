"""Bandits: a gradient remembered over time and shared by neighbours, learnt from two scores a step.

Source: Ilyas et al. 2019, arXiv:1807.07978, algorithms 2 and 3, with both priors: the estimate of one step starts the
next (time), and neighbouring pixels share a value (data).
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from brinell.arguments import Count, Positive
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.objective import margin
from brinell.evasion.score.estimate import difference, even, gaussian
from brinell.evasion.score.image import Image, as_image, enlarged, tiled
from brinell.evasion.score.population import affordable
from brinell.threat import Access
from brinell.threat.sets import over_features


@final
@dataclass(frozen=True)
class Bandits(Attack):
    """Bandit optimisation with time and data priors (Ilyas et al. 2019).

    steps: moves, of two queries each. tile: the side of the squares of pixels that share a value of the prior, in
    each channel; smaller where an image would have fewer than `side` of them along its longer side. The authors' code
    has 50 tiles on 299 pixels. step: of each move, as a share of the radius. smoothing: how far each feature is moved
    to measure (eta), as a share of what it may move where all move alike: of the radius in linf, of the radius over
    sqrt(d) in l2.

    Four things differ from the paper. It asks at x + eta (v + delta u) and x + eta (v - delta u), v the prior. Drawn
    into set ∩ box the two would be one point wherever v leads out, so ours leave v out, which changes their
    difference to second order only. Its prior for linf is learnt by exponentiated gradients, which saturate and keep
    signs alone; the sum of the estimates, which it has for l2, is stronger in both and free of the scores' scale.
    Its eta is an absolute 0.01 to 0.1 of l2 length, too short to see past masked gradients. It maximises cross-entropy,
    whose slope is all but nothing where a network is sure: what was learnt near the boundary, right or wrong, then
    outweighs all that follows, so ours maximises the margin.
    """

    steps: Count = 5000
    tile: Count = 6
    side: Count = 8
    step: Positive = 0.2
    smoothing: Positive = 0.3
    objective: Objective = margin
    needs: ClassVar[Access] = Access.SCORES

    def __call__(self, hunt: Hunt) -> None:
        step = self.step * finite_radius(self, hunt.set)
        hunt.begin()
        none = self._tiles(as_image(hunt.x0))
        length = (self.smoothing * even(hunt)).clamp(min=torch.finfo(hunt.x0.dtype).tiny)
        # The gradient believed in, a value a tile; what was drawn; the move it makes, and its length a feature.
        memory = hunt.carry(prior=none, noise=none, move=hunt.x0.unsqueeze(1), length=length)

        for _ in hunt.steps(self.steps):
            if affordable(hunt, 2) < 2:
                return
            memory.noise = gaussian(tuple(memory.prior.shape), hunt.x, hunt.rng)
            wide = enlarged(memory.noise, hunt.x)
            memory.move = (over_features(memory.length, wide) * wide).unsqueeze(1)
            slope = difference(hunt, lambda: memory.move, self.objective)[0] / memory.length
            memory.prior = memory.prior + over_features(slope, memory.noise) * memory.noise
            hunt.move(hunt.x + step * hunt.set.steepest(enlarged(memory.prior, hunt.x)))

    def _tiles(self, image: Image) -> Image:
        n, channels, height, width = image.shape
        return image.new_zeros((n, channels, *tiled(height, width, self.tile, self.side)))
