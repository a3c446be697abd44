"""The encoder of the GPU beside the limits of the GPU: agreement, latency, tokens a second.

    python -m benchmarks.torch_encoder --json torch_encoder.json

Backbones of random weights, of the shapes of MiniLM and of XLM-RoBERTa-base, are written to a
scratch directory and served as those of a bundle are: in float32 and bfloat16, with and without
CUDA graphs. Random weights say nothing about answers, and all about speed. Without a GPU the same
runs on the CPU with a tiny backbone, to show that the script works. Needs torch, transformers,
tokenizers and numpy alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from app.adapters.encoders.torch_encoder import TorchEncoder
from app.core.encoder_spec import EncoderSpec
from app.core.encoding import EncoderThread

QUERY_TOKENS = 12
QUERIES = (1, 8, 32, 64)
PASSAGE_TOKENS = (128, 256)
WORDS = 30_000
Result = dict[str, Any]
_asked = count()  # numbers that make queries, so that none is in the cache


@dataclass(frozen=True)
class Shape:
    """Size of a backbone. The vocabulary is small, since a row of it costs the same in any."""

    name: str
    architecture: str
    hidden: int
    layers: int
    heads: int

    @property
    def weights_of_a_token(self) -> int:
        """Multiplications that one token takes, attention aside: 12 * hidden^2 a layer."""
        return 12 * self.hidden**2 * self.layers

    def flops(self, tokens: int, length: int) -> float:
        """Operations of a pass over texts of one length, attention included."""
        attention = 4 * tokens * length * self.hidden * self.layers
        return 2 * tokens * self.weights_of_a_token + attention


MINILM = Shape("minilm-6x384", "bert", 384, 6, 12)
XLMR = Shape("xlm-r-12x768", "xlm-roberta", 768, 12, 12)
TINY = Shape("tiny-2x64", "bert", 64, 2, 2)


def write_model(shape: Shape, directory: Path) -> EncoderSpec:
    """Write a backbone of random weights as a bundle holds it, and return its contract."""
    config = transformers.AutoConfig.for_model(
        shape.architecture,
        vocab_size=WORDS + 8,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.hidden,
        max_position_embeddings=514,
    )
    torch.manual_seed(0)
    backbone = transformers.AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    backbone.save_pretrained(directory)
    names = ("Transformer", "Pooling")
    parts = [{"type": f"sentence_transformers.models.{name}"} for name in names]
    (directory / "modules.json").write_text(json.dumps(parts), encoding="utf-8")
    # The first ids are those of padding and the like.
    words = {f"w{number}": number + 8 for number in range(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(directory / "tokenizer.json"))
    return EncoderSpec(shape.name, "random", "0", shape.hidden, "mean", 512, ("en",))


def texts(lengths: Sequence[int]) -> list[str]:
    """Return texts of so many tokens each, the same ones every time."""
    draw = random.Random(0)
    return [" ".join(f"w{draw.randrange(WORDS)}" for _ in range(length)) for length in lengths]


def milliseconds(work: Callable[[], object], seconds: float) -> dict[str, float]:
    """Run something for so long, at least five times, and return quantiles of one run's time."""
    for _ in range(3):
        work()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 5 or time.perf_counter() < end:
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1e3)
    low, middle, high = np.quantile(taken, [0.1, 0.5, 0.9])
    return {"p50": round(middle, 3), "p10": round(low, 3), "p90": round(high, 3)}


def agreement(encoders: dict[str, TorchEncoder]) -> dict[str, Result]:
    """Compare the vectors and the scores of all encoders with those of the first."""
    queries = texts([3 + n % 20 for n in range(64)])
    passages = texts([5 + 3 * n for n in range(80)])
    vectors = {
        name: (encoder.encode_queries(queries), encoder.encode_passages(passages))
        for name, encoder in encoders.items()
    }
    first = next(iter(vectors.values()))
    exact = first[0] @ first[1].T
    found: dict[str, Result] = {}
    for name, pair in vectors.items():
        cosines = np.concatenate([(a * b).sum(1) for a, b in zip(pair, first, strict=True)])
        scores = pair[0] @ pair[1].T
        found[name] = {
            "least_cosine": round(float(cosines.min()), 6),
            "greatest_score_difference": float(np.abs(scores - exact).max()),
            "spread_of_scores": round(float(exact.std()), 4),
            "kept_of_top_10": round(float(np.mean(
                [len(set(a) & set(b)) / 10 for a, b in zip(_top(scores), _top(exact), strict=True)]
            )), 4),
        }  # fmt: skip
    return found


def _top(scores: np.ndarray) -> list[list[int]]:
    rows: list[list[int]] = np.argsort(-scores, axis=1)[:, :10].tolist()
    return rows


def latencies(encoder: TorchEncoder, seconds: float) -> Result:
    """Time batches of short queries, tokens and copies included."""
    found: Result = {}
    for size in QUERIES:
        batch = texts([QUERY_TOKENS] * size)
        found[str(size)] = milliseconds(partial(encoder.encode_queries, batch), seconds)
    one = texts([QUERY_TOKENS])
    found["tokens_of_1"] = milliseconds(lambda: encoder.count_tokens(one), seconds / 4)
    return found


def throughput(encoder: TorchEncoder, shape: Shape, passages: int, seconds: float) -> Result:
    """Time passages: of one length, and of many lengths in and out of the order of length."""
    found: Result = {}
    for length in PASSAGE_TOKENS:
        batch = texts([length] * passages)
        taken = milliseconds(partial(encoder.encode_passages, batch), seconds)["p50"]
        tokens = length * passages
        found[f"passages_of_{length}"] = {
            "tokens_a_second": round(tokens / taken * 1e3),
            "teraflops": round(shape.flops(tokens, length) / taken / 1e9, 3),
        }
    draw = random.Random(1)
    lengths = [draw.choice((8, 16, 32, 64, 128, 256)) for _ in range(passages)]
    mixed = texts(lengths)

    def in_order_of_arrival() -> None:
        for start in range(0, passages, 32):  # 32 of the longest fill a pass
            encoder.encode_passages(mixed[start : start + 32])

    for name, work in {
        "mixed_by_length": lambda: encoder.encode_passages(mixed),
        "mixed_as_they_come": in_order_of_arrival,
    }.items():
        taken = milliseconds(work, seconds)["p50"]
        found[name] = {"tokens_a_second": round(sum(lengths) / taken * 1e3)}
    tokenizing = milliseconds(lambda: encoder.count_tokens(mixed), seconds / 2)["p50"]
    found["tokenizer_alone"] = {"tokens_a_second": round(sum(lengths) / tokenizing * 1e3)}
    return found


async def both_lanes(encoder: TorchEncoder, passages: int, seconds: float) -> Result:
    """Ask queries through the service's encoder thread: alone, and while passages are encoded."""
    thread = EncoderThread(encoder, merge_queries=True)
    facts = await thread.warm_up(encoder.engine)
    batch = texts([256] * passages)
    found: Result = {"query_ms": round(facts.query_seconds * 1e3, 3), "on_the_loop": facts.direct}
    for clients in (1, 32):
        found[f"alone_{clients}"] = await _ask(thread, clients, seconds)
    done = asyncio.Event()

    async def ingest() -> float:
        tokens, began = 0, time.perf_counter()
        while not done.is_set():
            await thread.encode_passages(batch)
            tokens += 256 * passages
        return tokens / (time.perf_counter() - began)

    ingesting = asyncio.create_task(ingest())
    for clients in (1, 32):
        found[f"beside_passages_{clients}"] = await _ask(thread, clients, seconds)
    done.set()
    found["passage_tokens_a_second"] = round(await ingesting)
    thread.close()
    return found


async def _ask(thread: EncoderThread, clients: int, seconds: float) -> Result:
    taken: list[float] = []
    end = time.perf_counter() + seconds

    async def client() -> None:
        while time.perf_counter() < end:
            query = f"{next(_asked)} " + " ".join(["w7"] * (QUERY_TOKENS - 1))
            began = time.perf_counter()
            await thread.encode_query(query)
            taken.append((time.perf_counter() - began) * 1e3)
            await asyncio.sleep(0)

    await asyncio.gather(*(client() for _ in range(clients)))
    middle, high = np.quantile(taken, [0.5, 0.99])
    return {
        "queries_a_second": round(len(taken) / seconds),
        "p50": round(middle, 3),
        "p99": round(high, 3),
    }


def ceilings(device: str) -> Result:
    """Measure what the device multiplies and copies in a second."""
    side = 8192 if device == "cuda" else 512
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    source = torch.empty((256 if device == "cuda" else 16) * 2**20, device=device)
    target = torch.empty_like(source)

    def timed(work: Callable[[], object]) -> float:
        def run() -> None:
            for _ in range(10):
                work()
            if device == "cuda":
                torch.cuda.synchronize()

        return milliseconds(run, 0.2)["p50"] / 1e4

    return {
        "matmul_teraflops": round(2 * side**3 / timed(lambda: torch.matmul(a, b)) / 1e12, 2),
        "copy_gigabytes_a_second": round(
            2 * source.nbytes / timed(lambda: target.copy_(source)) / 1e9
        ),
    }


def measure(shape: Shape, device: str, passages: int, seconds: float) -> Result:
    """Measure one backbone in every arithmetic."""
    with tempfile.TemporaryDirectory(prefix="isoglot-torch-") as scratch:
        directory = Path(scratch)
        spec = write_model(shape, directory)

        def opened(where: str, dtype: torch.dtype, *, graphs: bool = False) -> TorchEncoder:
            return TorchEncoder(spec, directory, device=where, dtype=dtype, graphs=graphs)

        encoders = {
            "cpu-float32": opened("cpu", torch.float32),
            f"{device}-bfloat16": opened(device, torch.bfloat16),
        }
        if device == "cuda":
            encoders["cuda-float32"] = opened("cuda", torch.float32)
            encoders["cuda-bfloat16-graphs"] = opened("cuda", torch.bfloat16, graphs=True)
            encoders["cuda-float32-graphs"] = opened("cuda", torch.float32, graphs=True)
    found: Result = {"agreement": agreement(encoders)}
    if device == "cuda":
        del encoders["cpu-float32"]
    found["query_ms"] = {name: latencies(each, seconds) for name, each in encoders.items()}
    found["passages"] = {
        name: throughput(each, shape, passages, seconds)
        for name, each in encoders.items()
        if not name.endswith("-graphs")  # passages are too long for them
    }
    for name in ("cuda-bfloat16", "cuda-bfloat16-graphs") if device == "cuda" else encoders:
        lanes = asyncio.run(both_lanes(encoders[name], passages, 2 * seconds))
        found.setdefault("lanes", {})[name] = lanes
    return found


def show(found: Result) -> None:
    """Print the tables of one backbone."""
    print("  agreement with float32 on the CPU:")
    for name, row in found["agreement"].items():
        print(f"    {name:22}", *(f"{key} {value:.3g}," for key, value in row.items()))
    print("  milliseconds a batch of queries, p50:", ", ".join(map(str, QUERIES)))
    for name, row in found["query_ms"].items():
        print(f"    {name:22}", *(f"{row[str(size)]['p50']:8.3f}" for size in QUERIES))
    print("  thousand tokens a second (and TFLOP/s):")
    for name, row in found["passages"].items():
        cells = [
            f"{key} {cell['tokens_a_second'] / 1e3:.0f}"
            + (f" ({cell['teraflops']:.1f})" if "teraflops" in cell else "")
            for key, cell in row.items()
        ]
        print(f"    {name:22}", ", ".join(cells))
    print("  through the encoder thread:")
    for name, row in found["lanes"].items():
        print(f"    {name:22}", json.dumps(row))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write what was found here")
    parser.add_argument("--seconds", type=float, default=0.3, help="time for each figure")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    began = time.perf_counter()
    name = torch.cuda.get_device_name() if device == "cuda" else "no GPU here: the CPU, tiny sizes"
    print(f"{name}; torch {torch.__version__}, transformers {transformers.__version__}")
    report: Result = {"device": name, "torch": torch.__version__}
    report["transformers"] = transformers.__version__
    report["ceilings"] = ceilings(device)
    print(json.dumps(report["ceilings"]))
    shapes = (MINILM, XLMR) if device == "cuda" else (TINY,)
    seconds = options.seconds if device == "cuda" else options.seconds / 3
    for shape in shapes:
        print(shape.name)
        found = measure(shape, device, 512 if device == "cuda" else 32, seconds)
        report[shape.name] = found
        show(found)
    report["seconds"] = round(time.perf_counter() - began, 1)
    print(f"{report['seconds']} seconds in all")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    else:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
