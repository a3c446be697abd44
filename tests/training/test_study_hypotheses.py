import numpy as np
import pytest

from training.study.analysis import FinishedCell, Resampled
from training.study.calibrators import ADDITIVE, ENGLISH, GLOBAL, METHODS, RAW, SAME
from training.study.cells import Cell
from training.study.config import StudyConfig
from training.study.hypotheses import NOT_RUN, OPEN, REFUTED, SUPPORTED, Cells, Judge, Verdict
from training.study.outcomes import RETRIEVAL

pytestmark = pytest.mark.training

LANGUAGES, CLUSTERS = ("de", "en"), 30
PROTOCOLS = ("article split", "transfer")
CONFIG = StudyConfig.model_validate(
    {
        "name": "test",
        "base": "base.toml",
        "hybrid": {"name": "hybrid", "steps": 1},
        "alphas": [0.0, 0.5, 1.0],
        "seeds": [1, 2],
        "arm": [{"loss_temperature": 0.1}],
        "evaluation": {"path": "set"},
    }
)
EXPECTED = {"raw": 0.5, "tilt": 0.0, "same": 1.0}


def finished(
    cell: Cell, *, gap, raw=0.5, tilt=0.0, same=1.0, better=0.0, quality=0.5
) -> FinishedCell:
    """A cell whose numbers are what the arguments say, the same for every question."""
    shape = (CLUSTERS, 4)
    noise = np.random.default_rng(cell.seed).uniform(0.9, 1.1, shape)
    loss = np.ones((len(METHODS), *shape)) * noise
    loss[METHODS.index(ENGLISH)] += gap
    loss[METHODS.index(GLOBAL)] += 2 * better
    loss[METHODS.index(SAME)] += better
    expected = np.ones((len(METHODS), *shape))
    expected[METHODS.index(GLOBAL), :, 1:3] = np.exp(tilt)
    ranks = np.full((CLUSTERS, len(LANGUAGES)), quality)
    sums = {"retrieval/counts": np.ones((len(RETRIEVAL), *ranks.shape))}
    sums["retrieval/sums"] = np.tile(ranks, (len(RETRIEVAL), 1, 1))
    sums["retrieval/sums"][RETRIEVAL.index("rank_distance")] = -quality
    for protocol in PROTOCOLS:
        sums |= {
            f"{protocol}/count": np.ones(shape),
            f"{protocol}/relevant": np.ones(shape),
            f"{protocol}/expected": expected,
            f"{protocol}/loss": loss,
        }
    ratios = {RAW: raw, SAME: same, ADDITIVE: 1.0}
    methods = {name: {"expected_observed": ratio} for name, ratio in ratios.items()}
    table = {group: {"methods": methods} for group in ("all", "same", "cross")}
    document = {"calibration": dict.fromkeys(PROTOCOLS, table)}
    return FinishedCell(cell, document, {k: v.astype(np.float32) for k, v in sums.items()})


def as_predicted(cell: Cell) -> FinishedCell:
    mixed = cell.batches == "mixed"
    return finished(
        cell,
        gap=0.3 if mixed and cell.alpha == 1 else 0.2 - 0.1 * cell.alpha,
        raw=0.2 if cell.loss_temperature == 0.1 else 0.5,
        tilt=0.5 - 0.4 * cell.alpha,
        better=0.05,
        quality=0.5 + 0.1 * (cell.alpha == 0.5),
    )


def cells() -> list[Cell]:
    grid = [
        Cell(kind, 0.05, alpha, seed)
        for kind in ("homogeneous", "mixed")
        for alpha in CONFIG.alphas
        for seed in CONFIG.seeds
    ]
    return grid + [Cell("homogeneous", 0.1, a, s) for a in CONFIG.alphas for s in CONFIG.seeds]


def judged(make=as_predicted, *, without=()) -> dict[str, Verdict]:
    found = [make(cell) for cell in cells() if cell not in without]
    resampled = Resampled(LANGUAGES, "en", CLUSTERS, 50)
    return {v.name: v for v in Judge(Cells(CONFIG, found), resampled).verdicts()}


def test_everything_as_predicted_supports_every_hypothesis():
    verdicts = judged()
    assert list(verdicts) == [*(f"H{n}" for n in range(1, 9)), "M1", "M2"]
    assert {v.outcome for v in verdicts.values()} == {SUPPORTED}
    assert verdicts["H1"].contrasts["gap"].value == pytest.approx(0.1, abs=1e-4)
    assert verdicts["H5"].contrasts["gap"].value == pytest.approx(0.2, abs=1e-4)


def test_the_opposite_of_every_prediction_refutes_it():
    def opposite(cell: Cell) -> FinishedCell:
        mixed = cell.batches == "mixed"
        return finished(
            cell,
            gap=0.0 if mixed else 0.1 + 0.1 * cell.alpha,
            raw=0.5,
            tilt=0.1 + 0.4 * cell.alpha,
            better=-0.05,
            quality=0.5 - 0.1 * cell.alpha,
        )

    verdicts = judged(opposite)
    refuted = {name for name, verdict in verdicts.items() if verdict.outcome == REFUTED}
    # M1 compares alpha 0.5 with 1, and there quality still falls with alpha. H8 asks for equal
    # signs only. M2 is refuted, because here the kinds of batches differ at alpha 0.
    assert refuted == {"H1", "H2", "H3", "H4", "H5", "H6", "H7", "M2"}
    assert verdicts["M1"].outcome == verdicts["H8"].outcome == SUPPORTED


def test_one_seed_of_the_other_sign_settles_nothing():
    def divided(cell: Cell) -> FinishedCell:
        return finished(cell, gap=0.2 - (0.1 if cell.seed == 1 else -0.01) * cell.alpha)

    assert judged(divided)["H1"].outcome == OPEN


def test_missing_cells_are_said_and_not_judged():
    verdicts = judged(without=[Cell("homogeneous", 0.05, 1.0, 2)])
    assert verdicts["H1"].outcome == NOT_RUN
    assert "missing" in verdicts["H1"].note
    assert verdicts["M2"].outcome == SUPPORTED


def test_a_ratio_out_of_range_refutes_the_repair():
    def unrepaired(cell: Cell) -> FinishedCell:
        return finished(cell, gap=0.1, better=0.05, same=1.3 if cell.seed == 2 else 1.0)

    verdict = judged(unrepaired)["H3"]
    assert verdict.outcome == REFUTED
    assert "in 12 of 24 places; least 1.000, greatest 1.300" in verdict.note
