"""Configs and registries made to harm, or changed at random: taken, or refused in a sentence."""

import copy
import math
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from messages import assert_sentence
from running import whole_config
from studies import put, registries, schema

from keygenes.core import config as config_files
from keygenes.core.claims_file import read_claims
from keygenes.core.config import read_yaml
from keygenes.core.defaults import defaults, lay_under
from keygenes.core.errors import InputError
from keygenes.core.resolve import read_registry, resolve

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
MAPPED_LAUGHS = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{l: *a{i - 1}, r: *a{i - 1}}}\n" for i in range(1, 60)
)
YAML = {
    "a billion laughs": LAUGHS,
    "a billion mapped laughs": MAPPED_LAUGHS,
    "a list of itself": "a: &a [*a]\n",
    "a mapping of itself": "a: &a {b: *a}\n",
    "a tag that calls": "a: !!python/object/apply:os.getpid []\n",
    "a tag that names": "a: !!python/name:os.system\n",
    "an unknown tag": "a: !someone x\n",
    "a key twice": "a: 1\nb: 2\na: 3\n",
    "a key twice, below": "a: {b: [{c: 1, c: 2}]}\n",
    "a depth without end": "a: " + "[" * 3000 + "]" * 3000 + "\n",
    "a day that is none": "a: 2024-13-99\n",
    "a number of 5,000 digits": f"a: {'9' * 5000}\n",
    "a number of 70 bits": f"a: {2**70}\n",
    "no number": "a: .nan\n",
    "infinity": "a: [1, -.inf]\n",
    "a key that is a list": "? [a]\n: 1\n",
    "a key that is a number": "1: x\n",
    "a key that is true": "no: x\n",
    "a key that is nothing": "~: x\n",
    "a key without end": f"? {'k' * 100_000}\n: 1\n",
    "a NUL": 'a: "x\\0y"\n',
    "a colour": 'a: "\\e[31mred"\n',
    "from right to left": 'a: "abc\\u202Edcba"\n',
    "text without end": f"a: {'x' * 100_000}\n",
    "no UTF-8": b"a: \xff\xfe\n",
    "another encoding": "a: b\n".encode("utf-16"),
    "raw controls": b"a: \x00\x01\n",
    "10 MB": "".join(f"k{i}: value number {i}\n" for i in range(400_000)),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", YAML)
def test_yaml_that_is_more_than_plain_values(tmp_path, case):
    path, text = tmp_path / "own.yaml", YAML[case]
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for read in (
        read_yaml,
        lambda path: read_registry([path], schema("datasets")),
        lambda path: read_claims(path, schema("claims")),
    ):
        started = time.monotonic()
        with pytest.raises(InputError) as error:
            read(path)
        message = str(error.value)
        assert message.startswith(str(path)) and message.endswith(".")
        assert message.isprintable() and len(message) < 3000
        assert time.monotonic() - started < 10


def test_aliases_and_merges_of_a_sensible_size_are_read(tmp_path):
    (tmp_path / "own.yaml").write_text("a: &a {x: 1, y: [2]}\nb: {<<: *a, x: 3}\nc: [*a, *a]\n")
    a = {"x": 1, "y": [2]}
    assert read_yaml(tmp_path / "own.yaml") == {"a": a, "b": {**a, "x": 3}, "c": [a, a]}


@pytest.mark.slow
@pytest.mark.parametrize("word", ["no", "off", "yes", "on", "true"])
@pytest.mark.parametrize("key", ["study", "select.drug", "evidence.marker"])
def test_a_word_that_yaml_takes_for_true_or_false(study, key, word):
    put(study, key, yaml.safe_load(word))
    with pytest.raises(InputError) as error:
        config_files.check(study, schema("config"), "config key")
    assert_sentence(error, f"config key '{key}'", "write it in quotes: YAML reads yes, no")


NO_NAMES = [
    "../../x",
    "/etc/x",
    "a/b",
    "..",
    "a\n",
    "a\\b",
    "a b",
    "{a}",
    "a" * 61,
    "",
    "ä",
    "$(x)",
]
NO_NAMES += ["=cmd", "<b>", "a;b", "-a", "*"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize(
    "key", ["study", "dataset", "model", "tasks.0.name", "regimes.0.name", "tokens.vocabulary"]
)
def test_a_name_that_becomes_a_path_is_a_plain_word(study, key, name):
    put(study, key, name)
    with pytest.raises(InputError) as error:
        config_files.check(study, schema("config"), "config key")
    assert_sentence(error, "config key '", "found")


ENTRIES = {
    "datasets": {"datasets": {"title": "t", "layout": "h5ad"}},
    "models": {
        "models": {"title": "t", "vocabulary": "v", "folder": "f"},
        "vocabularies": {
            **{"title": "t", "version": "v1"},
            "files": {part: {"path": "p"} for part in ("tokens", "medians", "names")},
        },
    },
    "gene_sets": {
        "gene_sets": {"title": "t", "format": "tsv", "file": {"path": "p"}},
        "gene_classes": {
            **{"title": "t", "file": {"path": "p"}},
            "classes": {"a": {"x": ["1"]}, "b": {"x": ["2"]}},
        },
    },
}
PARTS = [(kind, part) for kind, parts in ENTRIES.items() for part in parts]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "part"), PARTS)
@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/b", "a\n", "a b", "{a}", "<b>", "a" * 61])
def test_a_name_of_a_registry_is_a_plain_word(here, tmp_path, kind, part, name):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({part: {"plain": ENTRIES[kind][part]}}))
    assert list(read_registry([path], schema(kind))[part]) == ["plain"]
    path.write_text(yaml.safe_dump({part: {name: ENTRIES[kind][part]}}))
    with pytest.raises(InputError) as error:
        read_registry([path], schema(kind))
    assert_sentence(error, f"{path}, key '{part}")


def in_the_mirror(kind, mirror_path):
    spec = {"mirror_path": mirror_path}
    if kind == "datasets":
        return {kind: {"a": {**ENTRIES[kind][kind], "files": {"matrix": spec}}}}
    if kind == "gene_sets":
        return {kind: {"a": {**ENTRIES[kind][kind], "file": spec}}}
    return {
        kind: {"a": {"title": "t", "vocabulary": "v", "files": {"config": spec, "weights": spec}}}
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENTRIES)
@pytest.mark.parametrize(
    ("mirror_path", "fits"),
    [
        ("../x", False),
        ("a/../../x", False),
        ("a/..", False),
        ("./a", False),
        ("a/./b", False),
        ("a//b", False),
        ("/a", False),
        ("a/", False),
        ("..", False),
        (".", False),
        ("", False),
        ("a\n", False),
        ("a\\..\\b", False),
        ("{path}", False),
        ("a" * 1001, False),
        ("a", True),
        ("a/.b/..c/d..e/f.h5ad", True),
        ("a b/ü (1)/基因.h5ad", True),
    ],
)
def test_a_mirror_path_stays_below_the_mirror(here, tmp_path, kind, mirror_path, fits):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(in_the_mirror(kind, mirror_path), allow_unicode=True))
    if fits:
        assert read_registry([path], schema(kind))
        return
    with pytest.raises(InputError) as error:
        read_registry([path], schema(kind))
    assert_sentence(error, f"{path}, key '{kind}.a", "mirror_path")


def test_two_files_do_not_share_a_place(study, tmp_path):
    spec = {"path": str(tmp_path / "one" / "m.h5ad"), "sha256": "0" * 64}
    other = {**spec, "path": str(tmp_path / "two" / "m.h5ad")}
    datasets, models, sets = copy.deepcopy(registries(study))
    entry = {"title": "t", "layout": "geo", "files": {"cells": spec, "counts": other}}
    datasets["datasets"][study["dataset"]] = entry
    with pytest.raises(InputError) as error:
        resolve(study, datasets["datasets"], models, sets["gene_sets"], {})
    assert_sentence(error, "file 'counts'", "resources/m.h5ad", "file 'cells' as well")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tokens.shards", 10**9),
        ("attention.shards", 10**9),
        ("seeds", [2**32]),
        ("select.seed", 2**40),
        ("finetune.learning_rate", math.nan),
        ("select.min_counts", math.inf),
        ("finetune.epochs", 10**400),
        ("finetune.weight_decay", -math.inf),
    ],
)
def test_numbers_that_no_study_has(study, key, value):
    put(study, key, value)
    started = time.monotonic()
    with pytest.raises(InputError) as error:
        config_files.check(study, schema("config"), "config key")
    assert_sentence(error, f"config key '{key}")
    assert time.monotonic() - started < 5


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["full", "frozen", "pretrain", "dataset", "../x", "level", "dose_um", "no"]),
    st.sampled_from(["simulated_sciplex", "simulated_atlas", "p53_textbook", "*", "!*", "1e-5"]),
)
KEYS = st.one_of(st.text(max_size=6), st.integers(-3, 3), st.sampled_from(["name", "tokens", None]))
DOCUMENTS = st.recursive(
    LEAVES,
    lambda parts: st.one_of(st.lists(parts, max_size=3), st.dictionaries(KEYS, parts, max_size=3)),
    max_leaves=6,
)


def places(document, path=()):
    """Yield the path of every value in a document."""
    parts = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in parts:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


DEMO = whole_config("config/demo_thesis.yaml")


@pytest.fixture
def of_the_demo(here):
    return registries(DEMO)


@pytest.mark.slow
@settings(max_examples=200)
@given(st.data())
def test_a_changed_config_is_taken_or_refused_in_a_sentence(of_the_demo, data):
    config = copy.deepcopy(DEMO)
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from(list(places(config))))
        place = config
        for key in parents:
            place = place[key]
        change = data.draw(st.sampled_from(["set", "set", "delete", "add", "twice"]))
        if change == "delete":
            del place[last]
        elif change == "add" and isinstance(place[last], dict):
            place[last][data.draw(KEYS)] = data.draw(DOCUMENTS)
        elif change == "twice" and isinstance(place, list):
            place.append(copy.deepcopy(place[last]))
        else:
            place[last] = data.draw(DOCUMENTS)
    datasets, models, sets = of_the_demo
    started = time.monotonic()
    try:
        lay_under(config, defaults(schema("config")))
        config_files.check(config, schema("config"), "config key")
        config_files.check_relations(config)
        found = resolve(config, datasets["datasets"], models, sets["gene_sets"], {})
    except InputError as error:
        assert_sentence(error)
    else:
        assert found["dataset"] == datasets["datasets"][config["dataset"]]
        assert {regime["name"] for regime in config["regimes"]} >= set(
            config["evidence"]["regimes"]
        )
    assert time.monotonic() - started < 5
