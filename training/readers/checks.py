"""What every reader demands of texts, languages and ids, in one place."""

from __future__ import annotations

import re
from array import array
from functools import lru_cache
from hashlib import blake2b

import langcodes

from training.errors import DataError
from training.readers.files import JsonObject, Place

_UNDETERMINED = "und"
_GRADE = re.compile(r"[+-]?[0-9]+")


@lru_cache(maxsize=4096)
def is_language(code: str) -> bool:
    """Return whether a text is a BCP-47 code of subtags that are registered, and not ``und``."""
    try:
        return code != _UNDETERMINED and "_" not in code and langcodes.tag_is_valid(code)
    except ValueError:
        return False


@lru_cache(maxsize=4096)
def _one_object(code: str) -> str:
    # A million rows share the few codes there are.
    return code


def check_language(place: Place, code: object, *, member: str = "lang") -> str:
    """Return a language code.

    Raises:
        DataError: There is none, or nobody knows it.
    """
    if code is None or code == "":
        raise place.error(
            f"member {member!r} is missing: the row has no language; give one for the whole source"
        )
    if not isinstance(code, str):
        raise place.error(f"member {member!r} is {type(code).__name__}, not text")
    if not is_language(code):
        raise place.error(
            f"{code!r} is an unknown language code; use BCP-47, for example 'de' or 'zh-Hant'"
        )
    return _one_object(code)


def check_text(place: Place, text: object, what: str) -> str:
    """Return a text.

    Raises:
        DataError: It is missing, no text, or empty.
    """
    if not isinstance(text, str):
        found = "is missing" if text is None else f"is {type(text).__name__}, not text"
        raise place.error(f"{what} {found}")
    if not text.strip():
        raise place.error(f"{what} is empty")
    return text


def text_member(place: Place, row: JsonObject, *names: str) -> str:
    """Return the first of some members that is there, as text or number; ids may be numbers.

    Raises:
        DataError: None is there, or it is of another type.
    """
    for name in names:
        value = row.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is not None:
            raise place.error(f"member {name!r} is {type(value).__name__}, not text")
    wanted = " or ".join(map(repr, names))
    raise place.error(f"member {wanted} is missing")


def check_grade(place: Place, grade: str) -> int:
    """Return a grade of relevance.

    Raises:
        DataError: It is no whole number.
    """
    # int() would also take "1_0" and digits of other scripts.
    if not _GRADE.fullmatch(grade):
        raise place.error(f"grade {grade!r} is not a whole number")
    return int(grade)


class IdRegister:
    """Remembers ids, with a hash of what each stands for, and refuses contradictions.

    Args:
        kind: What the ids name, for errors.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._number_of: dict[str, int] = {}
        self._digests = array("q")
        self._lines = array("q")

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._number_of

    def __len__(self) -> int:
        return len(self._number_of)

    def add(self, place: Place, item_id: str, text: str) -> bool:
        """Remember an id; returns whether it is new.

        Raises:
            DataError: It was seen with another text.
        """
        digest = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)
        number = self._number_of.setdefault(item_id, len(self._digests))
        if number == len(self._digests):
            self._digests.append(digest)
            self._lines.append(place.line or 0)
            return True
        if self._digests[number] != digest:
            raise self._contradiction(place, item_id, self._lines[number])
        return False

    def _contradiction(self, place: Place, item_id: str, line: int) -> DataError:
        first = f" (first on line {line})" if line else ""
        return place.error(f"{self._kind} {item_id!r} occurs twice with different texts{first}")
