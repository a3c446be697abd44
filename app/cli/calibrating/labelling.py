"""Judging hits in the terminal: which ones are worth it, and asking.

Worth judging are hits of every relation and every height of probability, not only the many that are
surely irrelevant. Hits are drawn from strata (relation by probability), at random within each;
how many hits of its stratum a judged one stands for is kept as its weight, and undone in the fit.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from app.cli.calibrating.judgements import read_judgements, same_query
from app.cli.calibrating.served_lists import QueryList
from app.core.calibration.calibrator import Calibrator

EDGES = (0.02, 0.1, 0.3, 0.6)
"""Between the strata of probability."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A hit that is worth judging.

    Attributes:
        one: The list that it is in.
        place: Its place there, from 0.
        weight: How many hits of its stratum it stands for.
    """

    one: QueryList
    place: int
    weight: float


def worth_judging(
    calibrator: Calibrator, lists: Sequence[QueryList], count: int, *, seed: int = 0
) -> list[Candidate]:
    """Return at most that many hits, equally many of each stratum, query by query.

    The order of the queries is random: whoever stops early has judged a sample of them.
    """
    strata: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for number, one in enumerate(lists):
        if not one.ids:
            continue
        stated = calibrator.calibrate(one.served)
        for place in range(min(len(one.ids), calibrator.document.depth)):
            relation = stated.source[place].rpartition(":")[2]
            height = int(np.searchsorted(EDGES, stated.probability[place]))
            strata[relation, height].append((number, place))
    rng = np.random.default_rng(seed)
    taken = _shares([len(hits) for hits in strata.values()], count)
    order = rng.permutation(len(lists))
    chosen = [
        (int(order[number]), number, place, len(hits) / n)
        for hits, n in zip(strata.values(), taken, strict=True)
        for number, place in (hits[at] for at in rng.choice(len(hits), n, replace=False))
    ]
    return [Candidate(lists[number], place, weight) for _, number, place, weight in sorted(chosen)]


def _shares(sizes: Sequence[int], count: int) -> list[int]:
    """Return how many to take of each stratum: as equal as their sizes allow."""
    taken = [0] * len(sizes)
    while sum(taken) < min(count, sum(sizes)):
        open_ones = [n for n, size in enumerate(sizes) if taken[n] < size]
        fewest = min(open_ones, key=lambda n: taken[n])
        taken[fewest] += 1
    return taken


def ask(candidates: Sequence[Candidate], path: Path, screen: Console) -> int:
    """Ask for every hit that the file does not judge yet, and append the answers.

    Returns:
        How many were judged now. Answering q ends; what was judged until then is kept.
    """
    judged = read_judgements(path) if path.exists() else []
    known = {same_query(query.text): query.labels for query in judged}
    open_ones = [c for c in candidates if _id(c) not in known.get(same_query(_query(c)), {})]
    done = 0
    with path.open("a", encoding="utf-8") as file:
        for number, candidate in enumerate(open_ones, start=1):
            screen.print(Panel(Text(_text(candidate)), title=Text(_query(candidate))))
            answer = _answer(screen, f"{number}/{len(open_ones)} relevant? y, n, s(kip), q(uit) ")
            if answer == "q":
                break
            if answer != "s":
                file.write(_line(candidate, relevant=answer == "y"))
                file.flush()
                done += 1
    return done


def _answer(screen: Console, question: str) -> str:
    while (answer := screen.input(question).strip().lower()[:1]) not in {"y", "n", "s", "q"}:
        screen.print("Answer y, n, s or q.")
    return answer


def _line(candidate: Candidate, *, relevant: bool) -> str:
    entry = {
        "query": _query(candidate),
        "passage_id": _id(candidate),
        "relevant": relevant,
        "language": candidate.one.query.language,
        "weight": candidate.weight,
    }
    return json.dumps(entry, ensure_ascii=False) + "\n"


def _id(candidate: Candidate) -> str:
    return candidate.one.ids[candidate.place]


def _text(candidate: Candidate) -> str:
    return candidate.one.texts[candidate.place]


def _query(candidate: Candidate) -> str:
    return candidate.one.query.text
