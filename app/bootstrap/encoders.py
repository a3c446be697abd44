"""The encoder of a bundle, and the thread that it runs on."""

from __future__ import annotations

import asyncio

from app.adapters.encoders.engines import open_encoder
from app.core.bundle import Bundle
from app.core.encoding import EncoderThread
from app.core.ports import ServedEncoder
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.telemetry.observed import ObservedEncoder


async def encoder_of(settings: Settings, bundle: Bundle) -> ServedEncoder:
    """Return the encoder of a bundle, as the settings want it computed."""
    engine, threads = settings.encoder_engine, settings.encoder_threads
    return await asyncio.to_thread(open_encoder, bundle, engine=engine, threads=threads)


def on_thread(
    adapter: ServedEncoder, metrics: Metrics | None
) -> tuple[ServedEncoder, EncoderThread]:
    """Return an encoder that reports to the metrics, and the thread that it runs on."""
    if metrics is None:
        return adapter, EncoderThread(adapter)
    metrics.encoder.computed_by(adapter.engine)
    observed_encoder = ObservedEncoder(adapter, metrics.encoder)
    return observed_encoder, EncoderThread(observed_encoder, observer=metrics.encoder)
