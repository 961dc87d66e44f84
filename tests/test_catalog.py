import inspect
import re
import subprocess
import sys

import pytest

import brinell.evasion
import brinell.proofs
from brinell.catalog import CATALOG
from brinell.evasion import Attack
from brinell.evasion.spatial.transformation import Transformation
from brinell.proofs import Exact, RandomProjection, Smoothing, Verifier
from brinell.questions.calibration import Probabilities

ids = [row.name for row in CATALOG]


def test_names_are_unique():
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("row", CATALOG, ids=ids)
def test_every_row_leads_to_its_engine(row):
    made = row.resolve()
    if row.kind == "learner":
        learner = inspect.signature(made).return_annotation if inspect.isfunction(made) else made
        assert {"target", "oracle"} & set(inspect.signature(learner.learn).parameters)
    else:
        kinds = {
            "attack": Attack,
            "proof": Verifier,
            "exact": Exact,
            "vote": Smoothing,
            "estimate": RandomProjection,
            "measure": Probabilities,
            "transformation": Transformation,
        }
        assert isinstance(made(), kinds[row.kind])
    assert row.path.endswith(f":{row.name}")
    assert row.family


@pytest.mark.parametrize("row", [row for row in CATALOG if row.kind == "attack"], ids=lambda row: row.name)
def test_an_attack_needs_the_access_its_row_says(row):
    assert row.resolve()().needs is row.access


@pytest.mark.parametrize("row", CATALOG, ids=ids)
def test_references_are_written_as_their_sources_write_them(row):
    assert all(re.fullmatch(r"AML\.T\d{4}(\.\d{3})?", technique) for technique in row.atlas)
    assert all(re.fullmatch(r"NISTAML\.\d{2,3}", attack) for attack in row.nist)
    if row.family not in ("none", "random"):
        doi = re.search(r"\d{4}, doi:10\.\d{4}/\S+$", row.paper)  # for papers that are on no preprint server
        assert (
            doi or re.search(r"\d{4}, arXiv:\d{4}\.\d{5}$", row.paper) or re.search(r"arXiv:\d{4}\.\d{4,5}$", row.paper)
        )
    if row.kind == "proof":
        assert not row.atlas + row.nist


def engines(module, kind) -> list[str]:
    """What a module exports that is an engine, or makes one when it is called with nothing."""
    found = []
    for name, value in vars(module).items():
        if inspect.isclass(value) and issubclass(value, kind) and not inspect.isabstract(value):
            found.append(name)
        elif inspect.isfunction(value) and inspect.signature(value).return_annotation in vars(module).values():
            made = inspect.signature(value).return_annotation
            if inspect.isclass(made) and issubclass(made, kind):
                found.append(name)
    return found


@pytest.mark.parametrize(
    ("module", "kind"), [(brinell.evasion, Attack), (brinell.proofs, (Verifier, Exact, Smoothing))]
)
def test_every_exported_engine_has_a_row(module, kind):
    exported = engines(module, kind)
    assert exported
    staged = [row for row in CATALOG if row.kind not in ("learner", "transformation", "estimate")]
    assert set(exported) == {row.name for row in staged if row.path.startswith(f"{module.__name__}:")}


def test_the_catalogue_is_read_without_torch():
    code = "import sys, brinell.catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
