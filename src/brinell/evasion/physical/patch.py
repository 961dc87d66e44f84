"""One picture that fools a network on many images, wherever it is stuck or whoever wears it."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from brinell.evasion.hunt import Objective
from brinell.evasion.objective import cross_entropy
from brinell.evasion.physical.placement import Anywhere, Picture, Placement, Seen
from brinell.evasion.physical.printable import Penalty
from brinell.evasion.physical.rendered import one_range, optimise, pull_back, within
from brinell.targets import Target
from brinell.threat.goal import met
from brinell.types import Inputs, Labels, Mask


@final
@dataclass(frozen=True)
class AdversarialPatch:
    """One patch for many images, places, sizes and angles (Brown et al. 2017, arXiv:1712.09665).

    placement: how it meets an image. steps: gradients of a batch. batch: images a step, each with a draw of its own.
    rate: Adam's. penalties: what the picture is to cost. It is sought as a tanh within the box, so that no step leaves
    it.
    """

    placement: Placement = Anywhere()
    steps: int = 300
    batch: int = 32
    rate: float = 0.1
    objective: Objective = cross_entropy
    penalties: tuple[Penalty, ...] = ()

    def learn(self, target: Target, x: Inputs, y: Labels, aim: int | None = None, seed: int = 0) -> Picture:
        """A patch from these images: toward the class `aim`, or away from their labels."""
        limits = one_range(target.box)
        rng = torch.Generator(x.device).manual_seed(seed)
        if aim is not None:
            x = x[y != aim]
            y = y[y != aim]
        seen = self.placement.seen(x)

        def gradient(free: Tensor) -> Tensor:
            rows = torch.randint(len(x), (self.batch,), generator=rng, device=x.device)
            aims = None if aim is None else torch.full_like(y[rows], aim)

            def render(free: Tensor) -> Inputs:
                return target.box.clamp(self.placement.stick(x[rows], within(free, limits), rng))

            fooling = pull_back(target, free, render, self.objective, y[rows], aims)[1]
            return fooling - self._cost(free, limits, seen)

        start = torch.randn(seen.shape, generator=rng, dtype=x.dtype, device=x.device)
        return within(optimise(0.1 * start, gradient, self.steps, self.rate), limits)

    def _cost(self, free: Tensor, limits: tuple[float, float], seen: Seen) -> Tensor:
        """The gradient of the penalties."""
        leaf = free.detach().requires_grad_()
        with torch.enable_grad():
            picture = within(leaf, limits)
            cost = sum((penalty(picture, seen) for penalty in self.penalties), 0 * picture.sum())
        return torch.autograd.grad(cost, leaf)[0]


def fooled(
    target: Target,
    x: Inputs,
    y: Labels,
    picture: Picture,
    placement: Placement,
    aim: int | None = None,
    seed: int = 0,
) -> Mask:
    """Whether each image is misclassified with the picture in it, by one random draw of the placement each.

    Ask it of images that the picture was not learnt from. Images labelled as the aim are for the caller to leave out.
    """
    rng = torch.Generator(x.device).manual_seed(seed)
    stuck = target.box.clamp(placement.stick(x, picture, rng))
    return met(target.scores(stuck), y, None if aim is None else torch.full_like(y, aim))
