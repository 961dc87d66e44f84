"""The model under test, whatever framework it comes from."""

from brinell.target.backend import Backend as Backend
from brinell.target.target import Meter as Meter
from brinell.target.target import Target as Target
from brinell.target.target import TargetError as TargetError
