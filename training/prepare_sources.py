"""What reading pairs and reading parallel rows have in common."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TypeAlias, TypeVar

from rich.progress import Progress

from training.config import RunConfig, Source
from training.data import collapse
from training.data_groups import TextIndex

AnySource = TypeVar("AnySource", bound=Source)
JsonRow: TypeAlias = dict[str, object]
DUPLICATES = "duplicates"


@dataclass(frozen=True, slots=True)
class Reading:
    """One run of ``prepare``.

    Attributes:
        config: The run.
        root: What the paths of the sources are relative to.
        progress: Shows how far it is.
        texts: Numbers the training texts.
        counts: By source, how many rows went where, and why some went nowhere.
    """

    config: RunConfig
    root: Path
    progress: Progress
    texts: TextIndex = field(default_factory=TextIndex)
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def held_out_share(self, source: Source) -> float:
        """Return the share of a source's documents that training must not see."""
        if source.role == "held_out":
            return 1.0
        share = source.held_out_share
        return self.config.data.held_out_share if share is None else share

    def tracked(self, sources: Sequence[AnySource], title: str) -> Iterator[AnySource]:
        """Yield sources, and show how many are done."""
        yield from self.progress.track(sources, description=title)


def normal(text: str) -> str:
    """Return a text without what does not make it another: width of letters, case, white space."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return collapse(plain).casefold()


def digest(*texts: str) -> int:
    """Return 64 bits that are the same for texts that are the same after ``normal``."""
    # No text holds the separator once white space is collapsed.
    joined = "\n".join(map(normal, texts))
    return int.from_bytes(blake2b(joined.encode(), digest_size=8).digest(), "big")
