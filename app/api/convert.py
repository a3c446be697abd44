"""Wire models to core types, and back: passages, and what answers."""

from __future__ import annotations

from app.api.readiness import Services
from app.api.schemas import common as schemas
from app.core.calibration.calibrator import Calibrator
from app.core.errors import InvalidPassageError
from app.core.passages.entries import Document, Entry
from app.core.types import UNDETERMINED, Passage, Split


def model(services: Services, calibrator: Calibrator | None) -> schemas.ModelOut:
    """Return what answers.

    Args:
        services: What runs.
        calibrator: What stated the probabilities.
    """
    bundle = services.bundle
    return schemas.ModelOut(
        bundle=bundle.manifest.short_id,
        encoder=bundle.spec.fingerprint(),
        calibrator=None if calibrator is None else calibrator.id,
        collection=services.collection,
    )


def to_entry(passage: schemas.PassageIn) -> Entry:
    """Return what is to be stored, as the core takes it.

    Raises:
        InvalidPassageError: A passage that is to be split says that it is a part itself.
    """
    span = passage.span
    sent = Passage(
        id=passage.id,
        text=passage.text,
        language=UNDETERMINED if passage.language is None else passage.language,
        parallel_id=passage.parallel_id,
        metadata=passage.metadata,
        document_id=passage.document_id,
        span=None if span is None else (span[0], span[1]),
    )
    if passage.split is None:
        return sent
    if sent.document_id is not None or sent.span is not None:
        raise InvalidPassageError(
            f"Passage {passage.id!r} is to be split, so it cannot be a part of a document; leave "
            "out document_id and span.",
            pointer="/split",
        )
    return Document(sent, Split(**passage.split.model_dump()))


def from_passage(passage: Passage) -> schemas.PassageOut:
    """Return a stored passage as it is sent."""
    return schemas.PassageOut(
        id=passage.id,
        text=passage.text,
        language=passage.language,
        parallel_id=passage.parallel_id,
        metadata=dict(passage.metadata),
        document_id=passage.document_id,
        span=None if passage.span is None else list(passage.span),
    )
