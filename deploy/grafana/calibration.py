"""Do the stated probabilities hold?"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import (
    JOB,
    Panels,
    bars,
    curve,
    dashboard,
    filled,
    lines,
    number,
    variable,
)
from deploy.grafana.service import quantile, rate

_OURS = 'calibrator="$calibrator", relation=~"$relation"'
_EACH = 'calibrator="$calibrator", relation="$relation"'
_STATED = f'{JOB}, calibrator="$calibrator"'
_LEAST = 20
"""Labels below which a bin is not drawn."""


def build() -> Dashboard:
    """Return the dashboard."""
    board = (
        dashboard("calibration", "Calibration", "Stated probabilities against labels.")
        .time("now-7d", "now")
        .with_variable(
            variable(
                "calibrator", f"label_values(isoglot_calibrator_info{{{JOB}}}, calibrator)",
                "Calibrator",
            )
        )
        .with_variable(
            variable(
                "relation", "label_values(calibrator:isoglot_feedback_hits:increase, relation)",
                "Languages of query and passage", several=True,
            )
        )
    )  # fmt: skip
    return filled(
        board,
        ("Labels in the window", _now()),
        ("Reliability: on the diagonal, what is promised is kept", _reliability()),
        ("Over time", _history()),
        ("What is stated", _stated()),
        ("Without labels: is the traffic what the calibrator was fitted for?", _shift()),
        ("Feedback", _feedback()),
    )


def _now() -> Panels:
    ours = f"{{{_OURS}}}"
    yield number(
        "Labels", "short", f"sum(calibrator:isoglot_feedback_hits:increase{ours})",
        "Below 300 in a relation no alert on calibration can fire.",
        limits=[(300, "blue")],
    )  # fmt: skip
    yield number(
        "Error (ECE)", "percentunit", f"max(calibrator:isoglot_calibration_ece:ratio{ours})",
        "Mean gap between stated and found; the worse relation.",
    )  # fmt: skip
    yield number(
        "Error beyond chance", "none", f"max(calibrator:isoglot_calibration_ece:zscore{ours})",
        "In standard deviations; the worse relation. The alert needs 6 and an error of 2 %.",
        limits=[(4, "yellow"), (6, "red")],
    )  # fmt: skip
    yield number(
        "Expected / observed", "none",
        f"sum(calibrator:isoglot_feedback_expected:increase{ours})"
        f" / sum(calibrator:isoglot_feedback_relevant:increase{ours})",
        "Promised relevant hits over found ones.",
    )  # fmt: skip
    yield number(
        "Brier score", "none",
        f"max(calibrator:isoglot_calibration_brier:mean{ours})", "Lower is better.",
    )  # fmt: skip
    yield number(
        "Age of the calibrator", "s",
        "time() - max(isoglot_calibrator_fitted_timestamp_seconds"
        f'{{{_STATED}}})',
    )  # fmt: skip


def _reliability() -> Panels:
    hits = f"bin:isoglot_feedback_hits:increase{{{_EACH}}}"
    stated = f"bin:isoglot_feedback_probability_sum:increase{{{_EACH}}}"
    found = f"bin:isoglot_feedback_relevant:increase{{{_EACH}}}"

    def share(of: str) -> str:
        return f"sum by (bin) ({of}) / (sum by (bin) ({hits}) >= {_LEAST})"

    yield curve(
        "Reliability, $relation language", "percentunit", "bin", "stated",
        {"stated": share(stated), "found": share(found), "kept promise": share(stated)},
        f"One point for every tenth of the stated probability with at least {_LEAST} labels. Below "
        "the diagonal too much is promised.", repeat="relation",
    )  # fmt: skip
    yield bars(
        "Labels by tenth of the stated probability", "short", "bin",
        {"labels": f"sum by (bin) (bin:isoglot_feedback_hits:increase{{{_OURS}}})",
         "relevant": f"sum by (bin) (bin:isoglot_feedback_relevant:increase{{{_OURS}}})"},
        width=24,
    )  # fmt: skip


def _history() -> Panels:
    ours = f"{{{_OURS}}}"
    yield lines(
        "Error, and what chance alone would show", "percentunit",
        {"{{relation}}": f"calibrator:isoglot_calibration_ece:ratio{ours}",
         "{{relation}}, chance": f"calibrator:isoglot_calibration_ece_floor:ratio{ours}",
         "{{relation}}, worst tenth": f"calibrator:isoglot_calibration_mce:ratio{ours}"},
        "ECE and its noise floor. An error at the floor is none.",
    )  # fmt: skip
    yield lines(
        "Standard deviations from chance", "none",
        {"{{relation}}, shape": f"calibrator:isoglot_calibration_ece:zscore{ours}",
         "{{relation}}, level": f"calibrator:isoglot_calibration_in_the_large:zscore{ours}"},
        "Alerts from 6, the level with either sign.",
    )  # fmt: skip
    yield lines(
        "Expected / observed", "none",
        {"{{relation}}": f"calibrator:isoglot_calibration_expected_observed:ratio{ours}"},
        "Alert outside 0.8 to 1.25. Above 1 too much is promised.",
    )  # fmt: skip
    yield lines(
        "Brier score of all calibrators", "none",
        {"{{calibrator}}, {{relation}}":
            'calibrator:isoglot_calibration_brier:mean{relation=~"$relation"}'},
        "On the same labels a shadow with the lower line is the better one.",
    )  # fmt: skip


def _stated() -> Panels:
    first = f'{_STATED}, position="1"'
    yield lines(
        "Probability of the first hit", "percentunit",
        {"lower quarter": quantile(0.25, "isoglot_hit_probability", first),
         "half": quantile(0.5, "isoglot_hit_probability", first),
         "upper quarter": quantile(0.75, "isoglot_hit_probability", first)},
    )  # fmt: skip
    yield lines(
        "Promised relevant hits a search", "none",
        {"{{relation}}":
            f"{rate('isoglot_expected_relevant_hits_total', _STATED, 'relation')}"
            f" / on () group_left () {rate('isoglot_queries_total')}"},
    )  # fmt: skip
    yield lines(
        "Hits outside the fit", "percentunit",
        {"share": f"{rate('isoglot_extrapolated_hits_total', _STATED)}"
                  f" / {rate('isoglot_hit_probability_count', _STATED)}"},
        "Score or corpus size unlike anything the calibrator was fitted on.",
    )  # fmt: skip
    yield lines(
        "Searches without a confident answer", "percentunit",
        {"share": rate("isoglot_queries_total", f'{JOB}, decision="abstained"')
                  + f" / {rate('isoglot_queries_total')}"},
    )  # fmt: skip


def _shift() -> Panels:
    each = 'relation="$relation", le!="+Inf"'
    yield curve(
        "Scores, $relation language", "percentunit", "le", "le",
        {"served": f"max by (le) (encoder:isoglot_hit_score_cdf:ratio{{{each}}})",
         "reference": f"max by (le) (isoglot_reference_score_cdf_ratio{{{JOB}, {each}}})"},
        "Share of hits with at most this cosine, now and in the bundle's reference lists.",
        repeat="relation",
    )  # fmt: skip
    yield lines(
        "Distance from the reference", "percentunit",
        {"{{relation}}": 'encoder:isoglot_hit_score_ks:ratio{relation=~"$relation"}'},
        "Largest gap of the two curves (Kolmogorov-Smirnov). Alert, for information, from 15 %.",
    )  # fmt: skip
    yield lines(
        "Distance from the reference, in cosine", "none",
        {"{{relation}}": 'encoder:isoglot_hit_score_wasserstein:cosine{relation=~"$relation"}'},
        "Area between the two curves (Wasserstein-1).",
    )  # fmt: skip


def _feedback() -> Panels:
    yield lines(
        "Labels", "cps",
        {"{{source}}": rate("isoglot_feedback_hits_total", _STATED, "source"),
         "{{change}} later": rate("isoglot_feedback_revised_total", JOB, "change")},
    )  # fmt: skip
    yield lines(
        "Rejected", "cps", {"{{reason}}": rate("isoglot_feedback_rejected_total", JOB, "reason")}
    )
    yield lines(
        "How late feedback comes, half within", "s",
        {"{{source}}": quantile(0.5, "isoglot_feedback_delay_seconds", JOB, "source")},
        "Labels count when they arrive: the window is as stale as this.",
    )  # fmt: skip
    yield lines(
        "Clicks, which are no labels", "cps",
        {"position {{position}}": rate("isoglot_feedback_clicks_total", JOB, "position"),
         "labels of calibrators long gone": rate("isoglot_feedback_untracked_hits_total")},
    )  # fmt: skip
