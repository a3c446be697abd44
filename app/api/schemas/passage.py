"""Wire models of what is asked about many passages: lists, counts, facets and deletions."""

from __future__ import annotations

from pydantic import Field, JsonValue

from app.api.schemas.common import PassageOut
from app.api.wire import RequestModel, ResponseModel

MAX_PAGE = 1000
"""Most passages of one page."""

MAX_FACETS = 1000
"""Most values of one facet."""

FILTER_DESCRIPTION = (
    "Which passages are meant: `must`, `should` and `must_not` of conditions such as "
    '`{"key": "product", "match": {"any": ["pro", "team"]}}` or `{"key": "price", "range": '
    '{"lt": 10}}`, as in Qdrant. Keys are `language`, `parallel_id`, `document_id` and the fields '
    "that the deployment declares."
)


class Selection(RequestModel):
    """Which passages are meant."""

    filter: dict[str, JsonValue] | None = Field(
        default=None,
        description=f"{FILTER_DESCRIPTION} Left out or null: all of them.",
        examples=[{"must": [{"key": "language", "match": {"value": "de"}}]}],
    )


class FacetBody(Selection):
    """Which values to count."""

    field: str = Field(
        description="A field that holds keywords, integers or booleans.", examples=["language"]
    )
    limit: int = Field(
        default=100, description=f"How many values to return at most, 1 to {MAX_FACETS}."
    )


class DeleteBody(Selection):
    """Which passages to delete, and how sure of it the caller is."""

    dry_run: bool = Field(default=False, description="Count them only.")
    expected_count: int | None = Field(
        default=None,
        description="How many they have to be; of another number, none is deleted.",
        examples=[12],
    )
    allow_all: bool = Field(
        default=False, description="Delete them however many they are, all of them if need be."
    )


class PassagePage(ResponseModel):
    """Some of the stored passages."""

    passages: list[PassageOut] = Field(description="In an order that does not change.")
    next_cursor: str | None = Field(
        description="Send it as `cursor` for the next page; null where there is none."
    )


class CountOut(ResponseModel):
    """How many passages are meant."""

    count: int


class FacetValue(ResponseModel):
    """One value of a field."""

    value: str | int | bool
    count: int = Field(description="Passages that hold it.")


class FacetsOut(ResponseModel):
    """How often each value of a field occurs."""

    field: str
    values: list[FacetValue] = Field(
        description="Most frequent first; of equally frequent ones the smaller first."
    )
    truncated: bool = Field(description="Whether there are more values than were asked for.")


class DeletedOut(ResponseModel):
    """What a deletion did, or would do."""

    matched: int = Field(description="Passages that the filter selects.")
    deleted: int = Field(description="Passages that were deleted; 0 in a dry run.")
    dry_run: bool
