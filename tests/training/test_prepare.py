import hashlib
from collections import defaultdict

import numpy as np
import pytest

from tests.training.conftest import STATIC_TOML, passage, write_lines
from tests.training.preparing import held_out, run
from training.data import is_held_out
from training.data_prepared import (
    HELD_OUT_PAIRS,
    HELD_OUT_PARALLEL,
    NO_TEXT,
)
from training.errors import ConfigError, DataError, PreparedDataError

pytestmark = pytest.mark.training


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


def test_a_transformer_needs_no_vocabulary(tmp_path, data_root):
    text = STATIC_TOML.replace('kind = "static"\ndim = 16', 'kind = "transformer"\nbase = "x"')
    prepared = run(text, data_root, tmp_path / "out")
    assert not (prepared.path / "tokenizer.json").exists()
    assert prepared.texts()
