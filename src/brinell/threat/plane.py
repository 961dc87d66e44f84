"""The way to a hyperplane: the shortest change, in a set's own length, that raises a linear function by so much."""

import torch
from jaxtyping import Float
from torch import Tensor

from brinell.types import Inputs, Scores


def along(direction: Inputs, w: Inputs, room: Inputs, rise: Scores) -> Scores:
    """The least t >= 0 with sum of |w| min(t |direction|, room) >= rise; the largest that is any use if there is none.

    The sum rises piecewise linearly in t, with a kink where each value meets the box.
    """
    speed, w, room = (v.double().abs().flatten(1) for v in (direction, w, room))
    kink = torch.where(speed * w > 0, room / speed, torch.inf)
    slope = (w * speed).sum(1, keepdim=True)
    kink, order = kink.sort(dim=1)
    stopped_slope = (w * speed).gather(1, order).cumsum(1)
    held = (w * room).where(speed * w > 0, 0).gather(1, order)
    # Before the k-th kink: t * (slope of those still moving) + what those at the box hold.
    moving = torch.cat([slope, slope - stopped_slope], 1).clamp(min=0)
    stopped = torch.cat([torch.zeros_like(slope), held.cumsum(1)], 1)
    need = rise.double().unsqueeze(1)
    reached = moving[:, :-1] * kink.where(kink.isfinite(), torch.finfo(kink.dtype).max ** 0.25) + stopped[:, :-1]
    segment = (reached < need).sum(1, keepdim=True)
    last = kink.where(kink.isfinite(), 0).amax(1)
    t = (need - stopped.gather(1, segment)) / moving.gather(1, segment)
    t = torch.where(segment == w.shape[1], last.unsqueeze(1), t).squeeze(1)
    return t.nan_to_num(0.0, 0.0, 0.0).clamp(min=0)


def greedy(w: Float[Tensor, "batch features"], room: Float[Tensor, "batch features"], rise: Scores) -> Tensor:
    """How far each value moves where the largest |w| move first, each until the box stops it, until `rise` is met."""
    weight = w.double().abs()
    weight, order = weight.sort(dim=1, descending=True)
    room = room.double().gather(1, order)
    gain = (weight * room).where(weight > 0, 0)
    before = torch.cat([torch.zeros_like(gain[:, :1]), gain.cumsum(1)[:, :-1]], 1)
    wanted = (rise.double().unsqueeze(1) - before).clamp(min=0)
    move = torch.minimum(wanted / weight, room).where((weight > 0) & (wanted > 0), 0)
    return torch.zeros_like(move).scatter(1, order, move)
