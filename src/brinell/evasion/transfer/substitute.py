"""Substitute training: a model of the adversary's own, taught by the target's labels.

Source: Papernot et al. 2017, arXiv:1602.02697, algorithm 1 (Jacobian-based data augmentation); the step whose sign
turns and the reservoir, Papernot et al. 2016, arXiv:1605.07277, section 4.
"""

import copy
from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import nn
from torch.nn import functional

from brinell.arguments import AtLeast, Checked, Count, Positive
from brinell.errors import UsageError
from brinell.evasion.objective import cross_entropy
from brinell.evasion.transfer.networks import usual_network
from brinell.targets import Target, TorchBackend
from brinell.threat import Access
from brinell.types import Inputs, Labels, Logits, Scores


@final
@dataclass(frozen=True, eq=False)
class Taught:
    """A substitute, for `Transfer`. x, y: what the target was asked, and the labels it gave. queries: how many."""

    target: Target
    x: Inputs
    y: Labels
    queries: int


@final
@dataclass(frozen=True)
class Substitute(Checked):
    """Substitute training by Jacobian-based data augmentation (Papernot et al. 2017), from labels alone.

    rounds: augmentations (the paper's rho), each followed by training on all that is known; n seeds cost n 2^rounds
    queries. step: how far new points lie from old ones in every feature (lambda), in the units of the input.
    turn: rounds after which the step changes its sign (tau); None for never. reservoir: the most points a round adds
    (kappa), drawn from all; from round `after` on (sigma); None for no limit. epochs, batch, rate: Adam's, each round.
    """

    rounds: Annotated[int, AtLeast(0)] = 6
    step: Positive = 0.1
    turn: Count | None = 3
    reservoir: Count | None = None
    after: Annotated[int, AtLeast(0)] = 3
    epochs: Count = 10
    batch: Count = 64
    rate: Positive = 1e-3

    def learn(
        self,
        oracle: Target,
        x: Inputs,
        network: nn.Module | None = None,
        classes: int | None = None,
        seed: int = 0,
    ) -> Taught:
        """Ask the oracle for the labels of x and of what grows from it, and teach them to a network.

        x: a few examples in the oracle's box; their own labels are not needed. network: the architecture with its first
        weights, which stay as they are; None is a small convolutional network for images, and a dense one otherwise.
        classes: how many the oracle knows; None takes its names, or the largest label it gives to x.
        """
        black_box = oracle.restrict(Access.LABELS)
        rng = torch.Generator(x.device).manual_seed(seed)
        y = black_box.labels(x)
        if network is None:
            classes = classes or (len(oracle.classes) if oracle.classes else int(y.max()) + 1)
            network = usual_network(x.shape[1:], classes, torch.Generator().manual_seed(seed)).to(x)
        student = copy.deepcopy(network).requires_grad_()
        self._teach(student, x, y, rng)

        for k in range(self.rounds):
            rows = torch.arange(len(x), device=x.device)
            if self.reservoir is not None and k >= self.after:
                rows = torch.randperm(len(x), generator=rng, device=x.device)[: self.reservoir]
            grown = self._grown(Target(TorchBackend(student), oracle.box), x[rows], y[rows], k)
            x = torch.cat([x, grown])
            y = torch.cat([y, black_box.labels(grown)])
            self._teach(student, x, y, rng)

        return Taught(Target(TorchBackend(student), oracle.box), x, y, black_box.meter.forwards)

    def _grown(self, student: Target, x: Inputs, y: Labels, k: int) -> Inputs:
        """x + lambda sign(dF_y/dx), clamped to the box. The sign is that of log F_y, which does not underflow."""
        turned = self.turn is not None and k // self.turn % 2
        step = -self.step if turned else self.step

        def of_label(scores: Logits, rows: slice) -> Scores:
            return -cross_entropy(scores, y[rows], None)

        _, _, g = student.gradient(x, of_label)
        return student.box.clamp(x + step * g.sign())

    def _teach(self, student: nn.Module, x: Inputs, y: Labels, rng: torch.Generator) -> None:
        outputs = student(x[:1]).shape[1]
        if int(y.max()) >= outputs:
            raise UsageError(f"the oracle said class {int(y.max())}; the substitute has {outputs}, so give it more")
        optimiser = torch.optim.Adam(student.parameters(), self.rate)
        student.train()

        with torch.enable_grad():
            for _ in range(self.epochs):
                for rows in torch.randperm(len(x), generator=rng, device=x.device).split(self.batch):
                    optimiser.zero_grad()
                    functional.cross_entropy(student(x[rows]), y[rows]).backward()
                    optimiser.step()

        student.eval()
