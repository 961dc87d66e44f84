"""The model under test, whatever framework it comes from."""

from brinell.target.backend import Backend as Backend
from brinell.target.load import load as load
from brinell.target.load import target as target
from brinell.target.onnx import OnnxBackend as OnnxBackend
from brinell.target.sklearn import SklearnBackend as SklearnBackend
from brinell.target.target import Meter as Meter
from brinell.target.target import Target as Target
from brinell.target.target import TargetError as TargetError
from brinell.target.torch import TorchBackend as TorchBackend
