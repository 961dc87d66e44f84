"""Fooling: the inputs that a network is surest of, with no ball around anything."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from brinell.evasion.objective import cross_entropy
from brinell.evasion.physical.rendered import freed, one_range, optimise, pull_back, within
from brinell.targets import Target
from brinell.types import Inputs, Labels


@final
@dataclass(frozen=True)
class Fooled:
    """Inputs and the probability (softmax) that the network gives the class each was made for. One row an example."""

    x: Inputs
    confidence: Float[Tensor, " batch"]


@final
@dataclass(frozen=True)
class Fooling:
    """Ascends the log-probability of a class over the whole box, by Adam (Nguyen et al. 2015, arXiv:1412.1897).

    steps, rate: Adam's, on a tanh within the box. From noise it makes what is nothing to the eye and certain to the
    network, the rubbish class examples of Goodfellow et al. 2015 (arXiv:1412.6572); from an image, an adversarial
    example of high confidence. There is no radius and so no verdict. The paper's evolutionary search is left out.
    """

    steps: int = 100
    rate: float = 0.1

    def learn(self, target: Target, start: Inputs, aims: Labels) -> Fooled:
        """From these inputs of the target's box, each toward its own class; examples do not see each other."""
        limits = one_range(target.box)

        def gradient(free: Tensor) -> Tensor:
            mean = pull_back(target, free, lambda free: within(free, limits), cross_entropy, aims, aims)[1]
            return len(start) * mean

        x = target.box.clamp(within(optimise(freed(start, limits), gradient, self.steps, self.rate), limits))
        return Fooled(x, target.scores(x).softmax(1).gather(1, aims.unsqueeze(1)).squeeze(1))

    def rubbish(self, target: Target, shape: tuple[int, ...], aims: Labels, seed: int = 0) -> Fooled:
        """From noise, uniform in the box: one input of this shape for each class asked for."""
        low, high = one_range(target.box)
        rng = torch.Generator(aims.device).manual_seed(seed)
        noise = torch.rand(len(aims), *shape, generator=rng, device=aims.device)
        return self.learn(target, low + (high - low) * noise, aims)
