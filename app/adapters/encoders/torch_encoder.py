"""The encoder on a GPU: a transformers backbone in torch, bfloat16 with fused attention.

It reads the weights of the bundle (safetensors, never pickle, never remote code, never the
network) and computes what the graph beside them does: pooling and normalisation of the contract,
in float32. Sequences are padded to a multiple of ``LENGTH_STEP``, so that a GPU sees few shapes and
its tensor cores whole tiles; passes over a few short texts are replayed as CUDA graphs. Imported
only where it is used: the service needs no torch.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import Module
from transformers import AutoModel

from app.adapters.encoders.cuda_graphs import CudaGraphs
from app.adapters.encoders.token_encoder import TokenEncoder, padded
from app.core.encoder_spec import EncoderSpec
from app.core.errors import BundleError, EncodingError
from app.core.types import VectorArray

LENGTH_STEP = 16
_log = logging.getLogger(__name__)
_MODULES = ("Transformer", "Pooling", "Normalize")


class TorchEncoder(TokenEncoder):
    """Implements the ``Encoder`` port with a transformers backbone. Thread-safe.

    Args:
        spec: The contract that the weights were exported for.
        directory: The bundle's encoder, in sentence-transformers layout.
        device: As torch names it; the GPU where there is one by default.
        dtype: Number format of the backbone; by default bfloat16 on a GPU that has it, and on a
            CPU float32, which is what the bundle was measured in.
        graphs: Whether a GPU replays passes over a few short texts.

    Raises:
        BundleError: The weights or the tokenizer cannot be loaded, or the encoder has other parts
            than a backbone, pooling and normalisation.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        directory: Path,
        *,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        graphs: bool = True,
    ) -> None:
        super().__init__(spec, directory / "tokenizer.json")
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        on_gpu = self._device.type == "cuda"
        short = on_gpu and torch.cuda.is_bf16_supported()
        self._model = _load(directory, dtype or (torch.bfloat16 if short else torch.float32))
        self._model.to(self._device).eval()
        config: object = getattr(self._model, "config", None)
        self._padding: int = getattr(config, "pad_token_id", None) or 0
        self._graphs = self._open_graphs() if on_gpu and graphs else None

    @property
    def engine(self) -> str:
        """What computes: ``torch-cuda`` or ``torch-cpu``."""
        return f"torch-{self._device.type}"

    def _forward(self, token_ids: list[list[int]]) -> VectorArray:
        input_ids, mask = self._padded(token_ids)
        try:
            with torch.inference_mode():
                if self._graphs is not None and self._graphs.fits(*input_ids.shape):
                    vectors = self._graphs(input_ids, mask)
                else:
                    vectors = self._embed(input_ids.to(self._device), mask.to(self._device)).cpu()
                result: VectorArray = vectors.numpy()
        except torch.OutOfMemoryError as error:
            # Whoever asked tries again with fewer texts, to which what is kept would be lost.
            torch.cuda.empty_cache()
            raise MemoryError(str(error)) from error
        except RuntimeError as error:
            raise EncodingError(
                f"The encoder failed on a batch of shape {tuple(input_ids.shape)}: {error}"
            ) from error
        return result

    def _open_graphs(self) -> CudaGraphs | None:
        try:
            return CudaGraphs(self._embed, self._device, self._padding)
        except RuntimeError as error:  # some backbones look at values, which cannot be recorded
            _log.warning("The encoder runs without CUDA graphs, slower for queries: %s", error)
            return None

    def _padded(self, token_ids: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Return token ids and mask, int64 of shape (n, length), on the CPU."""
        longest = max(map(len, token_ids))
        length = min(-(-longest // LENGTH_STEP) * LENGTH_STEP, max(longest, self._spec.max_length))
        input_ids, mask = padded(token_ids, length, self._padding)
        return torch.from_numpy(input_ids), torch.from_numpy(mask)

    def _embed(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        states = self._model(input_ids=input_ids, attention_mask=mask).last_hidden_state.float()
        if self._spec.pooling == "cls":
            pooled = states[:, 0]
        else:
            weights = mask.unsqueeze(-1).float()
            pooled = (states * weights).sum(1) / weights.sum(1)
        return torch.nn.functional.normalize(pooled, dim=1)


def has_gpu() -> bool:
    """Return whether torch sees a GPU here."""
    return torch.cuda.is_available()


def _load(directory: Path, dtype: torch.dtype) -> Module:
    _check_modules(directory)
    try:
        model = AutoModel.from_pretrained(
            str(directory),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=dtype,
            attn_implementation="sdpa",
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"The weights in {directory} cannot be loaded by transformers: {error}"
        ) from error
    assert isinstance(model, Module)
    return model


def _check_modules(directory: Path) -> None:
    path = directory / "modules.json"
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))
        modules = [str(part["type"]).rpartition(".")[2] for part in parts]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    if not modules or modules[0] != "Transformer" or set(modules) - set(_MODULES):
        raise BundleError(
            f"The encoder in {directory} is made of {', '.join(modules)}; torch serves "
            f"{', '.join(_MODULES)} only. Set ISOGLOT_ENCODER_ENGINE=auto."
        )
