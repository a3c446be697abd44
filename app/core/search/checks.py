"""Whether a search can be answered: ranges, and options that exclude each other."""

from __future__ import annotations

from app.core.errors import InvalidInputError, InvalidQueryError
from app.core.search.types import (
    MAX_CANDIDATES,
    MAX_LIMIT,
    MAX_QUERY_CHARACTERS,
    MAX_TIMEOUT_MS,
    SearchRequest,
)


def check_request(request: SearchRequest, *, calibrated: bool) -> None:
    """Refuse what cannot be answered.

    Args:
        request: What a caller asks.
        calibrated: Whether there is a calibrator for what is asked.

    Raises:
        InvalidQueryError: The query is empty or too long.
        InvalidInputError: Another member is out of range, excludes one that is there, or needs a
            calibrator where there is none.
    """
    _check_query(request.query)
    _check_page(request)
    _check_range(request.timeout_ms, 1, MAX_TIMEOUT_MS, "timeout_ms")
    _check_range(request.min_probability, 0.0, 1.0, "min_probability")
    _check_range(request.target_precision, 0.0, 1.0, "target_precision")
    if request.min_probability is not None and request.target_precision is not None:
        raise InvalidInputError(
            "min_probability and target_precision are two ways to cut the same list; send one.",
            pointer="/target_precision",
        )
    _check_mode(request)
    if not calibrated:
        _check_needs_no_calibrator(request)


def _check_query(query: str) -> None:
    if not query.strip():
        raise InvalidQueryError(
            "The query is empty. Send the text to search for.", pointer="/query"
        )
    if len(query) > MAX_QUERY_CHARACTERS:
        raise InvalidQueryError(
            f"The query has {len(query)} characters; at most {MAX_QUERY_CHARACTERS} "
            "are allowed. Send a question, not a document.",
            pointer="/query",
        )


def _check_page(request: SearchRequest) -> None:
    _check_range(request.limit, 1, MAX_LIMIT, "limit")
    _check_range(request.candidates, MAX_LIMIT, MAX_CANDIDATES, "candidates")
    _check_range(request.offset, 0, MAX_CANDIDATES, "offset")
    if request.cursor is not None and request.offset:
        raise InvalidInputError(
            "A cursor says itself where to go on; leave offset out.", pointer="/offset"
        )
    if request.offset + request.limit > request.candidates:
        raise InvalidInputError(
            f"offset and limit reach {request.offset + request.limit} hits deep, but "
            f"{request.candidates} candidates are ranked. Ask for more candidates, up to "
            f"{MAX_CANDIDATES}: with another number the order may be another.",
            pointer="/offset",
        )


def _check_mode(request: SearchRequest) -> None:
    if request.prefer is not None and request.language_mode != "prefer":
        raise InvalidInputError(
            "Weights count in mode 'prefer' only; set language.mode, or leave prefer out.",
            pointer="/language/prefer",
        )
    if request.language_mode != "prefer":
        return
    if not request.prefer:
        raise InvalidInputError(
            "Mode 'prefer' needs weights: send language.prefer, or an Accept-Language header.",
            pointer="/language/prefer",
        )
    if request.rank_by == "score":
        raise InvalidInputError(
            "Mode 'prefer' orders by weight times probability; it excludes rank_by 'score'.",
            pointer="/rank_by",
        )


def _check_needs_no_calibrator(request: SearchRequest) -> None:
    asked = {
        "/min_probability": request.min_probability is not None,
        "/target_precision": request.target_precision is not None,
        "/language/mode": request.language_mode != "any",
    }
    for pointer, is_asked in asked.items():
        if is_asked:
            name = pointer[1:].replace("/", ".")
            raise InvalidInputError(f"{name} needs {_missing(request)}.", pointer=pointer)


def _missing(request: SearchRequest) -> str:
    if request.retrieval == "hybrid":
        return (
            "probabilities, and hybrid retrieval has none: the loaded bundle has no calibrator "
            "of what is found by vector and by words together. Leave one of the two out"
        )
    return "a calibrator, and the loaded bundle has none"


def _check_range(value: float | None, low: float, high: float, name: str) -> None:
    if value is not None and not low <= value <= high:
        raise InvalidInputError(
            f"{name} is {value}; it must be {low:g} to {high:g}.", pointer=f"/{name}"
        )
