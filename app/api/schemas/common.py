"""Wire models of passages: what is sent and returned. ``convert.py`` maps them to the core."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from app.api.wire import RequestModel, ResponseModel


class ModelOut(ResponseModel):
    """What answered."""

    bundle: str = Field(description="Name and id of the bundle.", examples=["starter@0123456789ab"])
    encoder: str = Field(description="Fingerprint of the encoder.")
    calibrator: str | None = Field(description="Id of the calibrator; null where there is none.")
    collection: str = Field(description="Name of the collection.")


class SplitIn(RequestModel):
    """How to split a long text into passages; give exactly one of the sizes."""

    # Ranges are described here, and left to the core to enforce: it says better what was wrong.
    max_characters: int | None = Field(
        default=None, description="Most characters of a passage, at least 100.", examples=[1000]
    )
    max_tokens: int | None = Field(
        default=None,
        description="Most tokens of a passage, at least 16, as the encoder's tokenizer counts "
        "them without prefix and special tokens.",
        examples=[120],
    )
    overlap: int = Field(
        default=0,
        description="How much of a passage the next one repeats at most, in the same unit; up to "
        "half of the size.",
    )


class PassageIn(RequestModel):
    """A passage to store."""

    id: str = Field(
        description="Your identifier, 1 to 512 characters; an existing passage is replaced.",
        examples=["bicycle-puncture.de"],
    )
    text: str = Field(
        description="The text that is searched and shown, up to 50000 characters; up to 1000000 "
        "with `split`."
    )
    language: str | None = Field(
        default=None,
        description="BCP-47 tag; left out, null or `und`: it is identified.",
        examples=["de"],
    )
    parallel_id: str | None = Field(
        default=None, description="Shared by translations of one text.", examples=["puncture"]
    )
    metadata: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Anything JSON; returned as it came. Filters read members that are declared.",
    )
    document_id: str | None = Field(
        default=None, description="Document that the passage is a part of.", examples=["manual"]
    )
    span: list[int] | None = Field(
        default=None,
        min_length=2,
        max_length=2,
        description="Where the passage lies in its document: its first character, and the one "
        "after its last.",
        examples=[[0, 480]],
    )
    split: SplitIn | None = Field(
        default=None,
        description="Splits the text into passages `id#1`, `id#2` and so on, which carry `id` as "
        "their `document_id`, and their `span`. They replace those of the document that were "
        "there before.",
    )


class PassageBatch(RequestModel):
    """Passages to store, all or none of them."""

    passages: list[PassageIn] = Field(description="Of two with one id the later one is kept.")


class PassageOut(ResponseModel):
    """A stored passage."""

    id: str
    text: str
    language: str = Field(description="BCP-47 tag, `und` where it is not known.")
    parallel_id: str | None
    metadata: dict[str, JsonValue]
    document_id: str | None = Field(description="Document that the passage is a part of.")
    span: list[int] | None = Field(
        description="First character in the document, and the one after the last."
    )


class StoredOut(ResponseModel):
    """What an upload did."""

    stored: int = Field(
        description="Number of distinct ids of the request whose content is stored now."
    )
    created: int = Field(description="Passages and documents that were not there before.")
    updated: int = Field(description="Those that were there with another content.")
    unchanged: int = Field(description="Those that were there like this; nothing was written.")


class LineError(BaseModel):
    """Why a line was rejected, or an upload ended."""

    code: str = Field(description="Stable code to branch on; see `/problems/{code}`.")
    detail: str = Field(description="What was wrong, and what to do about it.")


class LineAnswer(BaseModel):
    """What became of one line. Members that do not apply are left out."""

    line: int = Field(description="Number of the line, from 1; blank lines count.")
    id: str | None = Field(default=None, description="Id that the line states, if it does.")
    status: Literal["created", "updated", "unchanged", "rejected"]
    language: str | None = Field(
        default=None, description="Language that a created or updated passage was stored with."
    )
    passages: int | None = Field(
        default=None, description="Number of passages that the text was split into, if it was."
    )
    error: LineError | None = Field(default=None, description="Why the line was rejected.")


class Summary(BaseModel):
    """What became of all lines."""

    received: int = Field(default=0, description="Lines that were answered.")
    created: int = Field(default=0, description="Lines whose id was new.")
    updated: int = Field(default=0, description="Lines that replaced another content.")
    unchanged: int = Field(default=0, description="Lines that were there already, word for word.")
    rejected: int = Field(default=0, description="Lines that were not stored.")
    aborted: LineError | None = Field(
        default=None,
        description="Why the upload ended before its last line, where it did; what was answered "
        "before is stored.",
    )

    @property
    def stored(self) -> int:
        """Lines whose passage is stored."""
        return self.created + self.updated + self.unchanged


class Closing(BaseModel):
    """The last line of an answer; without it the answer is not complete."""

    summary: Summary
