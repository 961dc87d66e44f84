"""The clean example: what is misclassified already needs no perturbation."""

from dataclasses import dataclass
from typing import ClassVar, final

from brinell.access import Access
from brinell.evasion.attack import Attack
from brinell.evasion.hunt import Hunt


@final
@dataclass(frozen=True)
class Clean(Attack):
    """Proposes x0 itself. A hunt begins by querying it, so there is nothing left to do."""

    needs: ClassVar[Access] = Access.LABELS

    def __call__(self, hunt: Hunt) -> None:
        pass
