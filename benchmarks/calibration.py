"""Calibrates served lists and hits, and compares with what a response costs anyway.

    python benchmarks/calibration.py [calibrator.json]

Measured: all that a response of 50 hits needs of its calibrator (probabilities, intervals, sources,
what is extrapolated, standings in the languages, the first hit's answerable probability) for a
query language that is known, with and without intervals, and for one that is not; a million hits
through one head. Shown beside each
other in one run, as multiples of a fixed piece of work: serialising the 50 hits with the json
module of the standard library.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from app.core.calibration.calibrator import Calibrator
from app.core.calibration.document import read_calibrator
from app.core.calibration.lists import HitFeatures, ServedList
from app.settings import starter_bundle

HITS = 50
MANY = 1_000_000
LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
REPEATS = 10
ROUNDS = 1000


def seconds(work: Callable[[], object], repeats: int = REPEATS, rounds: int = ROUNDS) -> float:
    """Seconds of one call, the best of many short rounds: other work only ever adds to it."""
    best = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(repeats):
            work()
        best = min(best, (time.perf_counter() - begin) / repeats)
    return best


def served_list(posterior: dict[str, float]) -> ServedList:
    """A list as deep as the background of the starter bundle's calibrator reaches."""
    draw = np.random.default_rng(1)
    return ServedList(
        scores=np.sort(draw.uniform(0.1, 0.9, HITS))[::-1].copy(),
        passage_languages=[LANGUAGES[n] for n in draw.integers(0, len(LANGUAGES), HITS)],
        query_posterior=posterior,
        corpus_size=13_014,
        language_sizes=dict.fromkeys(LANGUAGES, 1183),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("calibrator", type=Path, nargs="?")
    path = parser.parse_args().calibrator or starter_bundle() / "calibrator.json"
    calibrator = Calibrator(read_calibrator(path))
    certain = served_list({"de": 1.0})
    unsure = served_list({"de": 0.6, "nl": 0.2, "en": 0.1, "da": 0.05})
    text = "The tide is high where the moon pulls. " * 8
    hits = [{"id": f"p{n}", "rank": n, "probability": 0.5, "text": text} for n in range(HITS)]
    wide = HitFeatures(*(np.random.default_rng(2).uniform(0.1, 0.9, (8, MANY))))
    json_seconds = seconds(lambda: json.dumps(hits))
    print(f"calibrator {calibrator.id}, interval: {calibrator.document.interval is not None}")
    print(f"json.dumps of {HITS} hits       {json_seconds * 1e6:8.1f} us   1.00")
    bare = Calibrator(calibrator.document.model_copy(update={"interval": None}))
    for name, judge, served in (
        ("query language known", calibrator, certain),
        ("the same, no intervals", bare, certain),
        ("query language uncertain", calibrator, unsure),
    ):
        taken = seconds(partial(judge.calibrate, served))
        print(f"{name:24} {taken * 1e6:8.1f} us {taken / json_seconds:6.2f}")
    taken = seconds(lambda: calibrator.hit_probability(wide), 1, 10)
    print(f"{MANY:,} hits          {taken:8.3f} s ")


if __name__ == "__main__":
    main()
