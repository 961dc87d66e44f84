"""What is found on one model and shown to another."""

import pytest
import torch
from sklearn.tree import DecisionTreeClassifier

import brinell
from brinell.errors import UsageError
from brinell.evasion import BIM, FGSM, attack
from brinell.evasion.transfer import Transfer, ensemble
from brinell.targets import Target
from brinell.threat import Access, Linf, Targeted, Threat
from models import affine, generator, relu_net, target

SMALL = Threat(Linf(0.2))


def examples(model: Target, n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(n, 6, generator=generator(1))
    return x, model.labels(x)


def test_a_model_transfers_to_itself_as_the_attack_alone() -> None:
    model = target(relu_net((6,)))
    x, y = examples(model)
    alone = attack(BIM(steps=5), model, x, y, SMALL)
    shown = attack(Transfer(model, BIM(steps=5)), model, x, y, SMALL)
    assert alone.broken.any()
    assert torch.equal(shown.broken, alone.broken)
    assert torch.equal(shown.x, alone.x)


@pytest.mark.parametrize("threat", [SMALL, Threat(Linf(0.5), Targeted(1))], ids=["untargeted", "targeted"])
def test_a_black_box_is_asked_twice_and_the_source_as_often_as_it_takes(threat) -> None:
    source, black = target(affine(6, 3, seed=0)), target(affine(6, 3, seed=0), access=Access.LABELS)
    x = torch.rand(40, 6, generator=generator(1))
    y = black.labels(x)
    x, y = x[y != 1], y[y != 1]
    found = attack(Transfer(source, BIM(steps=8)), black, x, y, threat)
    assert found.broken.any()
    assert found.queries.max() == 2  # the clean look, and the one candidate
    assert found.gradients.max() == 0


def test_searches_that_take_all_their_steps_carry_over_more_often() -> None:
    """Between networks that differ, of the same inputs: the first point that fools one is no good to the other."""
    nets = [relu_net((20,), classes=4, seed=s) for s in (1, 2)]
    middle = target(nets[0]), target(nets[1])
    x = torch.rand(600, 20, generator=generator(3))
    y = middle[0].labels(x)
    both = middle[1].labels(x) == y
    x, y = x[both], y[both]
    fooled = {}
    for lead in (0.0, torch.inf):
        made = Transfer(middle[0], BIM(steps=10), lead)
        fooled[lead] = int(attack(made, middle[1], x, y, Threat(Linf(0.3))).broken.sum())
    assert fooled[torch.inf] > fooled[0.0]


def test_an_attack_that_the_source_cannot_serve_is_refused() -> None:
    with pytest.raises(UsageError, match="PGD needs GRADIENTS; the source shows SCORES"):
        Transfer(target(affine(6), access=Access.SCORES), FGSM())


def test_an_ensemble_of_one_decides_and_ascends_as_its_member() -> None:
    model = target(relu_net((6,)))
    x, y = examples(model)
    for fuse in ("probabilities", "logits"):
        both = ensemble([model, model], fuse=fuse)
        assert torch.equal(both.labels(x), y)
        assert torch.equal(attack(FGSM(), both, x, y, SMALL).broken, attack(FGSM(), model, x, y, SMALL).broken)


def test_fused_probabilities_are_the_weighted_mean_of_softmaxes() -> None:
    members = [target(affine(6, 3, seed=s)) for s in range(2)]
    x = torch.rand(10, 6, generator=generator())
    fused = ensemble(members, [1.0, 3.0]).scores(x).exp()
    by_hand = 0.25 * members[0].scores(x).softmax(1) + 0.75 * members[1].scores(x).softmax(1)
    assert torch.allclose(fused, by_hand, atol=1e-6)


def test_votes_are_counted_and_show_no_gradients() -> None:
    members = [target(affine(6, 3, seed=s)) for s in range(3)]
    x = torch.rand(30, 6, generator=generator())
    votes = ensemble(members, fuse="votes")
    assert votes.access is Access.SCORES
    said = torch.stack([member.labels(x) for member in members])
    assert torch.allclose(votes.scores(x), torch.stack([(said == k).float().mean(0) for k in range(3)], 1))
    assert torch.allclose(ensemble(members, [1.0, 0.0, 0.0], "votes").scores(x).argmax(1), said[0])


def test_probabilities_of_a_tree_are_fused_as_they_are() -> None:
    x = torch.rand(60, 6, generator=generator())
    tree = brinell.target(DecisionTreeClassifier(max_depth=3, random_state=0).fit(x.numpy(), (x[:, 0] > 0.5).numpy()))
    fused = ensemble([tree])
    assert fused.access is Access.SCORES
    assert torch.allclose(fused.scores(x).exp(), tree.scores(x), atol=1e-6)
