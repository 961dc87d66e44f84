"""Networks that benchmarks load or train, written from their published descriptions."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import brinell
from benchmarks.figure import SHARED, Normalised, Skipped
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
    net = ResNet20()
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


class ResNet20(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
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
