"""Eyeglasses that make a face recogniser take their wearer for nobody it knows, or for somebody else.

Sharif et al. 2016, "Accessorize to a Crime" (doi:10.1145/2976749.2978392).
"""

from jaxtyping import Bool
from torch import Tensor

from brinell.evasion.physical.patch import AdversarialPatch
from brinell.evasion.physical.placement import View, Worn
from brinell.evasion.physical.printable import NonPrintability, TotalVariation


def Eyeglasses(
    mask: Bool[Tensor, "*shape"],
    palette: tuple[tuple[float, ...], ...],
    view: View = View(),
    smooth: float = 0.5,
    printable: float = 1.0,
    steps: int = 300,
    batch: int = 16,
) -> AdversarialPatch:
    """One frame for several photographs of its wearer, in every pose and light (eq. 4 of the paper).

    mask: where the frame covers a face, such as `eyeglass_mask`. palette: colours that can be printed. smooth,
    printable: the weights of total variation and of the non-printability score. Give `learn` no aim to dodge, and the
    person to be taken for to impersonate.
    """
    penalties = (TotalVariation(smooth), NonPrintability(palette, printable))
    return AdversarialPatch(Worn(mask, view), steps=steps, batch=batch, penalties=penalties)
