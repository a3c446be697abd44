"""Features of a calibrator in plain words, for people. JSON keeps their names.

``app/api/static/words.js`` has the same words for the pages; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "score": "similarity",
        "background": "similarity of unrelated passages",
        "log_corpus": "number of passages (log)",
        "log_language_corpus": "number of passages in its language (log)",
        "log_language_rank": "rank within its language (log)",
        "language_lead": "lead over the next one in its language",
        "language_lag": "distance from the best one in its language",
        "log_lexical_rank": "rank by words (log)",
        "gap": "lead over the next one",
        "same": "same language as the question",
        "query_language": "language of the question",
        "passage_language": "language of the passage",
    }
)


def feature_in_words(name: str) -> str:
    """Return a feature in words; one that is not known keeps its own name.

    Args:
        name: Of a feature of a document, or of a term of an explanation, such as ``same*score``.
    """
    first, times, second = name.partition("*")
    if not times:
        return WORDS.get(name, name)
    if first == "same":
        return f"{WORDS.get(second, second)}, if the language is the same"
    return f"{WORDS.get(second, second)}, for the {WORDS.get(first, first)}"
