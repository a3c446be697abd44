"""``docs/metrics.md`` shows the catalogue as it is."""

import re
from pathlib import Path

from app.telemetry import labels
from app.telemetry.catalogue import CATALOGUE

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_every_metric_has_its_row_and_every_row_its_metric():
    rows = re.findall(r"^\| `isoglot_.*$", PAGE, flags=re.MULTILINE)

    assert rows == [
        f"| `{spec.name}` | {spec.kind} | {', '.join(f'`{label}`' for label in spec.labels)} "
        f"| {spec.meaning} |"
        for spec in CATALOGUE
    ]


def test_every_value_of_a_label_is_named():
    for values in (
        labels.RELATIONS,
        labels.POSITIONS,
        labels.LABEL_SOURCES,
        labels.REJECTIONS,
        labels.REVISIONS,
        labels.LANES,
        labels.STAGES,
        labels.STORE_OPERATIONS,
    ):
        assert [value for value in values if f"`{value}`" not in PAGE] == []
