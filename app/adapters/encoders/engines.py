"""Chooses what computes the encoder: a GPU where there is one, else the faster of the graphs.

Which arithmetic is faster depends on the processor: int8 on one with VNNI, often float32 on one
without, and it may be one for a short query and the other for long passages. So where a bundle
carries both, each is timed for a tenth of a second, half of it on a query and half on passages,
and the smaller geometric mean wins. The vectors of both agree (measured at export), and so does
the fingerprint of the encoder.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from math import sqrt

import structlog

from app.adapters.encoders.onnx_encoder import OnnxEncoder
from app.adapters.encoders.token_encoder import TokenEncoder
from app.core.bundle import ENCODER_DIRECTORY, Arithmetic, Bundle, EncoderEngine
from app.core.errors import BundleError

_SECONDS = 0.1
_LEAST_PASSES = 3
_QUERY = "where does the river begin"
_PASSAGES = [" ".join(["the water of the river is cold"] * 8)] * 4
_WEIGHTS = (f"{ENCODER_DIRECTORY}/config.json", f"{ENCODER_DIRECTORY}/model.safetensors")
_log = structlog.stdlib.get_logger(__name__)


def open_encoder(bundle: Bundle, *, engine: EncoderEngine = "auto", threads: int) -> TokenEncoder:
    """Return the encoder of a bundle.

    Args:
        bundle: Carries it.
        engine: What is to compute it.
        threads: CPU threads of one pass of ONNX Runtime.

    Raises:
        BundleError: The bundle does not carry what the engine needs, or it cannot be loaded; or
            torch is asked for and not installed.
    """
    if engine == "torch":
        return _on_torch(bundle)
    if engine == "auto":
        if _has_weights(bundle) and _sees_gpu():
            return _on_torch(bundle)
        return _fastest(bundle, threads)
    return _graph(bundle, engine, threads)


def _graph(bundle: Bundle, arithmetic: Arithmetic, threads: int) -> OnnxEncoder:
    return OnnxEncoder(
        bundle.spec,
        bundle.onnx_path(arithmetic),
        bundle.tokenizer_path,
        threads=threads,
        engine=f"onnx-{arithmetic}",
    )


def _fastest(bundle: Bundle, threads: int) -> OnnxEncoder:
    graphs = [_graph(bundle, arithmetic, threads) for arithmetic in sorted(bundle.manifest.onnx)]
    if len(graphs) == 1:
        return graphs[0]
    seconds = {graph.engine: _seconds_of_a_pass(graph) for graph in graphs}
    chosen = min(graphs, key=lambda graph: seconds[graph.engine])
    measured = {engine: round(found * 1e3, 3) for engine, found in seconds.items()}
    _log.info("encoder_engine_chosen", engine=chosen.engine, milliseconds_a_pass=measured)
    return chosen


def _seconds_of_a_pass(encoder: TokenEncoder) -> float:
    """Return the geometric mean of the times of a query and of some passages."""
    query = _shortest(partial(encoder.encode_queries, [_QUERY]))
    return sqrt(query * _shortest(partial(encoder.encode_passages, _PASSAGES)))


def _shortest(work: Callable[[], object]) -> float:
    """Return the least seconds that a call takes: what else runs here only ever adds to it."""
    work()  # the first one also allocates
    taken: list[float] = []
    end = time.perf_counter() + _SECONDS / 2
    while len(taken) < _LEAST_PASSES or time.perf_counter() < end:
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def _has_weights(bundle: Bundle) -> bool:
    return all(path in bundle.manifest.files for path in _WEIGHTS)


def _has_torch() -> bool:
    return find_spec("torch") is not None and find_spec("transformers") is not None


def _sees_gpu() -> bool:
    if not _has_torch():
        return False
    from app.adapters.encoders.torch_encoder import has_gpu

    return has_gpu()


def _on_torch(bundle: Bundle) -> TokenEncoder:
    if not _has_weights(bundle):
        raise BundleError(
            f"Bundle {bundle.manifest.short_id} carries no transformers weights, so torch cannot "
            "compute it. Set ISOGLOT_ENCODER_ENGINE=auto."
        )
    if not _has_torch():
        raise BundleError(
            "ISOGLOT_ENCODER_ENGINE=torch needs torch and transformers: pip install '.[gpu]' in "
            "the checkout of Isoglot."
        )
    from app.adapters.encoders.torch_encoder import TorchEncoder

    return TorchEncoder(bundle.spec, bundle.directory / ENCODER_DIRECTORY)
