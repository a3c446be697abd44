"""Early stopping: measures the encoder while it is trained and remembers the best weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from safetensors import safe_open
from sentence_transformers import SentenceTransformer
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from app.core.types import VectorArray
from training.checkpoints import put_weights, trained_weights, write_tensors
from training.config import EarlyStopping
from training.development_set import DevelopmentSet
from training.encoder import Side
from training.errors import RunError
from training.evaluate import EmbeddedSet, rank_relevant, summarise
from training.stage_log import StageLog

BEST = "best.safetensors"
_TEXTS_A_CALL = 256


class Gauge:
    """Measures an encoder on a development set.

    Args:
        encoder: What is trained.
        development: The set.
        prefixes: Prefix of each side.
        progress: Shows how far it is.
    """

    def __init__(
        self,
        encoder: SentenceTransformer,
        development: DevelopmentSet,
        prefixes: dict[Side, str],
        progress: Progress,
    ) -> None:
        self._encoder = encoder
        self._data = development.data
        self._name = development.name
        self._prefixes = prefixes
        self._progress = progress

    def __call__(self) -> dict[str, float]:
        """Return every metric of ``training.evaluate`` by name, in [0, 1] but for rank distance."""
        queries = [query.text for query in self._data.queries]
        passages = [passage.text for passage in self._data.passages]
        task = self._progress.add_task(
            f"Evaluating on {self._name}", total=len(queries) + len(passages)
        )
        try:
            embedded = EmbeddedSet(
                data=self._data,
                queries=self._embed(queries, "query", task),
                passages=self._embed(passages, "passage", task),
            )
            result = summarise(self._data, rank_relevant(embedded))
        finally:
            self._progress.remove_task(task)
        return {name: estimate.value for name, estimate in result.summary.items()}

    def _embed(self, texts: Sequence[str], side: Side, task: int) -> VectorArray:
        # By length, so that a batch holds little padding.
        order = sorted(range(len(texts)), key=lambda row: (len(texts[row]), row))
        prefix = self._prefixes[side]
        parts = []
        for start in range(0, len(order), _TEXTS_A_CALL):
            rows = order[start : start + _TEXTS_A_CALL]
            parts.append(
                self._encoder.encode(
                    [prefix + texts[row] for row in rows],
                    batch_size=_TEXTS_A_CALL // 4,
                    show_progress_bar=False,
                )
            )
            self._progress.advance(task, len(rows))  # type: ignore[arg-type]  # TaskID is an int
        vectors: VectorArray = np.empty_like(np.concatenate(parts), dtype=np.float32)
        vectors[order] = np.concatenate(parts)
        return vectors


class EarlyStop(TrainerCallback):
    """Ends a stage when the best weights stay the best, and gives them back.

    All its state is in every checkpoint, so that a resumed stage ends where an uninterrupted one
    would have.

    Args:
        settings: How often, how patiently, by which metric.
        development: The set.
        gauge: Measures on it; of several processes one, and all get what it found.
        encoder: What is trained.
        log: Where the metrics go, as ``dev/mono/map`` and the like.
    """

    def __init__(
        self,
        settings: EarlyStopping,
        development: DevelopmentSet,
        gauge: Callable[[], dict[str, float]],
        encoder: SentenceTransformer,
        log: StageLog,
    ) -> None:
        self._settings = settings
        self._development = development
        self._gauge = gauge
        self._encoder = encoder
        self._log = log
        self._best: float | None = None
        self._best_step = 0
        self._last_step = 0
        self._waited = 0
        self._weights: dict[str, Tensor] = {}

    @property
    def stopped(self) -> bool:
        """Whether the stage has come to its end."""
        return self._waited >= self._settings.patience

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> None:
        """Measure what the stage starts from, so that it never leaves a worse encoder."""
        if self._best is None:
            self._measure(state.global_step)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> None:
        """Measure when it is time, and stop when patience is over."""
        step = state.global_step
        if step % self._settings.every == 0 or step == state.max_steps:
            self._measure(step)
            control.should_training_stop = control.should_training_stop or self.stopped

    def _measure(self, step: int) -> None:
        measured = self._gauge()
        metric = self._settings.metric
        if metric not in measured:
            raise RunError(
                f"The development set {self._development.name!r} has no {metric!r}: no query of it "
                f"has such an answer. It has: {', '.join(sorted(measured))}."
            )
        value = measured[metric]
        if self._best is None or value > self._best:
            self._best, self._best_step, self._waited = value, step, 0
            self._weights = {
                name: tensor.detach().to("cpu", copy=True)
                for name, tensor in trained_weights(self._encoder).items()
            }
        else:
            self._waited += 1
        self._last_step = step
        self._log.write(
            step,
            {f"dev/{name}": number for name, number in measured.items()}
            | {"dev/best": self._best, "dev/best_step": self._best_step},
        )

    def save(self, checkpoint: Path) -> None:
        """Write the best weights and where the stage stands into a checkpoint."""
        standing = {
            "best": self._best,
            "best_step": self._best_step,
            "last_step": self._last_step,
            "waited": self._waited,
        }
        write_tensors(checkpoint / BEST, self._weights, {"standing": json.dumps(standing)})

    def load(self, checkpoint: Path) -> None:
        """Read back what ``save`` wrote."""
        with safe_open(checkpoint / BEST, framework="pt") as file:
            standing = json.loads(file.metadata()["standing"])
            self._weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        self._best = standing["best"]
        self._best_step = standing["best_step"]
        self._last_step = standing["last_step"]
        self._waited = standing["waited"]

    def restore_best(self) -> None:
        """Give the encoder the best weights."""
        with torch.no_grad():
            put_weights(self._encoder, self._weights, origin=Path(BEST))

    def facts(self) -> dict[str, object]:
        """Return what the provenance says of this stage's end."""
        return {
            **self._development.facts(),
            "metric": self._settings.metric,
            "best": self._best,
            "best_step": self._best_step,
            "last_step": self._last_step,
            "stopped_early": self.stopped,
        }
