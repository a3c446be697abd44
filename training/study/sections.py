"""The sections of a study's report: tables, and the pictures beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.core.types import BoolArray
from training.report import table
from training.study.analysis import FinishedCell, Measure, Relation, Resampled, estimate
from training.study.calibrators import ADDITIVE, ENGLISH, GLOBAL, METHODS, OWN, RAW, SAME
from training.study.config import Batches, StudyConfig
from training.study.hypotheses import Cells
from training.study.plots import Curve, Panel, draw_curves, draw_reliability_grid
from training.study.protocols import ARTICLE_SPLIT
from training.study.shown import base_rate, exponential, group_of, mean_of, number, point, shown

RELATIONS: tuple[Relation, Relation] = ("same", "cross")
_PRIMARY_FIRST: tuple[Relation, Relation] = ("cross", "same")
_RETRIEVAL = {
    "mAP monolingual": "mono/map",
    "mAP cross-lingual": "cross/map",
    "mAP multilingual": "multi/map",
    "rank distance": "rank_distance",
    "LPR@1": "lpr@1",
}
_GAP_LABEL = "zero-shot calibration gap (nats)"
_GAP = """Zero-shot calibration gap: NLL under `{english}` minus NLL under `{own}`, in nats a hit;
mean of the {cross} cross-language and {same} same-language pairs that have a calibrator of their
own in every cell.
"""
_LOSSES = """NLL of a hit, mean over language pairs. ECE (15 bins of equal mass) of all hits of the
relation, and the mean of the ECE inside language pairs. Homogeneous batches, mean of the seeds.
"""


class Sections:
    """Writes the sections of a report.

    Args:
        cells: The finished cells.
        resampled: Their numbers.
        passages: Size of the pool.
        target: Directory of the report.
    """

    def __init__(self, cells: Cells, resampled: Resampled, passages: int, target: Path) -> None:
        self._cells = cells
        self._resampled = resampled
        self._passages = passages
        self._target = target

    @property
    def _config(self) -> StudyConfig:
        return self._cells.config

    @property
    def _alphas(self) -> list[float]:
        return sorted(self._config.alphas)

    def retrieval(self) -> str:
        """Return retrieval quality and language bias against alpha."""
        measures = {label: self._resampled.retrieval(n) for label, n in _RETRIEVAL.items()}
        rows = []
        for kind, alpha, cells in self._places():
            found = {label: estimate(cells, measure) for label, measure in measures.items()}
            share = found["rank distance"].value / self._passages
            rows.append([kind, f"{alpha:g}", *map(shown, found.values()), number(share)])
        panels = [
            Panel(label, label, self._by_kind(measure))
            for label, measure in measures.items()
            if label != "LPR@1"
        ]
        draw_curves(panels, self._target / "retrieval.svg")
        header = ["batches", "alpha", *_RETRIEVAL, "rank distance / pool"]
        return "\n".join(["## Retrieval\n", table(header, rows), "![Retrieval](retrieval.svg)\n"])

    def calibration(self, protocol: str) -> str:
        """Return gap, E/O, NLL and ECE under a protocol."""
        slug = protocol.replace(" ", "-")
        primary = " (primary)" if protocol == ARTICLE_SPLIT else ""
        common = self._resampled.common_pairs(self._grid_cells(), protocol)
        self._draw_ratios(protocol, self._target / f"ratio-{slug}.svg")
        return "\n".join(
            [
                f"## Calibration: {protocol}{primary}\n",
                self._gaps(protocol, common, self._target / f"gap-{slug}.svg"),
                "E/O (sum of probabilities / relevant hits), homogeneous batches:\n",
                self._ratio_table(protocol),
                f"![E/O](ratio-{slug}.svg)\n",
                _LOSSES,
                self._loss_table(protocol),
            ]
        )

    def temperature(self) -> str:
        """Return what other loss temperatures do; empty where none was run."""
        temperatures = [None, *(arm.loss_temperature for arm in self._config.arm)]
        places = [
            (t, a, self._cells.at(a, temperature=t)) for t in temperatures for a in self._alphas
        ]
        if not any(cells for t, _, cells in places if t is not None):
            return ""
        every = [cell for _, _, cells in places for cell in cells]
        common = self._resampled.common_pairs(every, ARTICLE_SPLIT)
        gap = self._resampled.gap(ARTICLE_SPLIT, "cross", common)
        quality = self._resampled.retrieval("multi/map")
        rows = []
        for tau, alpha, cells in places:
            if cells:
                raw = mean_of(
                    cells, lambda c: point(c, ARTICLE_SPLIT, "all", RAW, "expected_observed")
                )
                found = [shown(estimate(cells, quality)), shown(estimate(cells, gap), 4)]
                rows.append([f"{self._temperature_of(tau):g}", f"{alpha:g}", *found, number(raw)])
        panels = [
            Panel("one pool of all languages", "mAP multilingual", self._by_temperature(quality)),
            Panel("cross-language hits", _GAP_LABEL, self._by_temperature(gap), 0.0),
        ]
        draw_curves(panels, self._target / "temperature.svg")
        header = ["loss temperature", "alpha", "mAP multilingual", "gap cross", "E/O of `none`"]
        return "\n".join(
            ["## Loss temperature\n", table(header, rows), "![Temperature](temperature.svg)\n"]
        )

    def reliability(self) -> str:
        """Return reliability diagrams at the lowest, middle and highest alpha."""
        alphas = self._alphas
        diagrams: dict[str, dict[str, Any]] = {}
        for relation in RELATIONS:
            for alpha in (alphas[0], alphas[len(alphas) // 2], alphas[-1]):
                for cell in self._cells.at(alpha)[:1]:
                    methods = group_of(cell, ARTICLE_SPLIT, relation)["methods"]
                    diagrams[f"alpha {alpha:g}, {relation}-language hits"] = {
                        name: methods[name]["diagram"]
                        for name in (GLOBAL, ENGLISH, SAME)
                        if name in methods
                    }
        if not diagrams:
            return ""
        draw_reliability_grid(diagrams, self._target / "reliability.svg")
        return (
            "## Reliability\n\nArticle split, homogeneous batches, first seed.\n\n"
            "![Reliability](reliability.svg)\n"
        )

    def _gaps(self, protocol: str, common: BoolArray, path: Path) -> str:
        counts = {r: int((self._resampled.in_relation(r) & common).sum()) for r in _PRIMARY_FIRST}
        gaps = {r: self._resampled.gap(protocol, r, common) for r in _PRIMARY_FIRST if counts[r]}
        rows = []
        for kind, alpha, cells in self._places():
            row = [kind, f"{alpha:g}"]
            for relation in _PRIMARY_FIRST:
                measure = gaps.get(relation)
                row.append("–" if measure is None else shown(estimate(cells, measure), 4))
                row += _frequency(cells, protocol, relation)
            rows.append(row)
        header = ["batches", "alpha"]
        for relation in _PRIMARY_FIRST:
            header += [f"gap {relation}", f"{relation} hits", "relevant"]
        parts = [
            _GAP.format(english=ENGLISH, own=OWN, **counts),
            table(header, rows),
        ]
        if gaps:
            panels = [
                Panel(f"{relation}-language hits", _GAP_LABEL, self._by_kind(measure), 0.0)
                for relation, measure in gaps.items()
            ]
            draw_curves(panels, path)
            parts.append(f"![Gap]({path.name})\n")
        return "\n".join(parts)

    def _ratio_table(self, protocol: str) -> str:
        rows = []
        for alpha in self._alphas:
            cells = self._cells.at(alpha)
            for method in (RAW, GLOBAL, ENGLISH, SAME, ADDITIVE) if cells else ():
                measures = [self._resampled.log_ratio(protocol, method, r) for r in RELATIONS]
                ratios = [shown(exponential(estimate(cells, measure))) for measure in measures]
                rows.append([f"{alpha:g}", f"`{method}`", *ratios])
        return table(["alpha", "calibrator", "E/O same", "E/O cross"], rows)

    def _loss_table(self, protocol: str) -> str:
        header = ["alpha", "calibrator"]
        for relation in RELATIONS:
            header += [f"NLL {relation}", f"ECE {relation}", "in pairs"]
        rows = []
        for alpha in self._alphas:
            cells = self._cells.at(alpha)
            for method in METHODS if cells else ():
                row = [f"{alpha:g}", f"`{method}`"]
                for relation in RELATIONS:
                    loss = self._resampled.nll(protocol, method, relation)
                    row.append(shown(estimate(cells, loss), 4))
                    row += _errors(cells, protocol, relation, method)
                rows.append(row)
        return table(header, rows)

    def _draw_ratios(self, protocol: str, path: Path) -> None:
        panels = []
        for relation in RELATIONS:
            curves = [
                self._curve(
                    m, "homogeneous", None, self._resampled.log_ratio(protocol, m, relation)
                )
                for m in (GLOBAL, ENGLISH, SAME, ADDITIVE)
            ]
            panels.append(Panel(f"{relation}-language hits", "log(E/O)", curves, 0.0))
        draw_curves(panels, path)

    def _places(self) -> list[tuple[Batches, float, list[FinishedCell]]]:
        kinds = self._config.batches
        found = [(kind, a, self._cells.at(a, kind)) for kind in kinds for a in self._alphas]
        return [place for place in found if place[2]]

    def _grid_cells(self) -> list[FinishedCell]:
        return [cell for _, _, cells in self._places() for cell in cells]

    def _temperature_of(self, temperature: float | None) -> float:
        return self._config.hybrid.loss_temperature if temperature is None else temperature

    def _curve(
        self, legend: str, kind: Batches, temperature: float | None, measure: Measure
    ) -> Curve:
        found = {a: self._cells.at(a, kind, temperature) for a in self._alphas}
        points = {alpha: estimate(cells, measure) for alpha, cells in found.items() if cells}
        return Curve(legend, {a: p for a, p in points.items() if math.isfinite(p.value)})

    def _by_kind(self, measure: Measure) -> list[Curve]:
        return [self._curve(kind, kind, None, measure) for kind in self._config.batches]

    def _by_temperature(self, measure: Measure) -> list[Curve]:
        temperatures = [None, *(arm.loss_temperature for arm in self._config.arm)]
        return [
            self._curve(f"loss temperature {self._temperature_of(t):g}", "homogeneous", t, measure)
            for t in temperatures
        ]


def _frequency(cells: Sequence[FinishedCell], protocol: str, relation: str) -> list[str]:
    """Return the mean number of hits of a relation, and the share of relevant ones."""
    hits = np.mean([group_of(cell, protocol, relation)["hits"] for cell in cells])
    rate = mean_of(cells, lambda cell: base_rate(cell, protocol, relation))
    return [f"{hits:.0f}", number(rate)]


def _errors(cells: Sequence[FinishedCell], protocol: str, relation: str, method: str) -> list[str]:
    """Return the ECE of a relation, and the mean of the ECE inside its language pairs."""
    pooled = mean_of(cells, lambda cell: point(cell, protocol, relation, method, "ece"))
    inside = mean_of(
        cells, lambda cell: point(cell, protocol, relation, method, "ece_inside_pairs")
    )
    return [number(pooled, 4), number(inside, 4)]
