"""What attacks ascend: one number an example, larger for the adversary, whether it leaves the label or has an aim."""

import torch
from torch.nn import functional

from brinell.types import Labels, Logits, Scores


def cross_entropy(scores: Logits, y: Labels, aim: Labels | None) -> Scores:
    """Cross-entropy away from the label, or toward the aim, in nats. Scores are taken as logits.

    Written as log(1 + sum of exp(rival - label)): where the model is confident, 1 less a probability rounds to zero,
    and the usual form would lose the value and half of the gradient.
    """
    return _surprise(scores, y) if aim is None else -_surprise(scores, aim)


def margin(scores: Logits, y: Labels, aim: Labels | None) -> Scores:
    """The best rival's lead over the label, or the aim's lead over its best rival.

    It is >= 0 exactly where the goal is met (Carlini and Wagner 2017, arXiv:1608.04644, f_6, with its sign turned and
    without its floor).
    """
    if aim is None:
        return _best_but(scores, y) - _of(scores, y)
    return _of(scores, aim) - _best_but(scores, aim)


def dlr(scores: Logits, y: Labels, aim: Labels | None) -> Scores:
    """Difference of logits ratio: the margin, free of shift and scale (Croce and Hein 2020, arXiv:2003.01690).

    Without an aim, eq. 6: divided by the 1st less the 3rd score. With one, eq. 7: divided by the 1st less the mean of
    the 3rd and 4th. Eq. 7 measures the aim against the label; the margin measures it against the class on top, which
    is the label until an untargeted goal is met, and under a targeted one is the class in the way. With fewer classes
    than the ratio names it can be constant, with no gradient, so the margin itself is returned.
    """
    if scores.shape[1] < (3 if aim is None else 4):
        return margin(scores, y, aim)
    ordered = scores.topk(3 if aim is None else 4, dim=1).values
    far = ordered[:, 2] if aim is None else (ordered[:, 2] + ordered[:, 3]) / 2
    return margin(scores, y, aim) / (ordered[:, 0] - far).clamp(min=1e-12)


def _surprise(scores: Logits, classes: Labels) -> Scores:
    rivals = scores.scatter(1, classes.unsqueeze(1), -torch.inf).logsumexp(1)
    return functional.softplus(rivals - _of(scores, classes), threshold=40)


def _of(scores: Logits, classes: Labels) -> Scores:
    return scores.gather(1, classes.unsqueeze(1)).squeeze(1)


def _best_but(scores: Logits, y: Labels) -> Scores:
    return scores.scatter(1, y.unsqueeze(1), -torch.inf).amax(1)
