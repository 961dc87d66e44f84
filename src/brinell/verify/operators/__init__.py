"""One small file a family of operators: what each computes, and how it is bounded."""

from brinell.verify.operators.base import Affine as Affine
from brinell.verify.operators.base import Bend as Bend
from brinell.verify.operators.base import Choices as Choices
from brinell.verify.operators.base import Coefficients as Coefficients
from brinell.verify.operators.base import Constants as Constants
from brinell.verify.operators.base import Interval as Interval
from brinell.verify.operators.base import Linearised as Linearised
from brinell.verify.operators.base import Neurons as Neurons
from brinell.verify.operators.base import Operator as Operator
from brinell.verify.operators.base import Slope as Slope
from brinell.verify.operators.base import Values as Values
from brinell.verify.operators.base import inner as inner
from brinell.verify.operators.convolution import Convolution as Convolution
from brinell.verify.operators.convolution import average as average
from brinell.verify.operators.linear import Linear as Linear
from brinell.verify.operators.maximum import MaxPool as MaxPool
from brinell.verify.operators.relu import ReLU as ReLU
from brinell.verify.operators.scale import Scale as Scale
from brinell.verify.operators.shape import Concatenate as Concatenate
from brinell.verify.operators.shape import Pad as Pad
from brinell.verify.operators.shape import Permute as Permute
from brinell.verify.operators.shape import Pick as Pick
from brinell.verify.operators.shape import Reshape as Reshape
from brinell.verify.operators.total import Total as Total
from brinell.verify.operators.windows import Local as Local
from brinell.verify.operators.windows import Windows as Windows
