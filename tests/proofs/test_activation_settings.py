"""No verifier is wrong about an activation, whatever its settings: each is bounded beside every knot, or refused."""

import numpy as np
import pytest
import torch
from onnx import helper

from brinell.errors import CannotRun
from brinell.proofs import (
    CROWN,
    IBP,
    MILP,
    AlphaCROWN,
    BranchAndBound,
    ForwardCROWN,
    GloRo,
    LocalLipschitz,
    Optimisation,
    RegionWalk,
    Unsupported,
    Zonotope,
    monotone,
    trace,
)
from brinell.proofs.lipschitz.constants import constants
from brinell.proofs.network.aten import RULES
from brinell.proofs.network.builder import Builder, Value
from brinell.proofs.network.graph import graph
from brinell.proofs.network.operators import Linear
from brinell.threat import Box, Linf
from proofs.activations import FEW, WIDE, cases, dense, knots, network, value
from targets.onnx.files import model, saved, twin

CASES = cases()
NAMED = pytest.mark.parametrize("name", CASES)
EVERYWHERE = Box(-1e9, 1e9)
VERIFIERS = {
    "ibp": IBP(),
    "ibp-float32": IBP(precision="float32"),
    "crown": CROWN(),
    "crown-same": CROWN(slope="same"),
    "alpha": AlphaCROWN(optimisation=Optimisation(steps=3)),
    "forward": ForwardCROWN(finish="forward"),
    "zonotope": Zonotope(),
    "branch": BranchAndBound(nodes=4, root=Optimisation(steps=2), leaf=Optimisation(steps=2)),
    "gloro": GloRo(),
    "local": LocalLipschitz(),
    "milp": MILP(seconds=5, intermediate=None),
}
SLOW, SAME = ("alpha", "branch", "milp"), ("ibp-float32", "crown-same", "gloro", "local")
BOTH = torch.tensor([[1.0], [-1.0]]).double()
SHARES = torch.cat([sign * dense(0.0, 1.0, [0.0, 0.3, 0.4], 60).squeeze(1) for sign in (-1, 1)]).unique()
"""Of a radius: where points are taken, both sides of each knot among them."""


def centres(settings, radius):
    """Intervals of this radius beside and across each knot."""
    if radius > 1:
        return [0.0, -4.0, 5.0]
    return [knot + share * radius for knot in knots(settings) for share in (-1.0, -0.4, 0.3)]


def read(operator, settings, layers=1):
    try:
        return network(operator, settings, layers)
    except Unsupported:
        return None


@NAMED
def test_what_is_read_is_what_runs(name):
    operator, settings = CASES[name]
    net = read(operator, settings)
    if net is None:
        return
    x = dense(-60.0, 60.0, knots(settings))
    ours, theirs = net(x), value(operator, settings, x)
    size = 1 + theirs.abs() + max(abs(float(s)) for s in (*settings, 1.0)) * 1e-3
    assert (((ours - theirs).abs() <= 1e-9 * size) | (ours == theirs) | ~theirs.isfinite()).all()
    assert (ours.isfinite() == theirs.isfinite()).all()


@pytest.mark.sweep(24)
@NAMED
@pytest.mark.parametrize("layers", [1, 2])
def test_no_value_is_beyond_a_bound(name, layers):
    operator, settings = CASES[name]
    net = read(operator, settings, layers)
    if net is None:
        return
    for radius in (0.01, 1.0, 6.0) if layers == 1 else (1.0,):
        x0 = torch.tensor(centres(settings, radius), dtype=torch.float64).unsqueeze(1)
        x = x0 + radius * SHARES
        reached = value(operator, settings, x.reshape(-1, 1), layers).reshape(x.shape)
        least = torch.stack((reached.amin(1), -reached.amax(1)), 1)
        slack = 1e-9 * (1 + reached.abs().nan_to_num(0, 0, 0).amax(1, keepdim=True))
        for kind, verifier in VERIFIERS.items():
            if (kind in SLOW and (radius != 1.0 or layers == 2)) or (kind in SAME and radius != 1.0):
                continue
            try:
                bounds = verifier(net, x0, Linf(radius, EVERYWHERE), BOTH.expand(len(x0), 2, 1))
            except Unsupported:
                continue
            assert ((bounds <= least + slack) | (bounds == -torch.inf)).all(), (kind, radius)


@NAMED
def test_no_slope_is_beyond_a_lipschitz_constant(name):
    operator, settings = CASES[name]
    net = read(operator, settings)
    if net is None:
        return
    try:
        known = constants(net)
    except Unsupported:
        return
    x = dense(-60.0, 60.0, knots(settings), 4000)
    steps = (value(operator, settings, x).diff(dim=0).abs() / x.diff(dim=0))[x.diff(dim=0) > 1e-7]
    row = torch.ones(1, 1, 1, dtype=torch.float64)
    for constant in known.of(row).values():
        assert float(steps.max()) <= float(constant) * (1 + 1e-6) + 1e-6


@pytest.mark.sweep(3)
@NAMED
def test_what_is_proved_to_rise_never_falls(name):
    operator, settings = CASES[name]
    net = read(operator, settings)
    if net is None:
        return
    for low, high in ((-3.0, 3.0), (-3.0, -0.5), (0.5, 3.0)):
        x = dense(low, high, knots(settings), 200)
        y = value(operator, settings, x)
        for sign in (1.0, -1.0):
            row, ends = torch.tensor([[sign]]).double(), (torch.tensor([low]), torch.tensor([high]))
            try:
                answer = monotone(net, *ends, 0, row, timeout=0.05, precision=torch.float64)
            except Unsupported:
                continue
            if answer.verdict == "proved":
                assert (sign * y.diff(dim=0) >= -1e-9 * (1 + y.abs().amax())).all()


@pytest.mark.sweep(2)
@NAMED
def test_no_walk_certifies_beyond_a_crossing(name):
    operator, settings = CASES[name]
    walk = RegionWalk()
    net = read(operator, settings)
    if net is None or walk.unfit(net) is not None:
        return
    more = Builder(list(net.nodes))
    weight = torch.tensor([[1.0], [0.0]]).double()
    more.add(Linear(weight, torch.tensor([0.0, 0.4]).double()), Value(net.output, (1,)))
    two = graph(more.nodes)
    x0 = torch.tensor([[0.8], [-1.3]]).double()
    scores = two(x0)
    label = scores.argmax(1)
    found = walk(two, x0, label, Linf(6.0, EVERYWHERE))
    for row in range(2):
        reach = float(found.certified[row])
        if reach > 0:
            x = dense(float(x0[row]) - reach, float(x0[row]) + reach, knots(settings), 2000)
            assert (two(x).argmax(1) == label[row]).all()


NODES = [
    *(("Elu", {"alpha": a}, None, 13) for a in WIDE),
    *(("LeakyRelu", {"alpha": a}, None, 16) for a in WIDE),
    *(("Celu", {"alpha": a}, None, 13) for a in WIDE),
    *(("PRelu", {}, [a], 16) for a in WIDE),
    *(("Pow", {}, [a], 15) for a in (*WIDE, -3.0, -2.0, 2.0, 3.0, 4.0, 5.0, 8.0)),
    *(("Selu", {"alpha": a, "gamma": b}, None, 13) for a in FEW for b in FEW),
    *(("HardSigmoid", {"alpha": a, "beta": b}, None, 13) for a in FEW for b in FEW),
    *(("Clip", {}, [a, b], 13) for a in FEW for b in FEW),
    ("Softplus", {}, None, 13),
    ("HardSwish", {}, None, 14),
    ("Mish", {}, None, 18),
    *(("Gelu", {"approximate": how}, None, 20) for how in ("none", "tanh")),
]


@pytest.mark.parametrize("node", NODES, ids=str)
def test_what_is_read_of_a_file_is_what_onnxruntime_computes(node, tmp_path):
    """By the float32 that it computes in: exp(x) - 1 loses what is small beside 1."""
    kind, attributes, constants_, version = node
    named = {f"c{i}": np.array(a, np.float32) for i, a in enumerate(constants_ or ())}
    made = model((1,), [helper.make_node(kind, ["x", *named], ["y"], **attributes)], named, version)
    try:
        module, session = twin(saved(made, tmp_path))
        net = trace(module, torch.zeros(1, 1))
    except CannotRun:
        return
    x = torch.cat((dense(-60.0, 60.0, [0.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0]), dense(-1e-4, 1e-4, [0.0]))).float()
    ours, theirs = net(x), torch.from_numpy(session(x.numpy(), "y")).double()
    largest = max([1.0, *(abs(a) for a in attributes.values() if not isinstance(a, str))])
    close = (ours - theirs).abs() <= 1e-5 * theirs.abs() + 1e-6 * largest
    assert (close | (ours == theirs) | ~theirs.isfinite() | (ours.abs() > 3e38)).all()


@pytest.mark.parametrize(("variance", "eps"), [(-1.0, 1e-5), (0.0, 0.0), (1.0, -2.0), (float("nan"), 1e-5)])
def test_a_batch_normalisation_by_no_number_is_refused(variance, eps):
    build, one = Builder(), torch.ones(3)
    rule = RULES[torch.ops.aten._native_batch_norm_legit_no_training.default]
    with pytest.raises(Unsupported, match="NaN or infinite"):
        rule(build, build.input((3,)), one, one, one, variance * one, 0.1, eps)


@pytest.mark.parametrize("eps", [-5.0, 0.0])
def test_of_a_layer_normalisation_that_may_divide_by_zero_nothing_is_proved(eps):
    build = Builder()
    RULES[torch.ops.aten.layer_norm.default](build, build.input((3,)), [3], None, None, eps)
    x0, spec = torch.tensor([[0.1, 0.0, -0.1]]).double(), torch.eye(3, dtype=torch.float64).unsqueeze(0)
    for verifier in (IBP(), CROWN(), Zonotope()):
        assert not (verifier(graph(build.nodes), x0, Linf(0.2, EVERYWHERE), spec) > -1e3).any()


@pytest.mark.parametrize("divisor", [0.0, -0.0, 1e-320, float("inf"), float("nan")])
def test_a_division_by_what_is_no_number_to_divide_by_is_refused(divisor):
    build = Builder()
    rule = RULES[torch.ops.aten.div.Tensor]
    with pytest.raises(Unsupported, match="NaN or infinite"):
        rule(build, build.input((1,)), torch.tensor([divisor]).double())
