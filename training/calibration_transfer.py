"""What forms of the calibrator are worth on data that they have not seen: sources left out in turn.

Answers "how many pieces should the line of the score have" without a look at an evaluation set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.core.types import FloatArray
from training.calibrate import FittedHeads, fit_heads
from training.calibration_config import CalibrationConfig
from training.calibration_data import CalibrationHits
from training.calibration_folds import state_left_out
from training.metrics.calibration import measure
from training.report import table

_LEAST_RELEVANT = 20


def compare_pieces(
    collected: CalibrationHits, config: CalibrationConfig, pieces: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """Return number of pieces to what hits are promised by fits without their source.

    Ridges are those that the fit on all sources chooses.

    Args:
        collected: The hits.
        config: Says what is fitted; its own number of pieces is not looked at.
        pieces: Numbers to compare.
    """
    answered = collected.where(collected.answered)
    found = {}
    for number in pieces:
        form = config.model_copy(update={"score_pieces": number})
        heads = fit_heads(collected, form)
        stated = state_left_out(answered, form, heads)
        found[str(number)] = {**_measured(answered, stated), "line": _line(heads)}
    return found


def transfer_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the Markdown table of ``compare_pieces``."""
    header = ["pieces"]
    for relation in ("same", "cross"):
        header += [f"{relation}: NLL", "ECE", "rms of ln(E/O)"]
    rows = [
        [
            number,
            *(
                f"{measured[relation][key]:.4f}" if relation in measured else "–"
                for relation in ("same", "cross")
                for key in ("nll", "ece", "rms_log_ratio")
            ),
        ]
        for number, measured in found.items()
    ]
    return table(header, rows)


def _measured(answered: CalibrationHits, stated: FloatArray) -> dict[str, Any]:
    """Return relation to means over the sources, each of which weighs the same."""
    hits = answered.hits
    found = {}
    for relation, mask in {"same": hits.same, "cross": ~hits.same}.items():
        sources = []
        for number in np.unique(answered.source):
            rows = mask & (answered.source == number) & ~np.isnan(stated)
            if hits.relevant[rows].sum() >= _LEAST_RELEVANT:
                sources.append(_of_source(stated[rows], answered.where(rows)))
        if sources:
            nll, ece, log_ratio = np.array(sources).T
            found[relation] = {
                "sources": len(sources),
                "nll": float(nll.mean()),
                "ece": float(ece.mean()),
                "rms_log_ratio": float(np.sqrt((log_ratio**2).mean())),
            }
    return found


def _of_source(stated: FloatArray, answered: CalibrationHits) -> tuple[float, float, float]:
    found = measure(stated, answered.hits.relevant, answered.hits.cluster).intervals
    nll, ece, ratio = (found[name].value for name in ("nll", "ece", "expected_observed"))
    return nll, ece, float(np.log(ratio))


def _line(heads: FittedHeads) -> dict[str, Any] | None:
    return None if heads.line is None else heads.line.model_dump(mode="json")
