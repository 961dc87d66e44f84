"""Attacks found on one model and shown to another."""

from brinell.evasion.transfer.ensemble import ensemble as ensemble
from brinell.evasion.transfer.leaf_search import LeafSearch as LeafSearch
from brinell.evasion.transfer.matrix import Matrix as Matrix
from brinell.evasion.transfer.matrix import matrix as matrix
from brinell.evasion.transfer.matrix import usual as usual
from brinell.evasion.transfer.neighbours import soft_neighbours as soft_neighbours
from brinell.evasion.transfer.networks import convolutional as convolutional
from brinell.evasion.transfer.networks import dense as dense
from brinell.evasion.transfer.networks import logistic as logistic
from brinell.evasion.transfer.substitute import Substitute as Substitute
from brinell.evasion.transfer.substitute import Taught as Taught
from brinell.evasion.transfer.transfer import Transfer as Transfer
