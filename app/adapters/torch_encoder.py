"""The encoder on a GPU: a transformers backbone in torch, bfloat16 with fused attention.

It reads the weights of the bundle (safetensors, never pickle, never remote code, never the
network) and computes what the graph beside them does: pooling and normalisation of the contract,
in float32. Sequences are padded to a multiple of ``LENGTH_STEP``, so that a GPU sees few shapes and
its tensor cores whole tiles. Imported only where it is used: the service needs no torch.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import Module
from transformers import AutoModel

from app.adapters.token_encoder import TokenEncoder
from app.core.encoder_spec import EncoderSpec
from app.core.errors import BundleError, EncodingError
from app.core.types import VectorArray

LENGTH_STEP = 16
_MODULES = ("Transformer", "Pooling", "Normalize")


class TorchEncoder(TokenEncoder):
    """Implements the ``Encoder`` port with a transformers backbone. Thread-safe.

    Args:
        spec: The contract that the weights were exported for.
        directory: The bundle's encoder, in sentence-transformers layout.
        device: As torch names it; the GPU where there is one by default.

    Raises:
        BundleError: The weights or the tokenizer cannot be loaded, or the encoder has other parts
            than a backbone, pooling and normalisation.
    """

    def __init__(self, spec: EncoderSpec, directory: Path, *, device: str | None = None) -> None:
        super().__init__(spec, directory / "tokenizer.json")
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        # On a CPU float32 is what the bundle was measured in.
        on_gpu = self._device.type == "cuda" and torch.cuda.is_bf16_supported()
        self._model = _load(directory, torch.bfloat16 if on_gpu else torch.float32)
        self._model.to(self._device).eval()
        config: object = getattr(self._model, "config", None)
        self._padding: int = getattr(config, "pad_token_id", None) or 0

    @property
    def engine(self) -> str:
        """What computes: ``torch-cuda`` or ``torch-cpu``."""
        return f"torch-{self._device.type}"

    def _forward(self, token_ids: list[list[int]]) -> VectorArray:
        longest = max(map(len, token_ids))
        length = min(-(-longest // LENGTH_STEP) * LENGTH_STEP, max(longest, self._spec.max_length))
        input_ids = torch.full((len(token_ids), length), self._padding)
        mask = torch.zeros((len(token_ids), length), dtype=torch.int64)
        for row, ids in enumerate(token_ids):
            input_ids[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = 1
        try:
            with torch.inference_mode():
                vectors = self._embed(input_ids.to(self._device), mask.to(self._device))
                result: VectorArray = vectors.cpu().numpy()
        except torch.OutOfMemoryError as error:
            # Whoever asked tries again with fewer texts, to which what is kept would be lost.
            torch.cuda.empty_cache()
            raise MemoryError(str(error)) from error
        except RuntimeError as error:
            raise EncodingError(
                f"The encoder failed on a batch of shape {tuple(input_ids.shape)}: {error}"
            ) from error
        return result

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
