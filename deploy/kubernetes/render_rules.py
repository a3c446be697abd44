"""Writes the rules of Prometheus as a PrometheusRule, so that rules exist once: `make rules`.

python deploy/kubernetes/render_rules.py
"""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import indent

HERE = Path(__file__).resolve().parent
RULES = HERE.parent / "prometheus" / "rules"
TARGET = HERE / "base" / "prometheusrule.yaml"

_HEAD = """\
# Made from deploy/prometheus/rules. Edit what those are made from, then `make rules`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: isoglot
spec:
  groups:
"""


def render() -> str:
    """Return the manifest: the groups of all files, word for word, in the order of their names."""
    parts = [_HEAD]
    for path in sorted(RULES.glob("*.yml")):
        _, _, groups = path.read_text(encoding="utf-8").partition("\ngroups:\n")
        parts.append(indent(groups.strip("\n"), "  ") + "\n")
    return re.sub(r"[ \t]+$", "", "".join(parts), flags=re.MULTILINE)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
