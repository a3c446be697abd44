"""The labels of one calibrator as arrays, and what they may hide."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from app.core.calibration.fit_ridge import GroupArray
from app.core.feedback.entries import Entry
from app.core.languages.codes import primary_language, relation_of
from app.core.types import BoolArray, FloatArray

_FIRST = 0.6
_RELATION = 30
_THIRD = 15


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Labels of what one calibrator stated, one row a hit; arrays of shape (n,).

    Attributes:
        probability: What was stated, float64.
        relevant: The label.
        same: Whether query and passage are in the same language.
        query: Number of the answer that the hit was in, int64.
        rank: Position in the answer, from 1, int64.
        judged: Whether an assessor labelled it, rather than a user.
        left_out: Labels of statements of other calibrators.
        languages: Primary languages of the queries, in alphabetical order.
        digest: SHA-256 of what was read, 64 hexadecimal digits.
    """

    probability: FloatArray
    relevant: BoolArray
    same: BoolArray
    query: GroupArray
    rank: GroupArray
    judged: BoolArray
    left_out: int
    languages: tuple[str, ...]
    digest: str

    @property
    def queries(self) -> int:
        """Number of answers."""
        return len(np.unique(self.query))

    def warnings(self) -> tuple[str, ...]:
        """Return what these labels may hide: they are of hits that somebody chose to judge."""
        if not len(self.probability):
            return ()
        first = float(np.mean(self.rank == 1))
        said = {
            "All labels are of users who chose to answer; whoever is content or annoyed answers "
            "more often. Have a random sample judged (source `judged`) before you trust this.": (
                not self.judged.any()
            ),
            f"{first:.0%} of the labels are of hits at rank 1; they say little of those below.": (
                first > _FIRST
            ),
            f"{self.left_out} labels are of statements of other calibrators, and were left out.": (
                self.left_out > 0
            ),
        }
        return (
            *(warning for warning, applies in said.items() if applies),
            *self._thin_relations(),
            *self._thin_ranges(),
        )

    def _thin_relations(self) -> Iterator[str]:
        for name, rows in (("same", self.same), ("cross", ~self.same)):
            if (count := int(rows.sum())) < _RELATION:
                yield (
                    f"Only {count} labels are of {name}-language hits; what sets them apart is "
                    "hardly told."
                )

    def _thin_ranges(self) -> Iterator[str]:
        thirds = np.minimum((self.probability * 3.0).astype(np.int64), 2)
        for third, count in enumerate(np.bincount(thirds, minlength=3).tolist()):
            if count < _THIRD:
                yield (
                    f"Only {count} labels are of hits with a stated probability of "
                    f"{third / 3:.2f} to {(third + 1) / 3:.2f}; there the proposal goes by the "
                    "others."
                )


def labels_of(entries: Iterable[Entry], calibrator: str) -> Labels:
    """Return the labels of one calibrator's statements; clicks are none.

    Args:
        entries: Of the log.
        calibrator: Id of the calibrator.
    """
    labelled = [e for e in entries if e.relevant is not None and e.source != "click"]
    used = [e for e in labelled if e.statement.calibrator == calibrator]
    said = [e.statement for e in used]
    answers = {s.query_id: number for number, s in enumerate(said)}
    digest = hashlib.sha256()
    for entry, statement in zip(used, said, strict=True):
        line = (statement.tenant, statement.query_id, statement.passage_id, entry.relevant)
        digest.update(repr(line).encode())
    return Labels(
        probability=np.array([s.probability for s in said], dtype=np.float64),
        relevant=np.array([e.relevant for e in used], dtype=np.bool_),
        same=np.array(
            [relation_of(s.query_language, s.passage_language) == "same" for s in said],
            dtype=np.bool_,
        ),
        query=np.array([answers[s.query_id] for s in said], dtype=np.int64),
        rank=np.array([s.rank for s in said], dtype=np.int64),
        judged=np.array([e.source == "judged" for e in used], dtype=np.bool_),
        left_out=len(labelled) - len(used),
        languages=tuple(sorted({primary_language(s.query_language) for s in said})),
        digest=digest.hexdigest(),
    )
