"""Wire models of the endpoints that other services made common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from app.api.wire import LanguageTag, Probability, RequestModel, ResponseModel
from app.core.search.embeddings import MAX_TEXTS
from app.core.search.reranking import MAX_DOCUMENTS

_ANY_MODEL = (
    "Taken for the sake of clients that must send it, and not looked at: the loaded bundle answers."
)


def _texts(value: object) -> object:
    # Said here, because pydantic would name every form that the value might have had.
    if isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(text, str) for text in value)
    ):
        return value
    raise PydanticCustomError(
        "text_type", "Send a text or a list of texts; token ids are not understood."
    )


def _document(value: object) -> object:
    known = isinstance(value, dict) and value.keys() == {"text"} and isinstance(value["text"], str)
    if known or isinstance(value, str | DocumentIn):
        return value
    raise PydanticCustomError(
        "document_type", "Send a text, or an object whose one member is `text`, a text."
    )


class EmbeddingsBody(RequestModel):
    """Texts to embed, as OpenAI's API takes them."""

    input: Annotated[str | list[str], BeforeValidator(_texts)] = Field(
        description=f"A text, or a list of 1 to {MAX_TEXTS}. Token ids are not accepted.",
        examples=[["Wie flicke ich einen Reifen?"]],
    )
    model: str | None = Field(default=None, description=_ANY_MODEL, examples=["starter"])
    encoding_format: Literal["float", "base64"] = Field(
        default="float",
        description="`base64`: the vector as little-endian 32-bit floats, in base64.",
    )
    dimensions: int | None = Field(
        default=None,
        description="Number of dimensions; the encoder has only the one that `GET /v1/bundle` "
        "states.",
    )
    input_type: Literal["query", "passage"] = Field(
        default="passage",
        description="What the texts are, which matters to encoders with prefixes. Not part of "
        "OpenAI's API.",
    )
    user: str | None = Field(default=None, description="Not looked at.")


class EmbeddingOut(ResponseModel):
    """The vector of one text."""

    object: Literal["embedding"]
    index: int = Field(description="Place of the text in `input`, from 0.")
    embedding: list[float] | str = Field(
        description="A vector of Euclidean norm 1, or its base64 form."
    )


class EmbeddingUsage(ResponseModel):
    """What was read."""

    prompt_tokens: int = Field(description="Tokens that the encoder read.")
    total_tokens: int


class EmbeddingsOut(ResponseModel):
    """The vectors of texts."""

    object: Literal["list"]
    data: list[EmbeddingOut] = Field(description="In the order of `input`.")
    model: str = Field(description="Name and id of the bundle that answered.")
    usage: EmbeddingUsage


class DocumentIn(RequestModel):
    """A document as an object."""

    text: str


class RerankBody(RequestModel):
    """Documents to rank, as the APIs of Cohere and Jina take them."""

    query: str = Field(description="The question.", examples=["Wie flicke ich einen Reifen?"])
    documents: list[Annotated[str | DocumentIn, BeforeValidator(_document)]] = Field(
        description=f"1 to {MAX_DOCUMENTS} texts.",
        examples=[["Take the wheel off first.", "Sourdough needs a starter."]],
    )
    model: str | None = Field(default=None, description=_ANY_MODEL)
    top_n: int | None = Field(
        default=None, ge=1, description="How many documents to return at most; all by default."
    )
    return_documents: bool = Field(default=False, description="Whether to return the texts too.")
    language: LanguageTag | None = Field(
        default=None,
        description="Language of the query; identified by default. Not part of the other APIs.",
    )


class DocumentOut(ResponseModel):
    """The text of a document."""

    text: str


class RerankResult(ResponseModel):
    """One document."""

    index: int = Field(description="Its place in `documents`, from 0.")
    relevance_score: Probability = Field(
        description="How likely it is that the document answers the query: the calibrator's "
        "probability, with the given documents as the whole corpus."
    )
    document: DocumentOut | None = Field(description="Null unless asked for.")
    score: float = Field(description="Cosine of query and document.")
    probability_source: str = Field(description="As in a search.")
    extrapolated: bool = Field(
        description="Whether the score or the number of documents lies outside what the "
        "calibrator has seen; a short list of documents usually does."
    )
    language: str = Field(description="BCP-47 tag of the document, identified; `und` if unclear.")


class RerankUsage(ResponseModel):
    """What was read."""

    total_tokens: int = Field(description="Tokens that the encoder read.")


class RerankOut(ResponseModel):
    """Documents in the order of their probability."""

    id: str = Field(description="Names this answer; the id of the request.")
    model: str = Field(description="Name and id of the bundle that answered.")
    results: list[RerankResult] = Field(description="Most probable first.")
    usage: RerankUsage
