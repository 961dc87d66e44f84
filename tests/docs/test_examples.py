"""Every example runs."""

import runpy
from pathlib import Path

import pytest

import brinell.demo
from docs.blocks import ROOT
from docs.test_code_blocks import trained_once


@pytest.mark.sweep(2)
@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_an_example_runs(example: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(brinell.demo, "digits_network", trained_once)
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out
