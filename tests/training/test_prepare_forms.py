import shutil
from typing import Any

import pytest
from datasets import Dataset

from tests.training.preparing import run
from tests.training.readers import folders
from training.config import PairSource, parse_config
from training.data import fingerprint
from training.errors import ConfigError
from training.prepare import source_fingerprint

pytestmark = pytest.mark.training

FORMS_TOML = """
name = "x"
languages = ["en", "ar"]
[data]
passage_chars = 60
held_out_share = 0.0
[[data.pairs]]
path = "squad"
form = "squad"
licence = "CC BY-SA 4.0"
sentence_view = true
[[data.pairs]]
path = "miracl"
form = "miracl"
split = "train"
licence = "Apache-2.0"
[[data.parallel]]
path = "text.tsv"
form = "tsv"
licence = "CC0"
[model]
kind = "transformer"
base = "x"
"""


def write_forms(directory: Any) -> Any:
    context = "Nothing of use is said here at all, truly. " * 9 + "She wrote it in 1843, they say."
    folders.squad(directory / "squad", context=context)
    folders.miracl(directory / "miracl")
    folders.write(directory / "text.tsv", "en\tar\nHello there\tمرحبا\n")
    return directory


def test_sources_of_every_form_carry_licence_and_fingerprint(tmp_path):
    prepared = run(FORMS_TOML, write_forms(tmp_path), tmp_path / "out")
    facts = {s["path"]: (s["form"], s["licence"]) for s in prepared.manifest["sources"]}
    assert facts == {
        "squad": ("squad", "CC BY-SA 4.0"),
        "miracl": ("miracl", "Apache-2.0"),
        "text.tsv": ("tsv", "CC0"),
    }
    rows = {s["path"]: s["rows"] for s in prepared.manifest["sources"]}
    assert rows["squad"] == {"train": 1, "train.en": 1, "unanswerable": 1}
    assert rows["miracl"]["train.ar"] == 2
    assert rows["miracl"]["negatives"] == 1


def test_long_passages_of_documents_are_cut_around_the_answer(tmp_path):
    prepared = run(FORMS_TOML, write_forms(tmp_path), tmp_path / "out")
    pairs, texts = prepared.pairs(), prepared.texts()
    cut = [texts[k] for k in pairs.passage[pairs.source == 0]]
    assert cut
    assert all("1843" in text and len(text) <= 60 for text in cut)


def test_the_fingerprint_of_a_folder_changes_with_a_byte_and_with_a_name(tmp_path):
    write_forms(tmp_path)
    before = fingerprint(tmp_path / "squad")
    (tmp_path / "squad/set.en.json").rename(tmp_path / "squad/set2.en.json")
    renamed = fingerprint(tmp_path / "squad")
    (tmp_path / "squad/set2.en.json").write_text("{}")
    assert len({before, renamed, fingerprint(tmp_path / "squad")}) == 3


def test_a_dataset_is_fingerprinted_by_its_rows(tmp_path):
    rows = [{"id": "1", "lang": "en", "question": "Who?", "passage": "Ada."}]
    source = PairSource(path="one", licence="CC0", form="huggingface")
    same = PairSource(path="two", licence="CC0", form="huggingface")
    Dataset.from_list(rows).save_to_disk(tmp_path / "one")
    Dataset.from_list(rows).save_to_disk(tmp_path / "two")
    first = source_fingerprint(source, tmp_path)
    assert source_fingerprint(same, tmp_path) == first
    shutil.rmtree(tmp_path / "two")
    Dataset.from_list(rows * 2).save_to_disk(tmp_path / "two")
    assert source_fingerprint(same, tmp_path) != first


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ('form = "miracl"\nsplit = "train"', "needs 'split'"),
        ('form = "squad"\nlanguage = "xx"', "'xx' is an unknown language code"),
        ('form = "squad"\ncolumns = { id = "key" }', "'columns' has no meaning for form 'squad'"),
        ('form = "sqaud"', "Input should be"),
    ],
)
def test_a_source_that_its_form_does_not_allow_is_refused(change, problem):
    old = 'form = "miracl"\nsplit = "train"' if "miracl" in change else 'form = "squad"'
    new = 'form = "miracl"' if "miracl" in change else change
    with pytest.raises(ConfigError, match=problem):
        parse_config(FORMS_TOML.replace(old, new))


def test_a_lexicon_form_under_parallel_is_refused():
    text = FORMS_TOML.replace('form = "tsv"', 'form = "omw"')
    with pytest.raises(ConfigError, match=r"belongs under \[\[data.lexicon\]\]"):
        parse_config(text)
