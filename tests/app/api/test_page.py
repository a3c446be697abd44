import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import app.api.routes.page as page_routes
from tests.app.api.keys import add_key
from tests.app.api.problems import problem_of

STATIC = Path(page_routes.__file__).parents[1] / "static"
SCRIPTS = {file.name: file.read_text(encoding="utf-8") for file in STATIC.glob("*.js")}


class Page(HTMLParser):
    """Collects what a test wants to know of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.files: set[str] = set()
        self.inline: list[str] = []
        self.labelled: set[str] = set()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given["id"]} if "id" in given else set()
        self.files |= {given[key] for key in ("src", "href") if key in given}
        self.labelled |= {given["for"]} if "for" in given else set()
        inline = [name for name in given if name == "style" or name.startswith("on")]
        self.inline += inline + ([tag] if tag == "style" else [])
        if tag == "script" and "src" not in given:
            self.inline.append(tag)


async def parsed(client, address: str = "/") -> Page:
    page = Page()
    page.feed((await client.get(address)).text)
    return page


async def test_the_page_and_all_it_refers_to_are_served_from_here(client):
    page = await parsed(client)

    assert "/static/page.js" in page.files
    for file in page.files:
        assert (await client.get(file)).status_code == 200, file


async def test_the_page_needs_no_inline_code_or_style(client):
    for address in ("/", "/calibration"):
        assert (await parsed(client, address)).inline == []
        policy = (await client.get(address)).headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy


async def test_the_scripts_find_every_element_they_look_for(client):
    of_calibration = {"calibration.js"}
    for address, scripts in (
        ("/", SCRIPTS.keys() - of_calibration),
        ("/calibration", of_calibration),
    ):
        wanted = {
            found for name in scripts for found in re.findall(r'byId\("(\w+)"\)', SCRIPTS[name])
        }
        assert len(wanted) > 5
        assert wanted <= (await parsed(client, address)).ids


async def test_every_module_that_a_script_imports_is_served_as_javascript(client):
    imported = {
        name for script in SCRIPTS.values() for name in re.findall(r'from "\./([^"]+)"', script)
    }

    assert imported == SCRIPTS.keys() - {"page.js", "calibration.js"}
    for name in imported:
        response = await client.get(f"/static/{name}")
        assert response.headers["content-type"] == "text/javascript; charset=utf-8"
        assert response.text == SCRIPTS[name]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_never_writes_markup(name):
    writes = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\("

    assert not re.findall(writes, SCRIPTS[name])


def test_the_key_is_kept_in_the_session_only():
    kept = r"localStorage|document\.cookie|indexedDB"

    assert not any(re.search(kept, script) for script in SCRIPTS.values())
    assert "sessionStorage" in SCRIPTS["api.js"]


async def test_the_page_itself_needs_no_key(serve, tmp_path):
    add_key(tmp_path / "keys.json", "search")
    async with serve(key_file=tmp_path / "keys.json") as guarded:
        for file in (await parsed(guarded)).files - {"/openapi.json"} | {"/static/api.js"}:
            assert (await guarded.get(file)).status_code == 200, file
        problem_of(await guarded.get("/v1/bundle"), 401, "unauthenticated")


def test_the_page_loads_nothing_from_other_hosts():
    for file in STATIC.iterdir():
        addresses = re.findall(r"https?://[^\s\"'<]+", file.read_text(encoding="utf-8"))
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, file


async def test_the_question_has_a_label(client):
    assert "query" in (await parsed(client)).labelled


async def test_a_file_that_is_not_of_the_page_is_not_served(client):
    problem_of(await client.get("/static/index.html"), 404, "not_found")
    problem_of(await client.get("/static/..%2Fpage_routes.py"), 404, "not_found")
