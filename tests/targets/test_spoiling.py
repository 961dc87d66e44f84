"""A model may write into what it is given, answer out of one buffer, remember, seed and draw: nobody else notices."""

import random

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import brinell
from brinell.auditing import Plan
from brinell.data import Dataset
from brinell.evasion import CW, FAB, PGD, DeepFool, HopSkipJump, Square
from brinell.evasion.transfer import matrix
from brinell.evidence import State
from brinell.questions.evasion import check
from models import Of, generator, relu_net

N = 12
X = torch.rand(N, 4, generator=generator(5))
THREAT = brinell.Threat(brinell.Linf(0.1))
QUICK = Plan.model_validate(
    {
        "name": "quick",
        "stages": [
            {"engine": "Clean"},
            {"engine": "PGD", "settings": {"steps": 3}},
            {"engine": "Square", "settings": {"queries": 8}},
            {"engine": "IBP"},
        ],
    }
)


class Spoils(nn.Module):
    """A network that does something behind its caller's back, and answers as it would without."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.inner, self.asked = how, relu_net((4,)), []
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(4))
        self.register_buffer("answer", torch.zeros(512, 3))

    def forward(self, x):
        match self.how:
            case "divides":
                x /= 2
                x = 2 * x
            case "relu" | "honest relu":
                x = nn.functional.relu(x, inplace=self.how == "relu")
            case "zeroes":
                scores = self.inner(x)
                with torch.no_grad():
                    x.zero_()
                return scores
            case "one buffer" if not torch.is_grad_enabled():
                self.answer[: len(x)] = self.inner(x)
                return self.answer[: len(x)]
            case "counts":
                self.calls += len(x)
                self.asked.append(len(x))
            case "averages":
                self.seen = 0.9 * self.seen + 0.1 * x.detach().mean(0)
            case "seeds":
                torch.manual_seed(0)
                np.random.seed(0)  # noqa: NPY002
                random.seed(0)
            case "draws":
                torch.rand(3)
                np.random.rand(3)  # noqa: NPY002
                random.random()
        return self.inner(x)


HONEST = {"relu": "honest relu"}
"""What answers as they do; a network that does nothing else is what the others answer as."""

HOW = ("divides", "relu", "zeroes", "one buffer", "counts", "averages", "seeds", "draws")


def everything(data: tuple[torch.Tensor, ...], model: nn.Module) -> list[object]:
    """All that belongs to the caller, bit by bit."""
    held = [t.detach().numpy().tobytes() for t in (*data, *model.state_dict().values())]
    state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return [
        *held,
        torch.get_rng_state().tolist(),
        random.getstate(),
        state["key"].tolist(),
        state["pos"],
        model.training,
    ]


def broken(audit: brinell.Audit) -> list[bool]:
    """What was broken: a model that writes into its input may be beyond the proofs."""
    assert audit.result.status == "complete"
    return [v.state is State.BROKEN for v in audit.verdicts]


def attacked(engine, threat=THREAT):
    def run(target, data) -> object:
        found = brinell.attack(engine, target, *data, threat)
        return found.broken.tolist(), found.x.tolist()

    return run


FAR = brinell.Threat(brinell.L2(float("inf")))
DOORS = {
    "labels": lambda target, data: target.labels(data[0]).tolist(),
    "scores": lambda target, data: (target.scores(data[0]), target.scores(data[0].flip(0)))[0].tolist(),
    "chunks": lambda target, data: target.scores(data[0].repeat(20, 1)).tolist(),
    "gradient": lambda target, data: target.gradient(data[0], lambda s, rows: s.amax(1))[2].tolist(),
    "jacobian": lambda target, data: target.jacobian(data[0], torch.zeros(N, 2, dtype=torch.int64))[1].tolist(),
    "check": lambda target, data: [f.code for f in check(target, Dataset(*data, torch.arange(N)))],
    "audit": lambda target, data: broken(brinell.audit(target, data, THREAT, QUICK, workers=1)),
    "verify": lambda target, data: broken(brinell.verify(target, data, THREAT, workers=1)),
    "diagnose": lambda target, data: [f.code for f in brinell.diagnose(target, data, THREAT).findings],
    "pgd": attacked(PGD(steps=4)),
    "square": attacked(Square(queries=20)),
    "hopskipjump": attacked(HopSkipJump(queries=60), FAR),
    "deepfool": attacked(DeepFool(), FAR),
    "fab": attacked(FAB(steps=3), FAR),
    "cw": attacked(CW(searches=2, steps=4), FAR),
    "transfer": lambda target, data: [
        c.fooled.count for c in matrix({"a": target, "b": target.copy()}, *data, THREAT.within(target.box)).cells
    ],
}


@pytest.mark.sweep(16)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("how", HOW)
def test_what_a_model_does_behind_its_caller_is_not_noticed(how, door) -> None:
    x = X.clone()
    y = brinell.target(Spoils("nothing")).labels(x)
    y[0] = (y[0] + 1) % 3
    model = Spoils(how).train()
    before = everything((x, y), model)
    told = DOORS[door](brinell.target(model), (x, y))
    assert everything((x, y), model) == before
    assert told == DOORS[door](brinell.target(Spoils(HONEST.get(how, "nothing")).train()), (x, y))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nor_what_a_scaler_in_place_does(dtype) -> None:
    rows = X.numpy().astype(dtype)
    y = (rows[:, 0] > 0.5).astype(np.int64)
    found = []
    for copies in (True, False):
        estimator = make_pipeline(StandardScaler(copy=copies), LogisticRegression(C=100)).fit(rows.copy(), y)
        x = torch.from_numpy(rows.copy())
        found.append(attacked(Square(queries=20))(brinell.target(estimator), (x, torch.from_numpy(y))))
        assert x.numpy().tobytes() == rows.tobytes()
    assert found[0] == found[1]


class Remembers(nn.Module):
    """Answers that depend on what was asked before."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.inner, self.first = how, relu_net((4,)), {}
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x):
        if self.how == "statistics":
            self.mean.mul_(0.5).add_(0.5 * x.detach().mean(0))
            return self.inner(x - self.mean)
        if self.how == "counter":
            self.mean += 0.01
            return self.inner(x) + self.mean[0] * torch.tensor([1.0, 0.0, 0.0])
        return self.first.setdefault(len(x), self.inner(x).detach())


@pytest.mark.parametrize("how", ["statistics", "counter", "cache"])
def test_a_model_that_remembers_is_found(how) -> None:
    y = brinell.target(relu_net((4,))).labels(X)
    codes = {f.code: f.severity for f in check(brinell.target(Remembers(how)), Dataset(X, y, torch.arange(N)))}
    assert codes.get("memory") == "severe"


def test_one_that_draws_is_random_and_an_honest_one_neither() -> None:
    y = brinell.target(relu_net((4,))).labels(X)
    data = Dataset(X, y, torch.arange(N))
    drawing = Of(lambda s: s + torch.randn(s.shape), relu_net((4,)))
    assert "random" in {f.code for f in check(brinell.target(drawing), data)}
    assert not {"random", "memory"} & {f.code for f in check(brinell.target(relu_net((4,))), data)}


def test_the_digest_is_of_the_model_as_it_was_handed_over() -> None:
    counts, fresh = (brinell.target(Spoils("counts")) for _ in range(2))
    counts.labels(X)
    assert counts.digest == fresh.digest
