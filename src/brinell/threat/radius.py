"""Radii as people write them."""

from brinell.errors import UsageError


def parse_radius(text: str) -> float:
    """A number >= 0 or a quotient: 0.1, 8/255. Raises UsageError."""
    above, slash, below = text.partition("/")
    try:
        radius = float(above) / (float(below) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        radius = float("nan")
    if not 0 <= radius < float("inf"):
        raise UsageError(f"radius {text!r} is not a number >= 0; write 0.1 or 8/255")
    return radius


def spelled(radius: float) -> str:
    """The shortest decimal that is this radius."""
    short = f"{radius:.12g}"
    return short if float(short) == radius else repr(radius)
