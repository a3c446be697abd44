"""What Linux says of processes that are not one's own children; nothing elsewhere."""

from __future__ import annotations

from pathlib import Path

_PROC = Path("/proc")


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie has ended."""
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return False
    return "State:\tZ" not in status


def children(pid: int) -> list[int]:
    """Return who was started by a process and has not ended."""
    return [
        int(entry.name)
        for entry in _PROC.glob("[0-9]*")
        if _parent(entry) == pid and is_running(int(entry.name))
    ]


def _parent(entry: Path) -> int | None:
    try:
        stat = (entry / "stat").read_text()
    except OSError:  # it has ended since the directory was read
        return None
    # After the name, which may hold anything: the state and the parent.
    return int(stat.rpartition(")")[2].split()[1])
