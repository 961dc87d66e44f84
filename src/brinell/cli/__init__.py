"""The command line."""

from brinell.cli.process import main as main
