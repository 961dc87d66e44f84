"""Attacks found on one model and shown to another."""

from brinell.evasion.transfer.ensemble import ensemble as ensemble
from brinell.evasion.transfer.matrix import Matrix as Matrix
from brinell.evasion.transfer.matrix import matrix as matrix
from brinell.evasion.transfer.transfer import Transfer as Transfer
