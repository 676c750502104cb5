"""Parts of a model that regimes name, and the patterns of parameters behind them."""

import pytest
from messages import assert_sentence

from keygenes.core.errors import InputError
from keygenes.core.parts import (
    check_parts,
    chosen_by,
    embeddings_train,
    part_of,
    patterns_of,
    trains_head_alone,
)
from keygenes.core.regimes import trained_patterns

HEAD = ["bert.pooler.*", "classifier.*"]


def test_parts_stand_for_patterns_and_patterns_for_themselves():
    assert patterns_of(["all", "!layer.1", "!embeddings"]) == [
        *("*", "!bert.encoder.layer.0.*", "!bert.embeddings.*")
    ]
    assert patterns_of(["layer.last", "head"]) == ["bert.encoder.layer.{last}.*", *HEAD]
    assert patterns_of(["!head"]) == [f"!{pattern}" for pattern in HEAD]
    own = ["bert.encoder.layer.[01].*", "classifier.weight", "!*bias"]
    assert patterns_of(own) == own
    assert patterns_of(patterns_of(["all", "!layer.12", "head"])) == patterns_of(
        ["all", "!layer.12", "head"]
    )


@pytest.mark.parametrize(
    "part", ["layer.1", "layer.20", "layer.last", "embeddings", "output", "all"]
)
def test_a_part_is_known_by_its_pattern(part):
    (pattern,) = patterns_of([part])
    assert part_of(pattern) == part


def test_a_pattern_of_its_own_is_no_part():
    assert part_of("bert.encoder.layer.1.attention.*") is None
    assert part_of("bert.encoder.layer.*") is None


@pytest.mark.parametrize(
    ("item", "advice"),
    [("haed", "head"), ("layer.0", "layer.1"), ("!layer.lst", "layer.last"), ("xyz", "correct")],
)
def test_what_is_neither_part_nor_pattern_is_named(item, advice):
    check_parts(["head", "!layer.3", "classifier.*", "bert.pooler.dense.bias"], "here")
    with pytest.raises(InputError) as error:
        check_parts(["head", item], "config key 'regimes.a.train'")
    assert_sentence(error, "config key 'regimes.a.train'", item, advice)


def test_which_regimes_train_the_embeddings(study):
    trained = {
        regime["name"]: embeddings_train(trained_patterns(regime))
        for regime in study["regimes"]
        if "method" not in regime
    }
    assert {name for name, trains in trained.items() if not trains} == {
        *("frozen", "frozen_five_epochs", "last_layer", "random_frozen", "frozen_equal_length")
    }
    assert not embeddings_train(["*", "!bert.embeddings.*"])
    assert embeddings_train(["classifier.*", "bert.embeddings.LayerNorm.bias"])


def test_patterns_add_and_take_out_in_their_order():
    names = ["a.x", "a.y", "b.x"]
    assert chosen_by(["*"], names) == (set(names), [])
    assert chosen_by(["*", "!a.*", "a.y"], names) == ({"a.y", "b.x"}, [])
    assert chosen_by(["!a.*", "c.*", "a.*"], names) == ({"a.x", "a.y"}, ["c.*"])


def test_which_patterns_train_the_head_alone():
    assert trains_head_alone(HEAD)
    assert trains_head_alone(["classifier.*"])
    assert not trains_head_alone(["*"])
    assert not trains_head_alone([*HEAD, "bert.encoder.layer.{last}.*"])
    assert not trains_head_alone([*HEAD, "bert.embeddings.LayerNorm.*"])
    assert not trains_head_alone(["bert.nothing.*"])
