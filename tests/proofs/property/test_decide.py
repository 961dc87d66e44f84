"""Verdicts against closed forms, against a fine grid, and of one method against the other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from brinell.errors import CannotRun, UsageError
from brinell.evidence import Soundness
from brinell.proofs import Case, Optimisation, Property, decide
from brinell.proofs.branching.queue import Queue
from brinell.proofs.network.builder import Builder
from brinell.proofs.network.graph import graph
from brinell.proofs.network.operators import Linear, Tanh
from brinell.proofs.numerics.polytopes import Regions
from brinell.proofs.numerics.simplex import AffineFunctions
from brinell.proofs.property.input_splits import InputSplit, _inherited
from brinell.proofs.property.property import rounded_inward, within
from brinell.proofs.property.witness import Search
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.verifier import nothing
from brinell.proofs.verifiers.beta_crown import BranchAndBound
from brinell.threat import Linf
from proofs.networks import perceptron, residual

EYE = torch.eye(3, dtype=torch.float64)


def runs(network):
    """The graph itself in the model's place: rounded to float32."""
    return lambda x: network(x.reshape(len(x), *network.nodes[0].shape)).float().double()


def box(low, high, weights, offsets):
    as_row = [torch.as_tensor(v, dtype=torch.float64) for v in (low, high, weights, offsets)]
    return Case(*as_row)


def linear(weight):
    build = Builder()
    build.add(
        Linear(torch.tensor(weight, dtype=torch.float64), torch.zeros(len(weight), dtype=torch.float64)),
        build.input((len(weight[0]),)),
    )
    return graph(build.nodes)


@pytest.mark.parametrize(("limit", "verdict"), [(1.9, "sat"), (2.0, "sat"), (2.0001, "unsat"), (5.0, "unsat")])
def test_a_linear_network_is_decided_up_to_its_corner(limit, verdict):
    network = linear([[1.0, 1.0], [0.0, 1.0]])
    goal = Property((box([0, 0], [1, 1], [[-1, 0]], [limit]),))
    answer = decide(network, goal, runs(network), timeout=20)
    assert answer.verdict == verdict
    assert (answer.witness is not None) == (verdict == "sat")


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(-1.5, 1.5), st.integers(1, 2), st.booleans())
def test_a_verdict_agrees_with_a_fine_grid(seed, shift, rows, two):
    """On two inputs: no grid point violates what is proved, and every witness violates its case."""
    network = perceptron((2, 8, 8, 3), seed)
    cases = [box([0, 0], [1, 0.5], EYE[:rows] - EYE[2], [shift] * rows)]
    cases += [box([0, 0.5], [1, 1], -EYE[:1], [shift])] if two else []
    answer = decide(network, Property(tuple(cases)), runs(network), timeout=20)
    assert answer.verdict in ("sat", "unsat")
    if answer.witness is not None:
        x, y = answer.witness.x, answer.witness.y
        torch.testing.assert_close(y, runs(network)(x.unsqueeze(0))[0])
        assert any(bool(((c.low <= x) & (x <= c.high)).all() and (c.weights @ y + c.offsets <= 0).all()) for c in cases)
        return
    side = torch.linspace(0, 1, 101, dtype=torch.float64)
    for case in cases:
        points = case.low + torch.cartesian_prod(side, side) * (case.high - case.low)
        assert not (network(points) @ case.weights.T + case.offsets <= 0).all(1).any()


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.0, 1.0))
def test_cutting_inputs_and_splitting_neurons_agree(seed, shift):
    network = perceptron((3, 8, 8, 3), seed)
    goal = Property((box([0.3] * 3, [0.7] * 3, EYE[:1] - EYE[1:2], [shift]),))
    margins, places = goal.margins(network)
    search = Search(goal, margins, places, runs(network), torch.float32)
    case = goal.cases[0]
    proved, witness = InputSplit()(search, Regions.boxes(case.low[None], case.high[None]), nothing)
    problem = Problem(
        margins,
        torch.full((1, 3), 0.5).double(),
        Linf(1.0),
        torch.ones(1, 1, 1).double(),
        2**22,
        nothing,
        (case.low[None], case.high[None]),
    )
    bound = float(BranchAndBound(nodes=40, root=Optimisation(steps=10), leaf=Optimisation(steps=5)).bound(problem))
    assert proved == (witness is None)
    assert not (bound > 0 and witness is not None)
    if proved:
        assert float(search.worst(search.descend(case.low[None], torch.tensor([0]), 50), torch.tensor([0]))) > 0


def test_an_axis_of_no_width_is_never_cut():
    network = perceptron((3, 8, 2), 3)
    goal = Property((box([0, 0.5, 0], [1, 0.5, 1], [[1.0, -1.0]], [0.1]),))
    answer = decide(network, goal, runs(network), timeout=20)
    assert answer.verdict in ("sat", "unsat")


def value_of(regions):
    return regions.case.double().unsqueeze(1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 8))
def test_a_queue_gives_back_each_region_once_in_full_pieces(counts, size):
    queue, start = Queue(size), 0
    for count in counts:
        place = torch.arange(start, start + count).double()
        value = place.unsqueeze(1)
        forms = AffineFunctions(value.unsqueeze(2).expand(-1, count % 3, -1), value.expand(-1, count % 3))
        queue.put(Regions(value, value + 1, place.long(), (place * 7) % 11, forms, forms, {3: (value, -value)}))
        start += count
    taken = []
    while (batch := queue.take()) is not None:
        assert len(batch.case) == min(size, start - sum(len(other.case) for other in taken))
        taken.append(batch)
        assert (batch.low[:, 0].long() == batch.case).all()
        assert (batch.known[3][1][:, 0].long() == -batch.case).all()
        assert ((batch.splits.offset == value_of(batch)) | (batch.splits.offset == 0)).all()
    assert sorted(torch.cat([batch.case for batch in taken]).tolist()) == list(range(start))
    assert taken[0].bound.min() == min((i * 7) % 11 for i in range(start))


def test_diversified_starts_stay_in_their_boxes_and_go_far():
    network = perceptron((30, 20, 20, 4), 5)
    four = torch.eye(4, dtype=torch.float64)
    goal = Property(tuple(box([0] * 30, [1] * 30, four[:1] - four[j : j + 1], [0.0]) for j in (1, 2, 3)))
    margins, places = goal.margins(network)
    search = Search(goal, margins, places, runs(network), torch.float32)
    rng = torch.Generator().manual_seed(0)
    x, case = search.scatter(20, rng)
    far = search.diversify(x, case, 10, rng)
    assert ((far >= 0) & (far <= 1)).all()
    assert margins(far).std(0).min() > 2 * margins(x).std(0).min()


def test_many_starts_are_at_edges():
    """Half of all values are limits, and a third of all points at least three of their five."""
    network = perceptron((5, 8, 3), 5)
    goal = Property((box([0] * 5, [1] * 5, EYE[:1] - EYE[1:2], [0.0]),))
    margins, places = goal.margins(network)
    search = Search(goal, margins, places, runs(network), torch.float32)
    x, _ = search.scatter(2000, torch.Generator().manual_seed(0), edges=True)
    limits = (x == 0) | (x == 1)
    assert 0.45 < limits.double().mean() < 0.55
    assert (limits.sum(1) >= 3).double().mean() > 1 / 3


def test_steps_by_linear_programmes_find_what_signs_of_slopes_pass_by():
    """Three rows that pull apart: the least of their maximum lies at a corner where all are equal, 0 at (0.3, 0.6)."""
    network = linear([[1.0, 0.1], [-1.0, 2.0], [0.2, -3.0]])
    at = torch.tensor([[0.3, 0.6]]).double()
    goal = Property((box([0, 0], [1, 1], EYE, -network(at)[0]),))
    margins, places = goal.margins(network)
    search = Search(goal, margins, places, runs(network), torch.float64)
    start, case = torch.tensor([[0.9, 0.1]]).double(), torch.zeros(1).long()
    found = search.solve(start, case, 10)
    torch.testing.assert_close(found, at)
    assert float(search.worst(found, case)) < float(search.worst(search.descend(start, case, 10), case)) / 100


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_what_is_left_to_cut_holds_every_unsafe_input(seed, points):
    """Of the two sides of each region, and of the parts they were clipped to, round after round."""
    network = perceptron((3, 10, 10, 3), seed)
    x = torch.rand(5000, 3, generator=torch.Generator().manual_seed(points), dtype=torch.float64)
    rows = EYE[:2] - EYE[2]
    values = network(x) @ rows.T
    shift = float(values.amax(1).quantile(0.02))
    goal = Property((box([0] * 3, [1] * 3, rows, [-shift] * 2),))
    unsafe = x[(values <= shift).all(1)]
    margins, places = goal.margins(network)
    search = Search(goal, margins, places, lambda x: network(x) * torch.nan, torch.float64)
    rounds, kept, take = iter(range(10)), [], Queue.take

    def taken(self):
        kept.append(take(self))
        return kept[-1] if next(rounds) < 9 else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Queue, "take", taken)
        start = Regions.boxes(torch.zeros(1, 3).double(), torch.ones(1, 3).double())
        InputSplit(batch=10**6)(search, start, nothing)
    assert len(kept) == 10
    for regions in kept:
        inside = (regions.low.unsqueeze(1) <= unsafe) & (unsafe <= regions.high.unsqueeze(1))
        constraints = regions.constraints
        forms = constraints.weights @ unsafe.T + constraints.offset.unsqueeze(2)
        assert (inside.all(2) & (forms <= 1e-9).all(1)).any(0).all()


def test_what_is_known_is_found_anew_once_nothing_is_undecided():
    """Only of the region that has nothing left to cut: of the other one all is kept."""
    network = perceptron((2, 3, 1), 0)
    node = network.nodes[network.nonlinearities[0]].inputs[0]
    low, high = torch.tensor([[1.0, -2.0, 1.0], [1.0, -2.0, -1.0]]).double(), torch.full((2, 3), 3.0).double()
    high[:, 1] = -1.0
    intervals = [(low, high)] * len(network.nodes)
    least, most = _inherited(network, intervals)[node]
    assert torch.isinf(least[0]).all()
    assert torch.isinf(most[0]).all()
    assert torch.equal(least[1], low[1])
    assert torch.equal(most[1], high[1])


def test_a_margin_that_rounding_made_is_not_proved():
    """x + 1e17 + 0.5 - 1e17 exceeds 1 in truth; added up from its end in float64 it is x, which does not."""
    build = Builder()
    h = build.input((1,))
    for bias in (1e17, 0.5):
        h = build.relu(build.add(Linear(torch.ones(1, 1).double(), torch.tensor([bias]).double()), h))
    build.add(Linear(torch.ones(1, 1).double(), torch.tensor([-1e17]).double()), h)
    network = graph(build.nodes)
    goal = Property((box([0.5], [0.75], [[-1.0]], [1.0]),))
    assert decide(network, goal, runs(network), timeout=1).verdict in ("unknown", "timeout")


def test_images_are_decided_by_splitting_neurons():
    network = residual(4)
    x0 = torch.rand(72, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = network(x0.reshape(1, 2, 6, 6))[0]
    best = int(y.argmax())
    rest = [i for i in range(3) if i != best]

    def cases(radius):
        return Property(tuple(box(x0 - radius, x0 + radius, EYE[best : best + 1] - EYE[j], [0.0]) for j in rest))

    assert decide(network, cases(1e-4), runs(network), timeout=30).verdict == "unsat"
    assert decide(network, cases(1.0), runs(network), timeout=30).verdict == "sat"


def test_a_model_that_is_not_the_graph_is_refused():
    network = perceptron((2, 4, 2), 1)
    goal = Property((box([0, 0], [1, 1], [[1.0, -1.0]], [0.0]),))
    with pytest.raises(CannotRun, match="gives other outputs"):
        decide(network, goal, lambda x: runs(network)(x) + 0.1, timeout=5)


def test_weights_that_are_no_numbers_prove_nothing():
    network = linear([[float("nan"), 1.0], [0.0, 1.0]])
    goal = Property((box([0, 0], [1, 1], [[1.0, -1.0]], [10.0]),))
    with pytest.raises(CannotRun, match="never a finite number"):
        decide(network, goal, runs(network), timeout=5)


def test_a_point_the_model_denies_is_no_witness():
    """The graph has a violation by 1e-9 that float32 arithmetic may not show."""
    network = linear([[1.0, 1.0], [0.0, 1.0]])
    goal = Property((box([0, 0], [1, 1], [[-1, 0]], [2.0]),))
    denies = lambda x: runs(network)(x).clamp(max=2 - 1e-6)  # noqa: E731
    assert decide(network, goal, denies, timeout=2).verdict in ("timeout", "unknown")


def test_time_is_kept():
    network = perceptron((6, 60, 60, 60, 2), 1)
    goal = Property((box([-5] * 6, [5] * 6, [[1.0, -1.0]], [9.0]),))
    assert decide(network, goal, runs(network), timeout=0.5).verdict == "timeout"
    with pytest.raises(UsageError, match="timeout is 0"):
        decide(network, goal, runs(network), timeout=0)


def test_a_property_of_another_size_is_named():
    network = perceptron((2, 4, 2), 1)
    with pytest.raises(UsageError, match="the property has 3 inputs and 2 outputs; the network has 2 and 2"):
        decide(network, Property((box([0] * 3, [1] * 3, [[1.0, 0.0]], [0.0]),)), runs(network), timeout=1)


def test_without_a_row_every_input_is_a_witness():
    network = perceptron((2, 4, 2), 1)
    free = box([0, 0], [1, 1], torch.zeros(0, 2), [])
    assert decide(network, Property((free,)), runs(network), timeout=5).verdict == "sat"


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e3, 1e3), st.floats(0, 1e-3))
def test_limits_are_rounded_inward_and_cross_where_no_number_is_inside(low, width):
    box = torch.tensor([low]).double(), torch.tensor([low + width]).double()
    least, most = rounded_inward(*box, torch.float32)
    assert least >= box[0]
    assert most <= box[1]
    assert least.float().double() == least
    assert least.float().nextafter(torch.tensor([-torch.inf])).double() < box[0]
    near, _, there = within([box], torch.float32)
    assert there == (least <= most)
    assert bool(there) or abs(float(near) - low) <= 1e-4


def many(seed, rows):
    """A network of more inputs than are cut, and a case of some rows around a point of the unit box."""
    network = perceptron((24, 10, 10, 3), seed)
    centre = torch.rand(24, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return network, box(centre - 0.1, centre + 0.1, EYE[:rows] - EYE[2], [0.0] * rows)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_rows_that_are_unsafe_together_are_decided_together(seed):
    """Each row is positive somewhere else: neurons are split until one of them is, case by case."""
    network, case = many(seed, 2)
    start = network((case.low + case.high).reshape(1, -1) / 2)[0]
    shift = -float((case.weights @ start).max())
    for by, verdict in ((0.0, "sat"), (10.0, "unsat")):
        moved = Case(case.low, case.high, case.weights, case.offsets + shift + by)
        assert decide(network, Property((moved,)), runs(network), timeout=20).verdict == verdict


def test_without_time_the_bound_so_far_is_kept():
    network, case = many(3, 1)
    wide = Case(case.low - 3, case.high + 3, case.weights, case.offsets + 9.0)
    answer = decide(network, Property((wide,)), lambda x: runs(network)(x).abs() * 0 + runs(network)(x), timeout=3)
    assert answer.verdict in ("timeout", "sat", "unsat")
    assert answer.verdict != "timeout" or -torch.inf < answer.bound <= 0


def test_without_memory_nothing_is_decided(monkeypatch):
    network, case = many(1, 1)
    tight = Case(case.low, case.high, case.weights, case.offsets + 100.0)
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")):

        def fails(self, problem, progress, error=error):
            raise error

        monkeypatch.setattr(BranchAndBound, "bound", fails)
        assert decide(network, Property((tight,)), runs(network), timeout=5).verdict == "unknown"


NAN = [torch.nan, 0.0]


@pytest.mark.parametrize(
    ("cases", "words"),
    [
        ((), "no case"),
        ((box([0, 0], [1, 1], [[1.0, 0.0]], [0.0]), box([0, 2], [1, 1], [[1.0, 0.0]], [0.0])), "case 1 holds no input"),
        ((box(NAN, [1, 1], [[1.0, 0.0]], [0.0]),), "NaN or infinite"),
        ((box([0, 0], [1, torch.inf], [[1.0, 0.0]], [0.0]),), "NaN or infinite"),
        ((box([0, 0], [1, 1], [NAN], [0.0]),), "NaN or infinite"),
        ((box([0, 0], [1, 1], [[1.0, 0.0]], [torch.inf]),), "NaN or infinite"),
        ((box([0, 0], [1, 1, 1], [[1.0, 0.0]], [0.0]),), "2 and 3 limits"),
        ((box([0, 0], [1, 1], [[1.0, 0.0]], [0.0, 1.0]),), "1 rows and 2 offsets"),
        ((box([0, 0], [1, 1], [[1.0]], [0.0]), box([0], [1], [[1.0]], [0.0])), "different numbers of inputs"),
    ],
)
def test_a_property_that_asks_about_nothing_is_refused(cases, words):
    with pytest.raises(UsageError, match=words):
        Property(cases)


FLAT = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
"""x + 2^27 - 2^27: in float32 a multiple of 16."""
with torch.no_grad():
    for layer, shift in zip(FLAT, (2.0**27, -(2.0**27)), strict=True):
        layer.weight.fill_(1)
        layer.bias.fill_(shift)


def as_it_runs(x):
    with torch.no_grad():
        return FLAT(x.float()).double()


def flat(seed, inputs=1):
    """The same network in exact arithmetic, of the first of some inputs."""
    build = Builder()
    x = build.input((inputs,))
    first = torch.zeros(1, inputs, dtype=torch.float64)
    first[0, 0] = 1.0
    x = build.add(Linear(first, torch.tensor([2.0**27]).double()), x)
    build.scale(build.relu(x), shift=-(2.0**27))
    return graph(build.nodes), lambda x: as_it_runs(x[:, :1])


@pytest.mark.parametrize("inputs", [1, 24])
def test_points_where_rounding_parts_the_model_from_the_graph_are_shown_to_it(inputs):
    """Up to 9 in exact arithmetic, and 16 in float32 from 8 on."""
    network, run = flat(0, inputs)
    goal = Property((box([0.0] * inputs, [9.0] * inputs, [[-1.0]], [12.0]),))
    answer = decide(network, goal, run, timeout=60)
    assert answer.verdict == "sat"
    assert float(answer.witness.y) == 16.0


def test_a_proof_for_float32_leaves_rounding_its_room():
    """No point is met that violates, and float32 might in another order."""
    network, run = flat(0)
    goal = Property((box([0.0], [7.0], [[-1.0]], [7.5]),))
    proved = decide(network, goal, run, timeout=60)
    assert (proved.verdict, proved.soundness) == ("unsat", Soundness.REAL)
    assert decide(network, goal, run, timeout=4, soundness="float32").verdict in ("unknown", "timeout")
    far = Property((box([0.0], [7.0], [[-1.0]], [500.0]),))
    proved = decide(network, far, run, timeout=60, soundness="float32")
    assert (proved.verdict, proved.soundness) == ("unsat", Soundness.FLOAT32)


def test_a_network_whose_rounding_has_no_bound_is_not_proved_for_float32():
    build = Builder()
    build.add(Tanh(), build.input((1,)))
    network = graph(build.nodes)
    goal = Property((box([0.0], [1.0], [[1.0]], [1.0]),))
    assert decide(network, goal, runs(network), timeout=60).verdict == "unsat"
    assert decide(network, goal, runs(network), timeout=60, soundness="float32").verdict == "unknown"


def test_an_output_is_compared_with_the_model_by_its_own_scale():
    network = linear([[1.0, 0.0], [0.0, 1e6]])
    goal = Property((box([0.0, 0.5], [1.0, 1.0], [[1.0, 0.0]], [0.0]),))
    right = runs(network)
    with pytest.raises(CannotRun, match="gives other outputs"):
        decide(network, goal, lambda x: right(x) + torch.tensor([0.01, 0.0]).double(), timeout=60)
