"""Translation invariance: the gradient is smoothed by a kernel, as if it were taken over shifted copies of the image.

Source: Dong et al. 2019, arXiv:1904.02884, eq. 8.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from brinell.arguments import Count, Positive
from brinell.evasion.gradient.modifier import Ask, Modifier, Place
from brinell.evasion.hunt import Hunt
from brinell.evasion.score.image import as_image
from brinell.types import Inputs, Scores


@final
@dataclass(frozen=True)
class TranslationInvariant(Modifier):
    """The gradient, convolved with a Gaussian in each channel.

    length: pixels of the kernel on a side. deviations: how many standard deviations it reaches on each side; 15 and 3
    are those of the authors' code. What is not an image is one row of features.
    """

    length: Count = 15
    deviations: Positive = 3.0

    def begin(self, hunt: Hunt, ask: Ask) -> Ask:
        def smoothed(place: Place) -> tuple[Scores, Inputs]:
            value, g = ask(place)
            return value, self._convolve(as_image(g)).reshape(g.shape)

        return smoothed

    def _convolve(self, image: Tensor) -> Tensor:
        rows = torch.linspace(-self.deviations, self.deviations, self.length, dtype=image.dtype, device=image.device)
        kernel = (-rows.square() / 2).softmax(0)
        planes = image.flatten(0, 1).unsqueeze(1)
        planes = functional.conv2d(planes, kernel.reshape(1, 1, -1, 1), padding="same")
        return functional.conv2d(planes, kernel.reshape(1, 1, 1, -1), padding="same").reshape(image.shape)
