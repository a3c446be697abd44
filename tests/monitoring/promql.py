"""Which metrics and labels a PromQL expression reads."""

import re
from dataclasses import dataclass, field

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?(\s*\[[^\]]*\])?")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*")')
_WORDS = {
    "sum", "max", "min", "avg", "group", "count", "abs", "sqrt", "rate", "increase", "time",
    "histogram_quantile", "absent", "and", "or", "unless", "bool", "on", "by",
}  # fmt: skip


@dataclass
class Reading:
    """What an expression reads.

    Attributes:
        matchers: Metric to (label, operator, value) of its selectors.
        grouped: Labels named in by, on and the like.
        ranges: What stands in brackets.
    """

    matchers: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    grouped: set[str] = field(default_factory=set)
    ranges: set[str] = field(default_factory=set)


def read(expression: str) -> Reading:
    found = Reading()
    for clause in _GROUPING.findall(expression):
        found.grouped |= {label.strip() for label in clause.split(",") if label.strip()}
    rest = _GROUPING.sub(" ", expression)
    # Braces and names inside strings are none.
    strings: list[str] = []

    def hide(match: re.Match[str]) -> str:
        strings.append(match[0])
        return f'"{len(strings) - 1}"'

    for name, matchers, window in _SELECTOR.findall(_STRING.sub(hide, rest)):
        if name in _WORDS:
            assert not matchers, f"{name} is no metric"
            continue
        if name[0].isalpha() or name[0] == "_":
            read_matchers = found.matchers.setdefault(name, [])
            read_matchers += [
                (label, operator, strings[int(value.strip('"'))].strip('"'))
                for label, operator, value in _MATCHER.findall(matchers)
            ]
        if window:
            found.ranges.add(window.strip(" []"))
    return found
