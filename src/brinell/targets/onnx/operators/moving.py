"""Values picked, joined and framed."""

import torch
from torch import Tensor

from brinell.targets.onnx.call import Call, Foreign, Rule
from brinell.targets.onnx.operators.convolution import padded

aten = torch.ops.aten


def _concat(call: Call, *parts: Tensor) -> Tensor:
    axis = call.get("axis", 1)
    rows = max((len(part) for part in parts if call.depends(part)), default=1)
    if rows > 1:  # constants are repeated for each example
        if axis % parts[0].dim() == 0:
            raise Foreign("examples joined to one another")
        parts = tuple(part if call.depends(part) else part.expand(rows, *part.shape[1:]) for part in parts)
    return call.do(aten.cat.default, list(parts), axis)


def _slice(
    call: Call,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    """The places were attributes before operator set 10."""
    first = call.get("starts") or call.whole(starts, "first place")
    last = call.get("ends") or call.whole(ends, "last place")
    along = call.axes(axes, range(len(first)))
    strides = [1] * len(first) if steps is None else call.whole(steps, "step")

    for axis, start, end, step in zip(along, first, last, strides, strict=True):
        if step < 1:
            raise Foreign(f"a slice with step {step}")
        if call.depends(x) and axis % x.dim() == 0:
            if start or step != 1 or end < max(call.rows, 2**31 - 1 if call.rows == 1 else 0):
                raise Foreign("examples taken from the batch")
            continue
        if range(x.shape[axis])[start:end:step] != range(x.shape[axis]):
            x = call.do(aten.slice.Tensor, x, axis, start, min(end, 2**31), step)

    return x


def _gather(call: Call, x: Tensor, places: Tensor) -> Tensor:
    axis = call.get("axis", 0) % x.dim()
    if not call.depends(x):
        chosen = x.index_select(axis, places.flatten().long() % x.shape[axis])
        return chosen.reshape([*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]])
    wanted = [place % x.shape[axis] for place in call.whole(places, "index")]
    if axis == 0:
        raise Foreign("an example picked from the batch")
    if places.dim() == 0:
        return call.do(aten.select.int, x, axis, wanted[0])
    if places.dim() > 1:
        raise Foreign(f"indices of shape {tuple(places.shape)}")
    pieces = [call.do(aten.slice.Tensor, x, axis, run.start, run.stop, 1) for run in _runs(wanted)]
    return pieces[0] if len(pieces) == 1 else call.do(aten.cat.default, pieces, axis)


def _runs(places: list[int]) -> list[range]:
    """The same places in order, as ranges."""
    runs: list[range] = []
    for place in places:
        if runs and runs[-1].stop == place:
            runs[-1] = range(runs[-1].start, place + 1)
        else:
            runs.append(range(place, place + 1))
    return runs


def _split(call: Call, x: Tensor, sizes: Tensor | None = None) -> list[Tensor]:
    """In equal parts where no sizes are given."""
    axis = call.get("axis", 0) % x.dim()
    lengths = call.get("split") or (None if sizes is None else call.whole(sizes, "sizes"))
    if lengths is None:
        count = call.get("num_outputs") or call.get("outputs")
        most = -(-x.shape[axis] // count)
        lengths = [min(most, x.shape[axis] - start) for start in range(0, x.shape[axis], most)]
    ends = torch.tensor(lengths).cumsum(0).tolist()
    return [
        call.do(aten.slice.Tensor, x, axis, end - length, end, 1) for length, end in zip(lengths, ends, strict=True)
    ]


def _pad(
    call: Call, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, *axes: Tensor | None
) -> Tensor:
    """The sides were an attribute before operator set 11."""
    how = call.get("mode", "constant")
    if how not in ("constant", b"constant") or any(axis is not None for axis in axes):
        raise Foreign(f"padding with mode {how!r}, or along named axes")
    widths = call.get("pads") or call.whole(pads, "padding")
    fill = call.get("value", 0.0) if value is None else float(value)
    before = widths[: x.dim()]
    after = widths[x.dim() :]
    if before[0] or after[0]:
        raise Foreign("examples added to the batch")
    return padded(call, x, before[1:], after[1:], fill)


RULES: dict[str, Rule] = {
    "Concat": _concat,
    "Slice": _slice,
    "Gather": _gather,
    "Split": _split,
    "Pad": _pad,
}
