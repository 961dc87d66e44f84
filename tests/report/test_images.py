"""Arrays become pictures whose pixels are the array's values."""

import base64
import io

import numpy as np
from PIL import Image

from brinell.report.images import SIDE, data_uris, is_image, triptych


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))


def test_what_is_a_picture() -> None:
    assert is_image((1, 28, 28))
    assert is_image((3, 224, 224))
    assert not is_image((28, 28))
    assert not is_image((7,))
    assert not is_image((4, 8, 8))
    assert not is_image((3, 8, 1))


def test_the_box_spans_black_to_white() -> None:
    x = np.linspace(-1, 1, 256).reshape(1, 16, 16)
    t = triptych(x, x, (-1.0, 1.0))
    (uris,) = data_uris([t])
    assert np.array(opened(uris[0])).ravel().tolist() == list(range(256))


def test_without_a_box_the_values_at_hand_span_it() -> None:
    x0, x = np.array([[[5.0, 7.0], [6.0, 5.0]]]), np.array([[[5.0, 9.0], [6.0, 5.0]]])
    t = triptych(x0, x, None)
    assert np.array(t.witness).tolist() == [[0, 255], [64, 0]]
    assert np.array(t.original).max() == 128


def test_the_difference_is_amplified_around_mid_grey_by_the_factor_stated() -> None:
    x0 = np.full((3, 2, 2), 0.5)
    x = x0.copy()
    x[0, 0, 0] += 10 / 255
    x[1, 1, 1] -= 5 / 255
    t = triptych(x0, x, (0.0, 1.0))
    assert t.factor == 12
    pixels = np.array(t.difference)
    assert pixels[0, 0].tolist() == [128 + 120, 128, 128]
    assert pixels[1, 1].tolist() == [128, 128 - 60, 128]


def test_no_difference_and_no_contrast_are_drawn_too() -> None:
    x = np.zeros((1, 4, 4))
    t = triptych(x, x, None)
    assert t.factor == 1
    assert set(np.array(t.difference).ravel().tolist()) == {128}


def test_a_large_picture_is_drawn_smaller_and_keeps_its_sides() -> None:
    x = np.zeros((3, 100, 400))
    t = triptych(x, x, (0.0, 1.0))
    assert t.original.size == (SIDE, SIDE // 4)
    assert t.size == (400, 100)
    assert t.reduced


def test_an_alternating_difference_does_not_average_away() -> None:
    x0 = np.full((1, 192, 192), 0.5)
    x = x0 + 0.1 * (np.indices((192, 192)).sum(0) % 2 * 2 - 1)
    assert np.abs(np.array(triptych(x0, x, (0.0, 1.0)).difference).astype(int) - 128).min() > 100
