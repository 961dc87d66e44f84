"""Square attack: random search by windows, from scores alone.

Source: Andriushchenko et al. 2020, arXiv:1912.00049: algorithm 1 is the search, algorithm 2 its moves for linf and
algorithm 3 those for l2. Images keep their (channels, height, width) and are changed in square windows; anything
else is one row of features, changed in contiguous segments.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from brinell.arguments import Count, Portion
from brinell.errors import UsageError
from brinell.evasion.attack import Attack, finite_radius
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.objective import margin
from brinell.evasion.score.image import Image, as_image
from brinell.threat import Access, PerturbationSet
from brinell.threat.sets import over_features
from brinell.types import Inputs, Scores

Window = Int64[Tensor, "batch height width"]

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Of 10,000 queries: those after which the window's share is halved, as in the authors' code."""


@final
@dataclass(frozen=True)
class Square(Attack):
    """Square attack (Andriushchenko et al. 2020), for linf and l2.

    queries: per example; the schedule of the window sizes, made for 10,000, is stretched to this number,
    as the paper does (AutoAttack does not). share: the part of the features changed at first, the paper's p; 0.8 is
    AutoAttack's. Each example has windows and signs of its own; the authors' code shares them over the batch.
    """

    queries: Count = 5000
    share: Portion = 0.8
    objective: Objective = margin
    needs: ClassVar[Access] = Access.SCORES

    def __call__(self, hunt: Hunt) -> None:
        radius = finite_radius(self, hunt.set)
        moves = _moves(hunt.set)
        hunt.begin()
        best = hunt.carry(_Best.none(hunt.x))

        for query in hunt.steps(self.queries):
            x0 = as_image(hunt.x0)
            shape = hunt.x0.shape
            if query == 0:
                x = moves.start(x0, radius, hunt.rng)
            else:
                x = moves.next(x0, as_image(best.x), radius, self._share_at(query), hunt.rng)
            hunt.move(x.reshape(shape))
            best.offer(hunt.value(self.objective), hunt)

    def _share_at(self, query: int) -> float:
        scaled = (query - 1) * 10_000 // self.queries
        return self.share * 0.5 ** sum(scaled > at for at in HALVINGS)


@dataclass
class _Best:
    """The best point of each example, and its value."""

    x: Inputs
    value: Scores

    @classmethod
    def none(cls, x: Inputs) -> "_Best":
        return cls(x, x.new_full((len(x),), -torch.inf))

    def offer(self, value: Scores, hunt: Hunt) -> None:
        value = value.to(self.value.dtype)
        better = value > self.value
        self.x = torch.where(over_features(better, hunt.x), hunt.x, self.x)
        self.value = torch.where(better, value, self.value)


class _Moves(ABC):
    """Where the search starts, and how it goes on; the hunt projects what these propose."""

    @abstractmethod
    def start(self, x0: Image, radius: float, rng: torch.Generator) -> Image:
        """The first point."""

    @abstractmethod
    def next(self, x0: Image, best: Image, radius: float, share: float, rng: torch.Generator) -> Image:
        """A change of the best point in a random window with about `share` of the features."""


@final
class _Linf(_Moves):
    """Algorithm 2: each channel of the window jumps to one face of the ball."""

    def start(self, x0: Image, radius: float, rng: torch.Generator) -> Image:
        """Vertical stripes."""
        n, channels, _, width = x0.shape
        return x0 + radius * _signs((n, channels, 1, width), x0, rng)

    def next(self, x0: Image, best: Image, radius: float, share: float, rng: torch.Generator) -> Image:
        n, channels, height, width = x0.shape
        high, wide = _sides(share, height, width)
        rows = _span(n, height, high, x0, rng)
        columns = _span(n, width, wide, x0, rng)
        window = rows.reshape(n, 1, height, 1) & columns.reshape(n, 1, 1, width)
        face = x0 + radius * _signs((n, channels, 1, 1), x0, rng)
        return torch.where(window, face, best)


@final
class _L2(_Moves):
    """Algorithm 3: a window takes the length that another gives up, and is turned toward a pair of pyramids."""

    def start(self, x0: Image, radius: float, rng: torch.Generator) -> Image:
        """A grid of 5 by 5 pairs of pyramids."""
        n, channels, height, width = x0.shape
        high = max(1, height // 5)
        wide = max(1, width // 5)
        down = height // high
        across = width // wide
        signs = _signs((n, channels, down, across), x0, rng)
        tile = _pyramids(high, wide, x0)
        grid = torch.einsum("ncij,hw->ncihjw", signs, tile).reshape(n, channels, down * high, across * wide)
        top = (height - down * high) // 2
        left = (width - across * wide) // 2
        move = torch.zeros_like(x0)
        move[:, :, top : top + down * high, left : left + across * wide] = grid
        return x0 + radius * move / _length(move, (1, 2, 3))

    def next(self, x0: Image, best: Image, radius: float, share: float, rng: torch.Generator) -> Image:
        n, channels, height, width = x0.shape
        high, wide = (side if side <= 1 else max(side | 1, 3) for side in _sides(share, height, width))
        high = min(high, height)
        wide = min(wide, width)
        move = (best - x0).flatten(2)
        taken, given = (_window(n, height, width, high, wide, x0, rng) for _ in range(2))
        taken, given = (w.reshape(n, 1, high * wide).expand(-1, channels, -1) for w in (taken, given))

        unused = (radius**2 - move.square().sum((1, 2), keepdim=True)).clamp(min=0)
        union = torch.zeros_like(move, dtype=torch.bool).scatter(2, taken, True).scatter(2, given, True)
        available = (move.square() * union).sum(2, keepdim=True) + unused / channels
        old = move.gather(2, taken)
        eta = _pyramids(high, wide, x0).expand(n, high, wide)
        if high == wide:
            turn = torch.randint(0, 2, (n, 1, 1), device=x0.device, generator=rng).bool()
            eta = torch.where(turn, eta.mT, eta)
        eta = _signs((n, channels, 1), x0, rng) * eta.reshape(n, 1, -1)
        new = eta + old / _length(old, (2,))
        new = torch.where(_length(new, (2,)) > 1e-3, new, eta)  # the two may cancel, in small windows exactly
        new = new / _length(new, (2,)) * available.sqrt()
        return x0 + move.scatter(2, given, 0.0).scatter(2, taken, new).reshape(x0.shape)


_MOVES: dict[str, _Moves] = {"linf": _Linf(), "l2": _L2()}


def _moves(allowed: PerturbationSet) -> _Moves:
    """The paper gives moves for two sets; they are more than a projection, so no other set can be guessed."""
    if allowed.name not in _MOVES:
        raise UsageError(f"Square has no moves for the set {allowed.name!r}; it knows {' and '.join(_MOVES)}")
    return _MOVES[allowed.name]


def _sides(share: float, height: int, width: int) -> tuple[int, int]:
    """Height and width of a window with about `share` of the features: a square, or a segment of a row."""
    if height == 1:
        return 1, max(1, round(share * width))
    side = max(1, round((share * height * width) ** 0.5))
    return min(side, height, width), min(side, height, width)


def _signs(shape: tuple[int, ...], like: Tensor, rng: torch.Generator) -> Tensor:
    """-1 and 1 with equal chance."""
    return torch.randint(0, 2, shape, dtype=like.dtype, device=like.device, generator=rng) * 2 - 1


def _starts(n: int, room: int, like: Tensor, rng: torch.Generator) -> Int64[Tensor, "batch 1"]:
    return torch.randint(0, room + 1, (n, 1), device=like.device, generator=rng)


def _span(n: int, size: int, length: int, like: Tensor, rng: torch.Generator) -> Tensor:
    """A random span of `length` places of `size`, one an example, as a mask."""
    place = torch.arange(size, device=like.device) - _starts(n, size - length, like, rng)
    return (place >= 0) & (place < length)


def _window(n: int, height: int, width: int, high: int, wide: int, like: Tensor, rng: torch.Generator) -> Window:
    """A random window, one an example, as places in an image flattened to one axis."""
    rows = _starts(n, height - high, like, rng) + torch.arange(high, device=like.device)
    columns = _starts(n, width - wide, like, rng) + torch.arange(wide, device=like.device)
    return rows.unsqueeze(2) * width + columns.unsqueeze(1)


def _pyramids(high: int, wide: int, like: Tensor) -> Float[Tensor, "high wide"]:
    """eta of eq. 2, of length 1: a pyramid up in the first half, one down in the second."""
    if high == 1:
        half = wide // 2
        eta = torch.cat([_pyramid(1, half, like), -_pyramid(1, wide - half, like)], 1)
    else:
        half = high // 2
        eta = torch.cat([_pyramid(half, wide, like), -_pyramid(high - half, wide, like)], 0)
    return eta / _length(eta, (0, 1))


def _pyramid(high: int, wide: int, like: Tensor) -> Float[Tensor, "high wide"]:
    """Falls off from the middle: m places away (in the larger direction) it is the sum of 1 / j^2 over j > m."""
    levels = max(high, wide) // 2 + 1
    fall = (1 / torch.arange(levels, 0, -1, dtype=like.dtype, device=like.device).square()).cumsum(0).flip(0)
    down = (torch.arange(high, device=like.device) - high // 2).abs()
    across = (torch.arange(wide, device=like.device) - wide // 2).abs()
    return fall[torch.maximum(down.unsqueeze(1), across.unsqueeze(0))]


def _length(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """l2 length over the axes, never zero."""
    return x.square().sum(axes, keepdim=True).sqrt().clamp(min=torch.finfo(x.dtype).tiny)
