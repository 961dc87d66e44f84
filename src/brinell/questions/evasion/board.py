"""The board: what the evidence so far says of each example. Verdicts are read off it, never stored."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from brinell.auditing.plan import LOOK
from brinell.errors import Contradiction
from brinell.evidence import (
    Bracket,
    Certificate,
    Evidence,
    Failure,
    Look,
    ProbabilisticCertificate,
    Soundness,
    State,
    Verdict,
    Witness,
    check_evidence,
)


@final
@dataclass
class EvasionBoard:
    """Per example: the nearest witness, the farthest certificate, and whether it could be asked at all.

    A witness serves every radius from its distance on, a certificate every radius up to its own, so one run answers
    for many radii, and the worst case over all engines is taken example by example. An example fails where the target
    cannot be asked about it as it is; where it cannot be asked about a changed one, nothing was shown.

    least: the level from which a certificate counts. A weaker one leaves its example open, and a witness within it is
    no contradiction. sound: the farthest certificate of each level or of one that covers it.
    """

    n: int
    least: Soundness = Soundness.REAL
    distance: np.ndarray = field(init=False)
    certified: np.ndarray = field(init=False)
    witnesses: dict[int, Witness] = field(default_factory=dict, init=False)
    certificates: dict[int, Certificate] = field(default_factory=dict, init=False)
    sound: dict[Soundness, np.ndarray] = field(init=False)
    likely: np.ndarray = field(init=False)
    statements: dict[int, ProbabilisticCertificate] = field(default_factory=dict, init=False)
    alphas: dict[str, float] = field(default_factory=dict, init=False)
    failures: dict[int, Failure] = field(default_factory=dict, init=False)
    looks: dict[int, Look] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.distance = np.full(self.n, np.inf)
        self.certified = np.full(self.n, -np.inf)
        self.likely = np.full(self.n, -np.inf)
        self.sound = {level: np.full(self.n, -np.inf) for level in Soundness}

    @classmethod
    def of(cls, n: int, least: Soundness, evidence: Iterable[Evidence]) -> "EvasionBoard":
        """What all of this adds up to."""
        board = cls(n, least)
        for one in evidence:
            board.add(one)
        return board

    def add(self, evidence: Evidence) -> None:
        """Take one piece of evidence into account. Raises Contradiction where a witness meets a certificate.

        A witness within a probabilistic certificate is none: that may happen, and the witness stands.
        """
        check_evidence(evidence)
        item = evidence.item
        match evidence:
            case Witness(distance=distance):
                if distance < self.distance[item]:
                    self.distance[item] = distance
                    self.witnesses[item] = evidence
            case Certificate(radius=radius, soundness=soundness):
                for level in filter(soundness.covers, Soundness):
                    self.sound[level][item] = max(radius, self.sound[level][item])
                if radius > self.certified[item] and soundness.covers(self.least):
                    self.certified[item] = radius
                    self.certificates[item] = evidence
            case ProbabilisticCertificate(radius=radius):
                self.alphas[evidence.engine] = evidence.alpha
                if radius > self.likely[item]:
                    self.likely[item] = radius
                    self.statements[item] = evidence
            case Look():
                self.looks.setdefault(item, evidence)
            case Failure(engine=engine) if engine == LOOK:
                self.failures[item] = evidence
        if self.distance[item] <= self.certified[item]:
            witness, certificate = self.witnesses[item], self.certificates[item]
            raise Contradiction(
                f"example {item} is certified by {certificate.engine} at radius {certificate.radius:g} "
                f"({certificate.soundness}) and broken by {witness.engine} at distance {witness.distance:g}: one of "
                "them is wrong"
            )

    @property
    def asked(self) -> list[int]:
        """The examples whose turn has come for a first look, in order, those that could not be asked among them."""
        return sorted(self.looks.keys() | self.failures.keys())

    def open(self, radius: float) -> np.ndarray:
        """The examples that are neither broken nor certified at this radius, as indices."""
        undecided = (self.distance > radius) & (self.certified < radius) & (self.likely < radius)
        undecided[list(self.failures)] = False
        return np.flatnonzero(undecided)

    def standing(self) -> np.ndarray:
        """The examples that are right as they are, as indices: those that a smallest perturbation is sought for."""
        right = self.distance > 0
        right[list(self.failures)] = False
        return np.flatnonzero(right)

    def unbroken(self) -> np.ndarray:
        """The examples without a witness at any distance, as indices."""
        none = np.isinf(self.distance)
        none[list(self.failures)] = False
        return np.flatnonzero(none)

    def proved(self, radius: float) -> np.ndarray:
        """The examples certified at this radius, as indices."""
        return np.flatnonzero(self.certified >= radius)

    def soundness(self, radius: float, items: Sequence[int] | None = None) -> dict[Soundness, int]:
        """The examples with a certificate at this radius, by the strongest level that one has there.

        Also those whose certificates are too weak to count.
        """
        at = np.arange(self.n) if items is None else np.asarray(items, dtype=np.int64)
        counts, left = {}, ~(self.distance[at] <= radius)
        for level in reversed(Soundness):
            held = left & (self.sound[level][at] >= radius)
            counts[level], left = int(held.sum()), left & ~held
        return counts

    def contested(self) -> int:
        """The examples with a witness where a probabilistic certificate said there was none."""
        return int((self.distance <= self.likely).sum())

    def verdict(self, item: int, radius: float) -> Verdict:
        """The state of one example at one radius, and who settled it."""
        if self.distance[item] <= radius:
            witness = self.witnesses[item]
            return Verdict(item, radius, State.BROKEN, witness.engine, witness.distance)
        if self.certified[item] >= radius:
            return Verdict(item, radius, State.CERTIFIED, self.certificates[item].engine)
        if self.likely[item] >= radius:
            statement = self.statements[item]
            return Verdict(item, radius, State.CERTIFIED, statement.engine, alpha=statement.alpha)
        if item in self.failures:
            return Verdict(item, radius, State.ERROR, self.failures[item].engine)
        return Verdict(item, radius, State.OPEN)

    def verdicts(self, radius: float) -> list[Verdict]:
        """All examples at one radius."""
        return [self.verdict(item, radius) for item in range(self.n)]

    def bracket(self, radius: float, items: Sequence[int] | None = None) -> Bracket:
        """The bracket at one radius, over all examples or some of them."""
        at = np.arange(self.n) if items is None else np.asarray(items, dtype=np.int64)
        failed = np.zeros(self.n, dtype=bool)
        failed[list(self.failures)] = True
        broken = self.distance[at] <= radius
        certified = ~broken & (self.certified[at] >= radius)
        likely = ~broken & ~certified & (self.likely[at] >= radius)
        errors = ~broken & ~certified & ~likely & failed[at]
        counts = [int(state.sum()) for state in (broken, certified | likely, errors)]
        return Bracket(counts[0], counts[1], len(at) - sum(counts), counts[2], int(likely.sum()))
