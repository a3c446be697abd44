"""States what is loaded: bundle, calibrators, and the distributions they are compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal, TypeAlias

from prometheus_client.utils import floatToGoString
from pydantic import JsonValue

from app.telemetry import catalogue
from app.telemetry.catalogue import Spec
from app.telemetry.instruments import Instruments
from app.telemetry.labels import RELATIONS

Role = Literal["active", "shadow"]
Said: TypeAlias = dict[tuple[Spec, tuple[str, ...]], float]


@dataclass(frozen=True, slots=True)
class CalibratorFacts:
    """What is said of a calibrator that is in use.

    Attributes:
        id: Its id.
        kind: Its kind.
        role: Whether its probabilities are stated or only recorded.
        fitted: When it was fitted, in seconds since 1970; ``None`` where that is not known.
    """

    id: str
    kind: str
    role: Role
    fitted: float | None = None


class ModelMetrics:
    """States what is loaded; a statement ends what was stated before."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._stated: Said = {}
        instruments.gauge(catalogue.BUILD_INFO, version("isoglot")).set(1)

    def states(
        self,
        *,
        bundle: str,
        encoder: str,
        loaded: float,
        calibrators: tuple[CalibratorFacts, ...],
        reference: Mapping[str, JsonValue],
    ) -> None:
        """State what is served.

        Args:
            bundle: Name and id of the bundle.
            encoder: Fingerprint of its encoder.
            loaded: When it was loaded, in seconds since 1970.
            calibrators: Those in use.
            reference: Content of ``reference.json``; what of it is not a distribution by
                relation is left out.
        """
        active = next((c.id for c in calibrators if c.role == "active"), "")
        said: Said = {
            (catalogue.BUNDLE_INFO, (bundle, encoder, active)): 1.0,
            (catalogue.BUNDLE_LOADED, ()): loaded,
        }
        for calibrator in calibrators:
            labels = (calibrator.id, encoder, calibrator.kind, calibrator.role)
            said[catalogue.CALIBRATOR_INFO, labels] = 1.0
            if calibrator.fitted is not None:
                said[catalogue.CALIBRATOR_FITTED, (calibrator.id,)] = calibrator.fitted
        fitted_on = reference.get("calibrator")
        said.update(_distribution(reference, "score_cdf", catalogue.REFERENCE_SCORE_CDF, encoder))
        said.update(
            _distribution(
                reference,
                "probability_cdf",
                catalogue.REFERENCE_PROBABILITY_CDF,
                fitted_on if isinstance(fitted_on, str) else "",
            )
        )
        said.update(_base_rates(reference))
        self._replace(said)

    def _replace(self, said: Said) -> None:
        for spec, labels in self._stated.keys() - said.keys():
            self._instruments.end(spec, *labels)
        for (spec, labels), value in said.items():
            self._instruments.gauge(spec, *labels).set(value)
        self._stated = said


def _distribution(reference: Mapping[str, JsonValue], member: str, spec: Spec, owner: str) -> Said:
    """Return a cumulative distribution by relation, its bounds spelt as in histograms."""
    said: Said = {}
    by_relation = reference.get(member)
    for relation in RELATIONS:
        shares = by_relation.get(relation) if isinstance(by_relation, dict) else None
        if not isinstance(shares, dict):
            continue
        known = {bound: share for bound, share in shares.items() if isinstance(share, float | int)}
        for bound, share in {**known, "inf": 1.0}.items():
            le: str = floatToGoString(float(bound))  # type: ignore[no-untyped-call]
            said[spec, (owner, relation, le)] = float(share)
    return said


def _base_rates(reference: Mapping[str, JsonValue]) -> Said:
    rates = reference.get("base_rate")
    if not isinstance(rates, dict):
        return {}
    return {
        (catalogue.REFERENCE_BASE_RATE, (relation,)): float(rate)
        for relation in RELATIONS
        if isinstance(rate := rates.get(relation), float) and math.isfinite(rate)
    }
