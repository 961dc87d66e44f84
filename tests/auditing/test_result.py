import json

import pytest
from pydantic import ValidationError

import brinell
from brinell.auditing import Result
from brinell.data import Dataset
from brinell.evidence import wilson
from brinell.questions.evasion import check
from questions.runs import QUICK, RADII, audited, examples, network


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    net = network()
    return audited(net, examples(net), tmp_path_factory.mktemp("run"), sources={"model": "m"})


def test_the_file_is_read_back_as_the_result(run):
    text = (run.path / "result.json").read_text()
    assert Result.model_validate_json(text) == run.result
    assert json.loads(text)["schema"] == 2
    assert "NaN" not in text


def test_an_unknown_field_is_refused(run):
    data = json.loads(run.result.to_json())
    with pytest.raises(ValidationError):
        Result.model_validate({**data, "extra": 1})


def test_classes_add_up_to_the_whole(run):
    assert [c.label for c in run.evasion.classes] == [0, 1, 2]
    assert sum(c.n for c in run.evasion.classes) == run.evasion.n
    for i, r in enumerate(run.evasion.radii):
        for state, count in r.counts.items():
            assert sum(c.radii[i].counts[state] for c in run.evasion.classes) == count
    assert all(c.radii[-1].unbroken <= c.clean for c in run.evasion.classes)


def test_intervals_are_those_of_the_counts(run):
    for r in run.evasion.radii:
        n = sum(r.counts.values())
        assert r.certified_interval == wilson(r.counts["certified"], n)
        assert r.unbroken_interval == wilson(n - r.counts["broken"], n)
    assert run.evasion.clean_interval == wilson(*run.evasion.clean_count)


def test_engines_account_for_all_that_was_settled(run):
    engines = run.evasion.engines
    assert [e.engine for e in engines] == [s.label for s in QUICK.stages if s.label in {e.engine for e in engines}]
    settled = {e.kind: 0 for e in engines}
    for e in engines:
        settled[e.kind] += e.settled
        assert e.failed == 0
        assert e.paper
    # What is settled at one radius may be settled again, and better, at another.
    assert settled["attack"] >= len({v.item for v in run.verdicts if v.state == "broken"})
    assert settled["proof"] >= len({v.item for v in run.verdicts_at(RADII[0]) if v.state == "certified"})


def test_findings_and_provenance_are_kept(run):
    assert run.findings == tuple(check(brinell.target(network()), Dataset.of(*examples(network()))))
    provenance = run.result.provenance
    assert run.evasion.plan == QUICK
    assert provenance.seed == 0
    assert provenance.target.startswith("Sequential")
    assert len(provenance.target_digest) == 64
