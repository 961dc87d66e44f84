"""What each ONNX operator means in PyTorch's operators: one small file a family. A missing name is an error."""

from brinell.targets.onnx.call import Rule
from brinell.targets.onnx.operators import (
    activation,
    arithmetic,
    constant,
    convolution,
    linear,
    moving,
    normalisation,
    pooling,
    reduction,
    shape,
)

RULES: dict[str, Rule] = {
    **activation.RULES,
    **arithmetic.RULES,
    **constant.RULES,
    **convolution.RULES,
    **linear.RULES,
    **moving.RULES,
    **normalisation.RULES,
    **pooling.RULES,
    **reduction.RULES,
    **shape.RULES,
}
