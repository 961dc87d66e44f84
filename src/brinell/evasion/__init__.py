"""Attacks on single inputs, and the hunt that drives them."""

from brinell.evasion.attack import Attack as Attack
from brinell.evasion.attack import Found as Found
from brinell.evasion.attack import attack as attack
from brinell.evasion.clean import Clean as Clean
from brinell.evasion.gradient.apgd import APGD as APGD
from brinell.evasion.gradient.pgd import BIM as BIM
from brinell.evasion.gradient.pgd import FGSM as FGSM
from brinell.evasion.gradient.pgd import PGD as PGD
from brinell.evasion.gradient.rule import Momentum as Momentum
from brinell.evasion.gradient.rule import Plain as Plain
from brinell.evasion.gradient.rule import StepRule as StepRule
from brinell.evasion.hunt import Hunt as Hunt
from brinell.evasion.hunt import Objective as Objective
from brinell.evasion.noise import Noise as Noise
from brinell.evasion.objective import cross_entropy as cross_entropy
from brinell.evasion.objective import dlr as dlr
from brinell.evasion.objective import margin as margin
from brinell.evasion.score.square import Square as Square
