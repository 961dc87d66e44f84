"""Adversarial reprogramming: one frame of pixels makes a frozen network do another task."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from brinell.errors import UsageError
from brinell.evasion.objective import cross_entropy
from brinell.evasion.physical.rendered import one_range, optimise, pull_back, within
from brinell.targets import Target
from brinell.types import Inputs, Labels


@final
@dataclass(frozen=True)
class Program:
    """What was learnt: the frame, where the small input goes, and which of the network's classes means which label.

    frame: (channels, rows, columns), the values around the input. classes: the network's class for each label.
    """

    frame: Tensor
    corner: tuple[int, int]
    size: tuple[int, int]
    classes: Labels

    def place(self, x: Inputs) -> Inputs:
        """Small inputs (n, channels or 1, rows, columns) within the frame: what the network is shown."""
        return _place(self.frame, x, self.corner)

    def labels(self, target: Target, x: Inputs) -> Labels:
        """The labels of the new task, read off the network's scores."""
        return target.scores(self.place(x))[:, self.classes].argmax(1)


@final
@dataclass(frozen=True)
class Reprogramming:
    """Learns a program by Adam on the cross-entropy of the mapped class (Elsayed et al. 2019, arXiv:1806.11146).

    The frame is a tanh within the box, nothing of it covers the input. steps, batch, rate: Adam's. Label j is
    read from the network's class j, as in the paper, unless `classes` says otherwise; only mapped classes are compared
    when labels are read, while learning pushes down all others. The paper's weight decay is left out.
    """

    steps: int = 1000
    batch: int = 64
    rate: float = 0.05

    def learn(
        self,
        target: Target,
        shape: tuple[int, int, int],
        x: Inputs,
        y: Labels,
        classes: Labels | None = None,
        seed: int = 0,
    ) -> Program:
        """shape: that of the network's input. x: inputs of the new task, no larger, in the network's box; y: labels."""
        small = (x.shape[2], x.shape[3])
        if small[0] > shape[1] or small[1] > shape[2]:
            raise UsageError(f"the new task's inputs are {small}; the network's are only {shape[1:]}, so shrink them")
        limits = one_range(target.box)
        classes = torch.arange(int(y.max()) + 1, device=x.device) if classes is None else classes
        corner = ((shape[1] - small[0]) // 2, (shape[2] - small[1]) // 2)
        rng = torch.Generator(x.device).manual_seed(seed)

        def gradient(free: Tensor) -> Tensor:
            rows = torch.randint(len(x), (self.batch,), generator=rng, device=x.device)
            aims = classes[y[rows]]

            def render(free: Tensor) -> Inputs:
                return _place(within(free, limits), x[rows], corner)

            return pull_back(target, free, render, cross_entropy, aims, aims)[1]

        start = 0.1 * torch.randn(*shape, generator=rng, dtype=x.dtype, device=x.device)
        return Program(within(optimise(start, gradient, self.steps, self.rate), limits), corner, small, classes)


def _place(frame: Tensor, x: Inputs, corner: tuple[int, int]) -> Inputs:
    top, left = corner
    below = frame.shape[1] - top - x.shape[2]
    right = frame.shape[2] - left - x.shape[3]
    margins = (left, right, top, below)
    inside = functional.pad(torch.ones_like(x[:1, :1], dtype=torch.bool), margins)
    wide = functional.pad(x.expand(-1, len(frame), -1, -1), margins)
    return torch.where(inside, wide, frame)
