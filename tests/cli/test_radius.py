"""`brinell radius`, and `brinell verify` on examples: audits by plans of their own."""

import csv
import json

import pytest

from cli.command import model_files


@pytest.fixture
def files(tmp_path) -> tuple[str, ...]:
    model, data = model_files(tmp_path, 40)
    return model, data, "--weights", str(tmp_path / "net.safetensors"), "--set", "linf:0.02"


@pytest.mark.slow
def test_each_example_has_a_line_and_its_certificate_ends_below_its_witness(brinell, files, tmp_path) -> None:
    done = brinell("radius", *files, "--n", "10", "--save", tmp_path / "r.csv", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert "certified up to" in done.out
    rows = list(csv.DictReader((tmp_path / "r.csv").read_text().splitlines()))
    assert len(rows) == 10
    for row in rows:
        if row["certified_up_to"]:
            assert 0 <= float(row["certified_up_to"]) < float(row["broken_from"])
    assert any(float(row["certified_up_to"] or 0) > 0.02 for row in rows), "the set's radius limits nothing"
    again = brinell("resume", tmp_path / "run")
    assert again.code == 0


@pytest.mark.slow
def test_many_examples_are_told_by_quantiles(brinell, files, tmp_path) -> None:
    done = brinell("radius", *files, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert "50 %" in done.out


def test_a_file_that_is_no_spreadsheet_is_refused(brinell, files) -> None:
    done = brinell("radius", *files, "--save", "radii.txt")
    assert done.code == 2
    assert ".csv" in done.err


def test_examples_are_proved_within_a_set(brinell, files, tmp_path) -> None:
    done = brinell("verify", *files, "--n", "20", "--out", tmp_path / "run", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)["answers"]["evasion"]
    assert result["radii"][0]["certified"] > 0
    assert {stage["engine"] for stage in result["plan"]["stages"]} >= {"CROWN", "BranchAndBound"}
    assert result["plan"]["soundness"] == "real"


def test_a_level_of_arithmetic_may_be_asked_for(brinell, files, tmp_path) -> None:
    done = brinell("verify", *files, "--n", "5", "--soundness", "float32", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert "Certified: by proofs that hold for the model as float32 computes it" in " ".join(done.out.split())
    done = brinell("verify", *files, "--soundness", "float16")
    assert (done.code, "it must be real, float64 or float32" in done.err) == (2, True)


def test_what_cannot_be_understood_is_a_mistake(brinell, files) -> None:
    done = brinell("verify", *files, "--timeout", "soon")
    assert (done.code, "--timeout" in done.err) == (2, True)
    done = brinell("verify", files[0])
    assert (done.code, "DATA is missing" in done.err) == (2, True), done.err
