import pytest

from app.core.errors import InvalidInputError
from app.core.languages.codes import normalize_language, primary_language


@pytest.mark.parametrize(
    ("tag", "canonical"),
    [
        ("DE", "de"),
        ("zh-hant", "zh-Hant"),
        ("pt-br", "pt-BR"),
        ("zh-HANT-tw", "zh-Hant-TW"),
        ("und", "und"),
        ("ca-VALENCIA", "ca-valencia"),
    ],
)
def test_tags_are_put_in_canonical_case(tag, canonical):
    assert normalize_language(tag) == canonical


@pytest.mark.parametrize("tag", ["", "e", "english", "en_US", "de-", "12", "de\n"])
def test_what_is_no_language_tag_is_refused_with_examples(tag):
    with pytest.raises(InvalidInputError, match="BCP-47") as caught:
        normalize_language(tag, pointer="/language/query")
    assert caught.value.pointer == "/language/query"


def test_variants_of_a_language_share_their_primary_subtag():
    assert primary_language("zh-Hant") == primary_language("zh") == "zh"
