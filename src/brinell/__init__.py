"""Brinell: how hard is your model to break? Every answer is a bracket [proved, not yet broken].

    import brinell

    target = brinell.target(model, box=(0, 1))
    audit = brinell.audit(target, (x, y), brinell.Threat(brinell.Linf(8 / 255)))
    audit.bracket.certified, audit.bracket.unbroken

Names are imported when they are first used, so that `import brinell` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from brinell.version import __version__ as __version__

if TYPE_CHECKING:
    from brinell import evasion as evasion
    from brinell import proofs as proofs
    from brinell.access import Access as Access
    from brinell.auditing import Subject as Subject
    from brinell.data import Dataset as Dataset
    from brinell.evasion import attack as attack
    from brinell.evidence import Figure as Figure
    from brinell.questions.audit import Audit as Audit
    from brinell.questions.audit import audit as audit
    from brinell.questions.calibration import Calibration as Calibration
    from brinell.questions.evasion import Evasion as Evasion
    from brinell.questions.evasion.diagnose import diagnose as diagnose
    from brinell.questions.verify import verify as verify
    from brinell.targets import Target as Target
    from brinell.targets import load as load
    from brinell.targets import target as target
    from brinell.threat import L0 as L0
    from brinell.threat import L1 as L1
    from brinell.threat import L2 as L2
    from brinell.threat import LEAST_LIKELY as LEAST_LIKELY
    from brinell.threat import Box as Box
    from brinell.threat import Features as Features
    from brinell.threat import Linf as Linf
    from brinell.threat import Masked as Masked
    from brinell.threat import Pixels as Pixels
    from brinell.threat import Rules as Rules
    from brinell.threat import Targeted as Targeted
    from brinell.threat import Threat as Threat


_HOMES = {
    "Access": "brinell.access",
    "Audit": "brinell.questions.audit",
    "Calibration": "brinell.questions.calibration",
    "Evasion": "brinell.questions.evasion",
    "Figure": "brinell.evidence",
    "Subject": "brinell.auditing",
    "audit": "brinell.questions.audit",
    "diagnose": "brinell.questions.evasion.diagnose",
    "verify": "brinell.questions.verify",
    "Dataset": "brinell.data",
    "attack": "brinell.evasion",
    "Target": "brinell.targets",
    "load": "brinell.targets",
    "target": "brinell.targets",
    "Box": "brinell.threat",
    "Features": "brinell.threat",
    "L0": "brinell.threat",
    "L1": "brinell.threat",
    "L2": "brinell.threat",
    "LEAST_LIKELY": "brinell.threat",
    "Linf": "brinell.threat",
    "Masked": "brinell.threat",
    "Pixels": "brinell.threat",
    "Rules": "brinell.threat",
    "Targeted": "brinell.threat",
    "Threat": "brinell.threat",
}
_MODULES = ("evasion", "proofs")

__all__ = ["__version__", *sorted(_HOMES), *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"brinell.{name}")
    raise AttributeError(f"module 'brinell' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
