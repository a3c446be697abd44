"""A proposal for another calibrator, from labels of what the active one stated.

What drifts when a corpus or its users change is mostly the level and the spread of the logits, and
how the two relations compare. So the proposal moves the active calibrator as a whole, by three
numbers that a few hundred labels can tell, and leaves its shape::

    logit' = scale * logit + shift + same_shift * same

The numbers are fitted by penalised maximum likelihood, shrunk towards (1, 0, 0), which is the
active calibrator, with a ridge that is chosen by cross-validation over queries. Everything that is
said of the proposal is measured on queries that its fit has not seen; intervals come from a
bootstrap over queries, because hits of one answer share their query's luck.

A proposal is refused, with its reason, where it would not help: too few labels; labels that do not
rise with the stated probability beyond doubt, which no calibrator can mend; and an active
calibrator that may as well hold. Whether labels rise is tested with the score of a slope of zero,
summed by query, and not with the slope itself: where the encoder separates well the slope has no
standard deviation to speak of, and there the labels say the most.

Whether the active one holds is tested with a score too: by how much the labels of a query pull
its logits the way that the fit on the other folds moved them. The gain in loss is that pull less
what the move costs. For a move by d of a sum of logits with information I the gain is I*d*d/2 and
its standard deviation d*sqrt(I), while the pull is I*d*d with the same standard deviation: testing
the gain throws half of the evidence away. The gain need only be one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from app.core.calibration.assess import losses
from app.core.calibration.calibrator import sigmoid
from app.core.calibration.document import CalibratorDocument
from app.core.calibration.fit import LinearLogit, Penalty, fit_logistic
from app.core.calibration.fit_ridge import GroupArray, choose_ridge, group_folds
from app.core.calibration.resampling import resampled_groups
from app.core.errors import CalibrationError
from app.core.feedback.labels import Labels
from app.core.types import BoolArray, FloatArray

MIN_LABELS = 100
MIN_QUERIES = 30
MIN_OF_A_CLASS = 15
DRAWS = 1000
FOLDS = 5
RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)

_NOTHING = 1e-12
RISE = 3.0
"""Standard deviations by which labels must rise: chance does that in 1 of 740 cases."""

PULL = 2.33
"""Standard deviations by which unseen labels must pull: they do in 1 of 100 cases where the active
calibrator holds."""

_LEVEL_FACTOR = 0.1
"""The level is what drifts most, and what labels tell best: it is shrunk the least."""
_SHRINK = Penalty(
    units=np.ones(2),
    towards=LinearLogit(np.array([1.0, 0.0]), 0.0),
    intercept_factor=_LEVEL_FACTOR,
)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval over queries."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """Expected relevant hits divided by relevant ones, on queries that were not fitted.

    Attributes:
        labels: How many there are.
        relevant: How many of them are relevant.
        before: As they were stated.
        after: As the proposal would have stated them.
    """

    labels: int
    relevant: int
    before: Interval
    after: Interval


@dataclass(frozen=True, slots=True)
class Proposal:
    """What came of a refit.

    Attributes:
        calibrator: Id of the active calibrator, whose statements were judged.
        labels: Labels that were used.
        queries: Answers they belong to.
        relevant: How many of them are relevant.
        scale: Factor of the logit.
        shift: What is added to it.
        same_shift: What is added in same-language hits besides.
        ridge: Strength of the shrinkage, in labels.
        nll: Mean negative log-likelihood on unseen queries, before and after.
        gain: How much lower it is after.
        rise: By how many standard deviations labels rise with the stated probability.
        pull: By how many labels of unseen queries pull the way that the fit on others moved.
        agreement: ``all``, ``same`` and ``cross`` to how statements and labels agree.
        refusal: Why the proposal should not be used; ``None`` where it helps.
        warnings: What the labels may hide.
    """

    calibrator: str
    labels: int
    queries: int
    relevant: int
    scale: float = 1.0
    shift: float = 0.0
    same_shift: float = 0.0
    ridge: float = 0.0
    nll: tuple[float, float] | None = None
    gain: Interval | None = None
    rise: float | None = None
    pull: float | None = None
    agreement: Mapping[str, Agreement] = field(default_factory=dict)
    refusal: str | None = None
    warnings: tuple[str, ...] = ()


def propose(document: CalibratorDocument, labels: Labels, *, seed: int = 0) -> Proposal:
    """Return a proposal for another calibrator, or why there is none.

    Args:
        document: The active calibrator.
        labels: Labels of its statements, and of no other's.
        seed: Of folds and resamples.
    """
    proposal = Proposal(
        calibrator=document.id,
        labels=len(labels.relevant),
        queries=labels.queries,
        relevant=int(labels.relevant.sum()),
        warnings=labels.warnings(),
    )
    refusal = _too_few(proposal)
    if refusal is not None:
        return replace(proposal, refusal=refusal)
    try:
        return _fitted(proposal, _Data.of(document, labels), seed)
    except CalibrationError as error:
        return replace(proposal, refusal=f"The labels cannot be fitted. {error}")


def restated(document: CalibratorDocument, labels: Labels, proposal: Proposal) -> FloatArray:
    """Return what a proposal would have stated of labelled hits, float64 of shape (n,)."""
    moves = LinearLogit(np.array([proposal.scale, proposal.same_shift]), proposal.shift)
    return _Data.of(document, labels).restated(moves)


@dataclass(frozen=True, slots=True, eq=False)
class _Data:
    """What is fitted: logits (n,), features (n, 2), labels (n,), queries (n,)."""

    clip: tuple[float, float]
    stated: FloatArray
    x: FloatArray
    y: FloatArray
    same: BoolArray
    query: GroupArray

    @classmethod
    def of(cls, document: CalibratorDocument, labels: Labels) -> _Data:
        """Return the logits whose squashing into the clip range gives what was stated.

        A probability that was averaged over uncertain languages is taken as one logit.
        """
        low, high = document.clip
        share = np.clip((labels.probability - low) / (high - low), 1e-9, 1.0 - 1e-9)
        logit = np.log(share) - np.log1p(-share)
        return cls(
            clip=(low, high),
            stated=labels.probability,
            x=np.column_stack([logit, labels.same.astype(np.float64)]),
            y=labels.relevant.astype(np.float64),
            same=labels.same,
            query=labels.query,
        )

    def fit(self, rows: BoolArray, seed: int) -> tuple[LinearLogit, float]:
        """Return the moves that fit some rows best, and the ridge they were shrunk with."""
        x, y, query = self.x[rows], self.y[rows], self.query[rows]
        penalty = choose_ridge(x, y, query, RIDGES, penalty=_SHRINK, folds=FOLDS, seed=seed).penalty
        return fit_logistic(x, y, penalty=penalty), penalty.ridge

    def restated(self, moves: LinearLogit) -> FloatArray:
        """Return what the moved calibrator states, shape (n,)."""
        low, high = self.clip
        result: FloatArray = low + (high - low) * sigmoid(moves.logit(self.x))
        return result


def _fitted(proposal: Proposal, data: _Data, seed: int) -> Proposal:
    moves, ridge = data.fit(np.ones(len(data.y), dtype=np.bool_), seed)
    unseen, moved = np.empty(len(data.y)), np.empty(len(data.y))
    fold = group_folds(data.query, FOLDS, seed + 1)
    for number in range(FOLDS):
        out = fold == number
        of_others = data.fit(~out, seed)[0]
        unseen[out] = data.restated(of_others)[out]
        moved[out] = (of_others.logit(data.x) - data.x[:, 0])[out]
    ratio = partial(_ratio, data.query, seed)
    pull = _deviations_above_zero(moved * (data.y - data.stated), data.query)
    rise = standing_above_chance(data.x[:, 0], data.y, data.query)
    before, after = losses(data.stated, data.y), losses(unseen, data.y)
    gain = ratio(before - after, np.ones(len(data.y)))
    groups = {"all": np.ones(len(data.y), np.bool_), "same": data.same, "cross": ~data.same}
    return replace(
        proposal,
        scale=float(moves.coef[0]),
        shift=moves.intercept,
        same_shift=float(moves.coef[1]),
        ridge=ridge,
        nll=(float(before.mean()), float(after.mean())),
        gain=gain,
        agreement={
            name: Agreement(
                labels=int(rows.sum()),
                relevant=int(data.y[rows].sum()),
                before=ratio(data.stated * rows, data.y * rows),
                after=ratio(unseen * rows, data.y * rows),
            )
            for name, rows in groups.items()
            if data.y[rows].any()
        },
        rise=rise,
        pull=pull,
        refusal=_no_help(rise, float(moves.coef[0]), pull, gain),
    )


def _ratio(query: GroupArray, seed: int, above: FloatArray, below: FloatArray) -> Interval:
    """Return the ratio of two sums over rows, with its interval over queries."""
    _, group = np.unique(query, return_inverse=True)
    sums = np.column_stack([np.bincount(group, weights=column) for column in (above, below)])
    drawn = np.array([times @ sums for times in resampled_groups(len(sums), DRAWS, seed)])
    drawn = drawn[drawn[:, 1] > 0.0]
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], (0.025, 0.975)).tolist()
    return Interval(float(sums[:, 0].sum() / sums[:, 1].sum()), low, high)


def standing_above_chance(stated: FloatArray, relevant: FloatArray, query: GroupArray) -> float:
    """Return by how many standard deviations labels rise with stated logits.

    The score test of a slope of zero with a variance that is robust within queries (Rao's test
    with the middle of the sandwich of Liang and Zeger 1986); 0 where nothing varies.

    Args:
        stated: Logits, shape (n,).
        relevant: Labels, 0 or 1, shape (n,).
        query: Number of the query, shape (n,).
    """
    return _deviations_above_zero((stated - stated.mean()) * (relevant - relevant.mean()), query)


def _deviations_above_zero(values: FloatArray, query: GroupArray) -> float:
    """Return how far a sum of values lies above 0, in standard deviations over queries."""
    _, group = np.unique(query, return_inverse=True)
    of_query = np.bincount(group, weights=values)
    spread = float(np.sqrt(of_query @ of_query))
    return float(of_query.sum()) / max(spread, _NOTHING)


def _too_few(proposal: Proposal) -> str | None:
    classes = min(proposal.relevant, proposal.labels - proposal.relevant)
    if (
        proposal.labels >= MIN_LABELS
        and proposal.queries >= MIN_QUERIES
        and classes >= MIN_OF_A_CLASS
    ):
        return None
    return (
        f"There are {proposal.labels} labels of {proposal.queries} queries, "
        f"{proposal.relevant} of them relevant. It takes {MIN_LABELS} of {MIN_QUERIES} queries, "
        f"at least {MIN_OF_A_CLASS} relevant and as many not."
    )


def _no_help(rise: float, scale: float, pull: float, gain: Interval) -> str | None:
    if rise <= RISE or scale <= 0.0:
        return (
            "The labels do not rise with the stated probability beyond doubt (by "
            f"{rise:.1f} standard deviations, it takes {RISE:g}): they look like noise, or the "
            "encoder does not separate what is judged here. No calibrator can mend that."
        )
    if pull <= PULL or gain.value <= 0.0:
        return (
            "The active calibrator may as well hold: labels of queries that were not fitted pull "
            f"towards the proposal by {pull:.1f} standard deviations, it takes {PULL:g}, and their "
            f"loss is lower by {gain.value:.4f}, it takes a gain. Keep the active one, or collect "
            "more labels."
        )
    return None
