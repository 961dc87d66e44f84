"""Attacks that fail for reasons of their own are told; honest networks are left in peace."""

from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

import brinell
from brinell.data import Dataset, load
from brinell.demo import digits_network, train_digits_network
from brinell.errors import UsageError
from brinell.evasion import PGD, margin
from brinell.questions.evasion.diagnose import PASSES, diagnose
from brinell.questions.evasion.summary import Diagnosis
from brinell.threat import LEAST_LIKELY, Access
from models import Of, generator, quantised, relu_net

LINF, L2 = brinell.Threat(brinell.Linf(0.1)), brinell.Threat(brinell.L2(0.5))


class Resized(nn.Module):
    """Looks at its input through a window at a random place."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.rng = inner, generator()

    def forward(self, x: Tensor) -> Tensor:
        down, right = torch.randint(0, 3, (2,), generator=self.rng).tolist()
        return self.inner(nn.functional.pad(x, (1, 1, 1, 1))[..., down : down + 8, right : right + 8])


class Compressed(nn.Module):
    """Rounds the cosine coefficients of its input, as JPEG does."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        k = torch.arange(8.0)
        basis = torch.cos(torch.pi * (2 * k + 1) * k.unsqueeze(1) / 16) / 2
        basis[0] /= 2**0.5
        self.inner, self.basis = inner, nn.Buffer(basis)

    def forward(self, x: Tensor) -> Tensor:
        coefficients = ((self.basis @ x @ self.basis.T) * 5).round() / 5
        return self.inner(self.basis.T @ coefficients @ self.basis)


class Adapting(nn.Module):
    """Takes a gradient step on its own input before it answers."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (g,) = torch.autograd.grad(self.inner(leaf).logsumexp(1).sum(), leaf)
        return self.inner(x + 0.01 * g)


@cache
def network() -> nn.Module:
    return digits_network()


@cache
def digits() -> Dataset:
    some = load("digits").take(200, seed=0)
    return Dataset.of((some.x * 255).round() / 255, some.y)


def of(model: nn.Module, threat: brinell.Threat = LINF, **options: object) -> Diagnosis:
    return diagnose(brinell.target(model.eval()), digits(), threat, **options)  # type: ignore[arg-type]


def codes(diagnosis: Diagnosis) -> set[str]:
    return {f.code for f in diagnosis.findings}


DEFENCES = {
    "quantised": (quantised, {"zero-gradients", "unbounded", "black-box", "noise"}),
    "saturated softmax": (
        lambda net: Of(lambda s: (200 * s).softmax(1), net),
        {"probabilities", "zero-gradients", "unbounded", "black-box"},
    ),
    "random resize": (Resized, {"random", "masked", "chance", "unconfirmed", "unstable"}),
    "JPEG-like rounding": (Compressed, {"zero-gradients", "unbounded", "black-box"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFENCES)
def test_a_planted_defence_is_seen_through(name: str) -> None:
    defend, seen = DEFENCES[name]
    diagnosis = of(defend(network()))
    assert seen <= codes(diagnosis)
    assert not diagnosis.believed
    own = [f for f in diagnosis.findings if f.code in seen - {"probabilities", "random"}]
    rows = set(digits().ids.tolist())
    assert all(f.remedy and (f.examples or f.code == "unstable") and set(f.examples) <= rows for f in own)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("threat", [LINF, L2, brinell.Threat(brinell.Linf(0.05), goal=LEAST_LIKELY)], ids=str)
def test_an_honest_network_is_left_in_peace(threat: brinell.Threat) -> None:
    diagnosis = of(network(), threat)
    assert diagnosis.findings == ()
    assert diagnosis.believed
    assert {"masked", "unbounded", "noise", "black-box", "incomplete", "eight-bit"} <= set(diagnosis.checks)


@pytest.mark.slow
def test_a_model_that_adapts_while_it_answers_is_told() -> None:
    assert "dynamic" in codes(of(Adapting(network())))


def test_an_attack_that_stops_early_is_told() -> None:
    assert "incomplete" in codes(of(network(), attack=PGD(steps=2, step=0.01, objective=margin, random=False)))


def test_a_lazy_attack_is_beaten_by_a_single_step() -> None:
    lazy = PGD(steps=2, step=1e-4, objective=margin, random=False)
    assert {"single-step", "unbounded"} <= codes(of(network(), attack=lazy))


def test_witnesses_that_do_not_survive_storage_are_told() -> None:
    eight_bit = Of(lambda x: x * 0 + x, nn.Identity())
    off_grid = Of(lambda x: 1.0 - 2 * ((x * 255) - (x * 255).round()).abs().flatten(1).amax(1, keepdim=True), eight_bit)
    net = Of(lambda x: torch.cat([off_grid(x) - 0.9, torch.zeros(len(x), 1)], 1))
    x, y = digits().x, torch.zeros(200, dtype=torch.int64)
    diagnosis = diagnose(brinell.target(net), (x, y), LINF)
    assert "eight-bit" in codes(diagnosis)


def test_a_surrogate_that_says_nothing_of_the_target_is_told() -> None:
    other = Of(lambda s: s.roll(1, 1), train_digits_network(1))
    assert "transfer" in codes(of(network(), surrogate=brinell.target(other)))


@pytest.mark.slow
def test_a_surrogate_that_breaks_more_than_the_target_shows_is_told() -> None:
    hidden = quantised(network(), 64)
    assert "transfer-stronger" in codes(of(hidden, surrogate=brinell.target(network())))


@pytest.mark.slow
def test_the_seed_decides_everything() -> None:
    assert of(quantised(network()), seed=3) == of(quantised(network()), seed=3)


def test_what_is_not_seen_is_not_tested() -> None:
    target = brinell.target(network())
    scores = diagnose(target.restrict(Access.SCORES), digits(), LINF)
    assert scores.checks == ("dynamic", "unstable")
    assert diagnose(target.restrict(Access.LABELS), digits(), LINF).checks == ()


def test_a_radius_that_says_nothing_is_refused() -> None:
    for radius in (0.0, float("inf")):
        with pytest.raises(UsageError, match="radius"):
            of(network(), brinell.Threat(brinell.Linf(radius)))


def test_a_diagnosis_survives_as_data() -> None:
    diagnosis = of(quantised(network()))
    assert Diagnosis.model_validate_json(diagnosis.model_dump_json()) == diagnosis
    assert PASSES >= 10


def test_a_target_that_gets_nothing_right_is_not_tried() -> None:
    wrong = Of(lambda s: -s, network())
    diagnosis = diagnose(brinell.target(wrong.eval()), digits(), LINF)
    assert (diagnosis.examples, diagnosis.checks) == (0, ())
    assert not diagnosis.believed


def small_convolution(channels: int, flat: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(channels, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(flat, 100), nn.ReLU(), nn.Linear(100, 10)),
    )


SHARED = {
    "mnist_kwsmall_pgd_at_eps03": brinell.Linf(0.3),
    "mnist_kwsmall_fgsm_at_eps03": brinell.Linf(0.3),
    "mnist_kwsmall_provable_eps01": brinell.Linf(0.1),
    "cifar10_cnna_at_sdp_eps2_255": brinell.Linf(2 / 255),
    "cifar10_cnna_at_sdp_eps2_255_alt": brinell.L2(0.25),
}


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", SHARED)
def test_a_published_robust_network_is_left_in_peace(name: str, shared: Path) -> None:
    if name.startswith("mnist"):
        net, scale = small_convolution(1, 1568), {}
        stored = np.load(shared / "data/images/mnist_test.npz")
        x = torch.from_numpy(stored["images"][:200]).unsqueeze(1)
    else:
        net = small_convolution(3, 2048)
        scale = {"mean": (0.4914, 0.4824, 0.4467), "std": (0.2471, 0.2435, 0.2616)}
        stored = np.load(shared / "data/images/cifar10_test_jpegq75.npz")
        raw, ends = stored["jpeg"].tobytes(), stored["offsets"]
        pictures = [Image.open(BytesIO(raw[ends[i] : ends[i + 1]])).convert("RGB") for i in range(200)]
        x = torch.from_numpy(np.stack([np.asarray(p) for p in pictures])).permute(0, 3, 1, 2)
    net.load_state_dict(load_file(shared / f"data/weights/{name}.safetensors"))
    y = torch.from_numpy(stored["labels"][:200].astype(np.int64))
    diagnosis = diagnose(brinell.target(net.eval(), **scale), (x / 255, y), brinell.Threat(SHARED[name]))
    assert diagnosis.findings == ()
    assert "eight-bit" in diagnosis.checks


@pytest.mark.sweep(2)
@pytest.mark.parametrize("box", [0.1, 0.3, 1e-3, 1.0])
@pytest.mark.parametrize("share", [0.05, 0.6, 1.0])
def test_any_radius_that_fits_the_box_can_be_diagnosed(box, share):
    """Twice the radius may not fit, and float32 holds the ends of a box a little wider than they were given."""
    target = brinell.target(relu_net((6,)), box=(0.0, box), std=box)
    x = box * torch.rand(20, 6, generator=generator(1))
    diagnosis = brinell.diagnose(target, (x, target.labels(x)), brinell.Threat(brinell.Linf(share * box)))
    assert diagnosis.radius == share * box
