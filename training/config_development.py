"""The table of a stage that says when to stop: what it is measured on, how often, how patiently."""

from __future__ import annotations

from typing import Literal, TypeAlias

from training.config_data import Count, Table

DevelopmentMetric: TypeAlias = Literal[
    "mono/map",
    "mono/mrr",
    "mono/recall@1",
    "mono/recall@10",
    "mono/ndcg@10",
    "cross/map",
    "cross/recall@1",
    "cross/recall@10",
    "multi/map",
    "multi/recall@1",
    "multi/recall@10",
    "multi/ndcg@10",
]


class EarlyStopping(Table):
    """Measure the encoder while it is trained, keep the best weights, stop when they stay best.

    Attributes:
        set: What to measure on, relative to the data root: a directory in retrieval-set form, or
            a file of question-passage rows. Where it is ``None``, the question-passage rows that
            ``prepare`` held out.
        shared_ids: Rows of one id in that file are translations of one another.
        cap: Rows per language that are kept of a file or of the held-out rows; translations of
            a row stay together, so that a language may get more.
        every: Steps between two evaluations; one more is done before the first step.
        patience: Evaluations in a row without a new best after which the stage ends.
        metric: What is to be high, see ``training.evaluate``.
    """

    set: str | None = None
    shared_ids: bool = False
    cap: Count = 500
    every: Count = 200
    patience: Count = 3
    metric: DevelopmentMetric = "multi/map"
