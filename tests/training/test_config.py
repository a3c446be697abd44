from pathlib import Path

import pytest

from tests.training.conftest import STATIC_TOML
from training.config import StaticModel, TransformerModel, load_config, parse_config
from training.errors import ConfigError

pytestmark = pytest.mark.training

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
# What `calibrate` and `study` read has other schemas and tests of its own.
RUNS = sorted(
    path
    for path in CONFIGS.glob("*.toml")
    if "calibration" not in path.stem and not path.stem.startswith("study")
)


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_every_configuration_can_be_read(path):
    config = load_config(path)
    assert config.stage, "a configuration without a stage trains nothing"
    assert config.data.sources


SHIPPED = sorted(path for path in RUNS if not path.stem.endswith("_all"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_configurations_that_ship_use_no_data_of_restricted_licence(path):
    licences = {source.licence for source in load_config(path).data.sources}
    assert not [x for x in licences if "NC" in x or "research" in x or "none" in x]


def test_the_paper_scale_configuration_has_the_numbers_of_the_paper():
    stage = load_config(CONFIGS / "xlm-roberta.toml").stage[0]
    assert (stage.batch_size, stage.learning_rate, stage.weight_decay) == (100, 3e-5, 1e-2)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('name = "tiny"', 'name = "tiny"\nsede = 3', "sede"),
        ("held_out_share = 0.2", "held_out_share = 0.2\nheldout = 1", "data.heldout"),
        ("shared_ids = true", "shared_id = true", "data.pairs.0.shared_id"),
        ("dim = 16", "dims = 16", "model.static.dims"),
        ("share = 0.5", "share = 0.5\nalpha = 0.5", "stage.1.hybrid.align.alpha"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_its_place(old, new, place):
    with pytest.raises(ConfigError, match=rf"(?m)^  {place}: unknown key$"):
        parse_config(STATIC_TOML.replace(old, new, 1))


def test_all_mistakes_are_listed_at_once():
    text = STATIC_TOML.replace("dim = 16", "dim = 0").replace("seed = 7", "seed = -1")
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert "seed:" in str(caught.value)
    assert "model.static.dim:" in str(caught.value)


def test_text_that_is_not_toml_is_refused_with_its_origin():
    with pytest.raises(ConfigError, match=r"run\.toml is not valid TOML"):
        parse_config("name =", origin="run.toml")


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        load_config(tmp_path / "absent.toml")


OVER = """
base = "run.toml"
name = "more"
[data]
held_out_share = 0.3
[[data.pairs]]
path = "more.jsonl"
licence = "CC BY-NC 4.0"
[[stage]]
name = "hybrid"
steps = 3
batch_size = 4
"""


def write_over(directory: Path, text: str = OVER) -> Path:
    (directory / "run.toml").write_text(STATIC_TOML)
    (directory / "over.toml").write_text(text)
    return directory / "over.toml"


def test_a_file_over_a_base_adds_sources_and_replaces_the_rest(tmp_path):
    base, over = parse_config(STATIC_TOML), load_config(write_over(tmp_path))
    assert over.data.pairs[:-1] == base.data.pairs
    assert over.data.pairs[-1].path == "more.jsonl"
    assert over.data.parallel == base.data.parallel
    assert (over.name, over.data.held_out_share, len(over.stage)) == ("more", 0.3, 1)
    assert (over.seed, over.model, over.data.passage_chars) == (7, base.model, 200)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("run.toml", "absent.toml", r"Cannot read the configuration .*absent\.toml"),
        ("run.toml", "over.toml", r"base: over\.toml is based on this file"),
        ('"run.toml"', "3", "base: must be the path of a TOML file"),
        (
            "steps = 3",
            "stepps = 3",
            r"over\.toml cannot be used:\n  stage.0.hybrid.steps: Field",
        ),
    ],
)
def test_a_mistake_in_a_file_over_a_base_is_named(tmp_path, old, new, problem):
    with pytest.raises(ConfigError, match=problem):
        load_config(write_over(tmp_path, OVER.replace(old, new)))


def test_a_circle_of_bases_is_refused(tmp_path):
    over = write_over(tmp_path)
    (tmp_path / "run.toml").write_text('base = "over.toml"\n' + STATIC_TOML)
    with pytest.raises(
        ConfigError, match=r"run\.toml cannot be used:\n  base: over\.toml is based"
    ):
        load_config(over)


def test_distillation_without_a_teacher_is_refused():
    with pytest.raises(ConfigError, match="there is no \\[teacher\\]"):
        parse_config(STATIC_TOML.replace("w_distill = 0.0", "w_distill = 1.0", 1))


def test_a_stage_that_learns_nothing_is_refused():
    text = STATIC_TOML.replace("w_distill = 0.0", "w_distill = 0.0\nw_contrast = 0.0", 1)
    with pytest.raises(ConfigError, match="nothing would be learned"):
        parse_config(text)


def test_a_teacher_needs_exactly_one_origin():
    with pytest.raises(ConfigError, match="exactly one of 'model' and 'package'"):
        parse_config(STATIC_TOML + "\n[teacher]\nlanguage = 'en'\n")


def test_sparse_adam_is_refused_for_a_transformer():
    text = STATIC_TOML.replace('kind = "static"\ndim = 16', 'kind = "transformer"\nbase = "x"')
    parse_config(text)
    with pytest.raises(ConfigError, match="static"):
        parse_config(text.replace("steps = 12", 'steps = 12\noptimizer = "sparse_adam"', 1))


def test_a_language_weight_for_another_language_is_refused():
    with pytest.raises(ConfigError, match="fr"):
        parse_config(STATIC_TOML.replace("[data]", "[language_weights]\nfr = 0.5\n\n[data]", 1))


def test_the_kind_of_model_chooses_the_family():
    static = parse_config(STATIC_TOML).model
    other = STATIC_TOML.replace('kind = "static"\ndim = 16', 'kind = "transformer"\nbase = "x"')
    assert isinstance(static, StaticModel)
    assert isinstance(parse_config(other).model, TransformerModel)


def test_a_configuration_cannot_be_changed_after_it_was_read(static_config):
    with pytest.raises(ValueError, match="frozen"):
        static_config.seed = 3
