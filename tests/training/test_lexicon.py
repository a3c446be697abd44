import json

import pytest

from training.errors import DataError
from training.lexicon import Lexicon, read_lexicon

pytestmark = pytest.mark.training

ROWS = [
    {"en": "house", "de": "Haus", "es": "casa", "zh": "房子"},
    {"en": "house", "de": "Gebäude"},
    {"en": "red", "de": "rot", "es": "rojo", "zh": "红"},
    {"en": "main road", "de": "Hauptstraße"},
    {"en": "home", "es": "casa"},
    {"en": "...", "de": "nichts"},
]


def test_the_translations_of_a_word_share_its_weight():
    bag = Lexicon(ROWS).translate("The red House?", "en", "de")
    assert bag == {"the": 1.0, "rot": 1.0, "haus": 0.5, "gebäude": 0.5}


def test_words_of_two_other_languages_meet_over_english():
    assert Lexicon(ROWS).translate("casa", "es", "de") == {"haus": 0.5, "gebäude": 0.5}
    assert Lexicon(ROWS).translate("Haus Haus", "de", "en") == {"house": 1.0}


def test_text_without_spaces_is_cut_at_the_longest_entries():
    bag = Lexicon(ROWS).translate("红房子Q", "zh", "es")
    assert bag == {"rojo": 1.0, "casa": 1.0, "q": 1.0}


def test_a_language_that_the_lexicon_does_not_have_keeps_its_words():
    assert Lexicon(ROWS).translate("rotes Haus", "fi", "de") == {"rotes": 1.0, "haus": 1.0}
    assert Lexicon(ROWS).translate("红", "th", "de") == {"红": 1.0}


def test_a_wiktionary_file_is_read_and_a_faulty_line_is_named(tmp_path):
    path = tmp_path / "lexicon.jsonl"
    rows = [{"id": "w0", "en": "house", "tr": {"de": ["Haus", "Heim"], "fr": ["maison"]}}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lexicon = read_lexicon(path, ["de"])
    assert lexicon.translate("house", "en", "de") == {"haus": 0.5, "heim": 0.5}
    assert lexicon.translate("house", "en", "fr") == {"house": 1.0}
    path.write_text('{"id": "w0", "en": "house", "tr": {"de": 7}}\n')
    with pytest.raises(DataError, match="line 1"):
        read_lexicon(path, ["de"])
