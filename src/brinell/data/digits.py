"""scikit-learn's handwritten digits: 1797 images of 8x8, always at hand.

Source: E. Alpaydin, C. Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI (its test set).
"""

from dataclasses import replace

import torch

from brinell.data.dataset import Dataset
from brinell.errors import MissingExtra

TRAIN = 1000
"""Examples in the part to train on, the first ones; the other 797 are held out."""


def read_digits(train: bool) -> Dataset:
    """(n, 1, 8, 8) in [0, 1], from the source's 0 to 16. `ids` are rows of the whole set.

    Raises `MissingExtra` without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingExtra("scikit-learn", "sklearn") from None
    bunch = load_digits()
    whole = Dataset.of(
        bunch.images[:, None] / 16,
        bunch.target,
        classes=tuple("0123456789"),
        source="digits:train" if train else "digits",
    )
    rows = torch.arange(TRAIN) if train else torch.arange(TRAIN, len(whole))
    return replace(whole, x=whole.x[rows], y=whole.y[rows], ids=whole.ids[rows], scaling="values / 16")
