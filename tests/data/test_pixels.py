import numpy as np
import pytest

from brinell.data.pixels import as_floats, channels_first


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 28, 28), (5, 1, 28, 28)),
        ((5, 32, 32, 3), (5, 3, 32, 32)),
        ((5, 8, 9, 1), (5, 1, 8, 9)),
        ((5, 8, 9, 4), (5, 4, 8, 9)),
        ((5, 3, 32, 32), (5, 3, 32, 32)),
        ((5, 1, 28, 1), (5, 1, 28, 1)),
        ((5, 3, 7, 3), (5, 3, 7, 3)),
        ((5, 8, 8, 2), (5, 8, 8, 2)),
        ((5, 6), (5, 6)),
        ((5, 2, 3, 4, 3), (5, 2, 3, 4, 3)),
    ],
)
def test_channels_go_first_unless_they_may_be_there(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert channels_first(np.zeros(shape)).shape == expected


def test_moving_the_channels_keeps_every_pixel() -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3))
    moved = channels_first(x)
    assert all((moved[:, c] == x[..., c]).all() for c in range(3))


def test_every_byte_is_scaled_to_the_nearest_float() -> None:
    scaled, said = as_floats(np.arange(256, dtype=np.uint8).reshape(1, 16, 16))
    assert said == "uint8 / 255"
    assert scaled.flatten().tolist() == [float(np.float32(v / 255)) for v in range(256)]
