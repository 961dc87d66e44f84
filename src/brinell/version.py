"""The version of Brinell, which a run is bound to."""

__version__ = "0.2.0"
