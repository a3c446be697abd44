"""``make faults``: break everything that can break, and print what clients saw as a table.

    .venv/bin/python -m tests.faults.run                     all of them, three minutes
    .venv/bin/python -m tests.faults.run "store slow" disk   those whose names begin so

Exits with 2 where no name begins so, and with 1 where a client saw anything but a success or a
documented problem, an answer came after its deadline, an acknowledged passage was lost, or the
service had to be restarted to recover.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from pathlib import Path

from tests.faults.scenarios import SCENARIOS, Result, Scenario, Skipped

HEAD = "| fault | what clients saw | slowest search | recovered after | acknowledged, lost |"


def row(name: str, result: Result) -> str:
    """Return one row of the table."""
    saw = result.saw
    answers = ", ".join(f"{what} × {n}" for what, n in sorted(saw.answers.items())) or "-"
    note = f" ({result.note})" if result.note else ""
    return (
        f"| {name} | {answers}{note} | {saw.slowest:.1f} s | {result.recovery:.1f} s | "
        f"{len(saw.acknowledged)}, {result.lost} |"
    )


def faults_of(result: Result) -> list[str]:
    """Return what is wrong with a result."""
    saw = result.saw
    problems = [f"undocumented: {what}" for what in saw.undocumented[:3]]
    if saw.late:
        problems.append(f"{saw.late} answers after their deadline")
    if "THE SERVICE ENDED" in result.note:
        problems.append("the service ended")
    if result.lost:
        problems.append(f"{result.lost} acknowledged passages lost")
    return problems


def run(name: str, scenario: Scenario) -> tuple[str, bool]:
    """Run one scenario; returns its row, and whether all was well."""
    with tempfile.TemporaryDirectory(prefix="isoglot-fault-", ignore_cleanup_errors=True) as place:
        try:
            result = scenario(Path(place))
        except Skipped as why:
            return f"| {name} | not run: {why} | | | |", True
        except Exception as error:  # noqa: BLE001  one row of many
            traceback.print_exc()
            return f"| {name} | FAILED: {error} | | | |", False
    problems = faults_of(result)
    for problem in problems:
        print(f"{name}: {problem}", file=sys.stderr)
    return row(name, result), not problems


def main(wanted: list[str]) -> int:
    """Run the scenarios whose names begin with one of the words; all without words."""
    unknown = [word for word in wanted if not any(name.startswith(word) for name in SCENARIOS)]
    if unknown:
        print(f"No fault begins with {', '.join(unknown)}. There are: {', '.join(SCENARIOS)}.")
        return 2
    print(HEAD, "| --- | --- | --- | --- | --- |", sep="\n", flush=True)
    all_well = True
    for name, scenario in SCENARIOS.items():
        if not wanted or any(name.startswith(word) for word in wanted):
            line, is_well = run(name, scenario)
            print(line, flush=True)
            all_well = all_well and is_well
    return 0 if all_well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
