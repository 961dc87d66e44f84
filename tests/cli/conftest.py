from collections.abc import Callable
from pathlib import Path

import pytest

from cli.command import Command, model_files

PLAN = """
name: tiny
shard: 32
stages:
  - engine: Clean
  - {engine: Noise, settings: {draws: 3}}
  - {engine: PGD, settings: {steps: 4}}
  - {engine: Square, settings: {queries: 10}}
"""
PROOF = "  - engine: IBP\n"


@pytest.fixture
def brinell(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """The command line, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return Command(monkeypatch, capfd)


@pytest.fixture
def audit(brinell: Command, tmp_path: Path) -> Callable[..., object]:
    """`brinell audit` of a small network under a small plan; further words are added."""
    model, data = model_files(tmp_path)
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "proof.yaml").write_text(PLAN + PROOF)

    def call(*words: object, model: object = model, data: object = data) -> object:
        own = [] if "--set" in words else ["--set", "linf:0.01,0.03"]
        weights = ["--weights", tmp_path / "net.safetensors"] if str(model).endswith("net.py:build") else []
        plan = [] if "--plan" in words else ["--plan", "plan.yaml"]
        return brinell("audit", model, data, *weights, *own, *plan, *words)

    return call
