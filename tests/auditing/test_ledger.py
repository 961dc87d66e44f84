import os
import sqlite3
import subprocess
import sys

import pytest
import torch

from brinell.auditing import Ledger
from brinell.auditing.ledger import Work, write_atomically
from brinell.errors import CannotRun
from brinell.evidence import Certificate, Failure, Look, Witness

WORK = Work("q", "PGD()", "0.1/00000", 1, "0.1", 3, 2, 1, 30, 20, 0.5)
EVIDENCE = [
    Witness(0, "PGD()", 0.1 + 1e-17, 0, 2, 0.75),
    Certificate(1, "PGD()", 1 / 3, 1e-300),
    Failure(2, "PGD()", "it's [bold]raised[/bold]\x1b"),
    Look(3, "PGD()", 1, 0.625),
]
KINDS = {kind.kind: kind for kind in (Witness, Certificate, Failure, Look)}
TENSORS = {"x": torch.rand(1, 3), "x0": torch.zeros(1, 3)}


def test_what_was_recorded_is_read_back_to_the_bit(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.describe({"a": [1, {"b": None}], "x": 0.1})
        ledger.record(WORK, EVIDENCE, TENSORS)
    with Ledger(tmp_path, write=False) as ledger:
        assert ledger.manifest() == {"schema": 2, "a": [1, {"b": None}], "x": 0.1}
        assert ledger.work("q") == [WORK]
        assert ledger.done("q") == {("PGD()", "0.1/00000")}
        witness, *others = ledger.evidence("q", KINDS)
        assert others == EVIDENCE[1:]
        assert witness.distance == EVIDENCE[0].distance
        kept = ledger.tensors(witness.artifact)
        assert all(torch.equal(kept[name], TENSORS[name]) for name in TENSORS)


def test_a_shard_is_recorded_whole_or_not_at_all(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.record(WORK, EVIDENCE[:1])
        with pytest.raises(CannotRun):  # the same shard again
            ledger.record(WORK, [Certificate(9, "PGD()", 1.0, 1.0)])
        assert [e.item for e in ledger.evidence("q", KINDS)] == [0]


@pytest.mark.slow
def test_one_writer_at_a_time(tmp_path):
    with Ledger(tmp_path):
        with pytest.raises(CannotRun, match="being written by another process"):
            Ledger(tmp_path)
        code = f"from brinell.auditing import Ledger\nfrom pathlib import Path\nLedger(Path({str(tmp_path)!r}))"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert "being written by another process" in other.stderr
        Ledger(tmp_path, write=False).close()
    Ledger(tmp_path).close()


def test_a_changed_or_lost_artifact_is_noticed(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.record(WORK, EVIDENCE[:1], tensors=TENSORS)
        (name,) = (e.artifact for e in ledger.evidence("q", KINDS))
        file = tmp_path / "artifacts" / f"{name}.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"\x01")
        with pytest.raises(CannotRun, match="not what was recorded"):
            ledger.tensors(name)
        file.unlink()
        with pytest.raises(CannotRun, match="cannot be read"):
            ledger.tensors(name)


def test_what_is_not_a_run_is_said_to_be_none(tmp_path):
    with pytest.raises(CannotRun, match="is not a run"):
        Ledger(tmp_path, write=False)
    (tmp_path / "ledger.sqlite").write_text("something else entirely, and longer than a header " * 30)
    for write in (False, True):
        with pytest.raises(CannotRun, match="not a database"):
            Ledger(tmp_path, write=write)


def test_an_empty_file_is_a_run_that_had_not_begun(tmp_path):
    (tmp_path / "ledger.sqlite").touch()
    with Ledger(tmp_path, write=False) as ledger:
        assert ledger.manifest() == {}


def test_a_ledger_of_another_schema_is_refused(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.describe({})
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute("UPDATE manifest SET value = '99' WHERE key = 'schema'")
    db.close()
    with pytest.raises(CannotRun, match="schema 99, which a newer Brinell reads; this version reads 2"):
        Ledger(tmp_path)
    with pytest.raises(CannotRun, match="schema 99"):  # the lock was let go of
        Ledger(tmp_path)


def test_odd_folder_names_work(tmp_path):
    path = tmp_path / "a b?c#d%20é"
    with Ledger(path) as ledger:
        ledger.record(WORK, EVIDENCE, tensors=TENSORS)
    with Ledger(path, write=False) as ledger:
        assert ledger.work("q") == [WORK]


def test_halves_of_files_are_cleared_away(tmp_path):
    (tmp_path / "artifacts").mkdir()
    for half in (tmp_path / ".result.json.77.half", tmp_path / "artifacts" / ".ab.safetensors.77.half"):
        half.write_text("{")
    Ledger(tmp_path).close()
    assert not list(tmp_path.rglob("*.half"))


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write_atomically(tmp_path / "f", b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotRun, match="No space left on device; free some space"):
        write_atomically(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_full_disk_is_one_sentence(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.record(WORK, EVIDENCE)
        ledger._db.execute("PRAGMA max_page_count = 12")
        many = [Certificate(i, "E", 1.0, 1.0) for i in range(5000)]
        with pytest.raises(CannotRun, match="full; free some space and run the same command"):
            ledger.record(Work("q", "E", "s", 1, 0.1, 1, 1, 0, 1, 1, 0.0), many)
        assert len(list(ledger.evidence("q", KINDS))) == len(EVIDENCE)
        ledger._db.execute("PRAGMA max_page_count = 100000")
        ledger.record(Work("q", "last", "s", 1, 0.1, 1, 1, 0, 1, 1, 0.0), [])
