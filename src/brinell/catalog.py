"""Every engine Brinell has, as data: printed by `brinell list`, resolved by plans, cited by reports.

Importing this module imports no engine and no torch.

ATLAS ids are those of MITRE ATLAS (atlas.mitre.org), NIST ids those of NIST AI 100-2 E2025.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, final

from brinell.access import Access

Kind = Literal["attack", "proof", "exact"]
"""What an engine leaves: witnesses, certificates, or both at once."""


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

    @property
    def smallest(self) -> bool:
        """Whether an infinite radius asks it for the smallest perturbation, so that one search serves every radius."""
        return self.family in ("minimal", "decision")

    def resolve(self) -> Any:
        """Import the engine."""
        module, name = self.path.split(":")
        return getattr(import_module(module), name)


_WHITE_BOX = ("AML.T0015", "AML.T0043.000")
_BLACK_BOX = ("AML.T0015", "AML.T0043.001")
_EVASION = "NISTAML.022"
_BLACK_EVASION = "NISTAML.025"


def _gradient(name: str, paper: str, sets: tuple[str, ...] = ()) -> Row:
    path = f"brinell.evasion:{name}"
    return Row(name, path, "attack", "gradient", Access.GRADIENTS, paper, sets, _WHITE_BOX, (_EVASION,))


def _score(name: str, paper: str) -> Row:
    path = f"brinell.evasion:{name}"
    return Row(name, path, "attack", "score", Access.SCORES, paper, (), _BLACK_BOX, (_BLACK_EVASION,))


def _minimal(name: str, sets: tuple[str, ...], paper: str) -> Row:
    path = f"brinell.evasion:{name}"
    return Row(name, path, "attack", "minimal", Access.GRADIENTS, paper, sets, _WHITE_BOX, (_EVASION,))


def _decision(name: str, paper: str) -> Row:
    path = f"brinell.evasion:{name}"
    return Row(name, path, "attack", "decision", Access.LABELS, paper, (), _BLACK_BOX, (_BLACK_EVASION,))


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
    _gradient("MIFGSM", "Dong et al. 2018, arXiv:1710.06081"),
    _gradient("NIFGSM", "Lin et al. 2020, arXiv:1908.06281"),
    _gradient("SINIFGSM", "Lin et al. 2020, arXiv:1908.06281"),
    _gradient("DIFGSM", "Xie et al. 2019, arXiv:1803.06978"),
    _gradient("TIFGSM", "Dong et al. 2019, arXiv:1904.02884"),
    _gradient("VMIFGSM", "Wang and He 2021, arXiv:2103.15571"),
    _gradient("TPGD", "Zhang et al. 2019, arXiv:1901.08573"),
    _gradient("EOTPGD", "Athalye et al. 2018, arXiv:1707.07397"),
    _gradient("SLIDE", "Tramer and Boneh 2019, arXiv:1904.13000", ("l1",)),
    _minimal("DeepFool", ("linf", "l2"), "Moosavi-Dezfooli et al. 2016, arXiv:1511.04599"),
    _minimal("DDN", ("l2",), "Rony et al. 2019, arXiv:1811.09600"),
    _minimal("FMN", ("linf", "l2"), "Pintor et al. 2021, arXiv:2102.12827"),
    Row(
        "FAB",
        "brinell.evasion:FAB",
        "attack",
        "minimal",
        Access.GRADIENTS,
        "Croce and Hein 2020, arXiv:1907.02044",
        ("linf", "l2", "l1"),
        _WHITE_BOX,
        (_EVASION,),
    ),
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
    _score("ZOO", "Chen et al. 2017, arXiv:1708.03999"),
    _score("NES", "Ilyas et al. 2018, arXiv:1804.08598"),
    _score("SPSA", "Uesato et al. 2018, arXiv:1802.05666"),
    _score("Bandits", "Ilyas et al. 2019, arXiv:1807.07978"),
    _score("SimBA", "Guo et al. 2019, arXiv:1905.07121"),
    _score("GenAttack", "Alzantot et al. 2019, arXiv:1805.11090"),
    _score("OnePixel", "Su et al. 2017, arXiv:1710.08864"),
    _score("LocalSearch", "Narodytska and Kasiviswanathan 2016, arXiv:1612.06299"),
    _decision("Boundary", "Brendel et al. 2018, arXiv:1712.04248"),
    _decision("OPT", "Cheng et al. 2019, arXiv:1807.04457"),
    _decision("SignOPT", "Cheng et al. 2020, arXiv:1909.10773"),
    _decision("HopSkipJump", "Chen et al. 2020, arXiv:1904.02144"),
    _decision("GeoDA", "Rahmati et al. 2020, arXiv:2003.06468"),
    _decision("RayS", "Chen and Gu 2020, arXiv:2006.12792"),
    _decision("Evolutionary", "Dong et al. 2019, arXiv:1904.04433"),
    _decision("LabelOnly", "Ilyas et al. 2018, arXiv:1804.08598"),
    Row(
        "PartialInformation",
        "brinell.evasion:PartialInformation",
        "attack",
        "decision",
        Access.SCORES,
        "Ilyas et al. 2018, arXiv:1804.08598",
        (),
        _BLACK_BOX,
        (_BLACK_EVASION,),
    ),
    Row(
        "Grid",
        "brinell.evasion:Grid",
        "attack",
        "spatial",
        Access.LABELS,
        "Engstrom et al. 2019, arXiv:1712.02779",
        (),
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
    Row(
        "ExactTrees",
        "brinell.verify:ExactTrees",
        "exact",
        "regions",
        Access.WEIGHTS,
        "Chen et al. 2019, arXiv:1906.03849",
        ("linf", "l1", "l2", "l0"),
        _WHITE_BOX,
        (_EVASION,),
    ),
)
