"""Several models as one target: the ensemble that an adversary attacks so that the result transfers.

Source: Liu et al. 2017, arXiv:1611.02770, section 2.4.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal, final

import torch
from torch.nn import functional

from brinell.errors import UsageError
from brinell.targets import Backend, Target
from brinell.threat import Access
from brinell.types import Inputs, Logits

Fuse = Literal["probabilities", "logits", "votes"]


def ensemble(members: Sequence[Target], weights: Sequence[float] | None = None, fuse: Fuse = "probabilities") -> Target:
    """One target made of several, with the box of the first, in the units that all of them share.

    weights: one a member, at least 0 with a positive sum; None is the same for all. fuse: `probabilities` answers with
    the logarithm of the mean of the members' probabilities, so that its cross-entropy is eq. 5 of the paper; `logits`
    with the mean of their scores, `votes` with the share of the members that decide for each class. It shows gradients
    where every member does, but never of votes, and its own meter counts a question once.
    """
    weights = [1.0] * len(members) if weights is None else list(weights)
    if not members or len(weights) != len(members) or min(weights) < 0 or not sum(weights) > 0:
        raise UsageError(f"{len(members)} members and weights {weights}; give members and one weight >= 0 for each")
    if any(member.access < Access.SCORES for member in members):
        raise UsageError("a member shows labels only; an ensemble needs the scores of each")
    if any(member.box != members[0].box for member in members):
        raise UsageError("the members have different boxes; wrap all of them with the same box")
    return Target(_Fused(members, [w / sum(weights) for w in weights], fuse), members[0].box)


@final
class _Fused(Backend):
    """The weighted mean of what the members answer."""

    def __init__(self, members: Sequence[Target], weights: Sequence[float], fuse: Fuse) -> None:
        self._members = tuple(members)
        self._weights = tuple(weights)
        self._fuse = fuse
        most = Access.SCORES if fuse == "votes" else Access.GRADIENTS
        self.access = min(most, *(member.access for member in members))
        self.classes = members[0].classes

    def scores(self, x: Inputs) -> Logits:
        answers = [member.answer(x) for member in self._members]
        if self._fuse == "votes":
            answers = [functional.one_hot(a.argmax(1), a.shape[1]).to(a.dtype) for a in answers]
        if self._fuse != "probabilities":
            return sum((w * a for w, a in zip(self._weights, answers, strict=True)), torch.zeros_like(answers[0]))
        logs = [_log_probabilities(a) + torch.tensor(w).log() for w, a in zip(self._weights, answers, strict=True)]
        return torch.stack(logs).logsumexp(0)

    def digest(self) -> str:
        about = f"{[member.digest for member in self._members]} {self._weights} {self._fuse}"
        return hashlib.sha256(about.encode()).hexdigest()

    def describe(self) -> str:
        return f"the mean {self._fuse} of {len(self._members)} models"

    def copy(self) -> "_Fused":
        return _Fused([member.copy() for member in self._members], self._weights, self._fuse)


def _log_probabilities(scores: Logits) -> Logits:
    """Of the scores themselves where they are probabilities already, else of their softmax; finite."""
    tiny = torch.finfo(scores.dtype).tiny
    already = ((scores >= 0).all(1) & ((scores.sum(1) - 1).abs() < 1e-4)).unsqueeze(1)
    return torch.where(already, scores.clamp(min=tiny).log(), scores.log_softmax(1))
