"""A key's default, unit and reason stand in the schema; config.yaml and presets follow from it."""

import copy

import pytest
import yaml
from config_file import FILE, SCHEMA, config_text, schema_text
from messages import assert_sentence
from running import whole_config
from studies import put, schema

from keygenes.core.config import check, check_relations, read_yaml
from keygenes.core.defaults import defaults, lay_under
from keygenes.core.errors import InputError
from keygenes.core.tracks import OF_MODELS

PRESETS = ["demo", "demo_thesis", "laptop"]


def leaves(section, path=()):
    """Yield the path of every value that is no section."""
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def without_default(section, path=()):
    """Yield (path of a key without a default, whether it is required) of a schema."""
    for key, part in section["properties"].items():
        if "default" not in part and "properties" in part:
            yield from without_default(part, (*path, key))
        elif "default" not in part:
            yield ".".join((*path, key)), key in section.get("required", [])


def test_config_yaml_is_what_make_config_writes(here):
    assert FILE.read_text(encoding="utf-8") == config_text(schema("config"))
    own = SCHEMA.read_text(encoding="utf-8")
    assert schema_text(own) == own and schema_text(own.replace("rollout, ", "", 1)) == own


def test_config_yaml_has_every_default_of_the_same_type(here):
    config = read_yaml(FILE)
    named = {key: config.pop(key) for key in ("study", "dataset")}
    assert repr(config) == repr(defaults(schema("config")))
    assert named == {"study": "sciplex2_nutlin", "dataset": "sciplex2_scperturb"}


def test_a_key_has_a_default_or_no_config_can_do_without_it(here):
    assert dict(without_default(schema("config"))) == {
        "study": True,
        "image": False,
        "dataset": True,
    }


def test_the_schema_refuses_none_of_its_defaults(here):
    config = {"study": "mine", "dataset": "sciplex2_scperturb"}
    lay_under(config, defaults(schema("config")))
    check(config, schema("config"), "config key")
    check_relations(config)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_only_what_differs(here, name):
    preset, default = read_yaml(f"config/{name}.yaml"), dict(leaves(whole_config()))
    assert [
        ".".join(path)
        for path, value in leaves(preset)
        if path in default and repr(value) == repr(default[path])
    ] == []


LAYERS = {
    "keys of a section": ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}),
    "a list": ({"a": [1, 2]}, {"a": [3]}),
    "null over a section": ({"a": {"b": 1}}, {"a": None}),
    "a section over null": ({"a": None}, {"a": {"b": 1}}),
    "text over a section": ({"a": {"b": 1}}, {"a": "b"}),
    "an empty section": ({"a": {"b": 1}}, {"a": {}}),
    "new keys": ({"a": 1}, {"b": {"c": [1]}}),
    "nothing": ({"a": {"b": [1]}}, {}),
}


@pytest.mark.parametrize("case", LAYERS)
def test_what_lies_under_a_config_is_laid_over_by_it_as_snakemake_does(case):
    from snakemake.utils import update_config

    lower, config = copy.deepcopy(LAYERS[case])
    update_config(lower, config)
    below, found = copy.deepcopy(LAYERS[case])
    lay_under(found, below)
    assert found == lower
    assert below == LAYERS[case][0], "only the config is changed"


def test_two_configs_share_no_default(here):
    first, second = {}, {}
    for config in (first, second):
        lay_under(config, defaults(schema("config")))
    first["tasks"][0]["name"] = "other"
    first["evidence"]["tracks"].clear()
    assert second["tasks"][0]["name"] == "dose" and second["evidence"]["tracks"] == list(OF_MODELS)
    assert defaults(schema("config")) == second


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("selct", {"drug": None}, ["'selct'", "'select'"]),
        ("evidence", {"permutation": 3}, ["'evidence.permutation'", "'permutations'"]),
        ("datset", "mine", ["'datset'", "'dataset'"]),
        ("select", None, ["'select'", "None", "object"]),
        ("compute", [], ["'compute'", "object"]),
    ],
)
def test_a_misspelt_or_wrong_section_is_named_not_filled(here, key, value, parts):
    config = {"study": "mine", "dataset": "mine", key: value}
    lay_under(config, defaults(schema("config")))
    with pytest.raises(InputError) as error:
        check(config, schema("config"), "config key")
    assert_sentence(error, f"config key {parts[0]}", *parts)


def test_a_misspelt_key_that_is_required_is_named_with_the_right_one(here):
    config = {"study": "mine", "datset": "mine"}
    lay_under(config, defaults(schema("config")))
    with pytest.raises(InputError) as error:
        check(config, schema("config"), "config key")
    assert_sentence(error, "config key 'datset'", "'dataset'")


@pytest.mark.parametrize(
    ("key", "value", "said", "not_said"),
    [
        ("study", "a/b", "file names", "results/"),
        ("evidence.primary", 5, "object", "confirmatory"),
        ("evidence.attribution.costly_cells", 0, "at least 1", "occlusion"),
        ("compute.batch_tokens", "some", "or auto", "gradients"),
    ],
)
def test_a_message_says_what_a_value_may_be_not_what_it_is_for(study, key, value, said, not_said):
    put(study, key, value)
    with pytest.raises(InputError) as error:
        check(study, schema("config"), "config key")
    assert_sentence(error, f"'{key}'", said)
    assert not_said not in str(error.value)


SMALL = {
    "description": "A study.\nIn two lines.\n",
    "required": ["name"],
    "properties": {
        "name": {"examples": ["a"], "description": "of the folder"},
        "image": {"examples": ["x.sif"]},
        "rate": {"default": 5.0e-5},
        "none": {"default": None},
        "words": {"default": ["a b", "*", "no", "1.5", "plain_word", "a/b.c"]},
        "tasks": {
            "description": "What is predicted.\nA second line.\n",
            "default": [{"name": "t", "classes": {"0": [0]}}, {"name": "u", "of": [1]}],
            "notes": {"u": "the other"},
        },
        "section": {
            "description": "of two kinds",
            "properties": {
                "short": {"properties": {"a": {"default": 1}, "b": {"default": 2.0}}},
                "long": {"properties": {"c": {"default": True, "description": "whether"}}},
            },
        },
    },
}
TEXT = """\
# A study.
# In two lines.

name: a  # of the folder

# image: x.sif

rate: 5.0e-5

none: null

words: ["a b", "*", "no", "1.5", plain_word, a/b.c]

# What is predicted.
# A second line.
tasks:
  - name: t
    classes: {"0": [0]}
  - {name: u, of: [1]}  # the other

section:  # of two kinds
  short: {a: 1, b: 2.0}
  long:
    c: true  # whether
"""


def test_each_kind_of_key_is_written_as_one_writes_it():
    assert config_text(SMALL) == TEXT
    assert yaml.safe_load(TEXT) == {"name": "a"} | defaults(SMALL)
