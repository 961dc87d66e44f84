"""Runs written by hand: every state there is, without a model."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from brinell import Audit
from brinell.auditing import Finding, Ledger, Plan, Stage
from brinell.auditing.ledger import Work
from brinell.auditing.question import Journal
from brinell.evidence import Certificate, Failure, Look, Witness

QUESTION = "evasion/linf/untargeted"
PLAN = Plan(
    name="by hand",
    stages=(
        Stage(engine="Clean"),
        Stage(engine="PGD", settings={"steps": 10}),
        Stage(engine="CROWN", settings={"intermediate": "interval"}),
    ),
)
PGD = "PGD(steps=10)"
CROWN = "CROWN(intermediate=interval)"


def write_run(
    path: Path,
    *,
    n: int = 10,
    radii: Sequence[float] = (0.1,),
    broken: Mapping[int, float] = {},
    certified: Mapping[int, float] = {},
    failed: Mapping[int, str] = {},
    asked: bool = True,
    shape: tuple[int, ...] = (1, 8, 8),
    classes: Sequence[str] | None = ("cat", "dog"),
    features: Sequence[str] | None = None,
    box: object = (0.0, 1.0),
    status: str = "complete",
    goal: str = "untargeted",
    findings: Sequence[Finding] = (),
    notes: Sequence[str] = (),
    environment: Mapping[str, object] = {},
) -> Audit:
    """A run of n examples with labels 0, 1, 0, 1, …: the witnesses' distances, the certificates' radii, the failures'
    messages, by item. A witness at distance 0 was misclassified; every other example is right. asked: whether the
    first look was taken."""
    rng = torch.Generator().manual_seed(0)
    with Ledger(path) as ledger:
        ledger.describe(
            {
                "identity": {
                    "target": "1" * 64,
                    "data": "2" * 64,
                    "questions": {
                        QUESTION: {
                            "data": "2" * 64,
                            "threat": f"{QUESTION}, box {box}, WEIGHTS, queries unlimited",
                            "set": "linf",
                            "radii": list(radii),
                            "plan": PLAN.model_dump(mode="json"),
                        }
                    },
                    "seed": 7,
                    "version": "0.2.0",
                },
                "asked": {QUESTION: "evasion"},
                "sources": None,
                "status": status,
                "seconds": 75.0,
                "environment": {
                    "brinell": "0.2.0",
                    "torch": "2.13.0",
                    "python": "3.11.7",
                    "platform": "Linux",
                    "command": "brinell audit model.pt2",
                    "started": "2026-11-21T10:00:00+00:00",
                    "target": "a small network",
                    "data": "some examples",
                    "workers": 2,
                    **environment,
                },
            }
        )
        Journal(ledger, QUESTION).update(
            goal=goal,
            classes=classes,
            features=features,
            box=box,
            n=n,
            ids=[100 + i for i in range(n)],
            y=[i % 2 for i in range(n)],
            examples=[f"{100 + i}:{i:016x}" for i in range(n)],
            findings=[f.model_dump(mode="json") for f in findings],
            notes=list(notes),
        )
        if asked:
            looks = [
                Failure(i, "Clean()", failed[i])
                if i in failed
                else Look(i, "Clean()", (i + (broken.get(i) == 0)) % 2, 0.875)
                for i in range(n)
            ]
            ledger.record(_work("Clean()", 0, n), looks)
        if broken:
            x0 = torch.rand(len(broken), *shape, generator=rng)
            sign = torch.randint(2, x0.shape, generator=rng) * 2 - 1.0
            moves = torch.tensor(list(broken.values())).reshape(-1, *(1,) * len(shape))
            witnesses = [
                Witness(item, PGD, distance, row, (item + 1) % 2, 0.625)
                for row, (item, distance) in enumerate(broken.items())
            ]
            ledger.record(_work(PGD, 1, n, radii[0]), witnesses, {"x0": x0, "x": x0 + sign * moves})
            for radius in radii[1:]:
                ledger.record(_work(PGD, 1, n, radius), ())
        if certified:
            proofs = [Certificate(item, CROWN, radius, 0.5) for item, radius in certified.items()]
            ledger.record(_work(CROWN, 2, n, radii[0]), proofs)
            for radius in radii[1:]:
                ledger.record(_work(CROWN, 2, n, radius), ())
    return Audit.open(path)


def changed(run: Audit, **fields: object) -> None:
    """Put other values in place of the summary's."""
    answer = run.answers["evasion"]
    answer.summary = answer.summary.model_copy(update=fields)
    run.result = run.result.model_copy(update={"answers": {"evasion": answer.summary}})


def _work(engine: str, stage: int, asked: int, radius: float = 0.1) -> Work:
    return Work(
        question=QUESTION,
        engine=engine,
        shard=f"{radius!r}/00000",
        stage=stage,
        phase=repr(radius),
        asked=asked,
        settled=1,
        failed=0,
        forwards=1000 + stage,
        gradients=2000 + stage,
        seconds=1.0 + stage,
    )
