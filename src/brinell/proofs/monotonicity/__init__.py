"""Whether a score may fall where a feature rises."""
