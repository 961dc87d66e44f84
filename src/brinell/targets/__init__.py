"""The model under test, whatever framework it comes from."""

from brinell.targets.backend import Backend as Backend
from brinell.targets.bpda import BPDA as BPDA
from brinell.targets.load import load as load
from brinell.targets.load import target as target
from brinell.targets.noise import Gaussian as Gaussian
from brinell.targets.noise import NoiseDistribution as NoiseDistribution
from brinell.targets.noise import Uniform as Uniform
from brinell.targets.onnx import OnnxBackend as OnnxBackend
from brinell.targets.sklearn import SklearnBackend as SklearnBackend
from brinell.targets.smoothed import Smoothed as Smoothed
from brinell.targets.smoothed import smoothed as smoothed
from brinell.targets.smoothed import tally as tally
from brinell.targets.target import Meter as Meter
from brinell.targets.target import Target as Target
from brinell.targets.target import TargetError as TargetError
from brinell.targets.torch import TorchBackend as TorchBackend
