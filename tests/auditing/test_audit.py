import io
import math
import os
import warnings

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

import brinell
from brinell import Audit
from brinell.auditing import Plan, Stage
from brinell.errors import CannotRun, Inconclusive, UsageError
from brinell.evidence import State, Witness
from brinell.report import table
from brinell.threat import L2, LEAST_LIKELY, Access, Targeted
from models import Of
from questions.runs import ATTACKS, QUICK, RADII, audited, examples, figures, network, tables, threat


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return audited(out=tmp_path_factory.mktemp("run"))


def test_the_bracket_lies_below_clean_accuracy_at_every_radius(run):
    for r in run.evasion.radii:
        assert 0 <= r.certified <= r.unbroken <= run.evasion.clean <= 1
        assert r.open == pytest.approx(r.unbroken - r.certified)
        assert sum(r.counts.values()) == run.evasion.n == 150


def test_both_edges_fall_with_the_radius(run):
    assert [r.radius for r in run.evasion.radii] == list(RADII)
    for edge in ("certified", "unbroken"):
        values = [getattr(r, edge) for r in run.evasion.radii]
        assert values == sorted(values, reverse=True)
        assert values[0] > values[-1]


@pytest.mark.slow
def test_brackets_only_narrow_from_stage_to_stage():
    runs = [audited(plan=QUICK.model_copy(update={"stages": QUICK.stages[:count]})) for count in (1, 2, 4, 6)]
    for r in range(len(RADII)):
        certified = [run.evasion.radii[r].certified for run in runs]
        unbroken = [run.evasion.radii[r].unbroken for run in runs]
        assert certified == sorted(certified)
        assert unbroken == sorted(unbroken, reverse=True)
        assert (certified[-1], unbroken[-1]) != (certified[0], unbroken[0])


def test_what_is_settled_is_not_asked_again(run):
    """A witness serves larger radii, a certificate smaller ones: no stage asks about either."""
    settled = {radius: set() for radius in RADII}
    plan = run.evasion.plan
    sizes = {stage.label: plan.size(stage, lambda: 16) for stage in plan.stages}
    evidence = tables(run.path)["evidence"]
    for _, engine, shard, _, _, asked, *_ in tables(run.path)["work"]:
        block, size = int(shard.split("/")[1]), sizes[engine]
        members = set(range(size * block, min(size * block + size, 150)))
        assert asked <= len(members - settled[float(shard.split("/")[0])])
        for _, item, by, where, kind, value, *_ in evidence:
            if (by, where) == (engine, shard):
                for other in RADII:
                    if (kind == "witness" and value <= other) or (kind == "certificate" and value >= other):
                        settled[other].add(item)
    keys = [(item, kind) for _, item, _, _, kind, *_ in evidence]
    assert len(keys) > 100


def test_verdicts_are_the_worst_case_over_engines(run):
    """Each example counts as broken if any engine broke it, and no engine broke a certified one."""
    evidence = tables(run.path)["evidence"]
    for verdict in run.verdicts:
        own = [(kind, value) for _, item, _, _, kind, value, *_ in evidence if item == verdict.item]
        broken = any(kind == "witness" and value <= RADII[-1] for kind, value in own)
        certified = any(kind == "certificate" and value >= RADII[-1] for kind, value in own)
        assert not (broken and certified)
        expected = State.BROKEN if broken else State.CERTIFIED if certified else State.OPEN
        assert verdict.state is expected


def test_every_witness_in_the_store_breaks_its_example(run):
    net = network()
    x, y = examples(net)
    from brinell.auditing import Ledger

    with Ledger(run.path, write=False) as ledger:
        witnesses = [
            e for e in ledger.evidence("evasion/linf/untargeted", brinell.Evasion.kinds) if isinstance(e, Witness)
        ]
        assert witnesses
        for w in witnesses:
            kept = ledger.tensors(w.artifact)
            assert torch.equal(kept["x0"][w.row], x[w.item])
            assert (kept["x"][w.row].double() - x[w.item].double()).abs().max() == w.distance
            assert net(kept["x"][w.row : w.row + 1]).argmax() != y[w.item] or w.distance == 0
            assert 0 <= kept["x"].min() <= kept["x"].max() <= 1


@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_workers_changes_no_row(run, tmp_path, workers):
    audited(out=tmp_path, workers=workers)
    assert tables(tmp_path) == tables(run.path)
    assert figures(tmp_path) == figures(run.path)


@pytest.mark.slow
def test_the_seed_decides_every_random_choice(tmp_path):
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        audited(out=tmp_path / name, seed=seed, plan=ATTACKS)
    one, same, other = (tables(tmp_path / name)["evidence"] for name in ("one", "same", "other"))
    assert one == same != other


def test_nothing_of_the_callers_is_touched(tmp_path):
    net = network().train()
    net[1].weight.grad = torch.ones_like(net[1].weight)
    x, y = examples(net)
    before = (x.clone(), y.clone(), {k: v.clone() for k, v in net.state_dict().items()})
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    numbers = np.random.get_state()[1].copy()  # noqa: NPY002 - the very one that must not change
    audited(net, (x, y), workers=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert (np.random.get_state()[1] == numbers).all()  # noqa: NPY002
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    assert all(torch.equal(v, before[2][k]) for k, v in net.state_dict().items())
    assert net.training
    assert net[1].weight.requires_grad
    assert (net[1].weight.grad == 1).all()


def test_threads_come_back_when_a_run_fails():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:

        def fail(_):
            raise RuntimeError("mine")

        with pytest.raises(RuntimeError, match="mine"):
            audited(on_progress=fail)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_a_run_is_the_same_when_it_is_opened_again(run):
    again = Audit.open(run.path)
    assert again.result == run.result
    assert again.bracket == run.bracket
    assert again.verdicts == run.verdicts
    assert again.radii == RADII
    assert again.at(0.02).certified >= again.at(0.03).certified


def test_a_run_is_saved_as_a_folder_of_its_own(tmp_path):
    run = audited()
    kept = run.save(tmp_path / "kept")
    assert Audit.open(kept).result == run.result
    assert not list(kept.glob(".lock*"))
    with pytest.raises(UsageError, match="exists already"):
        run.save(kept)


def test_a_folder_of_its_own_goes_with_the_audit():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = audited()
        path = run.path
        assert path.is_dir()
        del run
    assert not path.exists()


def test_a_notebook_shows_a_table(run):
    page = run._repr_html_()
    assert page.count("<tr>") == 4
    assert "150 examples" in page
    assert "Audit of 150 examples" in repr(run)


def test_one_radius_is_the_threats_own():
    run = audited(radii=None)
    assert run.radii == (RADII[-1],)
    assert run.bracket.n == 150


def test_a_radius_of_zero_is_clean_accuracy():
    run = audited(radii=[0.0])
    assert run.bracket.unbroken == run.evasion.clean


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"radii": []}, "radii is empty"),
        ({"radii": [float("inf")]}, "finite radii"),
        ({"radii": [-0.1]}, "finite radii"),
        ({"radii": [float("nan")]}, "finite radii"),
        ({"threat": threat(8), "radii": None}, "did you mean 8/255"),
        ({"radii": [0.1, 8]}, "did you mean 8/255"),
        ({"plan": "quik"}, "plan 'quik' is not known"),
        ({"workers": 0}, "workers is 0"),
        ({"budget": -1}, "budget is -1"),
    ],
)
def test_unfit_arguments_are_named_with_a_remedy(options, sentence, tmp_path):
    with pytest.raises(UsageError, match=sentence):
        audited(out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


X, Y = examples(network())


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ((X[:0], Y[:0]), "at least one example"),
        ((X, Y + 3), "model has classes 0 to 2"),
        ((X, Y - 3), "negative"),
        ((X, Y[:5]), "one label each"),
        (((255 * X).long(), Y), "divide by 255"),
        ((255 * X, Y), "divide by 255"),
        ((torch.where(X > 0.9, torch.nan, X), Y), "NaN"),
        ((X[:, :7], Y), None),
    ],
)
def test_unfit_data_are_named_with_a_remedy(data, sentence, tmp_path):
    if sentence is None:  # the model raises on all of them
        with pytest.raises(Inconclusive, match="raises on 150 of 150"):
            audited(data=data)
        run = audited(data=data, accept=("raises",))
        assert run.evasion.radii[0].errors == 150
        assert run.evasion.clean is None
        return
    with pytest.raises(UsageError, match=sentence):
        audited(data=data, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Mistaken(nn.Module):
    """The small network, but for inputs whose first feature is above `edge`."""

    def __init__(self, kind: str, edge: float = 2.0) -> None:
        super().__init__()
        self.inner, self.kind, self.edge = network(), kind, edge

    def forward(self, x):
        scores = self.inner(x)
        odd = x.flatten(1)[:, :1] > self.edge
        match self.kind:
            case "raises" if odd.any():
                raise RuntimeError("not\nthat one")
            case "nan":
                return torch.where(odd, torch.nan, scores)
            case "flat":
                return scores[:, 0]
            case "wide":
                return scores[:1]
            case "one":
                return scores[:, :1]
        return scores


def one_apart() -> tuple[torch.Tensor, torch.Tensor]:
    """Examples of which only number 40 has a first feature above 0.8; the others stay well below."""
    x, _ = examples(network())
    x[:, 0] *= 0.5
    x[40, 0] = 1.0
    return x, network()(x).argmax(1)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("kind", ["raises", "nan"])
def test_one_example_that_cannot_be_asked_is_an_error_and_nothing_else(kind):
    run = audited(Mistaken(kind, 0.8), one_apart())
    assert run.evasion.n == 150
    assert run.evasion.clean_count == (149, 149)
    for radius, r in zip(RADII, run.evasion.radii, strict=True):
        assert r.errors == 1
        assert run.verdicts_at(radius)[40].state is State.ERROR
        assert r.counts["broken"] + r.counts["certified"] + r.counts["open"] == 149
    assert sum(c.n for c in run.evasion.classes) == 150


def test_the_first_example_may_be_the_one_that_raises():
    x, y = one_apart()
    run = audited(Mistaken("raises", 0.8), (x.roll(-40, 0), y.roll(-40)))
    assert run.verdicts[0].state is State.ERROR
    assert run.evasion.radii[0].errors == 1
    with pytest.raises(UsageError, match="classes 0 to 2"):
        audited(Mistaken("raises", 0.8), (x.roll(-40, 0), y.roll(-40) + 2))


@pytest.mark.slow
def test_the_others_fare_as_if_it_were_not_there():
    """The evidence on a shard without the one that raises does not depend on it."""
    x, y = one_apart()
    whole, apart = (audited(model, (x, y), plan=ATTACKS) for model in (network(), Mistaken("raises", 0.8)))
    states = [[v.state for v in run.verdicts] for run in (whole, apart)]
    assert states[0][64:] == states[1][64:]
    assert whole.evasion.clean == apart.evasion.clean == 1


def test_raising_near_an_example_leaves_it_open():
    """The model answers for the example itself: it is neither an error, nor robust, nor broken."""
    x, y = one_apart()
    x[40, 0] = 0.8 - 1e-3
    run = audited(Mistaken("raises", 0.8), (x, y))
    assert run.evasion.clean_count == (150, 150)
    assert run.verdicts[40].state in (State.OPEN, State.BROKEN)
    assert all(r.errors == 0 for r in run.evasion.radii)
    assert any(e.failed for e in run.evasion.engines if e.engine != "Clean()")
    assert any("raised on inputs near" in note for note in run.result.notes)


@pytest.mark.parametrize("kind", ["raises", "nan"])
def test_a_model_that_answers_nothing_has_no_figures(kind):
    run = audited(Mistaken(kind, -1.0), accept=("raises", "non-finite", "low-accuracy"))
    assert math.isnan(run.bracket.certified)
    assert math.isnan(run.bracket.unbroken)
    assert run.evasion.radii[0].certified is None
    assert run.evasion.clean is None
    assert run.bracket.errors == 150
    assert "n/a" in repr(run) + run._repr_html_()


@pytest.mark.parametrize("kind", ["flat", "wide", "one"])
def test_scores_of_the_wrong_shape_are_refused(kind, tmp_path):
    with pytest.raises(UsageError, match=r"returned shape .* at least 2 classes"):
        audited(Mistaken(kind), out=tmp_path / "run")


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotRun, match="choose another folder"):
        audited(out=tmp_path / "file" / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_write_permission_is_one_sentence(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CannotRun, match="choose another folder"):
        audited(out=tmp_path / "run")


def test_targeted_examples_leave_out_those_of_the_target_class():
    run = audited(threat=threat(goal=Targeted(1)))
    _, y = examples(network())
    assert run.evasion.n == int((y != 1).sum())
    assert run.ids == tuple((y != 1).nonzero().flatten().tolist())
    assert run.evasion.goal == "targeted at 1"
    assert 0 < run.bracket.broken_count < run.evasion.n
    assert run.bracket.certified_count > 0
    assert all(r.certified <= r.unbroken for r in run.evasion.radii)


def test_the_least_likely_class_is_harder_to_reach_than_any_other():
    hard, easy = audited(threat=threat(goal=LEAST_LIKELY), radii=None), audited(radii=None)
    assert hard.bracket.broken_count < easy.bracket.broken_count
    assert hard.bracket.certified_count >= easy.bracket.certified_count


def test_a_goal_that_does_not_fit_is_refused_before_anything_is_asked(tmp_path):
    with pytest.raises(UsageError, match="target class is 7"):
        audited(threat=threat(goal=Targeted(7)), out=tmp_path / "run")
    with pytest.raises(UsageError, match="least likely class is not known"):
        audited(threat=brinell.Threat(brinell.Linf(0.1), LEAST_LIKELY, Access.LABELS), radii=None, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    x, y = examples(network())
    with pytest.raises(UsageError, match="every example is labelled 0"):
        audited(data=(x[y == 0], y[y == 0]), threat=threat(goal=Targeted(0)))


@pytest.mark.slow
def test_l2_has_a_bracket_too():
    run = audited(threat=threat(0.2, kind=L2), radii=[0.05, 0.2])
    assert 0 < run.at(0.2).certified <= run.at(0.2).unbroken < run.evasion.clean
    assert run.evasion.radii[0].set == "l2"


@pytest.mark.slow
def test_two_classes_are_enough():
    net = network(classes=2)
    run = audited(net, examples(net))
    assert 0 < run.bracket.certified <= run.bracket.unbroken <= run.evasion.clean


def test_images_keep_their_shape():
    net = network(features=16)
    run = audited(net, examples(net, 60, (1, 4, 4)))
    assert run.bracket.n == 60


def test_what_the_adversary_may_not_see_is_left_out_and_noted():
    run = audited(threat=brinell.Threat(brinell.Linf(0.06), access=Access.LABELS))
    assert [e.engine for e in run.evasion.engines] == ["Clean()", "Noise(draws=3)"]
    assert sum("left out: only LABELS are seen" in note for note in run.result.notes) == 4
    assert run.bracket.certified == 0


def test_a_network_that_proofs_cannot_read_is_attacked_all_the_same():
    net = network()
    net[2] = Of(torch.sin)
    run = audited(net, examples(net))
    assert sum("left out" in note and "no rule for" in note for note in run.result.notes) == 2
    assert run.bracket.certified_count == 0
    assert run.bracket.broken_count > 0


def test_a_plan_counts_certificates_from_the_level_that_it_asks_for(tmp_path):
    """Scores are x and 0.649, and what is added to x and taken off again may cost float32 the margin."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2))
    for layer, weight, bias in ((net[0], [[1.0]], [1e4]), (net[2], [[1.0], [0.0]], [-1e4, 0.649])):
        layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
    data = torch.tensor([[0.75]]), torch.tensor([0])
    plan = Plan(name="proof", stages=(Stage(engine="Clean"), Stage(engine="IBP"), Stage(engine="CROWN")))
    runs = {
        level: audited(net, data, plan=plan.demanding(level), radii=(0.1,), out=tmp_path / level)
        for level in ("real", "float64", "float32")
    }
    assert [run.bracket.certified for run in runs.values()] == [1.0, 1.0, 0.0]
    strict = runs["float32"]
    assert strict.verdicts[0].state is State.OPEN
    assert strict.evasion.radii[0].soundness["float64-any-order"] == 1
    assert [e.settled for e in strict.evasion.engines] == [0, 0, 0]
    assert [e.asked for e in strict.evasion.engines] == [1, 1, 1], "what does not count is asked about again"
    again = Audit.open(tmp_path / "float32")
    assert again.bracket == strict.bracket
    assert "no others count" in table_text(again)
    with pytest.raises(CannotRun, match="its plan differ"):
        audited(net, data, plan=plan, radii=(0.1,), out=tmp_path / "float32")
    with pytest.raises(UsageError, match="soundness is 'exact'; it must be real, float64 or float32"):
        plan.demanding("exact")


def table_text(run: Audit) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table(run))
    return console.export_text()
