import functools
import json
import logging
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from messages import assert_sentence
from stated import logged
from tiny_study import model_files, task_fold, write_model, write_study

from keygenes.core.errors import InputError
from keygenes.core.files import checksum, read_json
from keygenes.core.jobs import Compute
from keygenes.core.regimes import PRESETS
from keygenes.core.runs import Run
from keygenes.core.tables import read_table, write_table
from keygenes.models import batches
from keygenes.models import finetune as module
from keygenes.models.batches import padded
from keygenes.models.cells import of_split, task_cells
from keygenes.models.device import Hardware, autocast, set_up_torch
from keygenes.models.encoder import load_classifier, read_weights
from keygenes.models.finetune import (
    Regime,
    class_logits,
    finetune,
    loss_and_accuracy,
    predictions_table,
)
from keygenes.models.head import cell_logits

FULL = ["*"]
FROZEN = ["bert.pooler.*", "classifier.*"]
OPTIONS = {
    "epochs": 3,
    "batch_size": 6,
    "learning_rate": 2e-3,
    "weight_decay": 0.001,
    "warmup_steps": 500,
    "warmup_fraction": 0.1,
    "max_grad_norm": 1.0,
    "attention_dropout": None,
    "pooling": None,
    "keep_epoch": "best",
    "converge": None,
}
OUTPUTS = (
    *("model.safetensors", "config.json", "history.parquet", "predictions.parquet"),
    "loading.json",
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return {**write_study(folder), **write_model(folder / "base")}


def tuned(study, folder, *, patterns=FULL, fold=1, seed=1, options=OPTIONS, **more):
    max_length, compute = more.pop("max_length", 24), more.pop("compute", Compute(200))
    out = {name.split(".")[0]: folder / name for name in OUTPUTS}
    finetune(
        files=task_fold(study, fold),
        model_files=model_files(study, max_length),
        out={"weights": out.pop("model"), **out},
        run=Run(fold, seed),
        regime=Regime(patterns, options, **more),
        compute=compute,
    )
    return {file: (folder / file).read_bytes() for file in OUTPUTS}


def on_cpu(batch_tokens):
    return Hardware(torch.device("cpu"), "float32", batch_tokens)


@pytest.fixture(scope="module")
def whole(study, tmp_path_factory):
    """Return the files of one unbroken run."""
    return tuned(study, tmp_path_factory.mktemp("whole"))


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(study, whole, tmp_path):
    torch.rand(7)  # whatever was drawn before
    assert tuned(study, tmp_path) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(OUTPUTS)


@pytest.mark.slow
def test_the_fold_chooses_the_cells_and_the_seed_the_rest(study, whole, tmp_path):
    splits = read_table(study["splits"]).set_index("cell")
    models = {whole["model.safetensors"]}
    for fold, seed in ((1, 2), (2, 1)):
        folder = tmp_path / f"{fold}{seed}"
        models.add(tuned(study, folder, fold=fold, seed=seed)["model.safetensors"])
        table = read_table(folder / "predictions.parquet").set_index("cell")
        of_fold = splits.loc[splits["fold"] == fold, "split"]
        assert (table["split"].astype(str) == of_fold[table.index].astype(str)).all()
    assert len(models) == 3


def test_beside_the_model_stands_what_was_loaded_and_what_trained(study, tmp_path):
    tuned(study, tmp_path, patterns=FROZEN)
    loading = read_json(tmp_path / "loading.json")
    new = ["bert.pooler.dense.bias", "bert.pooler.dense.weight"]
    assert loading["missing"] == [*new, "classifier.bias", "classifier.weight"]
    assert set(loading["trained"]) == set(loading["missing"])
    assert loading["unexpected"] == sorted(
        k for k in read_weights(study["weights"]) if k.startswith("cls.")
    )
    assert len(loading["loaded"]) == 5 + 2 * 16
    head = 16 * 16 + 16 + 16 * 2 + 2
    everything = sum(v.numel() for v in read_weights(tmp_path / "model.safetensors").values())
    assert loading["parameters"] == {"trained": head, "all": everything}
    assert loading["weights_sha256"] == checksum(study["weights"])


@pytest.mark.slow
def test_without_weights_all_of_the_model_starts_at_random(study, tmp_path):
    random = {**study, "weights": None}
    files = tuned(random, tmp_path, patterns=FROZEN)
    loading = read_json(tmp_path / "loading.json")
    assert (loading["weights_sha256"], loading["loaded"]) == (None, [])
    assert loading["missing"] == sorted(read_weights(tmp_path / "model.safetensors"))
    torch.rand(7)
    assert tuned(random, tmp_path / "again", patterns=FROZEN) == files
    tuned(random, tmp_path / "other", patterns=FROZEN, seed=2)
    # The seed decides the encoder too; its shape and the spread of its weights are the config's.
    one, other = (read_weights(tmp_path / f"{f}model.safetensors") for f in ("", "other/"))
    layer = "bert.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(one[layer], other[layer])
    assert one[layer].std().item() == pytest.approx(0.3, rel=0.15)
    assert not torch.equal(one[layer], read_weights(study["weights"])[layer])


@pytest.mark.slow
def test_the_frozen_layers_of_a_random_encoder_are_computed_once_too(study, tmp_path, caplog):
    random = {**study, "weights": None}
    without = tuned(random, tmp_path / "a", patterns=FROZEN)
    with caplog.at_level(logging.INFO, "keygenes"):
        cache = {"max_gb": 1, "dtype": "float32"}
        tuned(random, tmp_path / "b", patterns=FROZEN, cache=cache)
    assert "pooled_first" in caplog.text
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == sorted(OUTPUTS)
    a, b = (read_weights(tmp_path / f"{f}/model.safetensors") for f in "ab")
    assert without["model.safetensors"]
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=1e-4, rtol=0)


@pytest.mark.slow
def test_the_mean_is_pooled_in_training_and_known_to_the_saved_model(study, whole, tmp_path):
    mean = tuned(study, tmp_path, options={**OPTIONS, "pooling": "mean"})
    assert json.loads(whole["config.json"])["classifier_pooling"] == "first"
    assert json.loads(mean["config.json"])["classifier_pooling"] == "mean"
    assert mean["model.safetensors"] != whole["model.safetensors"]
    table = read_table(tmp_path / "predictions.parquet")
    _, cells, _ = task_cells(study["tokens"], study["labels"], study["splits"], "level", 1)
    model, _ = load_classifier(tmp_path / "model.safetensors", tmp_path / "config.json")
    for row in (0, 59):
        ids = torch.tensor(cells[row][None].astype(np.int64))
        with torch.no_grad():
            state = model.trunk(ids, torch.ones_like(ids)).mean(1)
            pooled = torch.tanh(model.trunk.pooler.dense(state))
            expected = model.classifier(pooled).double().softmax(1)[0].numpy()
        np.testing.assert_allclose(table["probabilities"][row], expected, atol=1e-5)


@pytest.mark.slow
def test_pooling_at_cls_needs_a_cls(study, tmp_path):
    with pytest.raises(InputError) as error:
        tuned(study, tmp_path, options={**OPTIONS, "pooling": "cls"})
    assert_sentence(error, "config key 'finetune.pooling'", "no <cls>", "'first' or 'mean'")
    study = {
        **write_study(tmp_path / "v2", specials=("<pad>", "<mask>", "<cls>", "<eos>")),
        **write_model(tmp_path / "v2/base", n_tokens=34),
    }
    tuned(study, tmp_path, max_length=24)
    config = read_json(tmp_path / "config.json")
    assert (config["classifier_pooling"], config["pooling_leaves_out"]) == ("cls", [2, 3])


def test_upstream_s_500_warm_up_steps_outlast_a_small_run(study, tmp_path):
    options = {**OPTIONS, **PRESETS["upstream"], "epochs": 2}
    with pytest.raises(InputError) as error:
        tuned(study, tmp_path, options=options)
    assert_sentence(error, "'finetune.warmup_steps'", "500 warm-up steps in a run of 6")


@pytest.mark.slow
def test_attention_dropout_is_the_model_s_own_unless_the_config_says_otherwise(
    study, whole, tmp_path
):
    own = read_json(study["config"])["attention_probs_dropout_prob"]
    assert json.loads(whole["config.json"])["attention_probs_dropout_prob"] == own == 0.1
    without = tuned(study, tmp_path, options={**OPTIONS, "attention_dropout": 0.0})
    config = json.loads(without["config.json"])
    assert config["attention_probs_dropout_prob"] == 0.0
    assert config["hidden_dropout_prob"] == 0.1
    assert without["model.safetensors"] != whole["model.safetensors"]


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [2, 3])
def test_a_run_stopped_in_an_epoch_gives_the_bytes_of_an_unbroken_one(
    study, whole, tmp_path, monkeypatch, caplog, epoch
):
    calls = []

    def stops(*args):
        calls.append(args)
        if len(calls) == epoch:
            raise KeyboardInterrupt
        return loss_and_accuracy(*args)

    monkeypatch.setattr(module, "loss_and_accuracy", stops)
    with pytest.raises(KeyboardInterrupt):
        tuned(study, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["resume.pt"]
    monkeypatch.undo()
    torch.rand(7)
    with caplog.at_level(logging.INFO, "keygenes"):
        assert tuned(study, tmp_path) == whole
    assert logged(caplog, "epoch", epoch - 1)
    assert not (tmp_path / "resume.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("change", ["labels", "weights", "options", "tokens", "validation"])
def test_a_stopped_run_of_other_inputs_starts_over(study, tmp_path, monkeypatch, caplog, change):
    def stops(*args):
        monkeypatch.undo()  # the first validation passes, the second does not
        monkeypatch.setattr(module, "loss_and_accuracy", lambda *a: 1 / 0)
        return loss_and_accuracy(*args)

    monkeypatch.setattr(module, "loss_and_accuracy", stops)
    with pytest.raises(ZeroDivisionError):
        tuned(study, tmp_path)
    monkeypatch.undo()

    other, options = dict(study), OPTIONS
    if change == "labels":
        other["labels"] = tmp_path / "labels.parquet"
        table = read_table(study["labels"])
        classes = table["level"].cat.categories
        table["level"] = pd.Categorical.from_codes(1 - table["level"].cat.codes, classes)
        write_table(table, other["labels"])
    elif change == "weights":
        other.update(write_model(tmp_path / "base", seed=9))
    elif change == "options":
        options = {**OPTIONS, "weight_decay": 0.01}
    elif change == "tokens":
        other["tokens"] = tmp_path / "tokens.parquet"
        table = read_table(study["tokens"])
        table.at[0, "input_ids"] = table.at[0, "input_ids"][::-1]
        write_table(table, other["tokens"], "tokens")
    else:
        other["splits"] = tmp_path / "splits.parquet"
        table = read_table(study["splits"])
        one = table.index[(table["fold"] == 1) & (table["split"] == "valid")][0]
        table = table.assign(split=table["split"].astype(str).where(table.index != one, "test"))
        write_table(table, other["splits"], "splits")
    with caplog.at_level(logging.INFO, "keygenes"):
        tuned(other, tmp_path, options=options)
    assert logged(caplog, str(tmp_path / "resume.pt"))


def test_a_frozen_encoder_stays_as_it_was_to_the_bit(study, tmp_path):
    tuned(study, tmp_path, patterns=FROZEN)
    base = read_weights(study["weights"])
    after = read_weights(tmp_path / "model.safetensors")
    encoder = {k for k in after if k.startswith(("bert.embeddings.", "bert.encoder."))}
    assert len(encoder) == 5 + 2 * 16
    assert all(torch.equal(after[k], base[k]) for k in encoder)


def test_only_what_a_regime_names_has_moved(study, tmp_path):
    tuned(study, tmp_path, patterns=["bert.encoder.layer.{last}.*", *FROZEN])
    base = read_weights(study["weights"])
    after = read_weights(tmp_path / "model.safetensors")
    moved = {k for k in after if k in base and not torch.equal(after[k], base[k])}
    assert {k.rsplit(".", 1)[0].split(".")[3] for k in moved} == {"1"}
    # a key's bias shifts all scores of a query alike: its gradient is rounding, not zero
    assert len(moved) == 16


@pytest.mark.slow
def test_it_learns_and_the_saved_model_predicts_what_the_table_says(study, tmp_path):
    tuned(study, tmp_path, options={**OPTIONS, "epochs": 15, "learning_rate": 5e-3})
    table = read_table(tmp_path / "predictions.parquet")
    test = table[table["split"] == "test"]
    assert (test["true"].astype(str) == test["predicted"].astype(str)).mean() > 0.8
    assert len(table) == 60
    assert list(table["true"].cat.categories) == ["low", "high"]
    frame, cells, _ = task_cells(study["tokens"], study["labels"], study["splits"], "level", 1)
    assert table["cell"].tolist() == frame["cell"].tolist()
    model, _ = load_classifier(tmp_path / "model.safetensors", tmp_path / "config.json")
    for row in (0, 7, 59):  # alone, without padding
        with torch.no_grad():
            logits = cell_logits(model, *padded([cells[row]]))
        expected = logits.double().softmax(1)[0].numpy()
        np.testing.assert_allclose(table["probabilities"][row], expected, atol=1e-5)
        assert table["predicted"][row] == ["low", "high"][expected.argmax()]


@pytest.mark.slow
def test_the_history_is_that_of_the_best_epoch(study, whole, tmp_path):
    tuned(study, tmp_path)
    history = read_table(tmp_path / "history.parquet")
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["step"].tolist() == [6, 12, 18]
    assert history["best"].sum() == 1
    table = read_table(tmp_path / "predictions.parquet")
    valid = table[table["split"] == "valid"]
    codes = valid["true"].cat.codes.to_numpy()
    probabilities = np.stack(valid["probabilities"].to_list())
    loss = -np.log(probabilities[np.arange(len(codes)), codes]).mean()
    best = history.loc[history["best"]].iloc[0]
    assert best["valid_loss"] == pytest.approx(loss, abs=1e-5)
    assert best["valid_accuracy"] == pytest.approx((probabilities.argmax(1) == codes).mean())


@pytest.mark.slow
def test_all_epochs_train_and_the_last_is_kept_where_none_is_chosen(study, whole, tmp_path):
    last = tuned(study, tmp_path, options={**OPTIONS, "keep_epoch": "last"})
    history = read_table(tmp_path / "history.parquet")
    assert history["best"].tolist() == [False, False, True]
    assert history[["valid_loss", "valid_accuracy"]].notna().all(axis=None)
    short = {**OPTIONS, "epochs": 2, "keep_epoch": "last"}
    assert tuned(study, tmp_path / "b", options=short) != last


def test_a_rate_far_too_high_is_refused_and_leaves_no_model(study, tmp_path):
    with pytest.raises(InputError) as error:
        tuned(study, tmp_path, options={**OPTIONS, "learning_rate": 1e38, "epochs": 6})
    assert_sentence(error, "level, fold1.seed1", "a loss of", "lower learning_rate")
    assert not (tmp_path / "model.safetensors").exists()


def test_a_model_with_another_vocabulary(study, tmp_path):
    other = write_model(tmp_path / "base", n_tokens=50)
    with pytest.raises(InputError) as error:
        tuned({**study, **other}, tmp_path)
    assert_sentence(error, str(other["config"]), "a model of 50 tokens", "the 32 tokens")
    with pytest.raises(InputError) as error:
        tuned(study, tmp_path, max_length=25)
    assert_sentence(error, str(study["config"]), "24 positions", "25")


def test_logits_do_not_depend_on_the_batches(study):
    frame, cells, _ = task_cells(study["tokens"], study["labels"], study["splits"], "level", 1)
    model, _ = module.pretrained_classifier(
        study["weights"], module.read_config(study["config"]), ["a", "b", "c"], 1
    )
    model.eval()
    alone, together = (class_logits(model, cells, on_cpu(n)) for n in (1, 10_000))
    assert alone.shape == (60, 3)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)


def test_validation_goes_on_in_halves_when_memory_runs_out(study, monkeypatch, caplog):
    _, cells, _ = task_cells(study["tokens"], study["labels"], study["splits"], "level", 1)
    model, _ = module.pretrained_classifier(
        study["weights"], module.read_config(study["config"]), ["a", "b", "c"], 1
    )
    model.eval()
    whole = on_cpu(10_000)
    expected, sizes, logits = class_logits(model, cells, whole), [], module.batch_logits

    def small(model, cells, states, batch, device):
        assert torch.is_inference_mode_enabled()
        sizes.append(len(batch))
        if len(batch) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits(model, cells, states, batch, device)

    monkeypatch.setattr(module, "batch_logits", small)
    torch.testing.assert_close(class_logits(model, cells, whole), expected, atol=1e-5, rtol=0)
    assert sizes == [60, 30, 15, 15, 30, 15, 15]
    assert logged(caplog, 60, 30)


@pytest.mark.slow
def test_compiled_layers_learn_the_same(study, tmp_path, monkeypatch):
    compiled, options = [], {**OPTIONS, "epochs": 1}
    plain = torch.nn.Module.compile

    def eager(self, **how):
        compiled.append(type(self).__name__)
        plain(self, **how, backend="eager")  # no C++ compiler is needed for this one

    monkeypatch.setattr(torch.nn.Module, "compile", eager)
    expected = tuned(study, tmp_path / "a", options=options)
    assert compiled == []
    tuned(study, tmp_path / "b", options=options, compiled=True)
    assert compiled == ["Layer"] * 2
    names = read_weights(tmp_path / "a/model.safetensors").keys()
    assert read_weights(tmp_path / "b/model.safetensors").keys() == names
    histories = [read_table(tmp_path / f / "history.parquet") for f in "ab"]
    np.testing.assert_allclose(*(history["valid_loss"] for history in histories), atol=1e-4, rtol=0)
    assert expected["config.json"] == (tmp_path / "b/config.json").read_bytes()


def test_loss_and_accuracy_of_known_logits():
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0], [0.0, 0.0]])
    loss, accuracy = loss_and_accuracy(logits, torch.tensor([0, 1, 1, 0]))
    expected = [np.log1p(np.exp(-2)), np.log1p(np.exp(-2)), np.log1p(np.e), np.log(2)]
    assert loss == pytest.approx(np.mean(expected), abs=1e-6)
    assert accuracy == 0.75


def test_predictions_name_the_most_probable_class():
    frame = pd.DataFrame({"cell": ["x", "y"], "split": "test", "label": [2, 0]})
    table = predictions_table(frame, np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]]), list("bac"))
    assert table["true"].tolist() == ["c", "b"]
    assert table["predicted"].tolist() == ["a", "b"]
    assert list(table["true"].cat.categories) == ["b", "a", "c"]


def test_the_cells_of_a_task_come_in_the_order_of_the_tokens(study, tmp_path):
    paths = [tmp_path / name for name in ("labels", "splits")]
    labels = read_table(study["labels"]).iloc[::-1].reset_index(drop=True)
    labels.loc[labels["cell"] == "c3", "level"] = None
    write_table(labels, paths[0])
    splits = read_table(study["splits"]).sample(frac=1, random_state=0)
    write_table(splits[splits["cell"] != "c4"], paths[1], "splits")
    frame, cells, classes = task_cells(study["tokens"], *paths, "level", 2)
    assert frame["cell"].tolist() == [f"c{i}" for i in range(60) if i not in (3, 4)]
    assert classes == ["low", "high"]
    tokens = read_table(study["tokens"]).set_index("cell")["input_ids"]
    of_fold = splits[splits["fold"] == 2].set_index("cell")["split"]
    for row, ids in zip(frame.itertuples(), cells, strict=True):
        assert ids.tolist() == tokens[row.cell].tolist()
        assert row.split == of_fold[row.cell]
        assert row.label == int(row.cell[1:]) % 2
    test_frame, test_cells = of_split(frame, cells, "test")
    assert set(test_frame["split"]) == {"test"}
    assert [c.tolist() for c in test_cells] == [
        tokens[name].tolist() for name in test_frame["cell"]
    ]


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_class_without_a_cell_to_learn_from(study, tmp_path, split):
    table = read_table(study["splits"])
    odd = table["cell"].str[1:].astype(int) % 2 == 1
    table = table[~(odd & (table["split"] == split))]
    write_table(table, tmp_path / "splits", "splits")
    with pytest.raises(InputError) as error:
        task_cells(study["tokens"], study["labels"], tmp_path / "splits", "level", 1)
    assert_sentence(error, "config key 'tasks.level'", f"no {split} cell of class high", "fold 1")


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert set_up_torch(Compute(device="auto")).type == "cpu"
    with pytest.raises(InputError) as error:
        set_up_torch(Compute(device="cuda"))
    assert_sentence(error, "config key 'compute.device'", "torch sees no GPU", "'cpu'")


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_gpu_is_asked_for_the_same_bytes_where_the_config_wants_them(monkeypatch, deterministic):
    asked = {}
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("enable_flash_sdp", "enable_mem_efficient_sdp"):
        monkeypatch.setattr(torch.backends.cuda, name, functools.partial(asked.__setitem__, name))
    monkeypatch.setattr(
        torch, "set_deterministic_debug_mode", functools.partial(asked.__setitem__, "mode")
    )
    assert set_up_torch(Compute(device="auto", deterministic=deterministic)).type == "cuda"
    unfused = {"enable_flash_sdp": False, "enable_mem_efficient_sdp": False}
    assert asked == ({**unfused, "mode": "error"} if deterministic else {})
    # read anew for every matrix product where it is set
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == deterministic


def test_jobs_that_share_a_card_have_a_part_of_its_memory_each(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", asked.append)
    set_up_torch(Compute(device="cuda"))
    set_up_torch(Compute(device="cuda", jobs_per_gpu=4))
    set_up_torch(Compute(device="cpu", jobs_per_gpu=4))
    assert asked == [0.25]


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["first", "mean"])
@pytest.mark.parametrize(
    "patterns",
    [FULL, ["bert.encoder.layer.{last}.*", *FROZEN], FROZEN],
    ids=["full", "last", "head"],
)
def test_lengths_that_are_rounded_up_change_nothing(
    study, tmp_path, monkeypatch, patterns, pooling
):
    """As on a GPU, where kept states meet cells that are padded further."""
    document = read_json(study["config"])
    (tmp_path / "config.json").write_text(json.dumps({**document, "hidden_dropout_prob": 0.0}))
    still = {**study, "config": tmp_path / "config.json"}
    options = {**OPTIONS, "epochs": 2, "pooling": pooling, "attention_dropout": 0.0}
    losses = []
    for multiple in (1, 8):
        monkeypatch.setattr(
            batches, "padded_length", lambda lengths, _, m=multiple: m * -(-lengths.max() // m)
        )
        folder = tmp_path / str(multiple)
        tuned(
            still,
            folder,
            patterns=patterns,
            options=options,
            cache={"max_gb": 1, "dtype": "float32"},
        )
        losses.append(read_table(folder / "history.parquet")["valid_loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    assert losses[0].nunique() > 1


def test_training_on_a_cpu_is_in_float32():
    set_up_torch(Compute())
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    with autocast(torch.device("cpu"), "auto"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.slow
def test_copies_of_a_study_elsewhere_give_the_same_bytes(study, whole, tmp_path):
    moved = {name: tmp_path / path.name for name, path in study.items()}
    for name, path in study.items():
        shutil.copy(path, moved[name])
    assert tuned(moved, tmp_path / "out") == whole
