"""Tables: each feature moves by rules of its own, and distance is in units of its own."""

from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar, final

import torch
from jaxtyping import Float64
from torch import Tensor

from brinell.errors import UsageError
from brinell.threat.box import REALS, Box
from brinell.threat.l1 import least_threshold
from brinell.threat.l2 import largest_stretch
from brinell.threat.rules import Norm, Rules
from brinell.threat.sets import Bounds, Coefficients, PerturbationSet, check_radius, least_over_box
from brinell.threat.units import median_width, power_of_two
from brinell.types import Inputs, Scores

Table = Float64[Tensor, "batch features"]

LEAP = 2.0**20
"""How far a steepest direction points in a category: any step goes to it, as there is nothing on the way."""

_SAFE = 1 - 2.0**-40
"""What a float64 sum over the features may be short of the radius."""


@final
@dataclass(frozen=True, eq=False)
class Features(PerturbationSet):
    """{x : x keeps the rules and |x - x0| / scale <= radius} ∩ box, for tables. norm: of the changes, so scaled.

    What breaks a rule is infinitely far. The projection is the nearest point (in scaled units) under linf, and under l1
    and l2 where no feature is whole or categorical; else it is inside: categories are changed first, those that gain
    most, and whole features are rounded toward x0.
    """

    name: ClassVar[str] = "features"
    radius: float
    rules: Rules
    norm: Norm = "linf"
    box: Box = REALS

    def __post_init__(self) -> None:
        check_radius(self.radius)
        if self.norm not in ("linf", "l1", "l2"):
            raise UsageError(f"norm is {self.norm!r}; it must be linf, l1 or l2")

    @property
    def about(self) -> str:
        return f" of {self.norm} by rules {self.rules.digest}"

    def within(self, box: Box) -> "Features":
        return replace(self, box=box)

    def resized(self, radius: float) -> "Features":
        return replace(self, radius=radius)

    def unit(self, x0: Inputs) -> float:
        """By the features that are neither whole nor of a category."""
        alone = (self._rules(x0).alone & ~self._rules(x0).whole).nonzero().flatten()
        low, high = (side.expand(x0[:1].shape).flatten()[alone] for side in self.box.limits(x0))
        return self._unit(median_width(low, high), x0.flatten(1)[:, alone])

    def distance_unit(self, unit: float) -> float:
        """By the scale that half of the features exceed."""
        return power_of_two(unit / float(self.rules.scale.median()))

    def distance(self, x0: Inputs, x: Inputs) -> Scores:
        rules = self._rules(x0)
        start = _table(x0)
        at = _table(x)
        low, high = self._range(x0, rules)
        broken = ((at != start) & ((at < low) | (at > high))).any(1)
        broken |= ((at != at.round()) & rules.whole).any(1)
        changes = ((at - start).abs() / rules.scale).where(rules.alone, 0)
        costs = []
        for group in map(list, rules.groups):
            broken |= ~(((at[:, group] == 0) | (at[:, group] == 1)).all(1) & (at[:, group].sum(1) == 1))
            costs.append((at[:, group] != start[:, group]).any(1) / rules.scale[group[0]])
        lengths = torch.cat([changes, *(cost.unsqueeze(1) for cost in costs)], 1)
        return _length(lengths, self.norm).where(~broken, inf)

    def project(self, x0: Inputs, x: Inputs) -> Inputs:
        return self.project_each(x0, x, torch.full((len(x0),), self.radius, dtype=torch.float64, device=x0.device))

    def project_each(self, x0: Inputs, x: Inputs, radii: Scores) -> Inputs:
        rules = self._rules(x0)
        start = _table(x0)
        wanted = _table(x)
        low, high = self._range(x0, rules)
        z, left = self._swapped(rules, start, wanted, radii.double())
        move = (wanted.clamp(low, high) - start).where(rules.alone, 0)
        length = self._lengths(move.abs() / rules.scale, (wanted - start).abs() / rules.scale, left) * rules.scale
        z = torch.where(rules.alone, (start + move.sign() * length).clamp(low, high), z).to(x0.dtype)
        whole = rules.whole & rules.alone
        if not whole.any():
            return _inward(z, x0, length, rules.alone).reshape(x.shape)
        z = _inward(z, x0, length, rules.alone & ~whole)
        over = torch.ones_like(whole).expand_as(z)
        for spare in (2.0**-30, 0.0):  # rounding may take a step of what is whole: first a little more is tried
            if self.norm == "linf":
                most = ((left.unsqueeze(1) + spare) * rules.scale).floor()
                steps = (wanted - start).round().clamp(-most, most)
            else:
                steps = move.sign() * (length * (1 + spare)).floor()
            z = torch.where(whole & over, (start + steps).clamp(low, high).to(x0.dtype), z)
            over = (self.distance(x0, z.reshape(x0.shape)) > radii).unsqueeze(1)
        return torch.where(whole & over, x0.flatten(1), z).reshape(x.shape)

    def valid(self, x0: Inputs, x: Inputs) -> Inputs:
        return self.resized(inf).project(x0, x)

    def shrink(self, x0: Inputs, x: Inputs, share: Scores) -> Inputs:
        return self.project_each(x0, x, self.distance(x0, x).nan_to_num(posinf=0.0) * share)

    def sample(self, x0: Inputs, rng: torch.Generator) -> Inputs:
        """Uniform in the box around the body, then projected; any category is as likely as another."""
        rules = self._rules(x0)
        low, high = map(_table, self.hull(x0))
        u = torch.rand(low.shape, dtype=torch.float64, device=x0.device, generator=rng)
        start = _table(x0)
        low = low.where(low.isfinite(), start - rules.scale)
        high = high.where(high.isfinite(), start + rules.scale)
        x = torch.where(rules.alone, low + u * (high - low), LEAP * u)
        return self.project(x0, x.reshape(x0.shape).to(x0.dtype))

    def steepest(self, g: Inputs) -> Inputs:
        """In a category it points at the feature that rises most, and as far as it takes; of no length in one that may
        not change."""
        rules = self._rules(g)
        flat = _table(g)
        allowed = torch.where(flat > 0, rules.up, rules.down)
        scaled = (flat * rules.scale).where(allowed & rules.alone, 0)
        if self.norm == "linf":
            d = scaled.sign()
        elif self.norm == "l1":
            top = scaled.abs().argmax(1, keepdim=True)
            d = torch.zeros_like(scaled).scatter(1, top, scaled.gather(1, top).sign())
        else:
            length = scaled.square().sum(1, keepdim=True).sqrt()
            d = scaled / length.where(length > 0, 1)
        d = d * rules.scale
        for group in map(list, rules.groups):
            best = flat[:, group].argmax(1, keepdim=True)
            free = (flat[:, group] != 0).any(1, keepdim=True) & rules.up[group[0]] & rules.down[group[0]]
            d[:, group] = torch.zeros_like(flat[:, group]).scatter(1, best, LEAP * free.double())
        return d.to(g.dtype).reshape(g.shape)

    def closest(self, x0: Inputs, low: Inputs, high: Inputs) -> Inputs:
        rules = self._rules(x0)
        start = _table(x0)
        below = _table(low)
        above = _table(high)
        z = start.clamp(below, above)
        inward = torch.where(z > start, z.ceil(), z.floor())
        z = torch.where(rules.whole, torch.where((inward < below) | (inward > above), torch.nan, inward), z)
        for group in map(list, rules.groups):
            one = (below[:, group] <= 1) & (above[:, group] >= 1)
            others = ((below[:, group] > 0) | (above[:, group] < 0)).int()
            possible = one & (others.sum(1, keepdim=True) - others == 0)
            chosen = (possible * (1.0 + start[:, group])).argmax(1, keepdim=True)
            z[:, group] = torch.zeros_like(z[:, group]).scatter(1, chosen, 1.0)
            z[:, group] = z[:, group].where(possible.any(1, keepdim=True), torch.nan)
        return z.to(x0.dtype).reshape(low.shape)

    def hull(self, x0: Inputs) -> tuple[Inputs, Inputs]:
        rules = self._rules(x0)
        low, high = self._range(x0, rules)
        swap = torch.where(1 / rules.scale <= self.radius, inf, 0.0)
        reach = torch.where(rules.alone, self.radius * rules.scale * (1 + torch.finfo(x0.dtype).eps), swap)
        start = _table(x0)
        ends = (start - reach).maximum(low), (start + reach).minimum(high)
        down, up = (end.to(x0.dtype) for end in ends)
        down = torch.where(down > ends[0], torch.nextafter(down, torch.full_like(down, -inf)), down)
        up = torch.where(up < ends[1], torch.nextafter(up, torch.full_like(up, inf)), up)
        return down.reshape(x0.shape), up.reshape(x0.shape)

    def minimum(self, x0: Inputs, a: Coefficients) -> Bounds:
        """Over the hull: a category is taken for a box."""
        return least_over_box(*self.hull(x0), a)

    def _rules(self, like: Inputs) -> Rules:
        """The rules, where `like` is. Raises UsageError where it has another number of features."""
        rules = self.rules
        if len(like) and like[0].numel() != len(rules.scale):
            raise UsageError(f"an example has {like[0].numel()} features; the rules are for {len(rules.scale)}")
        if like.device == rules.scale.device:
            return rules
        names = ("scale", "low", "high", "up", "down", "whole")
        return replace(rules, **{name: getattr(rules, name).to(like.device) for name in names})

    def _range(self, x0: Inputs, rules: Rules) -> tuple[Table, Table]:
        """The lowest and the highest value of each feature that rules and box allow, whatever the radius."""
        start = _table(x0)
        lowest, highest = (_table(side.expand(x0.shape)) for side in self.box.limits(x0))
        low, high = (side.to(x0.dtype).double() for side in (rules.low, rules.high))
        low = torch.where(rules.down, torch.maximum(low, lowest), start)
        high = torch.where(rules.up, torch.minimum(high, highest), start)
        low = torch.where(rules.whole, low.ceil(), low)
        high = torch.where(rules.whole, high.floor(), high)
        low = low.where(rules.alone, low.clamp(min=0))
        high = high.where(rules.alone, high.clamp(max=1))
        return torch.minimum(low, start), torch.maximum(high, start)

    def _swapped(self, rules: Rules, start: Table, wanted: Table, left: Scores) -> tuple[Table, Scores]:
        """(start with its categories changed to those wanted, what is left of the radius); largest gain first."""
        z = start.clone()
        groups = [list(group) for group in rules.groups]
        if not groups:
            return z, left
        now = torch.stack([start[:, group].argmax(1) for group in groups], 1)
        top = torch.stack([wanted[:, group].argmax(1) for group in groups], 1)
        gains = torch.stack([wanted[:, group].amax(1) for group in groups], 1)
        gains = gains - torch.stack([wanted[:, g].gather(1, now[:, [k]])[:, 0] for k, g in enumerate(groups)], 1)
        free = torch.stack([rules.up[g[0]] & rules.down[g[0]] for g in groups])
        costs = torch.stack([1 / rules.scale[g[0]] for g in groups])
        swap = torch.zeros_like(gains, dtype=torch.bool)
        for place in gains.argsort(1, descending=True).split(1, 1):
            cost = costs[place[:, 0]]
            may = (gains.gather(1, place)[:, 0] > 0) & free[place[:, 0]] & (cost <= left)
            swap.scatter_(1, place, may.unsqueeze(1))
            left = torch.where(may, _less(left, cost, self.norm), left)
        for k, group in enumerate(groups):
            chosen = torch.where(swap[:, k], top[:, k], now[:, k]).unsqueeze(1)
            z[:, group] = torch.zeros_like(z[:, group]).scatter(1, chosen, 1.0)
        return z, left

    def _lengths(self, room: Table, wanted: Table, left: Scores) -> Table:
        """How far each feature goes of `wanted`, within its room and what is left of the radius; all in scaled units.

        room: where it would end if there were no radius, so at most `wanted`.
        """
        if self.norm == "linf":
            return torch.minimum(room, (left * _SAFE).unsqueeze(1))
        finite = torch.where(left.isfinite(), left * _SAFE, torch.finfo(torch.float64).max ** 0.25)
        if self.norm == "l1":
            length = torch.minimum((wanted - least_threshold(wanted, room, finite).unsqueeze(1)).clamp(min=0), room)
            share = finite / torch.maximum(length.sum(1), finite.clamp(min=1e-300))
            return length * share.unsqueeze(1)
        stretch = largest_stretch(wanted.square(), room.square(), finite.square()).sqrt()
        return torch.minimum(wanted * stretch.unsqueeze(1), room)


def _table(x: Tensor) -> Table:
    return x.double().flatten(1)


def _length(changes: Table, norm: Norm) -> Scores:
    """The norm of each row of changes >= 0."""
    if norm == "linf":
        return changes.amax(1)
    return changes.sum(1) if norm == "l1" else changes.square().sum(1).sqrt()


def _less(left: Scores, cost: Tensor, norm: Norm) -> Scores:
    """What is left of a radius when a change of this length is made."""
    if norm == "linf":
        return left
    return _SAFE * ((left - cost).clamp(min=0) if norm == "l1" else (left.square() - cost.square()).clamp(min=0).sqrt())


def _inward(z: Tensor, x0: Inputs, length: Table, asked: Tensor) -> Tensor:
    """z, flat and rounded, drawn toward x0 where rounding took it farther than `length`; only where asked."""
    start = x0.flatten(1)

    def far(z: Tensor) -> Tensor:
        return ((z.double() - start.double()).abs() > length) & asked

    z = torch.where(far(z), torch.nextafter(z, start), z)
    return torch.where(far(z), start, z)  # where an ulp of z is lost in x0
