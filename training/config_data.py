"""The tables of a run's TOML file that ``prepare`` reads: sources of data, and the vocabulary."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Share: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0)]
Positive: TypeAlias = Annotated[float, Field(gt=0.0)]
NonNegative: TypeAlias = Annotated[float, Field(ge=0.0)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Role: TypeAlias = Literal["train", "held_out"]


class Table(BaseModel):
    """A TOML table: frozen, and without keys that nobody reads."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Table):
    """What all data files have in common.

    Attributes:
        path: File, relative to the data root; JSON lines, gzip where it ends in ``.gz``.
        licence: Licence of the texts, as it is to stand in the provenance of the model.
        name: Name in reports; the path without its endings where it is empty.
        cap: Number of rows to keep, drawn by the seed: per language for pairs, in all otherwise.
        languages: Languages to keep; all languages of the run where it is ``None``.
        role: ``held_out`` keeps the whole file out of training.
        document_pattern: Regular expression on the row id; its first group is the document.
        held_out_share: Share of documents kept out of training, instead of ``data``'s.
        drop_pattern: Regular expression; what it matches is cut out of every text.
    """

    path: str
    licence: str = Field(min_length=1)
    name: str = ""
    cap: Count | None = None
    languages: tuple[str, ...] | None = None
    role: Role = "train"
    document_pattern: str | None = None
    held_out_share: Share | None = None
    drop_pattern: str | None = None

    @property
    def label(self) -> str:
        """Name for reports."""
        return self.name or self.path.removesuffix(".gz").removesuffix(".jsonl")


class PairSource(Source):
    """Question-passage rows ``{id, lang, question, passage, title?, answer?, answer_start?}``.

    Attributes:
        weight: How often a row of it is drawn, relative to rows of weight 1.
        language: Language of all rows, where the file's own code is another one.
        shared_ids: Rows of one id are translations of one another, so that the question in one
            language can be paired with the passage in another.
        sentence_view: Beside the cut passage, also pair the question with the one sentence that
            holds the answer.
    """

    weight: Positive = 1.0
    language: str | None = None
    shared_ids: bool = False
    sentence_view: bool = False


class ParallelSource(Source):
    """Parallel rows ``{id, doc?, "<language>": text}``, Indonesian under ``ind``.

    Attributes:
        share: Share of align rows that are drawn from it, relative to the shares of the other
            sources and whatever its size; 0 uses its texts for the vocabulary alone.
        fields: Members that each hold one ``{language: text}`` object, where the texts do not
            stand in the row itself.
        teacher_cap: Number of English texts of this source that the teacher embeds; all of them
            where it is ``None``, and 0 for none.
    """

    share: NonNegative = 1.0
    fields: tuple[str, ...] = ()
    teacher_cap: Annotated[int, Field(ge=0)] | None = None


class LexiconSource(ParallelSource):
    """A dictionary, read as parallel rows of words.

    Attributes:
        form: ``wiktionary``: ``{id, en, tr: {language: [word]}}``; ``omw``: ``{id, lemmas:
            {language: [word]}}``.
        alternatives: Number of translations to keep of one entry; each makes one row.
    """

    form: Literal["wiktionary", "omw"]
    alternatives: Count = 3


class DataConfig(Table):
    """Which files are read and how texts are cut.

    Attributes:
        forbid_licences: Shell patterns, compared without regard to case; a source whose licence
            matches one is refused.
        held_out_share: Share of documents kept out of training, decided by a hash of the
            document and never by row.
        max_text_chars: Longest parallel text; longer ones are cut at a word.
        passage_chars: Longest passage; longer ones are cut around the answer, at sentence borders.
        passage_chars_by_language: The same for languages whose characters say more.
    """

    forbid_licences: tuple[str, ...] = ()
    held_out_share: Share = 0.1
    max_text_chars: Count = 600
    passage_chars: Count = 400
    passage_chars_by_language: dict[str, Count] = Field(default_factory=dict)
    pairs: tuple[PairSource, ...] = ()
    parallel: tuple[ParallelSource, ...] = ()
    lexicon: tuple[LexiconSource, ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        """All sources, in the order they are read."""
        return (*self.parallel, *self.lexicon, *self.pairs)


class VocabularyConfig(Table):
    """How the subword vocabulary of a static encoder is built.

    Attributes:
        kind: Subword model: ``unigram`` splits a text into its likeliest pieces, ``bpe`` by
            merges, ``wordpiece`` takes the longest piece first.
        size: Number of rows of the token table, the unknown token included.
        budget_chars: Number of characters of text it is trained on.
        language_exponent: Language l gets a part proportional to size_l ** exponent; 1 is
            proportional, 0 the same for all.
        dense_languages: Languages whose characters count ``dense_factor`` times.
        dense_factor: See there.
        minor_languages: Languages that get ``minor_share`` of the part they would get.
        minor_share: See there.
        max_piece_chars: Longest subword.
        alphabet: Number of characters kept as subwords of their own (bpe, wordpiece).
        fold: Read letters without regard to case, Greek accents, Arabic vowel signs and the like.
        punctuation: Keep punctuation; it is read as white space otherwise.
        word_starts: Mark the first subword of a word.
    """

    kind: Literal["unigram", "bpe", "wordpiece"] = "unigram"
    size: Annotated[int, Field(ge=16)] = 64_000
    budget_chars: Count = 30_000_000
    language_exponent: Share = 0.5
    dense_languages: tuple[str, ...] = ("zh", "ja")
    dense_factor: Positive = 3.0
    minor_languages: tuple[str, ...] = ()
    minor_share: Share = 0.5
    max_piece_chars: Count = 16
    alphabet: Count = 6_000
    fold: bool = True
    punctuation: bool = False
    word_starts: bool = False
