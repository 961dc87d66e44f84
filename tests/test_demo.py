from functools import partial

import pytest
import torch

import brinell
from brinell.data import load
from brinell.demo import RADIUS, digits_network, train_digits_network
from brinell.threat import Linf, Threat


def test_the_embedded_network_is_the_same_on_every_call():
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    for made in (digits_network, partial(train_digits_network, 2)):
        one, two = made(), made()
        assert brinell.target(one).digest == brinell.target(two).digest
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert not one.training


@pytest.mark.slow
def test_its_weights_are_what_its_recipe_makes():
    data = load("digits")
    labels = [brinell.target(net).labels(data.x) for net in (digits_network(), train_digits_network())]
    assert (labels[0] == labels[1]).float().mean() > 0.95, "other processors round otherwise, and train on from there"


@pytest.mark.slow
def test_it_withstands_what_it_was_trained_for_in_part():
    run = brinell.audit(brinell.target(digits_network()), load("digits").take(200, 0), Threat(Linf(RADIUS)), "quick")
    assert run.evasion.clean > 0.85
    assert 0.4 < run.bracket.unbroken < run.evasion.clean
