"""Trains one stage as one process of several; the tests start it once per process.

::

    RANK=0 WORLD_SIZE=2 ... python -m tests.training.two_processes prepared cases.json target

``cases.json`` maps the name of a case to the TOML text of its run, whose first stage is trained.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from tokenizers import Tokenizer
from transformers import PrinterCallback

from training.config import StaticModel, parse_config
from training.data_prepared import Prepared, open_prepared
from training.encoder import build_static, build_transformer, leave_out_unknown
from training.run_data import RunData
from training.stage_parts import PartsBuilder
from training.trainer import StageTrainer, optimizer_and_schedule, training_arguments


class LossLog(StageTrainer):
    """Remembers the loss of every step."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.losses: list[float] = []

    def compute_loss(self, *arguments: Any, **settings: Any) -> Any:
        """Return the loss as the base class does."""
        loss: Any = super().compute_loss(*arguments, **settings)
        self.losses.append(float(loss.detach()))
        return loss


def train_stage(toml: str, prepared: Prepared, directory: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Return the weights after the first stage of a run, and the loss of every step."""
    config = parse_config(toml)
    stage = config.stage[0]
    torch.manual_seed(config.seed)
    if isinstance(config.model, StaticModel):
        tokenizer = Tokenizer.from_file(str(prepared.path / "tokenizer.json"))
        encoder = build_static(config.model, tokenizer, config.seed)
        leave_out_unknown(encoder, sparse=stage.optimizer == "sparse_adam")
    else:
        encoder = build_transformer(config.model)
    data = RunData(config, prepared, directory / "cache", Progress(disable=True))
    parts = PartsBuilder(config, data, encoder).build(stage, config.seed)
    trainer = LossLog(
        model=encoder,
        args=training_arguments(directory, stage, config.seed, parts.samplers),
        train_dataset=parts.dataset,
        loss=parts.objective,
        data_collator=parts.collator,
        optimizers=optimizer_and_schedule(encoder, stage),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    weights = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    return {**weights, "losses": np.array(trainer.losses)}


def main(prepared: str, cases: str, target: str) -> None:
    """Train every case and write what came out, one file per case and process."""
    torch.set_num_threads(1)
    gc.freeze()  # as in conftest.py
    rank = os.environ["RANK"]
    texts: Mapping[str, str] = json.loads(Path(cases).read_text(encoding="utf-8"))
    for name, toml in texts.items():
        found = train_stage(toml, open_prepared(Path(prepared)), Path(target) / name)
        np.savez(Path(target) / f"{name}.{rank}.npz", **found)  # type: ignore[arg-type]  # only arrays are named
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
