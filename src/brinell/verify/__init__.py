"""Proofs: lower bounds on margins that hold for every allowed input."""

from brinell.verify.alpha import AlphaCROWN as AlphaCROWN
from brinell.verify.branch import BranchAndBound as BranchAndBound
from brinell.verify.crown import CROWN as CROWN
from brinell.verify.export import trace as trace
from brinell.verify.freedom import Climb as Climb
from brinell.verify.graph import Graph as Graph
from brinell.verify.graph import Unsupported as Unsupported
from brinell.verify.ibp import IBP as IBP
from brinell.verify.verifier import Checkpoint as Checkpoint
from brinell.verify.verifier import Margins as Margins
from brinell.verify.verifier import Spec as Spec
from brinell.verify.verifier import Verifier as Verifier
from brinell.verify.verifier import certified as certified
from brinell.verify.verifier import margins as margins
from brinell.verify.verifier import nothing as nothing
