import math

import numpy as np
import pytest

from app.cli.exits import CannotStartError, UsageError
from app.cli.replaying.traffic import (
    HEALTHY,
    RecordedQuery,
    Tally,
    Traffic,
    fault_of,
    other_words,
    read_traffic,
)

QUERIES = [
    RecordedQuery(query="why do tides rise", language="en", relevant=("tides.en",)),
    RecordedQuery(query="warum steigt die Flut", language="de"),
    RecordedQuery(query="γιατί ανεβαίνει η παλίρροια", language="el"),
]


def traffic(*, recorded: bool = False, seed: int = 1) -> Traffic:
    return Traffic(QUERIES, recorded=recorded, seed=seed)


def fault(kind: str, strength: float | None = None, language: str | None = None):
    return fault_of(kind, strength, language, QUERIES)


def share_relevant(of, stated: float, searches: int = 400) -> float:
    labels = [
        label
        for number in range(searches)
        for label in traffic().label(traffic().search(number, of), [("p", stated)] * 10)
    ]
    return float(np.mean(labels))


def test_a_replay_can_be_repeated_and_another_seed_is_another_replay():
    def sent(seed: int) -> list[str]:
        return [traffic(seed=seed).search(number, HEALTHY).text for number in range(30)]

    assert sent(1) == sent(1)
    assert sent(1) != sent(2)


@pytest.mark.parametrize("stated", [0.05, 0.3, 0.8])
def test_healthy_labels_keep_what_was_promised(stated):
    assert share_relevant(HEALTHY, stated) == pytest.approx(stated, abs=0.025)


@pytest.mark.parametrize(
    ("kind", "strength", "true_logit"),
    [("over-confidence", 2.0, math.log(9) / 2), ("prior-shift", -1.0, math.log(9) - 1.0)],
)
def test_faults_move_the_true_logit_by_their_strength(kind, strength, true_logit):
    true = fault(kind, strength).true_probability(0.9)
    assert math.log(true / (1 - true)) == pytest.approx(true_logit)
    assert share_relevant(fault(kind, strength), 0.9) == pytest.approx(true, abs=0.025)


def test_certainty_is_distorted_too():
    assert fault("over-confidence").true_probability(1.0) < 1.0
    assert fault("prior-shift").true_probability(0.0) > 0.0


def test_a_mix_of_languages_asks_mostly_in_one_and_leaves_labels_true():
    greek = fault("language-mix", 0.9, "el")
    asked = [traffic().search(number, greek).language for number in range(400)]
    assert asked.count("el") / 400 == pytest.approx(0.9 + 0.1 / 3, abs=0.05)
    assert greek.true_probability(0.3) == 0.3


def test_vague_queries_are_cut_and_leave_labels_true():
    vague = fault("vague-queries", 0.5)
    asked = [traffic().search(number, vague).text for number in range(20)]
    whole = [traffic().search(number, HEALTHY).text for number in range(20)]
    assert asked == [text[: round(len(text) / 2)] for text in whole]
    assert traffic().search(0, fault("vague-queries", 0.0)).text == whole[0][:1]
    assert vague.true_probability(0.3) == 0.3


def test_another_encoder_reads_other_words_of_the_same_script_and_finds_nothing():
    asked = traffic().search(0, fault("other-encoder"))
    healthy = traffic().search(0, HEALTHY)
    assert asked.text == other_words(healthy.text) != healthy.text
    assert len(asked.text.split()) == len(healthy.text.split())
    assert not any(traffic().label(asked, [("p", 0.9)] * 20))


def test_recorded_labels_are_taken_as_they_are_whatever_was_stated():
    asked = traffic().search(0, HEALTHY)
    hits = [("tides.en", 0.01), ("wheel.en", 0.99)]
    expected = [asked.language == "en", False]
    assert traffic(recorded=True).label(asked, hits) == expected


@pytest.mark.parametrize(
    ("kind", "strength", "language", "word"),
    [
        ("overconfidence", None, None, "over-confidence"),
        ("over-confidence", 0.0, None, "above 0"),
        ("language-mix", 1.5, None, "0 to 1"),
        ("vague-queries", -0.1, None, "0 to 1"),
        ("language-mix", 0.5, "fr", "de, el, en"),
    ],
)
def test_what_cannot_be_planted_is_refused(kind, strength, language, word):
    with pytest.raises(UsageError, match=word):
        fault(kind, strength, language)


def test_a_mix_needs_languages():
    with pytest.raises(UsageError, match="recorded"):
        fault_of("language-mix", None, None, [RecordedQuery(query="tides")])


def test_traffic_is_read_from_json_lines(tmp_path):
    path = tmp_path / "traffic.jsonl"
    path.write_text('{"query": "tides", "language": "en"}\n\n{"query": "a", "relevant": ["b"]}\n')
    first, second = read_traffic(path)
    assert (first.query, first.language, first.relevant) == ("tides", "en", None)
    assert second.relevant == ("b",)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ('{"query": "a"}\n{"text": "b"}\n', r":2: query: Field required"),
        ('{"query": ""}', "at least 1 character"),
        ("nonsense", r":1: line: Invalid JSON"),
        ("\n", "holds no queries"),
    ],
)
def test_a_file_that_is_no_traffic_is_refused_by_line(content, word, tmp_path):
    path = tmp_path / "traffic.jsonl"
    path.write_text(content)
    with pytest.raises(CannotStartError, match=word):
        read_traffic(path)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CannotStartError, match="cannot be read"):
        read_traffic(tmp_path / "none.jsonl")


def test_a_tally_sums_up_by_relation():
    tally = Tally()
    tally.add("same", 0.75, relevant=True)
    tally.add("cross", 0.25, relevant=False)
    assert list(tally.sums()) == ["cross", "same"]
    assert tally.sums()["same"].relevant.tolist()[7] == 1
