import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from messages import assert_sentence
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from tiny_study import model_files, obs_of, random_cells, task_fold, write_model, write_study

from keygenes.core.errors import InputError
from keygenes.core.files import read_json
from keygenes.core.jobs import Compute
from keygenes.core.matrices import write_matrix
from keygenes.core.tables import read_table
from keygenes.models.batches import padded
from keygenes.models.device import Hardware
from keygenes.models.encoder import load_trunk
from keygenes.models.probe import (
    INVERSE_PENALTIES,
    fit_logistic,
    fit_probe,
    log_expression,
    pooled_input,
)

OUTPUTS = ("model.safetensors", "config.json", "predictions.parquet")


def noisy(n_features, seed=0, n=120):
    """Return features of which the first alone is informative, labels, train and valid."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    features = 3 + 5 * rng.normal(size=(n, n_features))
    features[:, 0] += 8 * labels
    train = np.arange(n) < 60
    return features, labels, train, ~train


@pytest.mark.parametrize("n_features", [2, 80])
def test_the_penalty_is_the_one_with_the_smallest_validation_loss(n_features):
    features, labels, train, valid = noisy(n_features)
    mean, sd = features[train].mean(0), features[train].std(0)
    scaled = (features - mean) / sd
    losses = {}
    for c in INVERSE_PENALTIES:
        model = LogisticRegression(C=c, max_iter=2000).fit(scaled[train], labels[train])
        losses[c] = log_loss(labels[valid], model.predict_proba(scaled[valid]))
    model = fit_logistic(features, labels, train, valid)
    assert losses[model[1].C] == min(losses.values())
    np.testing.assert_allclose(model[0].mean_, mean)
    np.testing.assert_allclose(model[0].scale_, sd)


def test_more_noise_wants_a_stronger_penalty():
    few = fit_logistic(*noisy(2))[1].C
    many = fit_logistic(*noisy(80))[1].C
    assert many < few


def test_what_is_held_out_does_not_enter_the_fit():
    features, labels, train, valid = noisy(3)
    valid[100:] = False  # test cells
    first = fit_logistic(features, labels, train, valid)
    features[100:] += 1000
    labels = np.where(np.arange(120) >= 100, 1 - labels, labels)
    again = fit_logistic(features, labels, train, valid)
    np.testing.assert_array_equal(first[1].coef_, again[1].coef_)
    np.testing.assert_array_equal(first[0].mean_, again[0].mean_)


def test_hidden_states_are_those_at_position_0_in_the_order_of_the_cells(tmp_path):
    trunk = load_trunk(**{f"{k}_path": v for k, v in write_model(tmp_path).items()})
    cells = random_cells(9)
    for batch_tokens in (1, 60, 10_000):
        hardware = Hardware(torch.device("cpu"), "float32", batch_tokens)
        states = pooled_input(trunk, cells, hardware)
        for i, cell in enumerate(cells):
            with torch.no_grad():
                expected = trunk(*padded([cell]))[0, 0].numpy()
            np.testing.assert_allclose(states[i], expected, atol=1e-5)
    assert states.shape == (9, 16)


def counts_of(path, n=60, n_genes=8):
    rng = np.random.default_rng(0)
    counts = rng.poisson(3, (n, n_genes)).astype(np.float32)
    counts[1::2, 0] += 20  # shows the class
    obs = obs_of(n).assign(n_counts=counts.sum(1) + 500)  # more genes were measured
    var = pd.DataFrame(index=[f"ENSG{j:011d}" for j in range(n_genes)])
    write_matrix(anndata.AnnData(scipy.sparse.csr_matrix(counts), obs, var), path)
    return counts, obs


def test_expression_is_log_counts_per_10000_of_all_measured_genes(tmp_path):
    counts, obs = counts_of(tmp_path / "counts.h5ad")
    matrix = log_expression(tmp_path / "counts.h5ad", ["c7", "c0"])
    for row, cell in zip(matrix, (7, 0), strict=True):
        expected = np.log1p(1e4 * counts[cell] / obs["n_counts"].iloc[cell])
        np.testing.assert_allclose(row, expected, rtol=1e-6)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    counts_of(folder / "counts.h5ad")
    return {**write_study(folder), **write_model(folder), "counts": folder / "counts.h5ad"}


def fitted(study, folder, features, pooling=None):
    folder.mkdir(exist_ok=True)
    names = ("weights", "config", "predictions")
    fit_probe(
        task_fold(study),
        model_files(study, max_length=None),
        study["counts"],
        {name: folder / file for name, file in zip(names, OUTPUTS, strict=True)},
        features=features,
        pooling=pooling,
        compute=Compute(200),
    )
    return [(folder / file).read_bytes() for file in OUTPUTS]


@pytest.mark.slow
def test_a_probe_reads_what_the_classifier_would(study, tmp_path):
    first = fitted(study, tmp_path / "first", "hidden_state")
    assert fitted(study, tmp_path / "same", "hidden_state", "first") == first
    assert fitted(study, tmp_path / "mean", "hidden_state", "mean")[0] != first[0]


@pytest.mark.slow
@pytest.mark.parametrize("features", ["hidden_state", "expression"])
def test_probes_repeat_and_their_files_say_what_they_predicted(study, tmp_path, features):
    assert fitted(study, tmp_path / "a", features) == fitted(study, tmp_path / "b", features)
    table = read_table(tmp_path / "a" / "predictions.parquet")
    assert len(table) == 60
    config = read_json(tmp_path / "a" / "config.json")
    assert config["features"] == features
    assert config["classes"] == ["low", "high"]
    assert config["C"] in INVERSE_PENALTIES
    if features == "expression":
        test = table[table["split"] == "test"]
        assert (test["true"].astype(str) == test["predicted"].astype(str)).mean() > 0.9
        model = load_file(tmp_path / "a" / "model.safetensors")
        matrix = (log_expression(study["counts"], table["cell"]) - model["mean"]) / model["scale"]
        z = matrix @ model["coefficients"][0] + model["intercepts"][0]
        stored = np.stack(table["probabilities"].to_list())
        np.testing.assert_allclose(stored[:, 1], 1 / (1 + np.exp(-z)), atol=1e-9)


def test_features_that_are_none(study, tmp_path):
    with pytest.raises(InputError) as error:
        fitted(study, tmp_path, "genes")
    assert_sentence(error, "config key 'regimes.features'", "'genes'", "'hidden_state'")
