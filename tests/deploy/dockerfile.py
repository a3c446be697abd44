"""Reads a Dockerfile as far as the tests need it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its word in capitals, and the rest in one line."""

    word: str
    rest: str


@dataclass(slots=True)
class Stage:
    """What one FROM begins: its name, the stage or image below it, and its instructions."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        return [found.rest for found in self.instructions if found.word == word]


def read(path: Path = ROOT / "Dockerfile") -> dict[str, Stage]:
    """Return the stages by name, in their order; what stands before the first FROM is left out."""
    text = re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    stages: dict[str, Stage] = {}
    current: Stage | None = None
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            found = re.fullmatch(r"(\S+) AS (\S+)", rest)
            assert found, f"a stage without a name: {line}"
            current = stages[found[2]] = Stage(found[2], found[1])
        elif word and current is not None:
            current.instructions.append(Instruction(word, rest.strip()))
    return stages


def lineage(stages: dict[str, Stage], name: str) -> list[Stage]:
    """Return a stage with all stages below it, the lowest first."""
    stage = stages[name]
    below = lineage(stages, stage.base) if stage.base in stages else []
    return [*below, stage]


def environment(stages: dict[str, Stage], name: str) -> dict[str, str]:
    """Return what ENV sets in a stage and those below it, ``$PATH`` left as it is."""
    pairs = [
        pair
        for stage in lineage(stages, name)
        for line in stage.all("ENV")
        for pair in re.findall(r"(\w+)=(\S+)", line)
    ]
    return dict(pairs)


def command(stages: dict[str, Stage], name: str, word: str = "CMD") -> list[str]:
    """Return the last command in exec form; the options of a HEALTHCHECK are left out."""
    [*_, last] = [rest for stage in lineage(stages, name) for rest in stage.all(word)]
    words = json.loads(last[last.index("[") :])
    assert isinstance(words, list)
    return [str(part) for part in words]
