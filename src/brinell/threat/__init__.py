"""What the adversary may do: perturbation sets, goals, accesses and budgets. No engine is known here."""

from brinell.access import Access as Access
from brinell.threat.box import REALS as REALS
from brinell.threat.box import Box as Box
from brinell.threat.features import Features as Features
from brinell.threat.goal import LEAST_LIKELY as LEAST_LIKELY
from brinell.threat.goal import UNTARGETED as UNTARGETED
from brinell.threat.goal import GivenAims as GivenAims
from brinell.threat.goal import Goal as Goal
from brinell.threat.goal import LeastLikely as LeastLikely
from brinell.threat.goal import Targeted as Targeted
from brinell.threat.goal import Untargeted as Untargeted
from brinell.threat.l0 import L0 as L0
from brinell.threat.l0 import Pixels as Pixels
from brinell.threat.l1 import L1 as L1
from brinell.threat.l2 import L2 as L2
from brinell.threat.linf import Linf as Linf
from brinell.threat.masked import Masked as Masked
from brinell.threat.rules import Rules as Rules
from brinell.threat.sets import PerturbationSet as PerturbationSet
from brinell.threat.threat import Threat as Threat
