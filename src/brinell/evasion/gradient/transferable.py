"""The iterative fast gradient sign methods that are made to transfer: PGD with a step rule and modifiers.

Sources: MI, Dong et al. 2018 (arXiv:1710.06081); NI and SI, Lin et al. 2020 (arXiv:1908.06281); DI, Xie et al. 2019
(arXiv:1803.06978); TI, Dong et al. 2019 (arXiv:1904.02884); VMI, Wang and He 2021 (arXiv:2103.15571).
All start at x0 and take steps of radius / steps, as the papers do, so that together they just reach the edge of the
set. Combinations have no names here:
`PGD(rule=Momentum(), modifiers=(VarianceTuned(), TranslationInvariant(), ScaleInvariant(), InputDiversity()))`.
"""

from brinell.evasion.gradient.diversity import InputDiversity
from brinell.evasion.gradient.modifier import Modifier
from brinell.evasion.gradient.pgd import PGD
from brinell.evasion.gradient.rule import Momentum, Nesterov, StepRule
from brinell.evasion.gradient.scale import ScaleInvariant
from brinell.evasion.gradient.smoothing import TranslationInvariant
from brinell.evasion.gradient.variance import VarianceTuned


def MIFGSM(steps: int = 10, step: float | None = None, decay: float = 1.0) -> PGD:
    """The momentum iterative method (Dong et al. 2018, algorithm 1). decay: the paper's mu."""
    return _iterative(steps, step, Momentum(decay))


def NIFGSM(steps: int = 10, step: float | None = None, decay: float = 1.0) -> PGD:
    """Nesterov's momentum: the gradient is taken a step ahead (Lin et al. 2020, section 3.2). decay: the paper's mu."""
    return _iterative(steps, step, Nesterov(decay))


def SINIFGSM(steps: int = 10, step: float | None = None, decay: float = 1.0, copies: int = 5) -> PGD:
    """Nesterov's momentum over darker copies of the input (Lin et al. 2020, algorithm 1). copies: the paper's m."""
    return _iterative(steps, step, Nesterov(decay), ScaleInvariant(copies))


def DIFGSM(
    steps: int = 10, step: float | None = None, decay: float = 0.0, chance: float = 0.5, least: float = 0.9
) -> PGD:
    """Diverse inputs: resized and padded at random (Xie et al. 2019, eq. 6 and 7).

    decay: 0 is the paper's DI-2-FGSM, 1 its M-DI-2-FGSM. chance, least: as in `InputDiversity`.
    """
    return _iterative(steps, step, Momentum(decay), InputDiversity(chance, least))


def TIFGSM(steps: int = 10, step: float | None = None, decay: float = 1.0, length: int = 15) -> PGD:
    """Momentum over smoothed gradients, TI-MI-FGSM (Dong et al. 2019, section 3.3). length: side of the kernel."""
    return _iterative(steps, step, Momentum(decay), TranslationInvariant(length))


def VMIFGSM(
    steps: int = 10, step: float | None = None, decay: float = 1.0, neighbours: int = 20, spread: float = 1.5
) -> PGD:
    """Variance-tuned momentum (Wang and He 2021, algorithm 1). neighbours, spread: the paper's N and beta."""
    return _iterative(steps, step, Momentum(decay), VarianceTuned(neighbours, spread))


def _iterative(steps: int, step: float | None, rule: StepRule, *modifiers: Modifier) -> PGD:
    return PGD(steps=steps, step=step, rule=rule, random=False, modifiers=modifiers, travel=1.0)
