import json

import pytest

from app.adapters.calibrator_shelf import AUDIT_FILE, CHOICE_FILE, CalibratorShelf
from app.core.bundle import load_bundle
from app.core.calibration.document import dump_calibrator
from app.core.errors import CalibrationError, CalibratorMismatchError, CalibratorShelfError
from tests.bundles import calibrator_content, tiny_spec, write_tiny_bundle
from tests.calibrators import HYBRID


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("shelf") / "bundle"))


@pytest.fixture
def shelf(tmp_path):
    return CalibratorShelf.of(tmp_path / "data", "passages")


def another(number: int, **spec: object) -> str:
    return dump_calibrator(calibrator_content(tiny_spec(**spec), metrics={"number": number}))


def test_without_a_choice_the_bundles_own_is_served_and_nothing_is_made(shelf, bundle):
    chosen = shelf.chosen(bundle)

    assert (chosen.active, chosen.shadow, chosen.previous) == (bundle.calibrator, None, None)
    assert (shelf.signature(), shelf.documents(), shelf.audit()) == (None, [], [])
    assert not shelf.directory.exists()


def test_promotions_are_undone_one_by_one(shelf, bundle):
    first, second = shelf.add(another(1)), shelf.add(another(2))
    shelf.promote(first.id, bundle)
    shelf.promote(second.id, bundle, reason="drift")

    chosen = shelf.chosen(bundle)
    assert (chosen.active.id, chosen.previous) == (second.id, first.id)
    shelf.rollback(bundle)
    assert shelf.chosen(bundle).active.id == first.id
    shelf.rollback(bundle)
    assert shelf.chosen(bundle).active is bundle.calibrator
    with pytest.raises(CalibratorShelfError, match="nothing to undo"):
        shelf.rollback(bundle)


def test_every_step_leaves_a_line_that_stays(shelf, bundle):
    added = shelf.add(another(1), reason="from feedback")
    shelf.add(another(1))  # again: nothing is done
    shelf.shadow(added.id, bundle)
    before = (shelf.directory / AUDIT_FILE).read_text()
    shelf.promote(added.id, bundle, reason="E/O 1.6 to 1.0")
    shelf.rollback(bundle, reason="complaints")

    assert (shelf.directory / AUDIT_FILE).read_text().startswith(before)
    lines = shelf.audit()
    assert [line["action"] for line in lines] == ["add", "shadow", "promote", "rollback"]
    assert lines[2]["active"] == added.id
    assert (lines[2]["before"], lines[2]["reason"]) == (None, "E/O 1.6 to 1.0")
    assert all(line["user"] and line["time"].endswith("+00:00") for line in lines)


def test_a_shadow_that_is_promoted_is_no_shadow_any_more(shelf, bundle):
    added = shelf.add(another(1))
    shelf.shadow(added.id, bundle)
    assert shelf.chosen(bundle).shadow.id == added.id

    shelf.promote(added.id, bundle)
    assert shelf.chosen(bundle).shadow is None
    shelf.shadow(None, bundle)
    with pytest.raises(CalibratorShelfError, match="active already"):
        shelf.promote(added.id, bundle)


def test_a_choice_does_not_hold_with_another_bundle(shelf, bundle, tmp_path):
    shelf.promote(shelf.add(another(1)).id, bundle)
    content = calibrator_content(tiny_spec(), metrics={"newer": True})
    newer = load_bundle(write_tiny_bundle(tmp_path / "newer", calibrator=content))

    chosen = shelf.chosen(newer)
    assert (chosen.active, chosen.is_void) == (newer.calibrator, True)
    shelf.promote(shelf.add(another(2)).id, newer)
    with pytest.raises(CalibratorShelfError):
        shelf.rollback(newer) and shelf.rollback(newer)


def test_what_does_not_fit_or_is_not_there_is_refused(shelf, bundle):
    other = shelf.add(another(1, query_prefix="query: "))
    with pytest.raises(CalibratorMismatchError, match="fitted for encoder"):
        shelf.promote(other.id, bundle)
    of_words = shelf.add(dump_calibrator(calibrator_content(tiny_spec(), **HYBRID)))
    with pytest.raises(CalibratorMismatchError, match="fitted on hybrid lists"):
        shelf.promote(of_words.id, bundle)
    for name in ("ffffffffffff", "../choice", ""):
        with pytest.raises(CalibratorShelfError, match="no calibrator"):
            shelf.shadow(name, bundle)
    with pytest.raises(CalibrationError):
        shelf.add(json.dumps({"schema": 1}))
    with pytest.raises(CalibrationError):
        shelf.add("no JSON")


def test_a_choice_that_cannot_be_read_says_so(shelf, bundle):
    shelf.promote(shelf.add(another(1)).id, bundle)
    (shelf.directory / CHOICE_FILE).write_text("{}x")

    with pytest.raises(CalibratorShelfError, match="Remove it"):
        shelf.chosen(bundle)


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "data").write_text("")

    with pytest.raises(CalibratorShelfError, match="cannot be kept"):
        CalibratorShelf.of(tmp_path / "data", "passages").add(another(1))
