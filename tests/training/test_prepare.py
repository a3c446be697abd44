import gzip
import hashlib
import json
import shutil
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress

from tests.training.conftest import STATIC_TOML, passage, write_lines
from tests.training.readers import folders
from training.config import PairSource, parse_config
from training.data import fingerprint, is_held_out
from training.data_groups import group_numbers
from training.data_prepared import (
    HELD_OUT_PAIRS,
    HELD_OUT_PARALLEL,
    NO_TEXT,
    open_prepared,
    write_directory,
)
from training.errors import ConfigError, DataError, PreparedDataError
from training.prepare import prepare, source_fingerprint

pytestmark = pytest.mark.training


def run(config_text: Any, data_root: Any, target: Any, **options: Any) -> Any:
    config = parse_config(config_text)
    prepare(config, data_root, target, progress=Progress(disable=True), **options)
    return open_prepared(target)


def held_out(prepared: Any, name: Any) -> Any:
    with gzip.open(prepared.path / name, "rt") as file:
        return [json.loads(line) for line in file]


def test_both_sides_of_every_split_have_rows(prepared):
    assert len(prepared.pairs())
    assert len(prepared.parallel())
    assert held_out(prepared, HELD_OUT_PAIRS)
    assert held_out(prepared, HELD_OUT_PARALLEL)


def test_a_held_out_passage_is_no_training_text(prepared):
    texts = set(prepared.texts())
    assert not [row for row in held_out(prepared, HELD_OUT_PAIRS) if row["passage"] in texts]


def test_rows_are_held_out_by_document_and_never_by_row(prepared):
    out = {row["id"].partition("#")[0] for row in held_out(prepared, HELD_OUT_PAIRS)}
    guides = {name for name in out if name.startswith("guide")}
    assert guides == {f"guide{n}" for n in range(24) if is_held_out(f"guide{n}", 0.2)}


def test_a_document_is_held_out_in_all_its_languages(prepared):
    languages = defaultdict(set)
    for row in held_out(prepared, HELD_OUT_PAIRS):
        if row["shared_ids"]:
            languages[row["id"]].add(row["lang"])
    assert set(map(frozenset, languages.values())) == {frozenset({"en", "de", "ru"})}


def test_translations_of_one_id_share_a_group_and_other_ids_do_not(prepared):
    pairs = prepared.pairs()
    groups_of_id = defaultdict(set)
    for shared, group in zip(pairs.shared, pairs.group, strict=True):
        groups_of_id[int(shared)].add(int(group))
    assert all(len(groups) == 1 for groups in groups_of_id.values())
    assert len(set(pairs.group.tolist())) > 40


def test_questions_on_one_passage_share_a_group(prepared):
    pairs, texts = prepared.pairs(), prepared.texts()
    own = [k for k in range(len(pairs)) if pairs.source[k] == 1]
    cut = {texts[pairs.passage[k]]: int(pairs.group[k]) for k in own}
    by_topic = defaultdict(set)
    for text, group in cut.items():
        topic = next(t for t in range(48) if text in passage("en", t + 100))
        by_topic[topic].add(group)
    assert by_topic
    assert all(len(groups) == 1 for groups in by_topic.values())


def test_a_sentence_view_adds_the_sentence_of_the_answer(prepared):
    pairs, texts = prepared.pairs(), prepared.texts()
    views = defaultdict(set)
    for k in range(len(pairs)):
        if pairs.source[k] == 1:
            views[int(pairs.shared[k])].add(texts[pairs.passage[k]])
    assert all(len(view) == 2 for view in views.values())
    assert all(min(view, key=len) in max(view, key=len) for view in views.values())


def test_no_passage_is_longer_than_asked(prepared):
    pairs, texts = prepared.pairs(), prepared.texts()
    assert max(len(texts[k]) for k in pairs.passage) <= 200


def test_parallel_rows_point_to_texts_in_the_column_of_their_language(prepared):
    table, texts = prepared.parallel(), prepared.texts()
    russian = table.texts[:, prepared.config.languages.index("ru")]
    assert all("а" <= texts[k][0] <= "я" for k in russian if k != NO_TEXT)


def test_tokens_are_those_of_the_tokenizer(prepared):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(prepared.path / "tokenizer.json"))
    table, texts = prepared.tokens(), prepared.texts()
    ids = table.ids[table.offsets[5] : table.offsets[6]]
    assert ids.tolist() == tokenizer.encode(texts[5]).ids
    assert len(table.offsets) == len(texts) + 1


def test_the_manifest_names_every_source_with_fingerprint_and_licence(prepared, data_root):
    sources = {source["path"]: source for source in prepared.manifest["sources"]}
    path = data_root / "shared.jsonl.gz"
    assert sources["shared.jsonl.gz"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sources["shared.jsonl.gz"]["licence"] == "MIT"
    assert sources["shared.jsonl.gz"]["rows"]["train"] > 0


def test_nothing_in_the_directory_names_the_machine(prepared, data_root):
    written = [p.read_bytes() for p in prepared.path.rglob("*") if p.suffix in {".json", ".jsonl"}]
    assert written
    assert not [content for content in written if str(data_root).encode() in content]


def test_the_same_data_and_seed_give_the_same_bytes(tmp_path, data_root, prepared):
    again = run(STATIC_TOML, data_root, tmp_path / "again")
    files = {p.relative_to(again.path) for p in again.path.rglob("*") if p.is_file()}
    assert files == {p.relative_to(prepared.path) for p in prepared.path.rglob("*") if p.is_file()}
    different = [
        str(f) for f in files if (again.path / f).read_bytes() != (prepared.path / f).read_bytes()
    ]
    # The trainer of the library breaks ties between equally good subwords by chance.
    assert set(different) <= {"tokenizer.json", "tokens.npz"}


def test_a_licence_that_is_excluded_is_refused_by_name(tmp_path, data_root):
    text = STATIC_TOML.replace("[data]", '[data]\nforbid_licences = ["*by-sa*"]', 1)
    with pytest.raises(ConfigError) as caught:
        run(text, data_root, tmp_path / "out")
    assert "questions.en: 'CC BY-SA 4.0' matches '*by-sa*'" in str(caught.value)
    assert "shared" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_named_before_anything_is_read(tmp_path, data_root):
    with pytest.raises(DataError, match=r"absent\.jsonl: no such file"):
        run(STATIC_TOML.replace("parallel.jsonl", "absent.jsonl"), data_root, tmp_path / "out")


def test_a_broken_line_leaves_nothing_behind(tmp_path):
    write_lines(tmp_path / "pairs.jsonl", [{"id": "a"}])
    text = (
        'name = "x"\nlanguages = ["en"]\n[data]\n[[data.pairs]]\npath = "pairs.jsonl"\n'
        'licence = "CC0"\n[model]\nkind = "static"\n'
    )
    with pytest.raises(DataError, match="line 1"):
        run(text, tmp_path, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["pairs.jsonl"]


def test_a_run_without_a_training_row_is_refused(tmp_path, data_root):
    text = STATIC_TOML.replace('languages = ["en", "de", "ru"]', 'languages = ["fi"]')
    with pytest.raises(ConfigError, match="No source has a training row"):
        run(text, data_root, tmp_path / "out")


def test_an_existing_directory_is_kept_unless_force_is_given(tmp_path, data_root):
    target = tmp_path / "out"
    target.mkdir()
    (target / "mine").write_text("precious")
    with pytest.raises(PreparedDataError, match="--force"):
        run(STATIC_TOML, data_root, target)
    assert (target / "mine").exists()
    assert len(run(STATIC_TOML, data_root, target, force=True).pairs())
    assert not (target / "mine").exists()


def test_a_writer_that_fails_leaves_the_old_directory(tmp_path):
    target = tmp_path / "out"
    write_directory(target, lambda draft: (draft / "a").touch(), force=False)

    def fail(draft: Any) -> Any:
        (draft / "b").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_directory(target, fail, force=True)
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["out", "out/a"]


def test_a_cap_keeps_the_same_ids_in_every_language(tmp_path, data_root):
    text = STATIC_TOML.replace("shared_ids = true", "shared_ids = true\ncap = 5")
    prepared = run(text, data_root, tmp_path / "out")
    rows = prepared.manifest["sources"][2]["rows"]
    assert [rows[f"train.{language}"] for language in ("en", "de", "ru")] == [5, 5, 5]
    pairs = prepared.pairs()
    mine = pairs.source == 0
    assert np.unique(pairs.shared[mine], return_counts=True)[1].tolist() == [3] * 5


def test_a_held_out_source_gives_no_training_row(tmp_path, data_root):
    text = STATIC_TOML.replace("sentence_view = true", 'role = "held_out"')
    prepared = run(text, data_root, tmp_path / "out")
    assert set(prepared.pairs().source.tolist()) == {0}
    sources = {row["source"] for row in held_out(prepared, HELD_OUT_PAIRS)}
    assert "questions.en" in sources


def test_a_passage_in_a_held_out_source_leaves_training_too(tmp_path, data_root):
    shared = [
        {"id": f"guide0#{k}", "lang": "en", "question": f"Why {k}?", "passage": passage("en", 5)}
        for k in range(3)
    ]
    write_lines(tmp_path / "dev.jsonl", shared)
    for name in ("parallel.jsonl", "lexicon.jsonl", "shared.jsonl.gz", "questions.en.jsonl"):
        (tmp_path / name).write_bytes((data_root / name).read_bytes())
    text = STATIC_TOML.replace(
        "[vocabulary]",
        '[[data.pairs]]\npath = "dev.jsonl"\nlicence = "MIT"\nrole = "held_out"\n\n[vocabulary]',
    )
    prepared = run(text, tmp_path, tmp_path / "out")
    assert passage("en", 5)[:40] not in "\n".join(prepared.texts())


NEGATIVES_TOML = """
name = "x"
languages = ["en"]
[data]
passage_chars = 60
held_out_share = 0.0
[[data.pairs]]
path = "pairs.jsonl"
licence = "CC0"
[[data.pairs]]
path = "dev.jsonl"
licence = "CC0"
role = "held_out"
[model]
kind = "transformer"
base = "x"
"""


def with_negatives(directory: Any) -> Any:
    """Three rows: with two negatives, with none, and with some that training must not see."""
    rows: list[dict[str, Any]] = [
        {"id": "a", "negatives": ["Near  miss.", f"{passage('en', 3)} end"]},
        {"id": "b"},
        {"id": "c", "negatives": ["The dev passage.", "Passage c.", "Passage b.", "Near miss."]},
    ]
    asked = [
        {"lang": "en", "question": f"q {r['id']}", "passage": f"Passage {r['id']}."} for r in rows
    ]
    write_lines(directory / "pairs.jsonl", [a | r for a, r in zip(asked, rows, strict=True)])
    dev = {"id": "d", "lang": "en", "question": "q d", "passage": "The dev  passage."}
    write_lines(directory / "dev.jsonl", [dev])
    return run(NEGATIVES_TOML, directory, directory / "out")


def test_negatives_are_stored_as_numbers_of_texts(tmp_path):
    prepared = with_negatives(tmp_path)
    pairs, texts = prepared.pairs(), prepared.texts()
    assert pairs.negatives.dtype == np.int32
    assert pairs.negatives.shape == (3, 2)
    assert texts[pairs.negatives[0, 0]] == "Near miss."
    assert pairs.negatives[1].tolist() == [NO_TEXT, NO_TEXT]


def test_a_negative_is_cut_like_a_passage(tmp_path):
    prepared = with_negatives(tmp_path)
    cut = prepared.texts()[prepared.pairs().negatives[0, 1]]
    assert 0 < len(cut) <= 60
    assert passage("en", 3).startswith(cut)


def test_held_out_passages_and_right_answers_are_no_negatives(tmp_path):
    prepared = with_negatives(tmp_path)
    texts = prepared.texts()
    assert {texts[k] for k in prepared.pairs().negatives[2]} == {"Passage b.", "Near miss."}
    assert "The dev passage." not in texts
    rows = prepared.manifest["sources"][0]["rows"]
    assert (rows["negatives"], rows["negatives_refused"]) == (4, 2)


def test_without_negatives_the_table_has_no_column_for_them(prepared):
    assert prepared.pairs().negatives.shape == (len(prepared.pairs()), 0)


def test_a_directory_written_before_there_were_negatives_has_none(tmp_path, prepared):
    old = tmp_path / "old"
    shutil.copytree(prepared.path, old)
    with np.load(old / "pairs.npz") as archive:
        arrays = {name: archive[name] for name in archive.files if name != "negatives"}
    np.savez(old / "pairs.npz", **arrays)
    table = open_prepared(old).pairs()
    assert table.negatives.shape == (len(table), 0)


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


DUPLICATES_TOML = """
name = "x"
languages = ["en", "de"]
[data]
held_out_share = 0.0
[[data.pairs]]
path = "a.jsonl"
licence = "CC0"
[[data.pairs]]
path = "b.jsonl"
licence = "CC0"
[[data.parallel]]
path = "c.jsonl"
licence = "CC0"
[[data.parallel]]
path = "d.jsonl"
licence = "CC0"
role = "held_out"
[model]
kind = "transformer"
base = "x"
"""


def test_repetitions_are_dropped_and_counted_by_source(tmp_path):
    row = {"id": "1", "lang": "en", "question": "Who?", "passage": "It was Ada."}
    same = {**row, "id": "2", "question": "WHO?", "passage": "It  was Ada."}
    others = [
        {**row, "id": "3", "lang": "de"},
        {**row, "id": "4", "question": "Whose?"},
        {**row, "id": "5", "passage": "It was Bob."},
    ]
    write_lines(tmp_path / "a.jsonl", [row, same])
    write_lines(tmp_path / "b.jsonl", [{**same, "id": "6"}, *others])
    text = {"id": "1", "en": "Good day", "de": "Guten Tag"}
    write_lines(tmp_path / "c.jsonl", [text, {**text, "id": "2"}, {**text, "id": "3", "en": "Day"}])
    write_lines(tmp_path / "d.jsonl", [{"id": "9", "en": "Day.", "de": "Tag"}])
    prepared = run(DUPLICATES_TOML, tmp_path, tmp_path / "out")
    rows = {s["name"]: s["rows"] for s in prepared.manifest["sources"]}
    assert [rows[name].get("duplicates", 0) for name in "abcd"] == [1, 1, 1, 0]
    assert len(prepared.pairs()) == 4
    assert len(prepared.parallel()) == 2


def test_a_parallel_row_that_is_held_out_in_one_source_is_trained_on_in_none(tmp_path):
    write_lines(tmp_path / "a.jsonl", [])
    write_lines(tmp_path / "b.jsonl", [])
    text = {"id": "1", "en": "Good day", "de": "Guten Tag"}
    write_lines(tmp_path / "c.jsonl", [text, {"id": "2", "en": "Bye", "de": "Tschüss"}])
    write_lines(tmp_path / "d.jsonl", [{**text, "id": "9", "en": "Good  DAY"}])
    prepared = run(DUPLICATES_TOML, tmp_path, tmp_path / "out")
    assert prepared.texts() == ["Bye", "Tschüss"]
    assert [row["id"] for row in held_out(prepared, HELD_OUT_PARALLEL)] == ["9"]


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


def test_a_transformer_needs_no_vocabulary(tmp_path, data_root):
    text = STATIC_TOML.replace('kind = "static"\ndim = 16', 'kind = "transformer"\nbase = "x"')
    prepared = run(text, data_root, tmp_path / "out")
    assert not (prepared.path / "tokenizer.json").exists()
    assert prepared.texts()


def test_a_directory_that_is_none_is_refused(tmp_path):
    with pytest.raises(PreparedDataError, match="isoglot-train prepare"):
        open_prepared(tmp_path)


def test_a_directory_of_another_format_is_refused(tmp_path):
    (tmp_path / "prepared.json").write_text('{"schema_version": 99}')
    with pytest.raises(PreparedDataError, match="format 99"):
        open_prepared(tmp_path)


def test_a_directory_with_a_configuration_of_another_version_is_refused(tmp_path):
    (tmp_path / "prepared.json").write_text('{"schema_version": 1, "config": {"nme": "x"}}')
    with pytest.raises(PreparedDataError, match="does not read"):
        open_prepared(tmp_path)


def test_held_out_texts_come_up_to_the_limit(prepared):
    assert len(prepared.held_out_texts(10)) == 10
    assert len(set(prepared.held_out_texts(10**6))) > 50


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=3), max_size=30))
def test_rows_are_in_one_group_exactly_if_a_chain_of_keys_links_them(keys):
    numbers = group_numbers(keys)
    linked = [{k} for k in range(len(keys))]
    for a in range(len(keys)):
        for b in range(a):
            if set(keys[a]) & set(keys[b]):
                union = linked[a] | linked[b]
                for member in union:
                    linked[member] = union
    for a in range(len(keys)):
        for b in range(len(keys)):
            assert (numbers[a] == numbers[b]) == (b in linked[a])
