"""The search page: four files that call the public API and nothing else."""

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

_DIRECTORY = Path(__file__).parent / "static"
_MEDIA_TYPES = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
# Looked at again each time, so that an upgraded service never runs with an old script.
_CACHING = {"Cache-Control": "no-cache"}


@router.get("/")
async def page() -> FileResponse:
    """Return the page."""
    return FileResponse(
        _DIRECTORY / "index.html",
        media_type="text/html; charset=utf-8",
        headers={**_CACHING, "Content-Security-Policy": PAGE_POLICY},
    )


@router.get("/static/{name}")
async def static_file(name: str) -> FileResponse:
    """Return a file of the page."""
    if name not in _MEDIA_TYPES:
        raise api_error("not_found", f"The page has no file {name!r}.")
    return FileResponse(_DIRECTORY / name, media_type=_MEDIA_TYPES[name], headers=_CACHING)
