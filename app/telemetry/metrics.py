"""The Prometheus metrics of one service: what routes and adapters report to."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from app.core.bundle import Bundle
from app.core.calibration.calibrator import Calibrator
from app.telemetry import catalogue
from app.telemetry.feedback import FeedbackMetrics
from app.telemetry.instruments import Instruments
from app.telemetry.labels import language_labels
from app.telemetry.model import CalibratorFacts, ModelMetrics, Role
from app.telemetry.requests import RequestMetrics
from app.telemetry.searches import SearchMetrics
from app.telemetry.serving import EncoderMetrics, StoreMetrics


class Metrics:
    """All metrics, on a registry of their own.

    Series with labels that are known beforehand are made at once, those of calibrators and
    languages by ``serves``: a series that is born with its first event has no increase to show
    for it, and a bin without one falls out of every sum.

    Attributes:
        requests: HTTP.
        searches: Searches and stated probabilities.
        feedback: Labels.
        encoder: Queue, passes and cache of the encoder.
        store: The passage store.
    """

    def __init__(self) -> None:
        instruments = Instruments()
        self._instruments = instruments
        self.requests = RequestMetrics(instruments)
        self.searches = SearchMetrics(instruments)
        self.feedback = FeedbackMetrics(instruments)
        self.encoder = EncoderMetrics(instruments)
        self.store = StoreMetrics(instruments)
        self._model = ModelMetrics(instruments)
        self._ready = instruments.gauge(catalogue.READY)
        self._loaded: tuple[str, float] = ("", 0.0)

    def serves(
        self,
        bundle: Bundle,
        *,
        active: Calibrator | None,
        shadow: Calibrator | None = None,
        previous: str | None = None,
    ) -> None:
        """State what answers from now on, and make the series that it will count in.

        Args:
            bundle: The loaded bundle.
            active: What states probabilities.
            shadow: What only records them.
            previous: Id of the calibrator that was active before: feedback on its answers still
                comes. A shadow takes its place.
        """
        if bundle.manifest.id != self._loaded[0]:
            self._loaded = (bundle.manifest.id, time.time())
        encoder = bundle.spec.fingerprint()
        languages = language_labels(bundle.spec.languages)
        in_use = [c.id for c in (active, shadow) if c is not None]
        self.searches.serves(encoder=encoder, languages=languages, calibrators=in_use)
        self.feedback.serves(
            languages=languages,
            active=None if active is None else active.id,
            other=previous if shadow is None else shadow.id,
        )
        self._model.states(
            bundle=bundle.manifest.short_id,
            encoder=encoder,
            loaded=self._loaded[1],
            calibrators=_facts(bundle, active, shadow),
            reference=bundle.reference,
        )

    def ready(self, *, is_ready: bool) -> None:
        """State whether searches are answered."""
        self._ready.set(is_ready)

    def exposition(self) -> bytes:
        """Return all metrics in the text format of ``METRICS_CONTENT_TYPE``."""
        return self._instruments.exposition()

    def close(self) -> None:
        """Stop accounting for this process; what it counted stays counted."""
        self._instruments.close()


def _facts(
    bundle: Bundle, active: Calibrator | None, shadow: Calibrator | None
) -> tuple[CalibratorFacts, ...]:
    roles: tuple[tuple[Role, Calibrator | None], ...] = (("active", active), ("shadow", shadow))
    return tuple(
        CalibratorFacts(
            calibrator.id,
            calibrator.document.kind,
            role,
            fitted=_fitted(bundle, calibrator),
        )
        for role, calibrator in roles
        if calibrator is not None
    )


def _fitted(bundle: Bundle, calibrator: Calibrator) -> float | None:
    """Return when a calibrator was fitted, in seconds since 1970, where it is known.

    What its document says; a bundle's own that does not say is as old as the bundle.
    """
    day = calibrator.document.fit.fitted
    if day is not None:
        return datetime.combine(day, datetime.min.time(), UTC).timestamp()
    if bundle.calibrator is None or calibrator.id != bundle.calibrator.id:
        return None
    created = bundle.manifest.training.get("created")
    try:
        return datetime.fromisoformat(created).timestamp() if isinstance(created, str) else None
    except ValueError:
        return None
