"""A stage that seeks the smallest perturbations goes once, and answers for every radius."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import brinell
from brinell.auditing import Plan, Stage
from brinell.data import Dataset
from brinell.errors import UsageError
from brinell.questions.evasion import AccuracyCurve
from brinell.questions.evasion.alone import alone
from brinell.report import render
from questions.runs import RADII, audited, examples, figures, network, tables

SMALLEST = Plan(
    name="smallest",
    stages=(Stage(engine="Clean"), Stage(engine="FAB", settings={"steps": 20}), Stage(engine="IBP")),
    shard=32,
)


def test_it_is_asked_once_and_its_distances_serve_every_radius(tmp_path: Path) -> None:
    audit = audited(out=tmp_path / "run", plan=SMALLEST)
    work = [w for w in tables(tmp_path / "run")["work"] if w[1].startswith("FAB")]
    assert {w[4] for w in work} == {"inf"}
    assert sum(w[5] for w in work) == sum(v.distance != 0 for v in audit.verdicts_at(0.0))
    curve = audit.evasion.curve
    assert curve is not None
    assert list(curve.distances) == sorted(curve.distances)
    for radius in (*RADII, 0.01234, 0.5, 10.0):
        assert curve.at(radius) == pytest.approx(audit.at(radius).unbroken)
    assert curve.distances[-1] > RADII[-1]


@pytest.mark.slow
def test_the_curve_is_in_the_file_and_on_the_page(tmp_path: Path) -> None:
    audit = audited(out=tmp_path / "run", plan=SMALLEST)
    curve = json.loads((tmp_path / "run" / "result.json").read_text())["answers"]["evasion"]["curve"]
    assert AccuracyCurve.model_validate(curve) == audit.evasion.curve
    page = render(audit)
    assert "By distance" in page
    assert page.count("<svg") >= 4
    assert len(set(names := [part.split('"')[0] for part in page.split(' id="')[1:]])) == len(names)


def test_without_such_a_stage_there_is_no_curve() -> None:
    audit = audited(plan="quick")
    assert audit.evasion.curve is None
    assert "By distance" not in render(audit)


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = audited(out=tmp_path / "whole", plan=SMALLEST)

    class Stop(Exception):
        pass

    def stop(step: brinell.auditing.Progress) -> None:
        if step.stage.engine == "FAB":
            raise Stop

    with pytest.raises(Stop):
        audited(out=tmp_path / "parts", plan=SMALLEST, on_progress=stop)
    parts = audited(out=tmp_path / "parts", plan=SMALLEST, workers=2)
    assert tables(tmp_path / "parts") == tables(tmp_path / "whole")
    assert figures(tmp_path / "parts") == figures(tmp_path / "whole")
    assert parts.evasion.curve == whole.evasion.curve


def test_quantiles_are_the_least_radius_at_which_that_many_are_broken() -> None:
    curve = AccuracyCurve(asked=4, distances=(0.0, 0.1, 0.3))
    assert [curve.at(r) for r in (0.0, 0.1, 0.2, 0.3)] == [0.75, 0.5, 0.5, 0.25]
    assert [curve.quantile(q) for q in (0.25, 0.5, 0.75, 1.0)] == [0.0, 0.1, 0.3, None]


def test_an_attack_alone_says_what_it_broke_and_what_it_cost() -> None:
    net = network()
    data, target = Dataset.of(*examples(net, 300)), brinell.target(net)
    seen: list[tuple[int, int]] = []
    stage = Stage(engine="PGD", settings={"steps": 5})
    strike = alone(stage, target, data, brinell.Threat(brinell.Linf(0.05)), 0, lambda b, d: seen.append((b, d)))
    right = (target.labels(data.x) == data.y).numpy()
    found = strike.found
    assert [done for _, done in seen] == [128, 256, 300]
    assert strike.figures.clean == pytest.approx(right.mean())
    assert strike.figures.broken == pytest.approx(found.broken.numpy().mean())
    assert strike.figures.success == pytest.approx(found.broken.numpy()[right].mean())
    assert strike.figures.queries is not None
    assert strike.figures.queries[1] == np.median(found.queries.numpy()[right])
    assert strike.figures.curve is None
    again = alone(stage, target, data, brinell.Threat(brinell.Linf(0.05)), 0)
    assert torch.equal(again.found.x, found.x)


def test_ctrl_c_leaves_the_batches_that_are_done() -> None:
    net = network()

    def stop(_: int, done: int) -> None:
        if done >= 256:
            raise KeyboardInterrupt

    data = Dataset.of(*examples(net, 300))
    strike = alone(Stage(engine="FGSM"), brinell.target(net), data, brinell.Threat(brinell.Linf(0.05)), 0, stop)
    assert strike.figures.status == "interrupted"
    assert strike.figures.n == len(strike.found.x) == 256


def test_a_proof_is_no_attack() -> None:
    with pytest.raises(UsageError, match="IBP is a proof"):
        alone(
            Stage(engine="IBP"),
            brinell.target(network()),
            Dataset.of(*examples(network())),
            brinell.Threat(brinell.Linf(0.1)),
        )
