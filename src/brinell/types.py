"""The tensor words used in signatures. `batch` is the number of examples, `*shape` one example's shape."""

from jaxtyping import Bool, Float, Int64
from torch import Tensor

Inputs = Float[Tensor, "batch *shape"]
"""Examples, in the user's own input units."""

Labels = Int64[Tensor, " batch"]
"""Class indices, 0 to classes - 1."""

Logits = Float[Tensor, "batch classes"]
"""One score a class; the largest is the decision. Not necessarily logits."""

Scores = Float[Tensor, " batch"]
"""One number an example."""

Mask = Bool[Tensor, " batch"]
"""One truth value an example."""

Jacobian = Float[Tensor, "batch classes *shape"]
"""The gradient of each of several scores of an example by its input."""

__all__ = ["Inputs", "Jacobian", "Labels", "Logits", "Mask", "Scores"]
