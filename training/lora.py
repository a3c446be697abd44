"""Low-rank adapters for large backbones, through the library peft."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from transformers import PreTrainedModel

from training.config import LoraConfig
from training.console import INSTALL
from training.errors import RunError

if TYPE_CHECKING:
    from peft import LoraModel

_ADAPTER = "default"


class Adapters:
    """Adapters in the backbone of an encoder, which is frozen while they are there.

    Args:
        encoder: An encoder over a transformers backbone; it is changed in place.
        config: Their size and place.

    Raises:
        RunError: peft is not installed, or the backbone has no layer of such a name.
    """

    def __init__(self, encoder: SentenceTransformer, config: LoraConfig) -> None:
        first = encoder[0]
        assert isinstance(first, Transformer), "the configuration allows adapters for these only"
        self._backbone = first.auto_model
        encoder.requires_grad_(requires_grad=False)
        self._layers = _inject(self._backbone, config)
        if self._backbone.is_activation_checkpointing:
            # Nothing before the first adapter asks for a gradient, and what is recomputed from
            # there on would have none.
            self._backbone.enable_input_require_grads()

    def merge(self) -> None:
        """Add the adapters to the weights they are for, and take them out."""
        self._backbone.disable_input_require_grads()
        self._layers.merge_and_unload()
        self._backbone.requires_grad_(requires_grad=True)


def _inject(backbone: PreTrainedModel, config: LoraConfig) -> LoraModel:
    try:
        import peft
    except ModuleNotFoundError as exc:
        raise RunError(
            f"[model.lora] needs the package 'peft', which is not installed:\n  {INSTALL}"
        ) from exc
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # any number will do, it is divided
        lora_dropout=config.dropout,
        target_modules=list(config.target_modules) or None,
        bias="none",
    )
    try:
        return peft.LoraModel(backbone, settings, _ADAPTER)
    except ValueError as exc:
        raise RunError(
            f"The adapters of [model.lora] do not fit this backbone: {exc}. Name its layers with "
            'target_modules, for example ["query", "value"].'
        ) from exc
