"""The command line."""

from brinell.cli.app import main as main
