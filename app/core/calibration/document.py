"""The calibrator as a JSON document: its schema, its laws and its id.

``app/core/calibration/calibrator.py`` says what the heads mean and evaluates them. Schema 1 has
grown by members that may be left out, so that a document of any age loads::

    retrieval           hybrid: for lists that words have added to, with features of words
    heads' covariance   how well the parameters are known        } probability_interval
    interval            the level to read the covariances at     }
    score_pieces        a line in pieces that the heads read the score through
    language_offsets    what single languages add to the logit of the hit head, and how well that
                        is known
    thresholds          answer and hit thresholds with a guarantee (conformal risk control,
                        Learn-then-Test)
    fit.source          bundle, judgements or feedback
    fit.towards         id of the calibrator that the fit was shrunk towards
    fit.fitted          day of the fit, such as 2026-11-26
    evidence            what was measured on held-out queries: reliability, pairs, growth
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    FiniteFloat,
    JsonValue,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from app.core.calibration.evidence import Evidence
from app.core.calibration.parts import (
    IntervalFacts,
    LanguageOffsets,
    LinearHead,
    Part,
    Thresholds,
)
from app.core.calibration.score_pieces import ScorePieces
from app.core.calibration.words import WORD_FEATURE
from app.core.errors import CalibrationError, UnsupportedSchemaError

CALIBRATOR_SCHEMA = 1

HIT_FEATURES = (
    "score",
    "background",
    "log_corpus",
    "log_language_corpus",
    "log_language_rank",
    "language_lead",
    "language_lag",
    "same",
    "same*score",
    "same*background",
    "same*log_corpus",
    "same*log_language_rank",
)
"""What a hit's logit may be linear in."""

POOLED_FEATURES = ("score", "background", "log_corpus")
"""The hit features that need no languages."""

HYBRID_FEATURES = (
    "same*log_language_corpus",
    "same*language_lead",
    "same*language_lag",
    WORD_FEATURE,
    f"same*{WORD_FEATURE}",
)
"""What it may also be linear in where lists are hybrid."""

FIRST_HIT_FEATURES = (
    "score",
    "gap",
    "language_lead",
    "background",
    "log_corpus",
    "log_language_corpus",
    "same",
)
"""What the logit of "the first hit is relevant" may be linear in."""

_LINE = 200
"""Characters that a line of the document holds at most, where its parts can be told apart."""

Range = Annotated[tuple[FiniteFloat, FiniteFloat], Field(description="lowest and highest value")]


class EncoderBinding(Part):
    """The encoder whose scores the calibrator was fitted on."""

    name: str
    fingerprint: str
    dtype: str


class RankRange(Part):
    """Ranks whose mean score is the background; 1-based, both included."""

    from_rank: int = Field(ge=2)
    to_rank: int

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.to_rank < self.from_rank:
            raise ValueError("to_rank must not be smaller than from_rank")
        return self


class TrainedRange(Part):
    """What the fit has seen; probabilities outside are marked as extrapolated."""

    score: Range
    corpus: Range

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if any(low > high for low, high in (self.score, self.corpus)):
            raise ValueError("a range must name its lowest value first")
        return self


class FitFacts(Part):
    """What the parameters were fitted on.

    ``nll`` holds the mean negative log-likelihood of the fitting hits before (the base rate
    for every hit) and after the fit. ``source`` is where the judgements came from, ``towards`` the
    id of the calibrator that the parameters were shrunk towards, ``fitted`` the day of the fit in
    UTC; a day, so that the same fit gives the same id when it is repeated at once.
    """

    hits: int = Field(ge=1)
    queries: int = Field(ge=1)
    relevant: int = Field(ge=1)
    languages: tuple[str, ...]
    corpus_sizes: tuple[int, ...]
    data_sha256: str
    nll: tuple[FiniteFloat, FiniteFloat]
    source: Literal["bundle", "judgements", "feedback"] = "bundle"
    towards: str | None = None
    fitted: date | None = None


def against_their_law(head: LinearHead) -> tuple[str, ...]:
    """Return the features that a head weighs against their law, in one relation or the other.

    A lead may not lower a probability, and neither a lag nor a lexical rank raise it.
    """
    laws = {"language_lead": 1.0, "language_lag": -1.0, WORD_FEATURE: -1.0}
    wrong = []
    for name, sign in laws.items():
        cross, same = sign * head.weight(name), sign * head.weight(f"same*{name}")
        if min(cross, cross + same) < 0.0:
            wrong.append(name)
    return tuple(wrong)


class CalibratorDocument(Part):
    """The JSON form of a calibrator; see the module docstring for the meaning of the heads."""

    schema_version: Literal[1] = Field(alias="schema")
    id: str
    kind: Literal["logit-linear"]
    encoder: EncoderBinding
    score: Literal["cosine"]
    retrieval: Literal["hybrid"] | None = None
    depth: int = Field(ge=1, description="Length of the served lists that were judged.")
    background: RankRange
    hit: LinearHead
    pooled: LinearHead
    first_hit: LinearHead
    clip: tuple[FiniteFloat, FiniteFloat]
    trained_range: TrainedRange
    fit: FitFacts
    metrics: dict[str, JsonValue] = Field(default_factory=dict)
    interval: IntervalFacts | None = None
    score_pieces: ScorePieces | None = None
    language_offsets: LanguageOffsets = LanguageOffsets()
    thresholds: Thresholds = Thresholds()
    evidence: Evidence | None = None

    _written: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def written(self) -> dict[str, Any]:
        """The JSON that it was parsed from, which its id is the hash of; not to be changed."""
        return self._written

    @model_validator(mode="after")
    def _obeys_the_laws(self) -> Self:
        low, high = self.clip
        if not 0.0 <= low < high <= 1.0:
            raise ValueError("clip must be two probabilities, the lower one first")
        words = self.retrieval == "hybrid"
        for head, known in (
            (self.hit, {*HIT_FEATURES, *(HYBRID_FEATURES if words else ())}),
            (self.pooled, {*POOLED_FEATURES, *((WORD_FEATURE,) if words else ())}),
            (self.first_hit, set(FIRST_HIT_FEATURES)),
        ):
            if unknown := set(head.features) - known:
                raise ValueError(f"unknown features: {', '.join(sorted(unknown))}")
        if self.interval and any(
            head.covariance is None for head in (self.hit, self.pooled, self.first_hit)
        ):
            raise ValueError("with an interval, every head needs a covariance")
        if min(*self._score_slopes(), self.pooled.weight("score")) <= 0.0:
            raise ValueError("a probability must rise with the score: its weight must be positive")
        cross_rank = self.hit.weight("log_language_rank")
        if max(cross_rank, cross_rank + self.hit.weight("same*log_language_rank")) > 0.0:
            raise ValueError("a probability must not rise down the list: a rank weighs at most 0")
        if wrong := {*against_their_law(self.hit), *against_their_law(self.pooled)}:
            raise ValueError(
                "a lead must not lower a probability, and a lag or a lexical rank must not raise "
                f"it: {', '.join(sorted(wrong))}"
            )
        return self

    def _score_slopes(self) -> tuple[float, float]:
        """Return the lowest weight of the score in same-language and in cross-language hits."""
        same, cross = self.language_offsets.lowest_slopes()
        slope = self.hit.weight("score")
        return slope + self.hit.weight("same*score") + same, slope + cross


def document_id(document: Mapping[str, Any]) -> str:
    """Return the id of a document: 12 hex digits over its canonical JSON, the id left out."""
    content = {key: value for key, value in document.items() if key != "id"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def parse_calibrator(raw: object) -> CalibratorDocument:
    """Check parsed JSON and return it as a calibrator document.

    Raises:
        UnsupportedSchemaError: It was written by another version of the format.
        CalibrationError: It is malformed, was changed after it was written (its id does not
            match), or its probability would not rise with the score.
    """
    if not isinstance(raw, dict):
        raise CalibrationError("A calibrator must be a JSON object.")
    if raw.get("schema") != CALIBRATOR_SCHEMA:
        raise UnsupportedSchemaError(
            f"Calibrator schema {raw.get('schema')!r} is not supported; this version reads "
            f"schema {CALIBRATOR_SCHEMA}. Fit it again with `isoglot-train calibrate`."
        )
    try:
        document = CalibratorDocument.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(
            f"{'/'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in error.errors()
        )
        raise CalibrationError(f"The calibrator is not usable: {problems}") from error
    if document_id(raw) != document.id:
        raise CalibrationError(
            f"The calibrator says its id is {document.id}, but its content has id "
            f"{document_id(raw)}: it was changed after it was written."
        )
    document._written = raw
    return document


def read_calibrator(path: Path) -> CalibratorDocument:
    """Read a calibrator from a JSON file; raises as ``parse_calibrator``."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CalibrationError(f"{path} could not be read as JSON: {error}") from error
    return parse_calibrator(raw)


def dump_calibrator(content: Mapping[str, Any]) -> str:
    """Return the JSON text of a calibrator, with its id filled in.

    Args:
        content: A document without id (an ``id`` that is there is replaced).

    Raises:
        CalibrationError: It would not load again.
    """
    text = _laid_out({**content, "id": document_id(content)})
    parse_calibrator(json.loads(text))
    return text + "\n"


def _laid_out(part: Any, depth: int = 0) -> str:  # noqa: ANN401 - any JSON
    """Return JSON with a line for every part that fits in one, such as a row of evidence."""
    line = json.dumps(part, ensure_ascii=False, separators=(",", ":"))
    if len(line) + depth <= _LINE or not isinstance(part, (dict, list, tuple)):
        return line
    inside = depth + 1
    if isinstance(part, dict):
        begin, end = "{}"
        rows = [f"{json.dumps(name)}:{_laid_out(part[name], inside)}" for name in part]
    else:
        begin, end = "[]"
        rows = [_laid_out(member, inside) for member in part]
    indented = ",\n".join(" " * inside + row for row in rows)
    return f"{begin}\n{indented}\n{' ' * depth}{end}"
