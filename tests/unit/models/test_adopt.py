import numpy as np
import pytest
import torch
from messages import assert_sentence
from tiny_study import model_files, task_fold, tiny_config, write_model, write_study
from transformers import BertForSequenceClassification

from keygenes.core.errors import InputError
from keygenes.core.files import read_json
from keygenes.core.jobs import Compute
from keygenes.core.tables import read_table
from keygenes.models.adopt import adopt_model, output_order
from keygenes.models.cells import task_cells
from keygenes.models.encoder import load_classifier, read_weights
from keygenes.models.head import cell_logits

OUTPUTS = ("model.safetensors", "config.json", "predictions.parquet", "loading.json")


def write_theirs(folder, names, **config):
    """Write a classifier as others save it: an old .bin, outputs by their names; return it."""
    folder.mkdir()
    config = tiny_config(**config)
    config.num_labels = len(names)
    config.id2label = dict(enumerate(names))
    torch.manual_seed(4)
    model = BertForSequenceClassification(config).eval()
    config.to_json_file(folder / "config.json")
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return model, {"weights": folder / "pytorch_model.bin", "config": folder / "config.json"}


def adopted(study, theirs, folder, **more):
    names = ("weights", "config", "predictions", "loading")
    adopt_model(
        task_fold(study),
        model_files(study | theirs, more.pop("max_length", 24)),
        {name: folder / file for name, file in zip(names, OUTPUTS, strict=True)},
        **{"classes": None, "compute": Compute(200), **more},
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.mark.parametrize("names", [["low", "high"], ["high", "low"]])
def test_it_predicts_as_theirs_and_its_outputs_follow_the_task(study, tmp_path, names):
    model, theirs = write_theirs(tmp_path / "theirs", names)
    adopted(study, theirs, tmp_path)
    table = read_table(tmp_path / "predictions.parquet")
    frame, cells, _ = task_cells(study["tokens"], study["labels"], study["splits"], "level", 1)
    assert table["cell"].tolist() == frame["cell"].tolist()
    ours, _ = load_classifier(tmp_path / "model.safetensors", tmp_path / "config.json")
    assert ours.config.id2label == {0: "low", 1: "high"}
    for row in (0, 7, 59):
        ids = torch.tensor(cells[row][None].astype(np.int64))
        with torch.no_grad():
            expected = model(input_ids=ids).logits.double().softmax(1)[0].numpy()
            own = cell_logits(ours, ids, torch.ones_like(ids)).double().softmax(1)[0].numpy()
        by_name = dict(zip(names, expected, strict=True))
        np.testing.assert_allclose(
            table["probabilities"][row], [by_name["low"], by_name["high"]], atol=1e-6
        )
        np.testing.assert_allclose(own, table["probabilities"][row], atol=1e-6)
        assert table["predicted"][row] == max(by_name, key=by_name.get)


def test_its_encoder_is_theirs_to_the_bit_and_nothing_was_trained(study, tmp_path):
    model, theirs = write_theirs(tmp_path / "theirs", ["low", "high"])
    adopted(study, theirs, tmp_path)
    after = read_weights(tmp_path / "model.safetensors")
    assert all(torch.equal(after[k], v) for k, v in model.state_dict().items())
    loading = read_json(tmp_path / "loading.json")
    assert loading["trained"] == loading["missing"] == loading["unexpected"] == []
    assert set(loading["loaded"]) == set(after)
    assert read_json(tmp_path / "config.json")["classifier_pooling"] == "first"


def test_unnamed_outputs_need_the_names_from_the_registry(study, tmp_path):
    _, theirs = write_theirs(tmp_path / "theirs", ["LABEL_0", "LABEL_1"])
    with pytest.raises(InputError) as error:
        adopted(study, theirs, tmp_path / "a")
    assert_sentence(
        error, str(theirs["config"]), "2 outputs, named LABEL_0, LABEL_1", "low, high", "'classes'"
    )
    assert not (tmp_path / "a").exists()
    adopted(study, theirs, tmp_path / "b", classes=["high", "low"])
    assert read_json(tmp_path / "b/config.json")["id2label"] == {"0": "low", "1": "high"}


@pytest.mark.parametrize("names", [["low"], ["low", "mid", "high"], ["low", "low"]])
def test_names_that_are_not_the_classes(names):
    config = tiny_config()
    config.num_labels = 2
    with pytest.raises(InputError) as error:
        output_order(config, names, ["low", "high"], "theirs/config.json")
    assert_sentence(error, "theirs/config.json", ", ".join(names), "low, high")


def test_weights_of_a_failed_training_and_other_kinds_of_models(study, tmp_path):
    model, theirs = write_theirs(tmp_path / "theirs", ["low", "high"])
    model.classifier.weight.data[0, 0] = torch.nan
    torch.save(model.state_dict(), theirs["weights"])
    with pytest.raises(InputError) as error:
        adopted(study, theirs, tmp_path / "a")
    assert_sentence(error, str(theirs["weights"]), "no finite logits")
    model.config.problem_type = "regression"
    model.config.to_json_file(theirs["config"])
    with pytest.raises(InputError) as error:
        adopted(study, theirs, tmp_path / "a")
    assert_sentence(error, str(theirs["config"]), "regression", "one class")
    model.config.problem_type, model.config.classifier_pooling = None, "max"
    model.config.to_json_file(theirs["config"])
    with pytest.raises(InputError) as error:
        adopted(study, theirs, tmp_path / "a")
    assert_sentence(error, "'classifier_pooling'", "'max'", "first, mean, cls")
    assert not (tmp_path / "a").exists()


def test_a_masked_model_and_another_vocabulary_are_refused(study, tmp_path):
    with pytest.raises(InputError) as error:
        adopted(study, write_model(tmp_path / "base"), tmp_path / "a")
    assert_sentence(error, "model.safetensors", "missing", "unknown")
    _, theirs = write_theirs(tmp_path / "theirs", ["low", "high"], n_tokens=50)
    with pytest.raises(InputError) as error:
        adopted(study, theirs, tmp_path / "a")
    assert_sentence(error, str(theirs["config"]), "50 tokens", "32 tokens")
