"""Models and data of either precision meet in one place, the target, wherever in a network an operator stands."""

from itertools import cycle, product

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import brinell
from brinell.auditing import Plan
from brinell.data import Dataset
from brinell.proofs import CROWN, IBP, AlphaCROWN, ForwardCROWN, Optimisation, Zonotope, margins
from brinell.questions.evasion import check, scrutiny
from brinell.questions.evasion.models import graph_of
from models import generator

OPERATORS = {
    "relu": torch.relu,
    "leaky": nn.LeakyReLU(0.1),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "softplus": nn.Softplus(),
    "softsign": nn.Softsign(),
    "hardsigmoid": nn.Hardsigmoid(),
    "hardswish": nn.Hardswish(),
    "hardtanh": nn.Hardtanh(),
    "exp": torch.exp,
    "square": torch.square,
    "abs": torch.abs,
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "negative": torch.neg,
    "scaled": lambda x: 2 * x + 1,
    "reciprocal": lambda x: 1 / (3 + x.square()),
    "root": lambda x: (1 + x.square()).sqrt(),
    "log": lambda x: (2 + x.square()).log(),
    "power": lambda x: (2 + x.square()) ** 1.5,
    "product": lambda x: x * torch.relu(x),
    "maximum": lambda x: torch.maximum(x, 0.5 - x),
    "softmax": lambda x: x.softmax(1),
    "log-softmax": lambda x: x.log_softmax(1),
    "normalised": lambda x: x - x.mean(1, keepdim=True),
    "reshaped": lambda x: x.reshape(-1, 1, 3).flatten(1),
    "joined": lambda x: torch.cat([x[:, :1], x[:, 1:]], 1),
}
DTYPES = (torch.float32, torch.float64)
PLANS = {
    name: Plan.model_validate({"name": name, "stages": stages})
    for name, stages in {
        "audit": [{"engine": "Clean"}, {"engine": "PGD", "settings": {"steps": 1}}, {"engine": "CROWN"}],
        "verify": [{"engine": "Clean"}, {"engine": "IBP"}, {"engine": "AlphaCROWN", "settings": {"reach": 0.0}}],
        "radius": [{"engine": "Clean"}, {"engine": "CertifiedRadius", "settings": {"verifier": "IBP"}}],
    }.items()
}
X = torch.rand(3, 3, generator=generator(1))


class Placed(nn.Module):
    """A small network with an operator at one place of it."""

    def __init__(self, operator, place: str) -> None:
        super().__init__()
        self.operator, self.place = operator, place
        self.first = nn.Parameter(torch.randn(3, 3, generator=generator(2)))
        self.last = nn.Parameter(torch.randn(3, 3, generator=generator(3)))
        self.register_buffer("constant", torch.linspace(0.1, 0.5, 3).reshape(1, 3))

    def forward(self, x):
        match self.place:
            case "first":
                return torch.relu(self.operator(x) @ self.first) @ self.last
            case "last":
                return self.operator(torch.relu(x @ self.first) @ self.last)
            case "alone":
                return self.operator(x)
            case "twice":
                return self.operator(self.operator(x @ self.first)) @ self.last
        return (x @ self.first) * self.operator(self.constant) + self.operator(self.constant)


SEVERE = ("zero-gradients", "non-finite-gradients", "probabilities", "low-accuracy", "non-finite")
"""What a preflight may find of three inputs and an operator that is flat or answers by shares: it is not asked here."""

PLACES = ("first", "last", "alone", "twice", "constant")
TURNS = cycle(product(DTYPES, DTYPES, ("check", *PLANS)))
CASES = [(name, place, *next(TURNS)) for place in PLACES for name in OPERATORS]


def labels(target) -> torch.Tensor:
    return target.labels(X)


def ask(door: str, target, x: torch.Tensor, y: torch.Tensor):
    if door == "check":
        return check(target, Dataset(x, y, torch.arange(len(x))))
    threat = brinell.Threat(brinell.Linf(0.01))
    return brinell.audit(target, (x, y), threat, PLANS[door], workers=1, accept=SEVERE, diagnose=False)


@pytest.mark.sweep(24)
@pytest.mark.parametrize(
    ("name", "place", "model", "data", "door"), CASES, ids=["-".join(map(str, c)).replace("torch.", "") for c in CASES]
)
def test_an_operator_serves_wherever_it_stands_in_either_precision(name, place, model, data, door) -> None:
    target = brinell.target(Placed(OPERATORS[name], place).to(model))
    done = ask(door, target, X.to(data), labels(target))
    if door != "check":
        assert done.result.status == "complete"
        assert done.bracket.certified <= done.bracket.unbroken
        assert not [note for note in done.result.notes if "differs" in note]


@pytest.mark.sweep(3)
@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_verifier_bounds_an_operator_that_ends_a_network(name, precision) -> None:
    target = brinell.target(Placed(OPERATORS[name], "last").double())
    graph, set = graph_of(target, X), brinell.Linf(0.01)
    spec = margins(labels(target), 3)
    scores = (spec @ target.scores(X.double()).unsqueeze(2)).squeeze(2)
    optimisation = Optimisation(steps=1)
    verifiers = (
        IBP(precision=precision),
        CROWN(precision=precision),
        AlphaCROWN(optimisation=optimisation, precision=precision),
    )
    for verifier in (*verifiers, ForwardCROWN(), Zonotope()):
        bounds = verifier(graph, X, set, spec)
        assert bounds.dtype == torch.float64
        assert (bounds <= scores + 1e-6).all()


@pytest.mark.sweep(3)
@pytest.mark.parametrize("door", ["check", *PLANS])
@pytest.mark.parametrize("data", DTYPES, ids=str)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("act", ["Identity", "Sigmoid"])
def test_so_does_an_onnx_file(tmp_path, act, kind, data, door) -> None:
    target = brinell.load(written(tmp_path / "net.onnx", act, kind))
    done = ask(door, target, X.to(data), labels(target))
    assert door == "check" or set(done.result.notes) == {scrutiny.NOT_WANTED}


class Held(nn.Module):
    """Weights that are no parameters: a buffer, or a plain attribute."""

    def __init__(self, weight: torch.Tensor, buffer: bool) -> None:
        super().__init__()
        if buffer:
            self.register_buffer("weight", weight)
        else:
            self.weight = weight

    def forward(self, x):
        return torch.relu(x @ self.weight) @ self.weight


@pytest.mark.parametrize("data", DTYPES, ids=str)
@pytest.mark.parametrize("model", DTYPES, ids=str)
@pytest.mark.parametrize("buffer", [True, False], ids=["buffer", "attribute"])
def test_so_does_a_module_without_parameters(buffer, model, data) -> None:
    target = brinell.target(Held(torch.randn(3, 3, generator=generator(2), dtype=model), buffer))
    done = ask("verify", target, X.to(data), labels(target))
    assert done.result.status == "complete"
    assert done.evasion.radii[-1].errors == 0


def test_the_digest_covers_weights_that_are_no_parameters() -> None:
    weight = torch.randn(3, 3, generator=generator(2))
    assert brinell.target(Held(weight, False)).digest == brinell.target(Held(weight.clone(), False)).digest
    assert brinell.target(Held(weight, False)).digest != brinell.target(Held(2 * weight, False)).digest


def written(path, act: str, kind: type) -> str:
    """A network in an ONNX file of this precision, which ends in `act`."""
    rng = np.random.default_rng(0)
    holds = TensorProto.FLOAT if kind is np.float32 else TensorProto.DOUBLE
    weights = {name: rng.normal(size=(3, 3)).astype(kind) for name in ("w", "v")}
    nodes = [("MatMul", ["x", "w"], "a"), ("Relu", ["a"], "r"), ("MatMul", ["r", "v"], "b"), (act, ["b"], "s")]
    graph = helper.make_graph(
        [helper.make_node(name, inputs, [output]) for name, inputs, output in nodes],
        "net",
        [helper.make_tensor_value_info("x", holds, ["n", 3])],
        [helper.make_tensor_value_info("s", holds, ["n", 3])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)
