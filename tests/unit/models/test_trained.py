import pytest
import torch
from messages import assert_sentence
from tiny_study import tiny_config
from v1_model import v1_model

from keygenes.core.config import read_yaml
from keygenes.core.errors import InputError
from keygenes.core.regimes import trained_patterns
from keygenes.models.families.geneformer import CellClassifier
from keygenes.models.head import cell_logits
from keygenes.models.trained import count_trainable, train_mode, train_only

IDS = torch.tensor([[3, 9, 4, 12, 6], [5, 2, 7, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
# facts of Geneformer V1 with a head of five classes
TRAINABLE = {
    "full": 10_264_069,
    "upstream_freeze6": 7_101_445,
    "upstream_freeze5": 7_628_549,
    "frozen": 67_077,
    "last_layer": 594_181,
}


@pytest.fixture(scope="module")
def v1():
    return v1_model()


@pytest.mark.parametrize("regime", TRAINABLE)
def test_the_regimes_of_the_study_train_as_many_parameters_as_upstream(v1, repository, regime):
    regimes = {r["name"]: r for r in read_yaml(repository / "config/config.yaml")["regimes"]}
    names = train_only(v1, trained_patterns(regimes[regime]))
    assert count_trainable(v1) == TRAINABLE[regime]
    shapes = dict(v1.named_parameters())
    assert sum(shapes[name].numel() for name in names) == TRAINABLE[regime]


def test_the_demo_names_the_same_regimes(repository):
    files = [read_yaml(repository / f"config/{name}.yaml") for name in ("config", "demo")]
    study, demo = ({r["name"]: r.get("train") for r in file["regimes"]} for file in files)
    assert {name: study[name] for name in demo} == demo


def test_a_classifier_alone_has_1285_parameters_and_choices_do_not_add_up(v1):
    train_only(v1, ["*"])
    train_only(v1, ["classifier.*"])
    assert count_trainable(v1) == 1_285
    assert train_only(v1, ["classifier.bias", "classifier.*"]) == [
        *("classifier.weight", "classifier.bias")
    ]


def test_a_pattern_that_matches_nothing(v1):
    with pytest.raises(InputError) as error:
        train_only(v1, ["classifier.*", "bert.encoder.layer.6.*"])
    assert_sentence(error, "config key 'regimes'", "'bert.encoder.layer.6.*'")


@pytest.mark.parametrize("patterns", [["!*"], ["*", "!bert.*", "!classifier.*"], ["{foo}"], ["{"]])
def test_patterns_that_leave_nothing_or_are_none(v1, patterns):
    with pytest.raises(InputError) as error:
        train_only(v1, patterns, "config key 'regimes.mine'")
    assert_sentence(error, "config key 'regimes.mine'", patterns[-1])


def test_dropout_is_on_where_something_trains_and_off_in_a_frozen_trunk():
    model = CellClassifier(tiny_config())

    def dropouts():
        return {
            name.replace("bert.", "").replace("encoder.", ""): module.training
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Dropout)
        }

    train_only(model, ["*"])
    train_mode(model)
    assert len(dropouts()) == 2 + 2 * 2
    assert all(dropouts().values())

    train_only(model, ["bert.pooler.*", "classifier.*"])
    train_mode(model)
    assert [name for name, on in dropouts().items() if on] == ["dropout"]
    assert model.classifier.training
    assert not model.trunk.layers[0].training

    train_only(model, ["bert.encoder.layer.{last}.*", "bert.pooler.*", "classifier.*"])
    train_mode(model)
    on = {name for name, is_on in dropouts().items() if is_on}
    assert on == {name for name in dropouts() if name.startswith("layer.1.")} | {"dropout"}
    model.eval()
    assert not any(dropouts().values())


def test_training_mode_changes_the_output_only_where_something_trains():
    model = CellClassifier(tiny_config())
    model.dropout.p = 0.0
    with torch.no_grad():
        model.eval()
        expected = cell_logits(model, IDS, MASK)
        train_only(model, ["classifier.*"])
        train_mode(model)
        assert torch.equal(cell_logits(model, IDS, MASK), expected)
        train_only(model, ["*"])
        train_mode(model)
        assert not torch.equal(cell_logits(model, IDS, MASK), expected)
