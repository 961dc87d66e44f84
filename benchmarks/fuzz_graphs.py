"""Random networks of every operator there is a rule for, in every place, against what runs.

Half are ONNX files of operator sets 7 to 21, run by onnxruntime; half are PyTorch modules, in float32 and float64. Each
is bounded by every verifier over a box of random size, and met at random points, at corners, and by ascents. A bound
below which a value of the graph lies, beyond rounding, is a false certificate; so is one that the running model passes
by more than its arithmetic explains, and a property that is decided wrongly. What has no rule is refused by name, and
counted.

BRINELL_FUZZ_GRAPHS=200 tries so many, BRINELL_FUZZ_SEED=7 others.
"""

import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.figure import Figure
from brinell.errors import CannotRun, UsageError
from brinell.proofs import (
    CROWN,
    IBP,
    MILP,
    AlphaCROWN,
    BranchAndBound,
    Case,
    ForwardCROWN,
    GloRo,
    Graph,
    LocalLipschitz,
    Optimisation,
    Property,
    Unsupported,
    Verifier,
    Zonotope,
    decide,
    deployed,
    trace,
)
from brinell.threat import Box, Linf

GRAPHS = 1000
VERIFIERS: dict[str, Verifier] = {
    "IBP": IBP(),
    "IBP float32": IBP(precision="float32"),
    "CROWN": CROWN(),
    "CROWN float32": CROWN(precision="float32", slope="same"),
    "alpha-CROWN": AlphaCROWN(optimisation=Optimisation(steps=3)),
    "forward": ForwardCROWN(finish="forward"),
    "zonotope": Zonotope(),
    "GloRo": GloRo(),
    "local Lipschitz": LocalLipschitz(),
    "branch and bound": BranchAndBound(nodes=4, root=Optimisation(steps=2), leaf=Optimisation(steps=2)),
    "MILP": MILP(seconds=2, intermediate=None),
}
EVERYWHERE = Box(-1e9, 1e9)
Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Network:
    """graph: as it is read. run: as it runs, on float64 rows that its precision can hold."""

    graph: Graph
    run: Run
    precision: torch.dtype


@dataclass
class Count:
    """What was tried, and every false certificate with the seed that makes it again."""

    graphs: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    false: list[str] = field(default_factory=list)


def run() -> list[Figure]:
    """Counts over all networks."""
    torch.set_num_threads(1)
    count, first = Count(), int(os.environ.get("BRINELL_FUZZ_SEED", "0"))
    start = time.process_time()
    for seed in range(first, first + int(os.environ.get("BRINELL_FUZZ_GRAPHS", str(GRAPHS)))):
        before = len(count.false)
        tried(seed, count)
        for found in count.false[before:]:
            print(found, flush=True)
        if seed % 50 == 49:
            print(f"{seed + 1}: {dict(count.graphs)}, {len(count.false)} false", flush=True)
    for reason, times in count.refused.most_common(20):
        print(f"{times:5d} {reason}")
    return [
        Figure(
            f"random networks, each by {len(VERIFIERS)} verifiers and as two properties: false certificates",
            "0 of 1,000",
            f"{len(count.false)} of {count.graphs['read']:,} read of {count.graphs['made']:,} made, "
            f"{count.graphs['bounds']:,} bounds and {count.graphs['unsat']:,} properties proved, "
            f"{count.graphs['sat']:,} refuted ({time.process_time() - start:.0f} s of the processor)",
        )
    ]


def tried(seed: int, count: Count) -> None:
    """Make the network of a seed, and count what is found of it."""
    rng = random.Random(seed)
    count.graphs["made"] += 1
    with tempfile.TemporaryDirectory() as folder:
        try:
            network = _of_a_file(rng, Path(folder)) if seed % 2 else _of_a_module(rng)
        except (CannotRun, UsageError) as reason:
            count.refused[_kind(str(reason), folder)] += 1
            return
    count.graphs["read"] += 1
    _bounded(network, rng, seed, count)
    _decided(network, rng, seed, count)


def _kind(reason: str, folder: str) -> str:
    return " ".join(word for word in reason.replace(folder, "").split() if not any(c.isdigit() for c in word))[:110]


def _bounded(network: Network, rng: random.Random, seed: int, count: Count) -> None:
    graph, radius = network.graph, rng.choice([1e-3, 0.05, 0.3, 1.0, 3.0])
    x0 = torch.tensor([[rng.uniform(-1.5, 1.5) for _ in range(_size(graph))]]).to(network.precision).double()
    x0 = x0.reshape(1, *graph.nodes[0].shape)
    eye = torch.eye(graph.classes, dtype=torch.float64)
    spec = torch.cat((eye, -eye)).unsqueeze(0)
    points = torch.cat(list(_points(graph, x0, radius, spec[0], rng)))
    held = points.to(network.precision).double()
    held = torch.minimum(torch.maximum(held, x0 - radius), x0 + radius)
    values, computed = graph(points) @ spec[0].T, network.run(held.flatten(1)) @ spec[0].T
    rough = (graph.rough(held) - graph(held)).abs().nan_to_num(0, 0, 0).amax(0) @ spec[0].abs().T
    size = values.abs().nan_to_num(0, 0, 0).amax(0)
    for name, verifier in VERIFIERS.items():
        try:
            bounds = verifier(graph, x0, Linf(radius, EVERYWHERE), spec)[0]
        except Unsupported:
            continue
        count.graphs["bounds"] += int((bounds > -torch.inf).sum())
        for kind, met, slack in (
            ("graph", values, 1e-9 * (1 + size)),
            ("model", computed, 1e-3 * (1 + size) + 100 * rough),
        ):
            passed = met.nan_to_num(torch.inf, torch.inf, torch.inf).amin(0) < bounds - slack
            if bool(passed.any()):
                row = int(passed.nonzero()[0])
                least, bound = float(met[:, row].amin()), float(bounds[row])
                count.false.append(f"seed {seed}: {name} bounds row {row} by {bound:g}; the {kind} reaches {least:g}")


def _points(graph: Graph, x0: Tensor, radius: float, spec: Tensor, rng: random.Random) -> Iterator[Tensor]:
    """Of the box: at random, corners, along an axis, and where ascents by the graph's slopes lead."""
    made = torch.Generator().manual_seed(rng.randrange(2**31))
    share = 2 * torch.rand(200, *x0.shape[1:], generator=made, dtype=torch.float64) - 1
    yield x0
    yield x0 + radius * share
    yield x0 + radius * share[:60].sign()
    one = torch.linspace(-1, 1, 60, dtype=torch.float64).reshape(-1, *(1,) * (x0.dim() - 1))
    yield x0 + radius * one * share[:1].sign()
    x = x0 + radius * share[torch.arange(2 * len(spec)) % len(share)]
    rows = spec.repeat(2, 1)
    for step in range(12):
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad((graph(x) * rows).sum(), x)
        x = x.detach() - radius * 0.5**step * slope.nan_to_num().sign()
        x = torch.minimum(torch.maximum(x, x0 - radius), x0 + radius)
        yield x


def _decided(network: Network, rng: random.Random, seed: int, count: Count) -> None:
    """An output beyond what points reach, and one within: neither verdict may be wrong."""
    graph, radius = network.graph, rng.choice([0.05, 0.5])
    x0 = torch.tensor([rng.uniform(-1, 1) for _ in range(_size(graph))]).double()
    low, high = x0 - radius, x0 + radius
    made = torch.Generator().manual_seed(rng.randrange(2**31))
    x = (low + torch.rand(300, len(x0), generator=made, dtype=torch.float64) * (high - low)).to(network.precision)
    x = x.double().clamp(low.to(network.precision).double(), high.to(network.precision).double())
    x = x[((x >= low) & (x <= high)).all(1)]
    y = network.run(x)[:, 0]
    if not y.isfinite().all():
        return
    for share in (1.3, 0.9):
        limit = float(y.min() + share * (y.max() - y.min()) + 1e-3 * (share > 1))
        weights = torch.zeros(1, graph.classes, dtype=torch.float64)
        weights[0, 0] = -1.0
        goal = Property((Case(low, high, weights, torch.tensor([limit], dtype=torch.float64)),))
        try:
            answer = decide(graph, goal, network.run, timeout=1.0, precision=network.precision)
        except CannotRun:
            count.graphs["not to be compared"] += 1
            return
        count.graphs[answer.verdict] += 1
        if answer.verdict == "unsat" and _reached(network, x[y >= limit][:20], limit):
            count.false.append(f"seed {seed}: unsat beyond {limit:g}, and {float(y.max()):g} is reached")
        if answer.witness is not None:
            inside = (answer.witness.x >= low).all() and (answer.witness.x <= high).all()
            if not inside or Fraction(float(answer.witness.y[0])) < Fraction(limit):
                count.false.append(f"seed {seed}: sat, by a point that is no witness")


def _reached(network: Network, beyond: Tensor, limit: float) -> bool:
    """Whether one of these inputs refutes a proof in exact arithmetic.

    The model may round an input asked about alone otherwise than among others, and an output that is constant to either
    side of its value.
    """
    exact = network.graph(beyond.reshape(-1, *network.graph.nodes[0].shape))[:, 0]
    alone = [float(network.run(one)[0, 0]) for one in beyond.unsqueeze(1)]
    rounded = torch.finfo(network.precision).eps * (1 + abs(limit))
    return bool((exact > limit + 1e-9 * (1 + abs(limit))).any()) or max(alone, default=-torch.inf) > limit + 8 * rounded


def _size(graph: Graph) -> int:
    return torch.Size(graph.nodes[0].shape).numel()


@dataclass
class Draft:
    """An ONNX graph as it grows: its values by name, each with the shape of one example."""

    rng: random.Random
    version: int
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype)
        return name

    def normal(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant(_normal(self.rng, shape) * scale)

    def add(self, kind: str, inputs: Sequence[str], shape: tuple[int, ...], outputs: int = 1, **attributes: Any) -> str:
        from onnx import helper

        names = [f"v{len(self.shapes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        self.shapes[names[0]] = shape
        return names[0]

    def setting(self) -> float:
        return self.rng.choice([-2.0, -1.0, -0.3, 0.0, 0.1, 0.5, 1.0, 1.7, 5.0])


def _normal(rng: random.Random, shape: Sequence[int]) -> np.ndarray:
    return np.random.default_rng(rng.randrange(2**31)).normal(size=tuple(shape)).astype(np.float32)


def _of_a_file(rng: random.Random, folder: Path) -> Network:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    version = rng.randint(7, 21)
    draft = Draft(rng, version)
    shape = rng.choice([(3,), (4,), (2, 4, 4), (1, 5, 5)])
    kind, dtype = rng.choice([(TensorProto.FLOAT, np.float32)] * 4 + [(TensorProto.DOUBLE, np.float64)])
    draft.shapes["x"] = shape
    value = "x"
    for _ in range(rng.randint(2, 7)):
        value = _grown(draft, value)
    if len(draft.shapes[value]) > 1:
        value = draft.add("Flatten", [value], (int(np.prod(draft.shapes[value])),))
    if rng.random() < 0.8:
        value = _dense(draft, value, 3)
    initial = [
        numpy_helper.from_array(c.astype(dtype) if c.dtype == np.float32 else c, name)
        for name, c in draft.constants.items()
    ]
    rows = rng.choice([1, "rows", "rows"])
    body = helper.make_graph(
        draft.nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, [rows, *shape])],
        [helper.make_tensor_value_info(value, kind, None)],
        initial,
    )
    made = helper.make_model(body, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    onnx.save(made, str(folder / "net.onnx"))
    model = deployed(folder / "net.onnx")
    return Network(model.graph, model, model.precision)


def _grown(draft: Draft, value: str) -> str:
    shape = draft.shapes[value]
    steps = [*_ANYWHERE, *(_ON_VECTORS if len(shape) == 1 else _ON_IMAGES)]
    before = [name for name, known in draft.shapes.items() if known == shape and name != value]
    if before and draft.rng.random() < 0.2:
        kind = draft.rng.choice(["Add", "Sub", "Mul", "Max", "Min", "Sum", "Div"])
        return draft.add(kind, [value, draft.rng.choice(before)], shape)
    return draft.rng.choice(steps)(draft, value)


def _unary(draft: Draft, value: str) -> str:
    shape, a, b = draft.shapes[value], draft.setting(), draft.setting()
    plain = ["Relu", "Sigmoid", "Tanh", "Softplus", "Neg", "Abs", "Identity", "Exp", "Reciprocal", "Sqrt", "Log"]
    known: list[tuple[str, dict[str, Any], list[str], int]] = [(kind, {}, [], 7) for kind in [*plain, "Dropout"]]
    known += [("LeakyRelu", {"alpha": a}, [], 7), ("Elu", {"alpha": a}, [], 7), ("Celu", {"alpha": a}, [], 12)]
    known += [("Selu", {"alpha": a, "gamma": b}, [], 7), ("HardSigmoid", {"alpha": a, "beta": b}, [], 7)]
    known += [("Erf", {}, [], 9), ("HardSwish", {}, [], 14), ("Mish", {}, [], 18)]
    known += [("Gelu", {"approximate": draft.rng.choice(["none", "tanh"])}, [], 20)]
    known += [("Softmax", {"axis": len(shape)}, [], 7), ("LogSoftmax", {"axis": len(shape)}, [], 7)]
    if draft.version < 11:
        known += [("Clip", {"min": a, "max": b}, [], 7)]
    else:
        known += [("Clip", {}, [draft.constant(a), draft.constant(b)], 11)]
    slopes = (shape[0], *(1,) * (len(shape) - 1))
    known += [("PRelu", {}, [draft.normal(*slopes)], 7)]
    known += [("Pow", {}, [draft.constant(draft.rng.choice([2.0, 3.0, -2.0, -1.0, 0.5, 1.5, 1.0, 4.0]))], 7)]
    kind, attributes, more, _since = draft.rng.choice([entry for entry in known if entry[3] <= draft.version])
    return draft.add(kind, [value, *more], shape, **attributes)


def _with_a_constant(draft: Draft, value: str) -> str:
    shape = draft.shapes[value]
    other = draft.normal(*(shape if draft.rng.random() < 0.5 else (shape[0], *(1,) * (len(shape) - 1))))
    kind = draft.rng.choice(["Add", "Sub", "Mul", "Div"])
    pair = [value, other] if kind != "Div" and draft.rng.random() < 0.7 else [other, value]
    return draft.add(kind, pair, shape)


def _batch_normalisation(draft: Draft, value: str) -> str:
    n = draft.shapes[value][0]
    variance = draft.constant(np.abs(_normal(draft.rng, (n,))) + draft.rng.choice([0.0, 0.5]))
    more = [draft.normal(n), draft.normal(n), draft.normal(n), variance]
    return draft.add("BatchNormalization", [value, *more], draft.shapes[value], epsilon=1e-3)


def _dense(draft: Draft, value: str, size: int | None = None) -> str:
    (n,), m = draft.shapes[value], size or draft.rng.randint(2, 5)
    if draft.rng.random() < 0.5:
        return draft.add("MatMul", [value, draft.normal(n, m, scale=n**-0.5)], (m,))
    names = [value, draft.normal(m, n, scale=n**-0.5), draft.normal(m)]
    return draft.add("Gemm", names, (m,), transB=1, alpha=draft.rng.choice([1.0, 0.5]), beta=draft.setting())


def _layer_normalisation(draft: Draft, value: str) -> str:
    if draft.version < 17:
        return _dense(draft, value)
    n = draft.shapes[value][0]
    return draft.add("LayerNormalization", [value, draft.normal(n), draft.normal(n)], (n,), epsilon=1e-2)


def _moved(draft: Draft, value: str) -> str:
    (n,), rng = draft.shapes[value], draft.rng
    match rng.choice(["Concat", "Slice", "Gather", "Split", "Reduce", "Reshape"]):
        case "Concat":
            return draft.add("Concat", [value, value], (2 * n,), axis=1)
        case "Slice" if draft.version >= 10:
            ends = [draft.constant([k], np.int64) for k in (0, max(1, n - 1), 1)]
            return draft.add("Slice", [value, *ends], (max(1, n - 1),))
        case "Gather":
            return draft.add("Gather", [value, draft.constant([n - 1, 0], np.int64)], (2,), axis=1)
        case "Split" if n > 1:
            sizes = [1, n - 1]
            if draft.version < 13:
                return draft.add("Split", [value], (1,), 2, axis=1, split=sizes)
            return draft.add("Split", [value, draft.constant(sizes, np.int64)], (1,), 2, axis=1)
        case "Reduce":
            kind = rng.choice(["ReduceMean", "ReduceSum"])
            if draft.version >= (18 if kind == "ReduceMean" else 13):
                return draft.add(kind, [value, draft.constant([1], np.int64)], (1,), keepdims=1)
            return draft.add(kind, [value], (1,), keepdims=1, axes=[1])
        case _:
            return draft.add("Reshape", [value, draft.constant([-1, n, 1, 1], np.int64)], (n, 1, 1))


def _convolved(draft: Draft, value: str) -> str:
    c, h, w = draft.shapes[value]
    k, out = draft.rng.randint(1, min(3, h, w)), draft.rng.randint(1, 3)
    stride, pad = draft.rng.randint(1, 2), draft.rng.randint(0, 1)
    names = [value, draft.normal(out, c, k, k, scale=(c * k * k) ** -0.5), draft.normal(out)]
    size = tuple((n + 2 * pad - k) // stride + 1 for n in (h, w))
    return draft.add("Conv", names, (out, *size), strides=[stride] * 2, pads=[pad] * 4, kernel_shape=[k, k])


def _pooled(draft: Draft, value: str) -> str:
    c, h, w = draft.shapes[value]
    kind = draft.rng.choice(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"])
    if kind.startswith("Global"):
        return draft.add(kind, [value], (c, 1, 1))
    k, stride, pad = draft.rng.randint(1, min(3, h, w)), draft.rng.randint(1, 2), draft.rng.randint(0, 1)
    pad = min(pad, k // 2)
    more = {"count_include_pad": draft.rng.randint(0, 1)} if kind == "AveragePool" else {}
    size = tuple((n + 2 * pad - k) // stride + 1 for n in (h, w))
    return draft.add(kind, [value], (c, *size), kernel_shape=[k, k], strides=[stride] * 2, pads=[pad] * 4, **more)


def _reshaped(draft: Draft, value: str) -> str:
    c, h, w = draft.shapes[value]
    match draft.rng.choice(["Flatten", "Transpose", "Pad"]):
        case "Flatten":
            return draft.add("Flatten", [value], (c * h * w,))
        case "Transpose":
            return draft.add("Transpose", [value], (c, w, h), perm=[0, 1, 3, 2])
        case _:
            sides = [0, 0, 1, 0, 0, 0, 0, 1]
            if draft.version < 11:
                return draft.add("Pad", [value], (c, h + 1, w + 1), pads=sides)
            return draft.add("Pad", [value, draft.constant(sides, np.int64)], (c, h + 1, w + 1))


_ANYWHERE = (_unary, _unary, _with_a_constant, _batch_normalisation)
_ON_VECTORS = (_dense, _dense, _layer_normalisation, _moved)
_ON_IMAGES = (_convolved, _convolved, _pooled, _reshaped)


class _Module(nn.Module):
    """Steps, one after another; some also read what an earlier one made."""

    def __init__(self, steps: Sequence[tuple[Callable[..., Tensor], bool]], parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.steps, self.parts = steps, nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        kept = x
        for step, twice in self.steps:
            before = x
            x = step(x, kept) if twice else step(x)
            kept = before
        return x.flatten(1)


def _of_a_module(rng: random.Random) -> Network:
    torch.manual_seed(rng.randrange(2**31))  # noqa: TID251 layers draw their weights from it
    dtype = rng.choice([torch.float32, torch.float32, torch.float64])
    shape: tuple[int, ...] = rng.choice([(3,), (4,), (2, 4, 4)])
    x, steps, parts = torch.zeros(2, *shape), [], []
    before = x
    for _ in range(rng.randint(2, 7)):
        step, twice, layers = _step(rng, x, before)
        try:
            made = step(x, before) if twice else step(x)
        except (RuntimeError, IndexError):
            continue
        steps.append((step, twice))
        parts += layers
        x, before = made, x
    head = nn.Linear(x.flatten(1).shape[1], 3)
    module = _Module([*steps, (lambda v: head(v.flatten(1)), False)], [*parts, head]).to(dtype).eval()
    with torch.no_grad():
        graph = trace(module, torch.full((1, *shape), 0.3, dtype=dtype))

    def run(rows: Tensor) -> Tensor:
        with torch.no_grad():
            return module(rows.reshape(len(rows), *shape).to(dtype)).double()

    return Network(graph, run, dtype)


def _step(rng: random.Random, x: Tensor, before: Tensor) -> tuple[Callable[..., Tensor], bool, list[nn.Module]]:
    a, b = (rng.choice([-2.0, -0.5, 0.0, 0.3, 1.0, 1.7, 4.0]) for _ in range(2))
    f = torch.nn.functional
    if before.shape == x.shape and rng.random() < 0.2:
        return rng.choice([torch.add, torch.sub, torch.mul, torch.maximum, torch.minimum]), True, []
    layers: list[nn.Module] = [nn.ReLU(), nn.LeakyReLU(a), nn.PReLU(init=a), nn.ELU(a), nn.CELU(b or 1.0), nn.SELU()]
    layers += [nn.GELU(), nn.GELU("tanh"), nn.Mish(), nn.SiLU(), nn.Hardswish(), nn.Hardsigmoid(), nn.Sigmoid()]
    layers += [nn.Softplus(b or 0.5, a * 3), nn.Tanh(), nn.ReLU6(), nn.Softshrink(abs(a)), nn.Threshold(a, b)]
    layers += [nn.Hardshrink(a), nn.Softsign(), nn.Tanhshrink(), nn.LogSigmoid(), nn.Softmax(1), nn.Dropout()]
    functions: list[Callable[..., Tensor]] = [
        lambda v: v.clamp(a, b),
        lambda v: v.pow(rng_power),
        lambda v: v.square() * a + b,
        lambda v: (v.square() + 0.1).sqrt(),
        lambda v: 1 / (v.exp() + abs(a)),
        lambda v: torch.cat((v, -v), 1),
        lambda v: v.abs().log1p() if a > 0 else v.abs(),
        lambda v: v / (v.abs() + 0.5),
    ]
    rng_power = rng.choice([2, 3, -1, 4, 0.5, -2])
    if x.dim() == 2:
        n = x.shape[1]
        layers += [nn.Linear(n, rng.randint(2, 6)), nn.Linear(n, n), nn.LayerNorm(n), _normalised(nn.BatchNorm1d(n))]
        functions += [lambda v: v[:, 1:], lambda v: v.amax(1, keepdim=True), lambda v: v.mean(1, keepdim=True) - v]
    else:
        c = x.shape[1]
        layers += [nn.Conv2d(c, 2, 3, padding=1), nn.Conv2d(c, 3, 2, stride=2), nn.MaxPool2d(2, 1, 1), nn.AvgPool2d(2)]
        layers += [nn.ConvTranspose2d(c, 2, 2), _normalised(nn.BatchNorm2d(c)), nn.Flatten(), nn.AdaptiveAvgPool2d(1)]
        functions += [lambda v: f.pad(v, (1, 0, 0, 1)), lambda v: v.transpose(2, 3), lambda v: v.flatten(1)]
    if rng.random() < 0.7:
        layer = rng.choice(layers).eval()
        return layer, False, [layer]
    return rng.choice(functions), False, []


def _normalised(layer: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.1, 2)
    return layer
