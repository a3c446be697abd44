"""Are languages treated alike?"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import JOB, Panels, bars, dashboard, filled, lines, variable
from deploy.grafana.service import rate

_ASKED = f'{JOB}, query_lang=~"$query_lang"'
_ACTIVE = 'query_lang=~"$query_lang"'
_SCORE = "isoglot_language_hit_score"


def build() -> Dashboard:
    """Return the dashboard."""
    board = dashboard(
        "languages", "Language bias",
        "What searches in each language find, and whether its probabilities hold. Exposure against "
        "the corpus, and parallel passages, are in GET /v1/diagnostics/languages.",
    ).with_variable(
        variable(
            "query_lang", f"label_values(isoglot_queries_total{{{JOB}}}, query_lang)",
            "Language of the query", several=True,
        )
    )  # fmt: skip
    return filled(
        board,
        ("Who asks, and who is answered", _asked()),
        ("What they are shown", _shown()),
        ("Whether the probabilities hold", _held()),
    )


def _asked() -> Panels:
    yield lines(
        "Searches", "reqps", {"{{query_lang}}": rate("isoglot_queries_total", _ASKED, "query_lang")}
    )
    abstained = rate("isoglot_queries_total", f'{_ASKED}, decision="abstained"', "query_lang")
    yield lines(
        "Without a confident answer", "percentunit",
        {"{{query_lang}}":
            f"{abstained} / ({rate('isoglot_queries_total', _ASKED, 'query_lang')} > 0)"},
        "A language far above the others finds less, or is promised less.",
    )  # fmt: skip


def _shown() -> Panels:
    same = rate(f"{_SCORE}_count", f'{_ASKED}, relation="same"', "query_lang")
    yield lines(
        "Hits in the language of the query", "percentunit",
        {"{{query_lang}}": f"{same} / ({rate(f'{_SCORE}_count', _ASKED, 'query_lang')} > 0)"},
        "Compare with the share of that language in the corpus.",
    )  # fmt: skip
    yield lines(
        "Score offset of the own language", "none",
        {"{{query_lang}}": f"{_mean('same')} - {_mean('cross')}"},
        "Mean cosine of hits in the query's language less that of the others. Probabilities "
        "correct for it; an order by score does not.",
    )  # fmt: skip
    yield lines(
        "Mean score", "none",
        {"{{query_lang}}, {{relation}}":
            f"{rate(f'{_SCORE}_sum', _ASKED, 'query_lang, relation')}"
            f" / ({rate(f'{_SCORE}_count', _ASKED, 'query_lang, relation')} > 0)"},
        width=24,
    )  # fmt: skip


def _held() -> Panels:
    yield bars(
        "Labels in the window", "short", "query_lang",
        {"labels": _labelled("hits"),
         "relevant": _labelled("relevant")},
    )  # fmt: skip
    yield bars(
        "Expected / observed", "none", "query_lang",
        {"promised over found":
            f"{_labelled('expected')} / ({_labelled('relevant')} > 0)"},
        "Above 1 too much is promised to those who ask in this language.",
    )  # fmt: skip
    yield lines(
        "Standard deviations from chance", "none",
        {"{{query_lang}}, {{relation}}":
            f"language:isoglot_calibration_in_the_large:zscore{{{_ACTIVE}}}"},
        "Alert from 6, either sign, where promised and found differ by a quarter.",
    )  # fmt: skip
    yield lines(
        "Brier score", "none",
        {"{{query_lang}}, {{relation}}": f"language:isoglot_calibration_brier:mean{{{_ACTIVE}}}"},
    )  # fmt: skip
    yield lines(
        "Expected / observed over time", "none",
        {"{{query_lang}}, {{relation}}":
            f"language:isoglot_calibration_expected_observed:ratio{{{_ACTIVE}}}"},
        width=24,
    )  # fmt: skip


def _labelled(what: str) -> str:
    return f"sum by (query_lang) (language:isoglot_feedback_{what}:increase{{{_ACTIVE}}})"


def _mean(relation: str) -> str:
    matchers = f'{_ASKED}, relation="{relation}"'
    count = rate(f"{_SCORE}_count", matchers, "query_lang")
    return f"{rate(f'{_SCORE}_sum', matchers, 'query_lang')} / ({count} > 0)"
