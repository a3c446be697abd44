"""A search that is being answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.core.search.types import SearchRequest
from app.core.types import LanguageGuess, PassageFilter, VectorArray


@dataclass(slots=True)
class SearchTask:
    """A search that is being answered.

    Attributes:
        request: What is asked.
        guess: Language of the query.
        where: Which passages are eligible.
        census: How many of them there are per language.
        vector: Of the query, once it is encoded.
        lexical: Lexical score by passage id, where it is searched by words too.
    """

    request: SearchRequest
    guess: LanguageGuess
    where: PassageFilter
    census: Mapping[str, int]
    vector: VectorArray | None = None
    lexical: Mapping[str, float] | None = None
