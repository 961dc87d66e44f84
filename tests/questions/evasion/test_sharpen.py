"""The most fragile examples are those that the smallest change breaks, not those whose witness lies at the radius."""

import torch

import brinell
from brinell import Audit
from brinell.questions.evasion import sharpen
from brinell.threat import L2
from questions.runs import ATTACKS, RADII, audited, examples, figures, network, tables, threat


def moved(run: Audit) -> dict[int, float]:
    """The distance of each witness that changes its example."""
    return {w.item: w.distance for w in run.witnesses if w.distance > 0}


def test_distances_no_longer_equal_the_radius(monkeypatch):
    sharp = audited(plan=ATTACKS, radii=None)
    monkeypatch.setattr(sharpen, "chosen", lambda witnesses: [])
    blunt = audited(plan=ATTACKS, radii=None)
    assert moved(sharp).keys() == moved(blunt).keys()
    at = [sum(d > 0.999 * RADII[-1] for d in moved(run).values()) for run in (sharp, blunt)]
    assert at[1] > len(moved(blunt)) / 2
    assert at[0] == 0
    assert all(distance <= moved(blunt)[item] for item, distance in moved(sharp).items())
    assert sharp.bracket == blunt.bracket


def test_on_a_linear_model_they_are_the_true_distances():
    """There the distance of an example to the boundary is known: the ranking is the true one."""
    rng = torch.Generator().manual_seed(0)
    net = torch.nn.Linear(6, 2)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=rng))
        x = 0.3 + 0.4 * torch.rand(60, 6, generator=rng)
        net.bias -= net(x).mean(0)
        scores = net(x).double()
    true = (scores[:, 0] - scores[:, 1]).abs() / (net.weight[0] - net.weight[1]).detach().double().norm()
    run = audited(net, (x, scores.argmax(1)), plan=ATTACKS, threat=threat(0.3, kind=L2), radii=None)
    found = moved(run)
    assert len(found) > 20
    for item, distance in found.items():
        assert float(true[item]) <= distance <= 1.05 * float(true[item]) + 1e-3


def test_it_is_done_once_and_the_same_however_the_run_came_to_its_end(tmp_path):
    steps = []

    def stop(_):
        steps.append(None)
        if len(steps) == 4:
            raise KeyboardInterrupt

    audited(plan=ATTACKS, out=tmp_path / "whole")
    audited(plan=ATTACKS, out=tmp_path / "cut", on_progress=stop)
    for _ in range(2):
        audited(plan=ATTACKS, out=tmp_path / "cut")
    assert tables(tmp_path / "cut") == tables(tmp_path / "whole")
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")


def test_an_adversary_whose_queries_are_counted_gets_no_more_of_them():
    counted = brinell.Threat(brinell.Linf(RADII[-1]), queries=30)
    run = audited(plan=ATTACKS, threat=counted, radii=None)
    assert any(distance == RADII[-1] or abs(distance - RADII[-1]) < 1e-6 for distance in moved(run).values())


def test_what_is_recorded_breaks_its_example(tmp_path):
    from brinell.auditing import Ledger

    run = audited(plan=ATTACKS, out=tmp_path)
    net, (x, y) = network(), examples(network())
    with Ledger(tmp_path, write=False) as ledger:
        for w in run.witnesses:
            point = ledger.tensors(w.artifact)["x"][w.row]
            assert (point.double() - x[w.item].double()).abs().max() == w.distance
            assert net(point[None]).argmax() != y[w.item]
