"""The hypotheses of ``docs/study/hypotheses.md`` as contrasts, and their verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from training.study.analysis import Contrast, FinishedCell, Measure, Resampled, contrast, estimate
from training.study.calibrators import ADDITIVE, GLOBAL, RAW, SAME
from training.study.config import Batches, StudyConfig
from training.study.protocols import ARTICLE_SPLIT, TRANSFER

SUPPORTED, REFUTED, OPEN, NOT_RUN = "supported", "refuted", "not settled", "not run"
RATIO_RANGE = (0.85, 1.18)
_MISSING = "cells are missing, or no language pair has a calibrator of its own in all of them"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a hypothesis.

    Attributes:
        name: H1 ... M2.
        claim: The prediction, in a line.
        outcome: ``supported``, ``refuted``, ``not settled`` or ``not run``.
        contrasts: What it rests on, by name.
        note: What else there is to say.
    """

    name: str
    claim: str
    outcome: str
    contrasts: dict[str, Contrast] = field(default_factory=dict)
    note: str = ""


class Cells:
    """Finished cells by their place in the grid.

    Args:
        config: The study.
        cells: Those that are finished.
    """

    def __init__(self, config: StudyConfig, cells: Sequence[FinishedCell]) -> None:
        self.config = config
        self._by_place = {
            (c.cell.batches, c.cell.loss_temperature, c.cell.alpha, c.cell.seed): c for c in cells
        }

    def at(
        self, alpha: float, batches: Batches = "homogeneous", temperature: float | None = None
    ) -> list[FinishedCell]:
        """Return the cells of all seeds at a place; shorter where seeds are missing."""
        tau = self.config.hybrid.loss_temperature if temperature is None else temperature
        keys = [(batches, tau, alpha, seed) for seed in self.config.seeds]
        return [self._by_place[key] for key in keys if key in self._by_place]

    def paired(
        self, first: Sequence[FinishedCell], second: Sequence[FinishedCell]
    ) -> list[tuple[FinishedCell, FinishedCell]]:
        """Return pairs of cells of one seed; empty unless every seed of the study has one."""
        by_seed = {cell.cell.seed: cell for cell in second}
        pairs = [(cell, by_seed[cell.cell.seed]) for cell in first if cell.cell.seed in by_seed]
        return pairs if len(pairs) == len(self.config.seeds) else []


class Judge:
    """Tests every hypothesis on the cells that are there.

    Args:
        cells: The cells.
        resampled: Their numbers.
    """

    def __init__(self, cells: Cells, resampled: Resampled) -> None:
        self._cells = cells
        self._resampled = resampled
        self._alphas = sorted(cells.config.alphas)

    def verdicts(self) -> list[Verdict]:
        """Return the verdict on every hypothesis, in order."""
        tests: list[Callable[[], Verdict]] = [
            self._h1, self._h2, self._h3, self._h4, self._h5, self._h6, self._h7, self._h8,
            self._m1, self._m2,
        ]  # fmt: skip
        return [test() for test in tests]

    def gap_contrast(
        self,
        first: Sequence[FinishedCell],
        second: Sequence[FinishedCell],
        protocol: str = ARTICLE_SPLIT,
    ) -> Contrast | None:
        """Return the difference of the cross-lingual gaps of two places."""
        pairs = self._cells.paired(first, second)
        if not pairs or any(f"{protocol}/loss" not in c.sums for pair in pairs for c in pair):
            return None
        common = self._resampled.common_pairs([c for pair in pairs for c in pair], protocol)
        count = int((self._resampled.in_relation("cross") & common).sum())
        if not count:
            return None
        return contrast(pairs, self._resampled.gap(protocol, "cross", common), count=count)

    def _h1(self) -> Verdict:
        found = self._ends()
        return _positive(
            "H1", "fewer monolingual batches widen the zero-shot calibration gap", {"gap": found}
        )

    def _h2(self) -> Verdict:
        cross = self._resampled.log_ratio(ARTICLE_SPLIT, GLOBAL, "cross")
        same = self._resampled.log_ratio(ARTICLE_SPLIT, GLOBAL, "same")
        found = self._compare(self._low(), self._high(), lambda c: cross(c) - same(c))
        return _positive(
            "H2",
            "a language-blind calibrator tilts towards cross-language hits as alpha falls",
            {"log(E/O cross / E/O same)": found},
        )

    def _h3(self) -> Verdict:
        verdict = _positive(
            "H3", "one bit, same or not, repairs the relation", self._gains(GLOBAL, SAME)
        )
        ratios = {
            (cell.cell.id, relation): ratio
            for cell in self._all()
            for relation in ("same", "cross")
            if (ratio := _ratio(cell, SAME, relation)) is not None
        }
        low, high = RATIO_RANGE
        outside = [key for key, ratio in ratios.items() if not low <= ratio <= high]
        note = f"E/O outside [{low}, {high}] in {len(outside)} of {len(ratios)} places"
        if ratios:
            note += f"; least {min(ratios.values()):.3f}, greatest {max(ratios.values()):.3f}"
        outcome = REFUTED if outside and verdict.outcome != NOT_RUN else verdict.outcome
        return Verdict(verdict.name, verdict.claim, outcome, verdict.contrasts, note)

    def _h4(self) -> Verdict:
        gains = self._gains(SAME, ADDITIVE)
        return _positive("H4", "language offsets are worth their parameters", gains)

    def _h5(self) -> Verdict:
        high = self._alphas[-1]
        found = self.gap_contrast(self._cells.at(high, "mixed"), self._high())
        return _positive(
            "H5", "mixing languages in the batch widens the gap at alpha 1", {"gap": found}
        )

    def _h6(self) -> Verdict:
        claim = "the loss temperature moves the raw probability, not the answer"
        base = self._ends()
        for arm in self._cells.config.arm:
            tau = arm.loss_temperature
            found = self.gap_contrast(
                self._cells.at(self._alphas[0], temperature=tau),
                self._cells.at(self._alphas[-1], temperature=tau),
            )
            middle = self._alphas[len(self._alphas) // 2]
            ratios = [
                float(np.mean([_ratio(c, RAW, None) or math.nan for c in cells]))
                for cells in (self._cells.at(middle), self._cells.at(middle, temperature=tau))
                if cells
            ]
            if base is None or found is None or len(ratios) < 2:
                break
            factor = max(ratios) / min(ratios)
            agree = np.sign(found.value) == np.sign(base.value)
            settled = found.sign != 0 and base.sign != 0
            outcome = REFUTED if not agree or factor < 2 else SUPPORTED if settled else OPEN
            note = f"E/O of 'none': {ratios[0]:.3g} and {ratios[1]:.3g}, factor {factor:.2g}"
            return Verdict("H6", claim, outcome, {"gap": base, f"gap at {tau:g}": found}, note)
        return Verdict("H6", claim, NOT_RUN, note=_MISSING)

    def _h7(self) -> Verdict:
        claim = "what ranks best is not what calibrates best"
        places = {alpha: self._cells.at(alpha) for alpha in self._alphas}
        if any(len(cells) < len(self._cells.config.seeds) for cells in places.values()):
            return Verdict("H7", claim, NOT_RUN, note=_MISSING)
        every = [cell for cells in places.values() for cell in cells]
        common = self._resampled.common_pairs(every, ARTICLE_SPLIT)
        gap = self._resampled.gap(ARTICLE_SPLIT, "cross", common)
        quality = self._resampled.retrieval("multi/map")
        best = max(places, key=lambda alpha: estimate(places[alpha], quality).value)
        calm = min(places, key=lambda alpha: estimate(places[alpha], gap).value)
        note = f"best multilingual mAP at alpha {best:g}, smallest gap at alpha {calm:g}"
        if best == calm:
            return Verdict("H7", claim, REFUTED, note=note)
        found = self.gap_contrast(places[best], places[calm])
        verdict = _positive("H7", claim, {"gap": found})
        return Verdict("H7", claim, verdict.outcome, verdict.contrasts, note)

    def _h8(self) -> Verdict:
        claim = "the direction survives the shift of source"
        first = self._ends()
        second = self.gap_contrast(self._low(), self._high(), TRANSFER)
        if first is None or second is None:
            return Verdict("H8", claim, NOT_RUN, note=_MISSING)
        agree = np.sign(first.value) == np.sign(second.value)
        settled = second.sign != 0 and first.sign != 0
        outcome = REFUTED if not agree else SUPPORTED if settled else OPEN
        return Verdict("H8", claim, outcome, {"article split": first, "transfer": second})

    def _m1(self) -> Verdict:
        middle = self._cells.at(self._alphas[len(self._alphas) // 2])
        found = self._compare(middle, self._high(), self._resampled.retrieval("cross/map"))
        distance = self._resampled.retrieval("rank_distance")
        nearer = self._compare(middle, self._high(), lambda cell: -distance(cell))
        return _positive(
            "M1",
            "hybrid batches align languages better than monolingual ones",
            {"cross-lingual mAP": found, "minus rank distance": nearer},
        )

    def _m2(self) -> Verdict:
        claim = "at alpha 0 the two kinds of batches are one distribution"
        found = self.gap_contrast(self._cells.at(self._alphas[0], "mixed"), self._low())
        if found is None:
            return Verdict("M2", claim, NOT_RUN, note=_MISSING)
        outcome = SUPPORTED if found.low <= 0 <= found.high else REFUTED
        return Verdict("M2", claim, outcome, {"gap": found})

    def _low(self) -> list[FinishedCell]:
        return self._cells.at(self._alphas[0])

    def _high(self) -> list[FinishedCell]:
        return self._cells.at(self._alphas[-1])

    def _ends(self) -> Contrast | None:
        return self.gap_contrast(self._low(), self._high())

    def _all(self) -> list[FinishedCell]:
        config = self._cells.config
        return [c for kind in config.batches for a in self._alphas for c in self._cells.at(a, kind)]

    def _compare(
        self, first: Sequence[FinishedCell], second: Sequence[FinishedCell], measure: Measure
    ) -> Contrast | None:
        pairs = self._cells.paired(first, second)
        return contrast(pairs, measure) if pairs else None

    def _gains(self, worse: str, better: str) -> dict[str, Contrast | None]:
        """Return NLL(worse) - NLL(better) of cross-language hits at every alpha."""
        first = self._resampled.nll(ARTICLE_SPLIT, worse, "cross")
        second = self._resampled.nll(ARTICLE_SPLIT, better, "cross")
        gains: dict[str, Contrast | None] = {}
        for alpha in self._alphas:
            cells = self._cells.at(alpha)
            complete = len(cells) == len(self._cells.config.seeds)
            gain = estimate(cells, lambda c: first(c) - second(c)) if complete else None
            gains[f"alpha {alpha:g}"] = gain
        return gains


def _positive(name: str, claim: str, contrasts: dict[str, Contrast | None]) -> Verdict:
    """Judge a claim that says that all of these are above 0."""
    found = {key: value for key, value in contrasts.items() if value is not None}
    if len(found) < len(contrasts):
        return Verdict(name, claim, NOT_RUN, found, _MISSING)
    signs = {value.sign for value in found.values()}
    outcome = REFUTED if -1 in signs else SUPPORTED if signs == {1} else OPEN
    return Verdict(name, claim, outcome, found)


def _ratio(cell: FinishedCell, method: str, relation: str | None) -> float | None:
    table = cell.document["calibration"][ARTICLE_SPLIT][relation or "all"]["methods"]
    ratio = table.get(method, {}).get("expected_observed")
    return None if ratio is None else float(ratio)
