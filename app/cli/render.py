"""Tables for people."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.api.schemas.answer import ExplanationOut, HitOut, SearchResponse
from app.cli.demonstration.evaluation import Agreement, DemoReport, Quartiles, Ranking
from app.core.bundle import Bundle
from app.core.calibration.feature_words import feature_in_words

_TEXT_CHARACTERS = 240
_NONE = "-"


def search_result(screen: Console, response: SearchResponse) -> None:
    """Print the answer to a search."""
    if response.hits:
        screen.print(_hits(response.hits))
    else:
        screen.print(_nothing(response))
    for hit in response.hits:
        if hit.explanation is not None:
            screen.print(_explained(hit, hit.explanation))
    screen.print(_answerable(response), soft_wrap=True)
    for warning in response.warnings:
        screen.print(Text(f"Note: {warning.detail}", style="yellow"), soft_wrap=True)
    about = (
        f"query language {response.query_language.code} "
        f"({response.query_language.confidence:.0%}), {response.model.bundle}, "
        f"{response.took_ms:.0f} ms"
    )
    screen.print(Text(about, style="dim"), soft_wrap=True)


def bundle_facts(screen: Console, bundle: Bundle) -> None:
    """Print what a bundle holds."""
    spec = bundle.spec
    facts = _table("", "")
    facts.show_header = False
    rows: dict[str, object] = {
        "bundle": f"{bundle.manifest.name}@{bundle.manifest.id}",
        "encoder": f"{spec.name} ({spec.fingerprint()}), from {spec.base_model}",
        "vectors": f"{spec.dim} dimensions, {spec.pooling} pooling, {spec.max_length} tokens",
        "languages": " ".join(spec.languages),
        "arithmetic": ", ".join(sorted(bundle.manifest.onnx)),
        "calibrator": "none: probabilities will be null",
        "of hybrid search": "none: its probabilities will be null",
        "files": len(bundle.manifest.files),
    }
    for row, calibrator in (("calibrator", bundle.calibrator), ("of hybrid search", bundle.hybrid)):
        if calibrator is not None:
            fit = calibrator.document.fit
            rows[row] = (
                f"{calibrator.id}, {calibrator.document.kind}, fitted on {fit.hits} hits of "
                f"{fit.queries} queries ({' '.join(fit.languages)})"
            )
    for name, value in rows.items():
        facts.add_row(name, Text(str(value)))
    screen.print(facts)


def demo_report(screen: Console, report: DemoReport) -> None:
    """Print the smoke evaluation."""
    screen.print(_rankings({"all": report.ranking, **report.ranking_by_language}))
    if not report.agreement:
        screen.print("The bundle has no calibrator, so no probability was stated.")
        return
    screen.print(_agreements(report.agreement))
    bins = _table("stated probability", ">hits", ">mean stated", ">found")
    for row in report.reliability:
        bins.add_row(
            f"{row.low:.2f} to {row.high:.2f}",
            f"{row.hits}",
            f"{row.stated:.3f}",
            f"{row.found:.3f}",
        )
    screen.print(bins)
    screen.print(_distributions("probability of the first hit", report.top_probability))
    screen.print(_distributions("answerable_probability", report.answerable_probability))


def _hits(hits: list[HitOut]) -> Table:
    words = any(hit.lexical_score is not None for hit in hits)
    columns = (">#", ">probability", "language", ">score", *((">words",) if words else ()), "text")
    table = _table(*columns)
    for hit in hits:
        text = " ".join((hit.text or "").split())
        if len(text) > _TEXT_CHARACTERS:
            text = text[: _TEXT_CHARACTERS - 1] + "…"
        table.add_row(
            str(hit.rank),
            Text(_percent(hit.probability) + ("*" if hit.extrapolated else ""), style="bold"),
            Text(hit.language.code),
            f"{hit.score:.3f}",
            *((f"{hit.lexical_score:.2f}",) if hit.lexical_score is not None else ()),
            Text.assemble((hit.id, "dim"), "\n", text),
        )
    return table


def _explained(hit: HitOut, explanation: ExplanationOut) -> Table:
    """Return what a probability is made of: one line a head and feature."""
    table = _table("made of", ">value", ">weight", ">adds")
    table.add_row(Text(f"#{hit.rank} {hit.id}", style="dim"), "", "", "")
    if explanation.fusion is not None:
        ranks = f"rank {explanation.rank_before} by score, {explanation.lexical_rank or _NONE}"
        table.add_row(f"  {ranks} by words", "", "", f"{explanation.fusion:.5f}")
    for head in explanation.heads:
        share = f"{head.share:.0%} of it" if head.share < 1 else ""
        table.add_row(
            Text.assemble((head.head, "bold"), f" {_percent(head.probability)} {share}".rstrip()),
            "",
            "",
            f"{head.logit:+.3f}",
        )
        for term in head.terms:
            numbers = (f"{term.value:.3f}", f"{term.weight:+.3f}", f"{term.contribution:+.3f}")
            table.add_row(f"  {feature_in_words(term.feature)}", *numbers)
        table.add_row("  constant", "", "", f"{head.intercept:+.3f}")
    return table


def _nothing(response: SearchResponse) -> str:
    page = response.page
    dropped = page.dropped_below_min_probability + page.dropped_by_target_precision
    if page.offset:
        return f"There are no hits after the first {page.offset}."
    if dropped:
        return f"No passage is probable enough; {dropped} were left out."
    return "No passage was found. Index some first: isoglot index FILE"


def _answerable(response: SearchResponse) -> str:
    if response.answerable_probability is None and any(
        warning.code == "no_hybrid_calibrator" for warning in response.warnings
    ):
        return "Whether a passage answers this is not known: hybrid retrieval has no calibrator."
    if response.answerable_probability is None:
        return "Whether a passage answers this is not known: the bundle has no calibrator."
    return (
        f"Answerable: {_percent(response.answerable_probability)} "
        "(how likely it is that the best-scoring passage answers this)"
    )


def _rankings(groups: Mapping[str, Ranking]) -> Table:
    table = _table("question language", ">questions", ">hit@1", ">MRR", ">cross-language share")
    for name, group in groups.items():
        table.add_row(
            name,
            str(group.questions),
            f"{group.hit_at_1:.3f}",
            f"{group.mean_reciprocal_rank:.3f}",
            f"{group.cross_language_share:.3f}",
        )
    return table


def _agreements(groups: Mapping[str, Agreement]) -> Table:
    table = _table("hits of", ">hits", ">expected", ">observed", ">expected/observed")
    for name, group in groups.items():
        ratio = _NONE if group.ratio is None else f"{group.ratio:.2f}"
        table.add_row(name, str(group.hits), f"{group.expected:.1f}", str(group.observed), ratio)
    return table


def _distributions(title: str, groups: Mapping[str, Quartiles]) -> Table:
    table = _table(title, ">questions", ">lowest", ">25%", ">median", ">75%", ">highest")
    for name, q in groups.items():
        five = (q.lowest, q.lower, q.median, q.upper, q.highest)
        table.add_row(name, str(q.count), *(f"{value:.3f}" for value in five))
    return table


def _percent(probability: float | None) -> str:
    return _NONE if probability is None else f"{probability:.1%}"


def _table(*columns: str) -> Table:
    """Return an empty table; a column whose name begins with ``>`` is aligned right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if right else "left")
    return table
