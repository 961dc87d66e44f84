"""Grid search: every point of a lattice over the set."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from brinell.errors import UsageError
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.hunt import Hunt
from brinell.threat import Access


@final
@dataclass(frozen=True)
class Grid(Attack):
    """The lattice of an example's hull, point by point in random order (Engstrom et al. 2019, arXiv:1712.02779).

    counts: values a free feature, one number for all or one for each, evenly from its lowest to its highest.
    most: points asked about; a larger lattice is sampled.
    Meant for few free features, such as the parameters of a transformation. For "worst of k" use Noise(k).
    """

    counts: int | tuple[int, ...] = 5
    most: int = 1000
    needs: ClassVar[Access] = Access.LABELS

    def __post_init__(self) -> None:
        counts = (self.counts,) if isinstance(self.counts, int) else self.counts
        if min(counts, default=0) < 2 or self.most < 1:
            raise UsageError(f"counts is {self.counts} and most {self.most}; at least 2 values a feature and 1 point")

    def __call__(self, hunt: Hunt) -> None:
        finite_radius(self, hunt.set)
        if not len(hunt):
            return
        low, high = hunt.set.hull(hunt.x0)
        free = (high > low).flatten(1).any(0).nonzero().flatten()

        for shares in self._lattice(len(free), hunt.rng, hunt.x0):
            if not len(hunt):
                return
            low, high = hunt.set.hull(hunt.x0)
            low = low.flatten(1)
            high = high.flatten(1)
            x = hunt.x0.flatten(1).clone()
            x[:, free] = torch.lerp(low[:, free], high[:, free], shares)
            hunt.move(x.reshape(hunt.x0.shape))
            hunt.query()

    def _lattice(self, free: int, rng: torch.Generator, like: Tensor) -> Tensor:
        """Points of the lattice in [0, 1] ** free, no more than `most`."""
        counts = (self.counts,) * free if isinstance(self.counts, int) else self.counts
        if len(counts) != free:
            raise UsageError(f"counts has {len(counts)} numbers; {free} features are free, give one for each")
        sizes = torch.tensor(counts, device=like.device)
        if sizes.double().prod() <= self.most:
            axes = [torch.arange(n, device=like.device) for n in counts]
            points = torch.cartesian_prod(*axes).reshape(-1, free)
            points = points[torch.randperm(len(points), generator=rng, device=like.device)]
        else:
            u = torch.rand(self.most, free, generator=rng, device=like.device, dtype=torch.float64)
            points = (u * sizes).long().minimum(sizes - 1)
        return (points / (sizes - 1)).to(like.dtype)
