"""The commands, one a file. Heavy imports stand inside them, so that `--help` is instant."""
