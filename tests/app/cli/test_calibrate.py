import json

import pytest

from app.core.calibration.document import read_calibrator

TEXT = "moon sea tide bread yeast wheel tube hole river stone cloud lamp chair wood glass"
WORDS = TEXT.split()


def text(number: int) -> str:
    return f"the {WORDS[number % 15]} and the {WORDS[(number * 7 + 3) % 15]}"


def passage(number: int) -> dict[str, object]:
    return {"id": f"p{number}", "text": f"{text(number)} {number}", "language": "en"}


@pytest.fixture
def indexed(isoglot, lines):
    assert isoglot("index", lines(*map(passage, range(60)))).exit_code == 0


def judgements(relevant) -> list[dict[str, object]]:
    return [
        {
            "query": text(query),
            "passage_id": f"p{number}",
            "relevant": relevant(query, number),
            "language": "en",
        }
        for query in range(15)
        for number in range(60)
    ]


def is_answer(query: int, number: int) -> bool:
    return number % 15 == query


@pytest.mark.usefixtures("indexed")
def test_judgements_become_a_calibrator_a_report_and_diagrams(isoglot, lines, tmp_path):
    judged = lines(*judgements(is_answer), name="j.jsonl")
    out = tmp_path / "own"
    result = isoglot("calibrate", "--judgements", judged, "--out", out)
    assert result.exit_code == 0, result.stderr + result.stdout
    document = read_calibrator(out / "calibrator.json")
    assert document.fit.source == "judgements"
    assert document.fit.queries == 15
    report = json.loads((out / "report.json").read_text())
    assert report["calibrator"] == document.id
    assert report["verdict"] in result.stdout
    assert "before" in result.stdout
    assert (out / "reliability-all.svg").read_text().startswith("<svg")


@pytest.mark.usefixtures("indexed")
def test_qrels_and_queries_do_as_well_and_json_is_alone_on_stdout(isoglot, lines, tmp_path):
    queries = lines(
        *({"id": f"q{n}", "text": text(n), "language": "en"} for n in range(15)),
        name="queries.jsonl",
    )
    qrels = tmp_path / "qrels.txt"
    qrels.write_text(
        "\n".join(f"q{q} 0 p{n} 1" for q in range(15) for n in range(60) if is_answer(q, n))
    )
    options = ("--qrels", qrels, "--queries", queries, "--out", tmp_path / "own")
    refused = isoglot("calibrate", *options)
    assert refused.exit_code == 3
    assert "hits of both kinds" in refused.stderr
    result = isoglot("calibrate", *options, "--complete", "--json")
    assert json.loads(result.stdout)["queries"] == 15


@pytest.mark.usefixtures("indexed")
def test_noise_is_refused_with_the_reason_and_without_a_calibrator(isoglot, lines, tmp_path):
    noise = lines(*judgements(lambda _, number: number % 2 == 0), name="noise.jsonl")
    result = isoglot("calibrate", "--judgements", noise, "--out", tmp_path / "own")
    assert result.exit_code == 1
    assert "do not separate relevant from irrelevant" in result.stdout
    assert not (tmp_path / "own" / "calibrator.json").exists()
    assert json.loads((tmp_path / "own" / "report.json").read_text())["calibrator"] is None


@pytest.mark.usefixtures("indexed")
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "j.jsonl:2"),
        ({"query": "the tide", "passage_id": "p1", "relevant": "perhaps"}, "j.jsonl:2: relevant"),
        ({"query": "A  tide", "passage_id": "p1", "relevant": False}, "p1' is not relevant for"),
        ({"query": "the tide", "passage_id": "nowhere", "relevant": True}, "j.jsonl:2: 'nowhere'"),
    ],
)
def test_what_cannot_be_used_is_refused_with_file_and_line(isoglot, lines, bad, message):
    good = {"query": "a tide", "passage_id": "p1", "relevant": True}
    result = isoglot("calibrate", "--judgements", lines(good, bad, name="j.jsonl"))
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [("q1 0 p1", "is no line of TREC qrels"), ("q9 0 p1 1", "query 'q9' is not in")],
)
def test_broken_qrels_are_refused_with_file_and_line(isoglot, lines, tmp_path, line, message):
    qrels = tmp_path / "qrels.txt"
    qrels.write_text(line + "\n")
    queries = lines({"id": "q1", "text": "a tide"}, name="queries.jsonl")
    result = isoglot("calibrate", "--qrels", qrels, "--queries", queries)
    assert result.exit_code == 2
    assert "qrels.txt:1" in result.stderr
    assert message in result.stderr


def test_queries_that_cannot_be_used_are_refused(isoglot, lines, tmp_path):
    qrels = tmp_path / "qrels.txt"
    qrels.write_text("q1 0 p1 1\n")
    twice = lines({"id": "q1", "text": "a"}, {"id": "q1", "text": "b"}, name="twice.jsonl")
    assert (
        "comes a second time" in isoglot("calibrate", "--qrels", qrels, "--queries", twice).stderr
    )
    broken = lines({"id": "q1"}, name="broken.jsonl")
    result = isoglot("calibrate", "--qrels", qrels, "--queries", broken)
    assert "broken.jsonl:1: text" in result.stderr
    assert "could not be read" in isoglot("calibrate", "--judgements", tmp_path / "none").stderr


def test_either_form_of_judgements_is_needed_and_not_both(isoglot, tmp_path):
    for options in ((), ("--qrels", tmp_path), ("--judgements", tmp_path, "--qrels", tmp_path)):
        result = isoglot("calibrate", *options)
        assert result.exit_code == 2
        assert "Give either --judgements" in result.stderr


@pytest.mark.usefixtures("indexed")
def test_hits_that_are_worth_it_are_judged_in_the_terminal_and_resumed(isoglot, lines, tmp_path):
    queries = lines(
        *({"id": f"q{n}", "text": text(n), "language": "en"} for n in range(15)),
        name="queries.jsonl",
    )
    path = tmp_path / "judged.jsonl"
    options = ("--label", "--queries", queries, "--judgements", path, "--labels", "60")
    begun = isoglot("calibrate", *options, "--out", tmp_path / "own", stdin="y\nperhaps\nn\ns\nq\n")
    assert "Answer y, n, s or q." in begun.stderr
    assert "2 judged now" in begun.stderr
    first = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["relevant"] for line in first] == [True, False]
    assert all(line["weight"] >= 1.0 for line in first)

    gone_on = isoglot("calibrate", *options, "--out", tmp_path / "own", stdin="n\n" * 58)
    assert "58 judged now" in gone_on.stderr
    assert "1/58" in gone_on.stderr
    judged = [json.loads(line) for line in path.read_text().splitlines()]
    assert judged[:2] == first
    # Every hit of a first-twenty list is stood for.
    assert sum(line["weight"] for line in judged) == pytest.approx(15 * 20)


def test_labelling_says_what_it_needs(isoglot, tmp_path):
    result = isoglot("calibrate", "--label", "--judgements", tmp_path / "judged.jsonl")
    assert result.exit_code == 2
    assert "--label needs --queries" in result.stderr
