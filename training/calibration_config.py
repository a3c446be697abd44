"""The TOML file of a calibration: which sets are served, in which corpora."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, ValidationError, model_validator

from app.core.calibration.document import HIT_FEATURES
from app.core.calibration.fit_thresholds import ANSWER_CONFIDENCE, ANSWER_TARGET, HIDDEN_TARGET
from training.config import Count, NonNegative, PairSource, Share, Table
from training.config_file import read_toml
from training.errors import ConfigError

DEFAULT_FEATURES = (
    "score",
    "background",
    "log_corpus",
    "log_language_corpus",
    "log_language_rank",
    "language_lead",
    "language_lag",
    "same",
)

OpenShare: TypeAlias = Annotated[float, Field(gt=0.0, lt=1.0)]

Composition: TypeAlias = Literal["everything", "languages", "source"]
"""Where the passages of a corpus come from; see ``training/calibration_corpora.py``."""


class CalibrationSource(PairSource):
    """Question-passage rows to serve.

    Attributes:
        held_out_share: Keep only the documents that training keeps out at this share (the rule
            of ``training.data.is_held_out``); all documents where it is ``None``.
        judged: Whether its questions are asked; otherwise its passages are distractors only.
        own_level: Its judgements are coarser than "this sentence answers" (a heading and the
            text below it), so it gets an offset and slopes of its own in the fit, which are not
            used when serving: it informs how relations differ, not how likely a hit is.
    """

    judged: bool = True
    own_level: bool = False


class CalibrationConfig(Table):
    """A calibration.

    Attributes:
        languages: Language codes whose rows are used.
        sources: The sets; their passages are merged into one pool.
        retrieval: Which lists are served: ``hybrid`` ones hold what is found by words as well.
        features: Features of the hit head; hybrid lists add those of words.
        score_pieces: Pieces of the line that the heads read the score through; 1 is a straight one.
        corpus_sizes: Rungs of the ladder, ascending; the whole pool is always the last rung.
        compositions: Where the passages of these corpora come from.
        queries_a_rung: How many queries are served at each rung but the last, from as many
            corpora as it takes.
        unanswered_share: Share of the served lists whose corpus does not hold an answer; only the
            first-hit head is fitted on them.
        ridges: Candidates for the penalty, in rows.
        folds: Number of folds of the cross-validation, by document.
        test_share: Share of documents held out to compare calibrators; the released one is
            fitted on all of them again.
        answer_wrong: What the answer threshold promises: the share of answered questions whose
            first hit is not relevant.
        answer_confidence: How surely it does.
        hidden: What the hit threshold promises: the share of relevant hits below it.
        seed: Decides corpora, caps and folds.
    """

    languages: tuple[str, ...] = Field(min_length=1)
    sources: tuple[CalibrationSource, ...] = Field(min_length=1, alias="set")
    retrieval: Literal["dense", "hybrid"] = "dense"
    features: tuple[str, ...] = DEFAULT_FEATURES
    score_pieces: Annotated[int, Field(ge=1, le=20)] = 1
    corpus_sizes: tuple[Count, ...] = (250, 1000, 4000, 16000)
    compositions: tuple[Composition, ...] = Field(default=("everything",), min_length=1)
    queries_a_rung: Count = 2500
    unanswered_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    ridges: tuple[NonNegative, ...] = Field(default=(0.1, 1.0, 10.0, 100.0), min_length=1)
    folds: Annotated[int, Field(ge=2)] = 5
    test_share: Share = 0.2
    answer_wrong: OpenShare = ANSWER_TARGET
    answer_confidence: OpenShare = ANSWER_CONFIDENCE
    hidden: OpenShare = HIDDEN_TARGET
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _ascending(self) -> CalibrationConfig:
        if list(self.corpus_sizes) != sorted(set(self.corpus_sizes)):
            raise ValueError("corpus_sizes must ascend")
        if unknown := set(self.features) - set(HIT_FEATURES):
            raise ValueError(f"unknown features: {', '.join(sorted(unknown))}")
        return self


def load_calibration_config(path: Path) -> CalibrationConfig:
    """Read the configuration of a calibration.

    Raises:
        ConfigError: It cannot be read, is not TOML, or a value or key is wrong.
    """
    try:
        return CalibrationConfig.model_validate(read_toml(path, "configuration"))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors()
        )
        raise ConfigError(f"{path} cannot be used: {problems}") from error
