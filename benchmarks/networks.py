"""Networks that benchmarks load or train, written from their published descriptions."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import final

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import brinell
from benchmarks.figure import SHARED, Normalised, ResNet2B, Skipped, cifar, shared_images, small_cnn
from brinell.targets import Target

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def shared(name: str) -> Path:
    """A file of the shared folder."""
    file = SHARED / name
    if not file.exists():
        raise Skipped(f"{file} is missing; set BRINELL_SHARED to the shared folder")
    return file


def resnet20() -> Target:
    """For CIFAR-10, plainly trained."""
    return brinell.target(_resnet20(), mean=MEAN, std=STD)


def normalised_resnet20() -> nn.Module:
    """The same as a module of images in [0, 1]."""
    return Normalised(_resnet20(), MEAN, STD).eval()


def _resnet20() -> nn.Module:
    net = Residual(3)
    net.load_state_dict(load_file(shared("data/weights/cifar10_resnet20_clean.safetensors")), strict=False)
    return net.eval()


def efficientnet_lite0() -> Target:
    """For ImageNet photographs of 224 x 224 in [0, 1]."""
    net = EfficientNetLite0()
    weights = load_file(shared("data/weights/imagenet_efficientnet_lite0.safetensors"))
    net.load_state_dict(weights, strict=False)
    missing = [name for name in net.state_dict() if name not in weights and "num_batches" not in name]
    if missing:
        raise Skipped(f"the weights lack {missing[:3]}")
    target = brinell.target(net.eval(), mean=127 / 255, std=128 / 255)
    target.chunk = 16  # activations of larger batches do not fit into a small memory
    return target


def train(net: nn.Module, x: Tensor, y: Tensor, epochs: int, rate: float, vary=lambda x: x) -> nn.Module:
    """Adam on batches of 64, the same for one machine on every call; `vary` changes each batch."""
    optimiser = torch.optim.Adam(net.parameters(), rate)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            functional.cross_entropy(net(vary(x[batch])), y[batch]).backward()
            optimiser.step()
    return net.eval()


def seeded() -> None:
    torch.manual_seed(0)  # noqa: TID251 - a benchmark's own process


class Residual(nn.Module):
    """The residual networks for CIFAR-10 of 6 n + 2 layers (He et al. 2016, arXiv:1512.03385), option A."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(n)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), *(Block(32, 32, 1) for _ in range(n - 1)))
        self.layer3 = nn.Sequential(Block(32, 64, 2), *(Block(64, 64, 1) for _ in range(n - 1)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class Block(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.stride, self.more = stride, (outside - inside) // 2

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        short = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return functional.relu(inner + short)


class Same(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: the smaller half before, the larger after."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        rows, columns = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:])
        margins = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        return super().forward(functional.pad(x, margins))


class Inverted(nn.Module):
    """Expand, convolve each channel, project; and the input again where the shape is the same."""

    def __init__(self, kernel: int, stride: int, expansion: int, inside: int, outside: int) -> None:
        super().__init__()
        wide = inside * expansion
        self.expands, self.same = expansion > 1, stride == 1 and inside == outside
        if self.expands:
            self._expand_conv, self._bn0 = nn.Conv2d(inside, wide, 1, bias=False), nn.BatchNorm2d(wide, 1e-3)
        self._depthwise_conv = Same(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, 1e-3)
        self._project_conv, self._bn2 = nn.Conv2d(wide, outside, 1, bias=False), nn.BatchNorm2d(outside, 1e-3)

    def forward(self, x: Tensor) -> Tensor:
        wide = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        wide = functional.relu6(self._bn1(self._depthwise_conv(wide)))
        narrow = self._bn2(self._project_conv(wide))
        return x + narrow if self.same else narrow


class EfficientNetLite0(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        stages = [(3, 1, 1, 32, 16, 1), (3, 2, 6, 16, 24, 2), (5, 2, 6, 24, 40, 2), (3, 2, 6, 40, 80, 3),
                  (5, 1, 6, 80, 112, 3), (5, 2, 6, 112, 192, 4), (3, 1, 6, 192, 320, 1)]  # fmt: skip
        self._conv_stem, self._bn0 = Same(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32, 1e-3)
        self._blocks = nn.ModuleList(
            Inverted(kernel, 1 if i else stride, expansion, outside if i else inside, outside)
            for kernel, stride, expansion, inside, outside, depth in stages
            for i in range(depth)
        )
        self._conv_head, self._bn1 = nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280, 1e-3)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return self._fc(functional.relu6(self._bn1(self._conv_head(x))).mean((2, 3)))


class Spoken(nn.Module):
    """Log-spectrogram, two convolutions, a mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(256))
        self.layers = nn.Sequential(
            nn.Conv1d(129, 64, 5, 2), nn.ReLU(), nn.Conv1d(64, 64, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool1d(2),
            nn.Flatten(), nn.Linear(128, 10),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        power = torch.stft(x, 256, 128, window=self.window, return_complex=True).abs().square()
        return self.layers((power + 1e-5).log() / 4 + 1)


def recogniser(people: int) -> nn.Module:
    """For grey faces of 56 x 46."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1),
        nn.ReLU(), nn.Flatten(), nn.Linear(64 * 7 * 6, 128), nn.ReLU(), nn.Linear(128, people),
    )  # fmt: skip


class Wide(nn.Module):
    """WRN-16-1 (Zagoruyko & Komodakis 2016, arXiv:1605.07146): two blocks a stage, batch norm and ReLU first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.block1, self.block2, self.block3 = Stage(16, 16, 1), Stage(16, 32, 2), Stage(32, 64, 2)
        self.bn1, self.fc = nn.BatchNorm2d(64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(functional.relu(self.bn1(x)).mean((2, 3)))


class Stage(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(Preactivated(inside, outside, stride), Preactivated(outside, outside, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Preactivated(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inside), nn.BatchNorm2d(outside)
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.convShortcut = nn.Conv2d(inside, outside, 1, stride, bias=False) if inside != outside else None

    def forward(self, x: Tensor) -> Tensor:
        active = functional.relu(self.bn1(x))
        inner = self.conv2(functional.relu(self.bn2(self.conv1(active))))
        return inner + (x if self.convShortcut is None else self.convShortcut(active))


@final
@dataclass(frozen=True)
class Published:
    """A network of the shared data with the images it is shown: mnist_test, fashion_mnist_test, cifar or photographs.

    build: its layers, without weights. file: the weights' name. layers: what the file calls the layers that have
    weights, in their order; none where it calls them as `build` does. stage: which network of a cascade. strangers:
    the images are of another kind than it was trained for, and its own answers serve as labels.
    """

    build: Callable[[], nn.Module]
    file: str
    images: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layers: str = ""
    stage: str = ""
    strangers: bool = False

    def net(self) -> nn.Module:
        """A module of images in [0, 1]. Raises Skipped without the file."""
        net, weights = self.build(), load_file(shared(f"data/weights/{self.file}.safetensors"))
        if self.stage:
            begins = f"{self.stage}."
            weights = {key.removeprefix(begins): w for key, w in weights.items() if key.startswith(begins)}
        if self.layers:
            weights = _renamed(net, weights, self.layers.split())
        absent, unknown = net.load_state_dict(weights, strict=False)
        absent = [key for key in absent if not key.endswith("num_batches_tracked")]
        if absent or unknown:
            raise Skipped(f"{self.file} lacks {absent[:3]} and has {unknown[:3]} besides")
        return (Normalised(net, self.mean, self.std) if self.mean else net).eval()

    def examples(self, n: int) -> tuple[Tensor, Tensor]:
        """The first n of its test set, or as many as there are."""
        if self.images == "cifar":
            x, y = cifar(n)
        elif self.images == "photographs":
            x, y = photographs(n)
        else:
            x, y = shared_images(self.images, n)
        if self.strangers:
            with torch.no_grad():
                y = self.net()(x).argmax(1)
        return x, y


def photographs(n: int) -> tuple[Tensor, Tensor]:
    """The first n shared photographs (n, 3, 224, 224) in [0, 1] with their ImageNet classes; there are 20."""
    with np.load(shared("data/images/imagenet_foolbox20_224.npz"), allow_pickle=False) as z:
        x, y = z["images"][:n], z["labels"][:n]
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous().float() / 255, torch.from_numpy(y.astype(np.int64))


def _renamed(net: nn.Module, weights: dict[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """The weights under the names that the layers of `net` have."""
    own = [name for name, layer in net.named_modules() if next(layer.parameters(recurse=False), None) is not None]
    renamed = dict(zip(names, own, strict=True))
    layers = {key: key.rpartition(".") for key in weights}
    return {f"{renamed[layer]}.{kind}": weights[key] for key, (layer, _, kind) in layers.items()}


def _convolutional(*layers: nn.Module, dense: tuple[int, ...]) -> nn.Sequential:
    """Convolutions with a ReLU after each, then dense layers with one between each two."""
    net = [part for layer in layers for part in (layer, nn.ReLU())]
    net.append(nn.Flatten())
    for inside, outside in pairwise(dense):
        net += [nn.Linear(inside, outside), nn.ReLU()]
    return nn.Sequential(*net[:-1])


def _coloured(padding: int = 1, channels: int = 16) -> nn.Sequential:
    """Two convolutions of 4 x 4 and stride 2, dense 100, for 32 x 32: CNN-A, Wong and Kolter's small network."""
    side = 8 if padding else 6
    convolutions = nn.Conv2d(3, channels, 4, 2, padding), nn.Conv2d(channels, 2 * channels, 4, 2, padding)
    return _convolutional(*convolutions, dense=(2 * channels * side**2, 100, 10))


def _sigmoid() -> nn.Sequential:
    return nn.Sequential(*(nn.Sigmoid() if isinstance(layer, nn.ReLU) else layer for layer in _coloured(0)))


def _madry() -> nn.Sequential:
    return _convolutional(nn.Conv2d(1, 4, 5, 2, 2), nn.Conv2d(4, 8, 5, 2, 2), dense=(392, 128, 10))


def _oval_deep() -> nn.Sequential:
    inner = nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)
    return _convolutional(nn.Conv2d(3, 8, 4, 2, 1), *inner, nn.Conv2d(8, 8, 4, 2, 1), dense=(512, 100, 10))


def _marabou() -> nn.Sequential:
    return _convolutional(nn.Conv2d(3, 8, 4, 2), nn.Conv2d(8, 16, 4, 2), dense=(576, 128, 64, 10))


def _lenet5() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, 1, 1), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3136, 200), nn.ReLU(), nn.Linear(200, 10)),
    )


def _seven(norm: Callable[[int], nn.Module] = lambda channels: nn.Identity()) -> nn.Sequential:
    """Four convolutions and three dense layers (Carlini & Wagner 2017, arXiv:1608.04644, table 1)."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3), norm(32), nn.ReLU(), nn.Conv2d(32, 32, 3), norm(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3), norm(64), nn.ReLU(), nn.Conv2d(64, 64, 3), norm(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1024, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)),
    )


def _perceptron(*widths: int) -> nn.Sequential:
    return _convolutional(dense=widths)


_OF_CIFAR = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2471, 0.2435, 0.2616)}
_OF_CNN_A = {"mean": (0.4914, 0.4824, 0.4467), "std": (0.2471, 0.2435, 0.2616)}
_OF_ERAN = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2023, 0.1994, 0.201)}
_OF_OVAL = {"mean": MEAN, "std": (0.225, 0.225, 0.225)}
_OF_IMAGENET = {"mean": MEAN, "std": STD}


def _digits(build: Callable[[], nn.Module], file: str, layers: str = "", stage: str = "") -> Published:
    return Published(build, file, "mnist_test", layers=layers, stage=stage)


def _objects(
    build: Callable[[], nn.Module], file: str, scale: dict[str, tuple[float, ...]] | None = None, stage: str = ""
) -> Published:
    return Published(build, file, "cifar", **(scale or {}), stage=stage)


def _cnn_a(file: str) -> Published:
    return _objects(_coloured, file, _OF_CNN_A)


def _cascade(build: Callable[..., Published], net: Callable[[], nn.Module], file: str, stages: int, **scale: object):
    return {f"{file}.{i}": build(net, file, **scale, stage=f"stage{i}") for i in range(stages)}


PUBLISHED: dict[str, Published] = {
    "mnist_lenet5_at_advertorch": _digits(_lenet5, "mnist_lenet5_at_advertorch", "conv1 conv2 linear1 linear2"),
    "mnist_madry_tiny_nomaxpool": _digits(_madry, "mnist_madry_tiny_nomaxpool"),
    "mnist_kwsmall_fgsm_at_eps03": _digits(small_cnn, "mnist_kwsmall_fgsm_at_eps03"),
    "mnist_kwsmall_pgd_at_eps03": _digits(small_cnn, "mnist_kwsmall_pgd_at_eps03"),
    "mnist_kwsmall_provable_eps01": _digits(small_cnn, "mnist_kwsmall_provable_eps01"),
    "cifar10_cnna_at_sdp_eps2_255": _cnn_a("cifar10_cnna_at_sdp_eps2_255"),
    "cifar10_resnet2b_at_eps2_255": _objects(ResNet2B, "cifar10_resnet2b_at_eps2_255", _OF_CIFAR),
    "cifar10_convsmall_sigmoid": _objects(_sigmoid, "cifar10_convsmall_sigmoid", _OF_ERAN),
    "mnist_lenet5_clean_advertorch": _digits(_lenet5, "mnist_lenet5_clean_advertorch", "conv1 conv2 linear1 linear2"),
    "mnist_cnn7_fmn_demo": _digits(_seven, "mnist_cnn7_fmn_demo", "conv1 conv2 conv3 conv4 fc1 fc2 fc3"),
    "mnist_mlp_2x20_toy": _digits(lambda: _perceptron(784, 20, 10), "mnist_mlp_2x20_toy"),
    "mnist_mlp_6x100_eran": _digits(lambda: _perceptron(784, *[100] * 5, 10), "mnist_mlp_6x100_eran"),
    "fashion_kwsmall_provable_eps01": Published(small_cnn, "fashion_kwsmall_provable_eps01", "fashion_mnist_test"),
    "cifar10_convsmall_pgd_eran": _objects(lambda: _coloured(0), "cifar10_convsmall_pgd_eran", _OF_ERAN),
    "cifar10_marabou_small": _objects(_marabou, "cifar10_marabou_small"),
    "cifar10_oval_base_kw_eps2_255": _objects(lambda: _coloured(1, 8), "cifar10_oval_base_kw_eps2_255", _OF_OVAL),
    "cifar10_oval_deep_kw_eps2_255": _objects(_oval_deep, "cifar10_oval_deep_kw_eps2_255", _OF_OVAL),
    "cifar10_cnna_at_sdp_eps2_255_alt": _cnn_a("cifar10_cnna_at_sdp_eps2_255_alt"),
    "cifar10_cnna_mix_sdp_eps2_255": _cnn_a("cifar10_cnna_mix_sdp_eps2_255"),
    "cifar10_cnna_at4_sdp": _cnn_a("cifar10_cnna_at4_sdp"),
    "cifar10_cnna_mix4_sdp": _cnn_a("cifar10_cnna_mix4_sdp"),
    "svhn_kwsmall_provable_eps001": Published(_coloured, "svhn_kwsmall_provable_eps001", "cifar", strangers=True),
    **_cascade(_digits, small_cnn, "mnist_kwsmall_provable_cascade_eps03", 3),
    **_cascade(_objects, _coloured, "cifar10_kwsmall_provable_cascade_eps8_255", 3, scale=_OF_OVAL),
    **_cascade(_objects, _coloured, "cifar10_kwsmall_provable_l2_cascade_eps36_255", 2, scale=_OF_OVAL),
    "mnist_cnn7_bn_rays": _digits(
        lambda: _seven(nn.BatchNorm2d),
        "mnist_cnn7_bn_rays",
        " ".join(f"features.{i}" for i in (0, 1, 3, 4, 7, 8, 10, 11)) + " fc1 fc2 fc3",
    ),
    "cifar10_wrn16_1_backdoor_grid_target0": _objects(Wide, "cifar10_wrn16_1_backdoor_grid_target0"),
    "cifar10_resnet20_clean": _objects(lambda: Residual(3), "cifar10_resnet20_clean", _OF_IMAGENET),
    "cifar10_resnet32_clean": _objects(lambda: Residual(5), "cifar10_resnet32_clean", _OF_IMAGENET),
    "cifar10_resnet56_clean": _objects(lambda: Residual(9), "cifar10_resnet56_clean", _OF_IMAGENET),
    "imagenet_efficientnet_lite0": Published(
        EfficientNetLite0, "imagenet_efficientnet_lite0", "photographs", (127 / 255,) * 3, (128 / 255,) * 3
    ),
}
"""Every network of the shared data by its file, a cascade's by stage. There are no images of house numbers."""
