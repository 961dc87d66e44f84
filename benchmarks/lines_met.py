"""How much code stands between a call of PGD and the network: what a reader who follows it meets.

One `brinell.attack(PGD(steps=3), ...)` is traced. Counted are the distinct lines of Brinell that run, and the distinct
functions they are in, after a first call has imported and cached what the second one finds ready. Code that a dataclass
writes for itself is no line of a file, and does not count.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch
from torch import nn

import brinell
from benchmarks.figure import Figure
from brinell.evasion import PGD

SOURCE = str(Path(brinell.__file__).parent)
Trace = Callable[[FrameType, str, Any], Any]


def run() -> list[Figure]:
    """The lines and functions of one call."""
    lines, functions = met()
    return [
        Figure(
            "distinct lines of Brinell that run in one `brinell.attack(PGD(steps=3), ...)`; functions",
            "<= 230 lines (adv-lib: 84 in 5)",
            f"{lines} in {functions}",
        )
    ]


def met() -> tuple[int, int]:
    """(distinct lines, distinct functions with a name) of one call of PGD on a small network."""
    places = traced()
    lines = {(code.co_filename, line) for code, line in places}
    return len(lines), len({code for code, _ in places if not code.co_name.startswith("<")})


def traced() -> set[tuple[CodeType, int]]:
    """The lines that run, each with the code it is in; some examples break on the way, and some do not."""
    rng = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=rng)
    target = brinell.target(net)
    x = torch.rand((16, 6), generator=rng)
    y = target.labels(x)

    places: set[tuple[CodeType, int]] = set()

    def call() -> None:
        found = brinell.attack(PGD(steps=3), target, x, y, brinell.Threat(brinell.Linf(0.3)))
        assert 0 < found.broken.sum() < len(x)

    def note(frame: FrameType, event: str, _: object) -> Trace | None:
        if not frame.f_code.co_filename.startswith(SOURCE):
            return None
        if event == "line":
            places.add((frame.f_code, frame.f_lineno))
        return note

    call()
    before = sys.gettrace()
    sys.settrace(note)
    try:
        call()
    finally:
        sys.settrace(before)
    return places
