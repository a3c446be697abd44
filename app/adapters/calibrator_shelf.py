"""Calibrators beside that of the bundle: which there are, which is served, and who chose it.

A directory of the data directory holds one file a calibrator, which never changes; ``choice.json``,
replaced as a whole, which says what is served; and ``audit.jsonl``, to which a line is added for
everything that is done, flushed before the command ends. A running service looks at the choice
once a second.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import JsonValue, ValidationError

from app.adapters.whole_files import write_whole
from app.core.bundle import CALIBRATOR_FILE, Bundle, check_retrieval
from app.core.calibration.calibrator import Calibrator
from app.core.calibration.choice import Choice, Chosen
from app.core.calibration.document import CalibratorDocument, parse_calibrator, read_calibrator
from app.core.errors import CalibrationError, CalibratorMismatchError, CalibratorShelfError

DIRECTORY = "calibrators"
CHOICE_FILE = "choice.json"
AUDIT_FILE = "audit.jsonl"

_ID = re.compile(r"[0-9a-f]{12}")

Action = Literal["add", "promote", "rollback", "shadow"]
Signature = tuple[int, int, int]


class CalibratorShelf:
    """The calibrators of one collection.

    Args:
        directory: Where they lie; it is made when something is put there.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def of(cls, data_dir: Path, collection: str) -> CalibratorShelf:
        """Return the shelf of a collection."""
        return cls(data_dir / DIRECTORY / collection)

    def signature(self) -> Signature | None:
        """Return what changes with the choice; ``None`` where there is none."""
        try:
            found = (self.directory / CHOICE_FILE).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def documents(self) -> list[CalibratorDocument]:
        """Return the calibrators that lie here, oldest first.

        Raises:
            CalibrationError: One of them is damaged.
        """
        found = [path for path in self.directory.glob("*.json") if _ID.fullmatch(path.stem)]
        return [read_calibrator(p) for p in sorted(found, key=lambda p: p.stat().st_mtime_ns)]

    def document(self, calibrator: str) -> CalibratorDocument:
        """Return one of them.

        Raises:
            CalibratorShelfError: There is none with that id.
            CalibrationError: It is damaged.
        """
        path = self.directory / f"{calibrator}.json"
        if not _ID.fullmatch(calibrator) or not path.is_file():
            raise CalibratorShelfError(
                f"There is no calibrator {calibrator!r} in {self.directory}. `isoglot calibrator "
                "list` shows those there are, `isoglot recalibrate` proposes one."
            )
        return read_calibrator(path)

    def choice(self) -> Choice:
        """Return what is to be served.

        Raises:
            CalibratorShelfError: The choice cannot be read.
        """
        path = self.directory / CHOICE_FILE
        try:
            return Choice.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return Choice()
        except (OSError, ValidationError) as error:
            raise CalibratorShelfError(
                f"{path} cannot be used: {error}. Remove it to serve the bundle's own calibrator."
            ) from error

    def chosen(self, bundle: Bundle) -> Chosen:
        """Return what is to be served with a bundle.

        Raises:
            CalibratorShelfError: The choice, or what it names, cannot be read.
            CalibrationError: A calibrator is damaged.
            CalibratorMismatchError: It was fitted for another encoder.
        """
        choice = self.choice()
        own = bundle.calibrator
        if choice == Choice():
            return Chosen(own)
        if choice.bundle_calibrator != _id(own):
            return Chosen(own, is_void=True)
        return Chosen(
            active=own if choice.active is None else self._for(bundle, choice.active),
            shadow=None if choice.shadow is None else self._for(bundle, choice.shadow),
            previous=_id(own) if choice.replaced is None else choice.replaced,
        )

    def add(self, text: str, *, reason: str = "") -> CalibratorDocument:
        """Put a calibrator on the shelf; one that lies there already is left as it is.

        Raises:
            CalibrationError: The text is no calibrator.
            CalibratorShelfError: It cannot be written.
        """
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise CalibrationError(f"A calibrator is JSON, and this is not: {error}.") from error
        document = parse_calibrator(raw)
        with self._changing():
            path = self.directory / f"{document.id}.json"
            if not path.exists():
                write_whole(path, text)
                self._note("add", calibrator=document.id, reason=reason)
        return document

    def promote(self, calibrator: str, bundle: Bundle, *, reason: str = "") -> Choice:
        """Have a calibrator state probabilities; it is no shadow any more.

        Args:
            calibrator: Id of one that lies here, or of the bundle's own.
            bundle: The one that is served.
            reason: Why, for the audit trail.

        Raises:
            CalibratorShelfError: There is none with that id, or it is active already.
            CalibratorMismatchError: It was fitted for another encoder.
        """
        self._for(bundle, calibrator)
        return self._choose("promote", calibrator, bundle, lambda c: c.promoted(calibrator), reason)

    def rollback(self, bundle: Bundle, *, reason: str = "") -> Choice:
        """Undo the last promotion.

        Raises:
            CalibratorShelfError: There is none to undo.
        """
        return self._choose("rollback", None, bundle, Choice.rolled_back, reason)

    def shadow(self, calibrator: str | None, bundle: Bundle, *, reason: str = "") -> Choice:
        """Have a calibrator recorded beside the active one; ``None`` ends that.

        Raises:
            CalibratorShelfError: There is none with that id, or it is the active one.
            CalibratorMismatchError: It was fitted for another encoder.
        """
        if calibrator is not None:
            self._for(bundle, calibrator)
        return self._choose("shadow", calibrator, bundle, lambda c: c.shadowed(calibrator), reason)

    def audit(self) -> list[Mapping[str, JsonValue]]:
        """Return what was done, oldest first.

        Raises:
            CalibratorShelfError: It cannot be read.
        """
        path = self.directory / AUDIT_FILE
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise CalibratorShelfError(f"{path} cannot be read: {error}.") from error

    def _for(self, bundle: Bundle, calibrator: str) -> Calibrator:
        own = bundle.calibrator
        if own is not None and own.id == calibrator:
            return own
        document = self.document(calibrator)
        encoder = bundle.spec.fingerprint()
        if document.encoder.fingerprint != encoder:
            raise CalibratorMismatchError(
                f"The calibrator {calibrator} was fitted for encoder "
                f"{document.encoder.fingerprint}, but the bundle carries encoder {encoder}."
            )
        check_retrieval(document, CALIBRATOR_FILE)
        return Calibrator(document)

    def _choose(
        self,
        action: Action,
        calibrator: str | None,
        bundle: Bundle,
        change: Callable[[Choice], Choice],
        reason: str,
    ) -> Choice:
        with self._changing():
            before = self.choice()
            if before.bundle_calibrator != _id(bundle.calibrator):
                before = Choice(bundle_calibrator=_id(bundle.calibrator))
            after = change(before)
            # The line first: what is served was always announced.
            self._note(
                action,
                calibrator=calibrator,
                active=after.active,
                before=before.active,
                shadow=after.shadow,
                bundle=bundle.manifest.short_id,
                reason=reason,
            )
            write_whole(self.directory / CHOICE_FILE, after.model_dump_json(indent=1) + "\n")
        return after

    def _note(self, action: Action, **facts: str | None) -> None:
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "user": _user(),
            "action": action,
            **facts,
        }
        path = self.directory / AUDIT_FILE
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Keep other commands waiting that change something here."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            directory = os.open(self.directory, os.O_RDONLY)
            try:
                fcntl.flock(directory, fcntl.LOCK_EX)
                yield
            finally:
                os.close(directory)
        except OSError as error:
            raise CalibratorShelfError(
                f"Calibrators cannot be kept in {self.directory}: {error.strerror}."
            ) from error


def _id(calibrator: Calibrator | None) -> str | None:
    return None if calibrator is None else calibrator.id


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this number, as in containers
        return str(os.getuid())
