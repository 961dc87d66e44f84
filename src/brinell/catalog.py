"""Every engine Brinell has, as data: printed by `brinell list`, resolved by plans, cited by reports.

Importing this module imports no engine and no torch.

ATLAS ids are those of MITRE ATLAS (atlas.mitre.org), NIST ids those of NIST AI 100-2 E2025.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, final

from brinell.access import Access

Kind = Literal["attack", "proof"]


@final
@dataclass(frozen=True)
class Row:
    """One engine. path: `module:name` of the callable that makes it from its settings.

    sets: the perturbation sets it answers for, by name; empty for every one. atlas, nist: what an attack enacts.
    """

    name: str
    path: str
    kind: Kind
    family: str
    access: Access
    paper: str
    sets: tuple[str, ...] = ()
    atlas: tuple[str, ...] = ()
    nist: tuple[str, ...] = ()

    def resolve(self) -> Any:
        """Import the engine."""
        module, name = self.path.split(":")
        return getattr(import_module(module), name)


_WHITE_BOX = ("AML.T0015", "AML.T0043.000")
_BLACK_BOX = ("AML.T0015", "AML.T0043.001")
_EVASION = "NISTAML.022"
_BLACK_EVASION = "NISTAML.025"


def _gradient(name: str, paper: str) -> Row:
    path = f"brinell.evasion:{name}"
    return Row(name, path, "attack", "gradient", Access.GRADIENTS, paper, (), _WHITE_BOX, (_EVASION,))


CATALOG: tuple[Row, ...] = (
    Row("Clean", "brinell.evasion:Clean", "attack", "none", Access.LABELS, "the example itself"),
    Row(
        "Noise",
        "brinell.evasion:Noise",
        "attack",
        "random",
        Access.LABELS,
        "random points and corners of the set",
        (),
        _BLACK_BOX,
        (_BLACK_EVASION,),
    ),
    _gradient("FGSM", "Goodfellow et al. 2015, arXiv:1412.6572"),
    _gradient("BIM", "Kurakin et al. 2017, arXiv:1607.02533"),
    _gradient("PGD", "Madry et al. 2018, arXiv:1706.06083"),
    _gradient("APGD", "Croce and Hein 2020, arXiv:2003.01690"),
    Row(
        "Square",
        "brinell.evasion:Square",
        "attack",
        "score",
        Access.SCORES,
        "Andriushchenko et al. 2020, arXiv:1912.00049",
        ("linf", "l2"),
        _BLACK_BOX,
        (_BLACK_EVASION,),
    ),
    Row(
        "IBP",
        "brinell.verify:IBP",
        "proof",
        "interval",
        Access.WEIGHTS,
        "Gowal et al. 2018, arXiv:1810.12715",
    ),
    Row(
        "CROWN",
        "brinell.verify:CROWN",
        "proof",
        "linear",
        Access.WEIGHTS,
        "Zhang et al. 2018, arXiv:1811.00866",
    ),
    Row(
        "AlphaCROWN",
        "brinell.verify:AlphaCROWN",
        "proof",
        "linear",
        Access.WEIGHTS,
        "Xu et al. 2021, arXiv:2011.13824",
    ),
    Row(
        "BranchAndBound",
        "brinell.verify:BranchAndBound",
        "proof",
        "branch and bound",
        Access.WEIGHTS,
        "Wang et al. 2021, arXiv:2103.06624",
    ),
)
