"""Small targets, examples they get right, and a run's tables without what may differ between two runs."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import brinell
from brinell import Audit
from brinell.auditing import Plan, Stage
from brinell.threat import UNTARGETED, Goal, Linf, PerturbationSet, Threat

QUICK = Plan(
    name="tiny",
    stages=(
        Stage(engine="Clean"),
        Stage(engine="Noise", settings={"draws": 3}),
        Stage(engine="IBP"),
        Stage(engine="PGD", settings={"steps": 4}),
        Stage(engine="CROWN"),
        Stage(engine="Square", settings={"queries": 10}),
    ),
    shard=32,
)
ATTACKS = QUICK.model_copy(update={"stages": tuple(s for s in QUICK.stages if s.row.kind == "attack")})
"""Without proofs, whose graph takes most of a small run's time."""

RADII = (0.01, 0.03, 0.06)


def network(features: int = 8, classes: int = 3, seed: int = 0) -> nn.Sequential:
    """A small ReLU network for inputs in [0, 1] that uses all of its classes."""
    rng = torch.Generator().manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, classes))
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=rng) / p.shape[-1] ** 0.5)
        net[3].bias -= net(torch.rand(500, features, generator=rng)).mean(0)
    return net.eval()


def examples(net: nn.Module, n: int = 150, shape: tuple[int, ...] = (8,), seed: int = 1) -> tuple[Tensor, Tensor]:
    """Random inputs with the labels the network gives them, a tenth of them spoilt."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(n, *shape, generator=rng)
    scores = net(x).detach()
    y = scores.argmax(1)
    spoilt = torch.rand(n, generator=rng) < 0.1
    return x, torch.where(spoilt, (y + 1) % scores.shape[1], y)


def threat(radius: float = RADII[-1], goal: Goal = UNTARGETED, kind: type[PerturbationSet] = Linf) -> Threat:
    return Threat(kind(radius), goal)  # type: ignore[call-arg]


def audited(model: object = None, data: Any = None, out: Path | None = None, **options: Any) -> Audit:
    """Evasion at three radii, asked of the small network unless told otherwise."""
    model = network() if model is None else model
    data = examples(network()) if data is None else data
    options = {"threat": threat(), "plan": QUICK, "radii": RADII, "workers": 1, "diagnose": False, **options}
    asked = {name: options.pop(name) for name in ("threat", "radii", "labels", "diagnose") if name in options}
    subject = brinell.Subject(brinell.target(model), data)
    return brinell.audit(subject, [brinell.Evasion(**asked)], out=out, **options)


def tables(path: Path) -> dict[str, list[Any]]:
    """What a run recorded, but for its times."""
    db = sqlite3.connect(path / "ledger.sqlite")
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {
            "evidence": db.execute("SELECT * FROM evidence ORDER BY question, item, engine, shard").fetchall(),
            "work": db.execute(
                "SELECT question, engine, shard, stage, phase, asked, settled, failed, forwards, gradients "
                "FROM work ORDER BY question, stage, phase, shard"
            ).fetchall(),
        }
    finally:
        db.close()


def figures(path: Path) -> dict[str, Any]:
    """result.json, but for its times and for how it was called."""
    result: dict[str, Any] = json.loads((path / "result.json").read_text())
    del result["seconds"], result["scrutiny"]
    for answer in result["answers"].values():
        for engine in answer["engines"]:
            del engine["seconds"], engine["dropped"]
    for name in ("started", "command", "workers"):
        del result["provenance"][name]
    return result
