"""Every engine Brinell has, as data: printed by `brinell list`, resolved by plans, cited by reports.

Importing this module imports no engine and no torch.

ATLAS ids are those of MITRE ATLAS (atlas.mitre.org), NIST ids those of NIST AI 100-2 E2025.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, final

from brinell.access import Access
from brinell.errors import UsageError, did_you_mean

Kind = Literal["attack", "proof", "exact", "vote", "measure", "estimate", "learner", "transformation"]
"""What an engine leaves: witnesses, certificates, both at once, or what it learnt from examples, for attacks to use.

A vote leaves certificates too, of a smoothed classifier, which chance may spoil; an estimate leaves a number, and no
evidence; a measure leaves what it read of each example. A transformation leaves nothing: it is another space, in which
attacks search.
"""


@final
@dataclass(frozen=True)
class Row:
    """One engine. path: `module:name` of the callable that makes it from its settings.

    sets: the perturbation sets it answers for, by name; empty for every one. atlas, nist: what an attack enacts.
    question: the question whose plans it is a stage of.
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
    question: str = "evasion"

    @property
    def smallest(self) -> bool:
        """Whether an infinite radius asks it for the smallest perturbation, so that one search serves every radius."""
        return self.family in ("minimal", "decision", "radius")

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


def _score(name: str, sets: tuple[str, ...], paper: str) -> Row:
    path = f"brinell.evasion:{name}"
    return Row(name, path, "attack", "score", Access.SCORES, paper, sets, _BLACK_BOX, (_BLACK_EVASION,))


def _minimal(name: str, sets: tuple[str, ...], paper: str) -> Row:
    path = f"brinell.evasion:{name}"
    return Row(name, path, "attack", "minimal", Access.GRADIENTS, paper, sets, _WHITE_BOX, (_EVASION,))


def _learner(name: str, family: str, paper: str) -> Row:
    path = f"brinell.evasion:{name}"
    return Row(name, path, "learner", family, Access.GRADIENTS, paper, (), _WHITE_BOX, (_EVASION,))


def _transformation(name: str, paper: str, family: str = "spatial") -> Row:
    path = f"brinell.evasion:{name}"
    return Row(name, path, "transformation", family, Access.LABELS, paper, (), _BLACK_BOX, (_BLACK_EVASION,))


def _universal(name: str, paper: str) -> Row:
    path = f"brinell.evasion.universal:{name}"
    return Row(name, path, "learner", "universal", Access.GRADIENTS, paper, (), _WHITE_BOX, (_EVASION,))


def _decision(name: str, sets: tuple[str, ...], paper: str) -> Row:
    path = f"brinell.evasion:{name}"
    return Row(name, path, "attack", "decision", Access.LABELS, paper, sets, _BLACK_BOX, (_BLACK_EVASION,))


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
    _minimal("LBFGS", ("l2",), "Szegedy et al. 2014, arXiv:1312.6199"),
    _minimal("JSMA", ("l0",), "Papernot et al. 2016, arXiv:1511.07528"),
    _minimal("CW", ("l2",), "Carlini and Wagner 2017, arXiv:1608.04644"),
    _minimal("CWLinf", ("linf",), "Carlini and Wagner 2017, arXiv:1608.04644"),
    _minimal("CWL0", ("l0",), "Carlini and Wagner 2017, arXiv:1608.04644"),
    _minimal("EAD", ("l1",), "Chen et al. 2018, arXiv:1709.04114"),
    _minimal("DeepFool", ("linf", "l2"), "Moosavi-Dezfooli et al. 2016, arXiv:1511.04599"),
    _minimal("DDN", ("l2",), "Rony et al. 2019, arXiv:1811.09600"),
    _minimal("FMN", ("linf", "l2", "l1", "l0"), "Pintor et al. 2021, arXiv:2102.12827"),
    _minimal("PDPGD", ("l1",), "Matyasko and Chau 2021, arXiv:2106.01538"),
    _minimal("SigmaZero", ("l0",), "Cina et al. 2024, arXiv:2402.01879"),
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
    _score("ZOO", ("l2",), "Chen et al. 2017, arXiv:1708.03999"),
    _score("NES", ("linf", "l2"), "Ilyas et al. 2018, arXiv:1804.08598"),
    _score("SPSA", ("linf", "l2"), "Uesato et al. 2018, arXiv:1802.05666"),
    _score("Bandits", ("linf", "l2"), "Ilyas et al. 2019, arXiv:1807.07978"),
    _score("SimBA", ("linf", "l2"), "Guo et al. 2019, arXiv:1905.07121"),
    _score("GenAttack", ("linf", "l2"), "Alzantot et al. 2019, arXiv:1805.11090"),
    _score("OnePixel", ("pixels",), "Su et al. 2017, arXiv:1710.08864"),
    _score("LocalSearch", ("pixels", "l0"), "Narodytska and Kasiviswanathan 2016, arXiv:1612.06299"),
    _decision("Boundary", ("l2",), "Brendel et al. 2018, arXiv:1712.04248"),
    _decision("OPT", ("l2",), "Cheng et al. 2019, arXiv:1807.04457"),
    _decision("SignOPT", ("l2",), "Cheng et al. 2020, arXiv:1909.10773"),
    _decision("HopSkipJump", ("linf", "l2"), "Chen et al. 2020, arXiv:1904.02144"),
    _decision("GeoDA", ("linf", "l2"), "Rahmati et al. 2020, arXiv:2003.06468"),
    _decision("RayS", ("linf",), "Chen and Gu 2020, arXiv:2006.12792"),
    _decision("Evolutionary", ("l2",), "Dong et al. 2019, arXiv:1904.04433"),
    _decision("LabelOnly", ("linf", "l2"), "Ilyas et al. 2018, arXiv:1804.08598"),
    Row(
        "PartialInformation",
        "brinell.evasion:PartialInformation",
        "attack",
        "decision",
        Access.SCORES,
        "Ilyas et al. 2018, arXiv:1804.08598",
        ("linf", "l2"),
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
        "Substitute",
        "brinell.evasion.transfer:Substitute",
        "learner",
        "transfer",
        Access.LABELS,
        "Papernot et al. 2017, arXiv:1602.02697",
        (),
        ("AML.T0015", "AML.T0043.002", "AML.T0005.001"),
        (_BLACK_EVASION,),
    ),
    _universal("UAP", "Moosavi-Dezfooli et al. 2017, arXiv:1610.08401"),
    _universal("UniversalSGD", "Shafahi et al. 2020, arXiv:1811.11304"),
    _transformation("RotateShift", "Engstrom et al. 2019, arXiv:1712.02779"),
    _transformation("Flow", "Xiao et al. 2018, arXiv:1801.02612"),
    _transformation("HueSaturation", "Hosseini and Poovendran 2018, arXiv:1804.00499"),
    _transformation("Recolour", "Laidlaw and Feizi 2019, arXiv:1906.00001"),
    _transformation("FrequencyMasking", "Qin et al. 2019, arXiv:1903.10346", "audio"),
    _learner("AdversarialPatch", "physical", "Brown et al. 2017, arXiv:1712.09665"),
    _learner("Eyeglasses", "physical", "Sharif et al. 2016, doi:10.1145/2976749.2978392"),
    _learner("Fooling", "unrestricted", "Nguyen et al. 2015, arXiv:1412.1897"),
    _learner("Reprogramming", "reprogramming", "Elsayed et al. 2019, arXiv:1806.11146"),
    Row(
        "IBP",
        "brinell.proofs:IBP",
        "proof",
        "interval",
        Access.WEIGHTS,
        "Gowal et al. 2018, arXiv:1810.12715",
    ),
    Row("GloRo", "brinell.proofs:GloRo", "proof", "lipschitz", Access.WEIGHTS, "Leino et al. 2021, arXiv:2102.08452"),
    Row(
        "LocalLipschitz",
        "brinell.proofs:LocalLipschitz",
        "proof",
        "lipschitz",
        Access.WEIGHTS,
        "Huang et al. 2021, arXiv:2111.01395",
    ),
    Row(
        "Smoothing",
        "brinell.proofs:Smoothing",
        "vote",
        "smoothing",
        Access.LABELS,
        "Cohen et al. 2019, arXiv:1902.02918",
    ),
    Row(
        "RandomProjection",
        "brinell.proofs:RandomProjection",
        "estimate",
        "linear",
        Access.WEIGHTS,
        "Wong et al. 2018, arXiv:1805.12514",
    ),
    Row(
        "Zonotope",
        "brinell.proofs:Zonotope",
        "proof",
        "zonotope",
        Access.WEIGHTS,
        "Gehr et al. 2018, doi:10.1109/SP.2018.00058",
    ),
    Row(
        "ForwardCROWN",
        "brinell.proofs:ForwardCROWN",
        "proof",
        "linear",
        Access.WEIGHTS,
        "Xu et al. 2020, arXiv:2002.12920",
    ),
    Row(
        "CROWN",
        "brinell.proofs:CROWN",
        "proof",
        "linear",
        Access.WEIGHTS,
        "Zhang et al. 2018, arXiv:1811.00866",
    ),
    Row(
        "AlphaCROWN",
        "brinell.proofs:AlphaCROWN",
        "proof",
        "linear",
        Access.WEIGHTS,
        "Xu et al. 2021, arXiv:2011.13824",
    ),
    Row(
        "BranchAndBound",
        "brinell.proofs:BranchAndBound",
        "proof",
        "branch and bound",
        Access.WEIGHTS,
        "Wang et al. 2021, arXiv:2103.06624",
    ),
    Row(
        "MILP",
        "brinell.proofs:MILP",
        "proof",
        "integer programme",
        Access.WEIGHTS,
        "Tjeng et al. 2019, arXiv:1711.07356",
    ),
    Row(
        "CertifiedRadius",
        "brinell.proofs:CertifiedRadius",
        "exact",
        "radius",
        Access.WEIGHTS,
        "Weng et al. 2018, arXiv:1804.09699",
        ("linf", "l1", "l2"),
    ),
    Row(
        "ExactTrees",
        "brinell.proofs:ExactTrees",
        "exact",
        "regions",
        Access.WEIGHTS,
        "Chen et al. 2019, arXiv:1906.03849",
        ("linf", "l1", "l2", "l0", "features"),
        _WHITE_BOX,
        (_EVASION,),
    ),
    Row(
        "RegionWalk",
        "brinell.proofs:RegionWalk",
        "exact",
        "regions",
        Access.WEIGHTS,
        "Jordan et al. 2019, arXiv:1903.08778",
        ("linf", "l1", "l2"),
        _WHITE_BOX,
        (_EVASION,),
    ),
    Row(
        "Probabilities",
        "brinell.questions.calibration:Probabilities",
        "measure",
        "calibration",
        Access.SCORES,
        "Guo et al. 2017, arXiv:1706.04599",
        question="calibration",
    ),
)


@final
@dataclass(frozen=True)
class Asked:
    """One question that an audit can be asked.

    path: `module:name` of its class. about: what it asks, in a line. plans: the names of its presets.
    """

    name: str
    path: str
    about: str
    plans: tuple[str, ...] = ("standard",)

    def resolve(self) -> Any:
        """Import the question."""
        module, name = self.path.split(":")
        return getattr(import_module(module), name)


QUESTIONS: tuple[Asked, ...] = (
    Asked(
        "evasion",
        "brinell.questions.evasion:Evasion",
        "does a small change of an input flip the answer?",
        ("quick", "standard", "autoattack", "proofs", "radius", "full"),
    ),
    Asked("calibration", "brinell.questions.calibration:Calibration", "is it right as often as it is sure?"),
)
"""Every question, in the order in which a run asks them."""


def asked(name: str, questions: Sequence[Asked] = QUESTIONS) -> Asked:
    """The question of this name. Raises UsageError with the one that was probably meant, and those there are."""
    known = [row.name for row in questions]
    if name not in known:
        raise UsageError(f"question {name!r} is not known{did_you_mean(name, known)}; there are {', '.join(known)}")
    return questions[known.index(name)]
