"""One perturbation for every input: learnt from some examples, and tried on others."""

from brinell.evasion.universal.perturbation import Universal as Universal
from brinell.evasion.universal.perturbation import fooling as fooling
from brinell.evasion.universal.sgd import UniversalSGD as UniversalSGD
from brinell.evasion.universal.study import Fitted as Fitted
from brinell.evasion.universal.uap import UAP as UAP
