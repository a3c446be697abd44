"""The documentation names what there is, and what it names exists."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.api.problem_kinds import CORE_KINDS
from app.api.schemas.search import SearchBody
from app.cli.application import cli as isoglot
from app.core.calibration.lists import CalibratedList
from app.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def shell_lines(page: Path) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip()]


def commands(program: str) -> list[list[str]]:
    lines = [shlex.split(line, comments=True) for page in PAGES for line in shell_lines(page)]
    found = [words for words in lines if words[:1] == [program]]
    assert found
    return found


def test_every_setting_is_described_in_the_words_of_its_help():
    page = text("docs/service.md")
    for name, field in Settings.model_fields.items():
        assert f"| `{PREFIX}{name.upper()}` |" in page
        assert (field.description or "no description") in page


def test_every_status_of_an_error_is_described():
    page = text("docs/service.md")
    for kind in CORE_KINDS.values():
        assert str(kind.status) in page


def test_every_member_of_a_search_request_is_described():
    page = text("docs/service.md")
    for name in SearchBody.model_fields:
        assert f"`{name}" in page


def test_every_source_of_a_probability_is_described():
    page = text("docs/probability.md")
    for source in re.findall(r"``([a-z]+(?::[a-z]+)?)``", CalibratedList.__doc__ or ""):
        assert f"`{source}`" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page):
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_make_target_of_the_readme_exists():
    makefile = text("Makefile")
    for words in commands("make"):
        assert re.search(rf"^{re.escape(words[1])}:", makefile, flags=re.MULTILINE), words


@pytest.mark.parametrize("words", commands("isoglot"), ids=" ".join)
def test_every_command_of_the_documentation_is_one_that_the_program_knows(words):
    depth = 3 if words[1] in {"bundle", "calibrator", "feedback", "keys"} else 2
    shown = CliRunner().invoke(isoglot, [*words[1:depth], "--help"])
    assert shown.exit_code == 0, shown.output
    options = [word for word in words[depth:] if word.startswith("--")]
    assert [option for option in options if option not in shown.output] == []


def test_the_body_of_the_curl_command_is_a_valid_request():
    ((*_, body),) = [words for words in commands("curl") if "/search" in " ".join(words)]
    assert SearchBody.model_validate(json.loads(body)).limit == 3


def test_the_printed_result_of_the_readme_is_what_the_starter_bundle_answers(tmp_path):
    block = re.findall(r"```json\n(.*?)```", text("README.md"), flags=re.DOTALL)[0]
    shown = json.loads(block)
    ((*_, body),) = [words for words in commands("curl") if "/search" in " ".join(words)]
    asked = json.loads(body)
    run = CliRunner().invoke
    data = ["--data-dir", str(tmp_path)]
    assert run(isoglot, ["demo", "--index-only", *data]).exit_code == 0
    (collection,) = (path.name for path in tmp_path.iterdir())
    found = run(
        isoglot,
        ["search", asked["query"], "--limit", str(asked["limit"]), "--json", *data],
        env={f"{PREFIX}COLLECTION": collection},
    )
    answer = json.loads(found.stdout)
    assert answer["answerable_probability"] == pytest.approx(
        shown["answerable_probability"], abs=0.01
    )
    for name, value in shown["model"].items():
        assert answer["model"][name] == value
    for hit, expected in zip(answer["hits"], shown["hits"], strict=True):
        assert hit["probability"] == pytest.approx(expected["probability"], abs=0.01)
        assert hit["score"] == pytest.approx(expected["score"], abs=0.002)
        assert hit["language"] == expected["language"]
        assert hit["probability_source"] == expected["probability_source"]
        assert hit["text"].startswith(expected["text"].removesuffix(" ..."))
