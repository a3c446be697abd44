"""The search page: static files that call the public API and nothing else."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from app.api.errors import api_error

router = APIRouter(include_in_schema=False)

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the page: its own files, and no inline code or style."""

_DIRECTORY = Path(__file__).parents[1] / "static"
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Listed once: a name in a request is only ever compared with these, and never becomes a path.
_FILES = {file.name: file for file in _DIRECTORY.iterdir() if file.suffix in _MEDIA_TYPES}
# Looked at again each time, so that an upgraded service never runs with an old script.
_CACHING = {"Cache-Control": "no-cache"}


@router.get("/")
async def page() -> FileResponse:
    """Return the search page."""
    return _page("index.html")


@router.get("/calibration")
async def calibration_page() -> FileResponse:
    """Return the page that shows whether probabilities hold."""
    return _page("calibration.html")


def _page(name: str) -> FileResponse:
    return FileResponse(
        _DIRECTORY / name,
        media_type="text/html; charset=utf-8",
        headers={**_CACHING, "Content-Security-Policy": PAGE_POLICY},
    )


@router.get("/static/{name}")
async def static_file(name: str) -> FileResponse:
    """Return a file of the page."""
    file = _FILES.get(name)
    if file is None:
        raise api_error("not_found", f"The page has no file {name!r}.")
    return FileResponse(file, media_type=_MEDIA_TYPES[file.suffix], headers=_CACHING)
