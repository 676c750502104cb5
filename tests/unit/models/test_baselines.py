import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from tiny_study import N_GENES, obs_of, task_fold, write_study

from keygenes.cells.variable_genes import variable_genes
from keygenes.core.matrices import write_matrix
from keygenes.core.regimes import BASELINES
from keygenes.core.tables import read_table, write_table
from keygenes.models.baselines import (
    EqualDepth,
    baseline_probabilities,
    expression_features,
    fit_baselines,
    fit_penalised,
    gene_features,
    importance,
    predict_from_first,
    principal_components,
)

N_TOKENS, N_SPECIAL = 42, 2
SPECIAL = np.arange(N_TOKENS) < N_SPECIAL
DEPTH = EqualDepth(60, 1)


def world(kind, n=480, seed=0):
    """Return counts, tokens, labels and parts of cells of 40 genes.

    Parameters
    ----------
    kind : {'expression', 'length', 'nothing'}
        The class shows in which genes are high, in how many there are alone, or nowhere.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    mean = rng.gamma(2, 1.0, 40) + 0.5
    rates = np.tile(mean, (n, 1))
    if kind == "expression":
        rates[labels == 1, :3] *= 6
        rates[labels == 1, 3] = 60  # comes first in its cells
        rates[labels == 0, 4] = 60
    counts = rng.poisson(rates)
    if kind == "length":  # the same for every gene: cells of one class lose half of their genes
        counts[rng.random(counts.shape) < np.where(labels, 0.55, 0.1)[:, None]] = 0
    scaled = counts / mean
    tokens = []
    for cell, values in zip(counts, scaled, strict=True):
        order = np.argsort(-values, kind="stable")
        tokens.append(order[cell[order] > 0].astype(np.int32) + N_SPECIAL)
    part = np.resize(["train", "train", "valid", "test"], n)
    return scipy.sparse.csr_matrix(counts), tokens, labels, part


def measured(counts):
    """Return the matrix of cells of which all genes were measured."""
    n_counts = np.asarray(counts.sum(1)).ravel()
    obs = pd.DataFrame({"n_counts": n_counts}, [f"c{i}" for i in range(len(n_counts))])
    return anndata.AnnData(counts, obs)


def accuracies(kind, seed=0):
    counts, tokens, labels, part = world(kind, seed=seed)
    found, score, direction = baseline_probabilities(
        tokens, SPECIAL, measured(counts), labels, part, DEPTH, seed=1
    )
    assert tuple(found) == BASELINES
    test = part == "test"
    for p in found.values():
        np.testing.assert_allclose(p.sum(1), 1)
    hits = {name: (p.argmax(1)[test] == labels[test]).mean() for name, p in found.items()}
    return hits, score, direction


@pytest.mark.slow
def test_every_baseline_that_sees_genes_learns_which_are_high():
    hits, score, direction = accuracies("expression")
    for name in BASELINES:
        assert hits[name] > (0.6 if name == "length_only" else 0.8), name
    first = np.argsort(-score)[:2]
    assert set(first) <= set(np.arange(2, 7))
    assert score.shape == (N_TOKENS,)
    assert (score[SPECIAL] == 0).all()


@pytest.mark.slow
def test_where_nothing_differs_all_are_at_chance():
    runs = [accuracies("nothing", seed)[0] for seed in range(3)]
    for name in BASELINES:
        assert np.mean([hits[name] for hits in runs]) == pytest.approx(0.5, abs=0.08), name


@pytest.mark.slow
def test_where_only_length_differs_length_wins():
    hits = accuracies("length")[0]
    best = hits.pop("length_only")
    assert best > 0.9
    assert best >= max(hits.values())
    assert hits["token0"] < 0.65


def test_ranks_fall_from_one_and_special_tokens_are_left_out():
    presence, rank = gene_features(
        [np.array([0, 9, 5]), np.array([0, 3, 9, 5, 7])], 10, np.arange(10) == 0
    )
    np.testing.assert_array_equal(presence.toarray().nonzero()[1], [5, 9, 3, 5, 7, 9])
    np.testing.assert_allclose(rank.toarray()[0, [9, 5]], [1, 0.5])
    np.testing.assert_allclose(rank.toarray()[1, [3, 9, 5, 7]], [1, 0.75, 0.5, 0.25])
    assert (presence.toarray()[:, 0] == 0).all()


def test_a_first_gene_never_seen_gets_the_shares_of_the_training_classes():
    first = np.resize([3, 7], 60)
    labels = (first == 7).astype(int)
    labels[:6] = 0
    first[-4:] = [1, 5, 9, 11]
    train, valid = np.arange(60) < 30, (np.arange(60) >= 30) & (np.arange(60) < 50)
    p = predict_from_first(first, labels, train, valid)
    shares = np.bincount(labels[:30]) / 30
    np.testing.assert_allclose(p[-4:], np.tile(shares, (4, 1)))
    assert (p[30:50].argmax(1) == labels[30:50]).all()


@pytest.mark.slow
def test_nothing_is_learnt_from_test_cells(monkeypatch):
    monkeypatch.setattr("keygenes.models.baselines.N_VARIABLE_GENES", 15)
    counts, tokens, labels, part = world("expression")
    train, test = (part == name for name in ("train", "test"))
    depth = DEPTH._replace(depth=None)  # taken from the training cells

    def of_others(counts, tokens, labels):
        found, score, _ = baseline_probabilities(
            tokens, SPECIAL, measured(counts), labels, part, depth, seed=1
        )
        return {name: p[~test] for name, p in found.items()}, score

    before, score = of_others(counts, tokens, labels)
    dense = counts.toarray()
    dense[test] = np.random.default_rng(5).poisson(30, dense[test].shape)
    dense[test, 10] = 900
    changed = [cell[::-1] if t else cell for cell, t in zip(tokens, test, strict=True)]
    after, score_after = of_others(
        scipy.sparse.csr_matrix(dense), changed, np.where(test, 1 - labels, labels)
    )
    np.testing.assert_array_equal(score, score_after)
    for name, p in before.items():
        np.testing.assert_array_equal(p, after[name], err_msg=name)
    np.testing.assert_array_equal(
        variable_genes([counts[train]], 15),
        variable_genes([scipy.sparse.csr_matrix(dense)[train]], 15),
    )


def test_components_are_those_of_training_cells():
    rng = np.random.default_rng(0)
    features = scipy.sparse.csr_matrix(rng.normal(size=(60, 80)))
    train = np.arange(60) < 40
    components = principal_components(features, train, 1)
    assert components.shape == (60, 39)
    np.testing.assert_allclose(components[train].mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(np.cov(components[train].T)[~np.eye(39, dtype=bool)], 0, atol=1e-6)


@pytest.mark.parametrize("l1", [False, True])
def test_the_penalty_is_the_one_with_the_smallest_validation_loss(l1):
    rng = np.random.default_rng(0)
    labels = np.resize([0, 1, 2], 120)
    features = rng.normal(size=(120, 30))
    features[:, 0] += labels
    train = np.arange(120) < 60
    model = fit_penalised(features, labels, train, ~train, l1=l1)
    best = model.predict_proba(features[~train])
    best = -np.log(best[np.arange(60), labels[~train]]).mean()
    assert best < np.log(3)
    coefficients, _ = importance(model, scipy.sparse.csr_matrix(features), train)
    assert coefficients.argmax() == 0
    assert (coefficients == 0).any() == l1


def test_expression_is_log_counts_per_10000_of_all_measured_genes():
    counts = scipy.sparse.csr_matrix([[1, 3, 0], [0, 2, 2], [5, 0, 1]])
    features = expression_features(counts, np.array([100.0, 200, 50]), np.ones(3, bool))
    np.testing.assert_allclose(
        features.toarray(), np.log1p(1e4 * counts.toarray() / [[100], [200], [50]])
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(0)
    counts = rng.poisson(3, (60, N_GENES)).astype(np.float32)
    counts[1::2, 0] += 30  # shows the class, as does the first token
    obs = obs_of(60).assign(n_counts=counts.sum(1))
    var = pd.DataFrame(index=[f"ENSG{j:011d}" for j in range(N_GENES)])
    order = rng.permutation(60)  # the matrix has another order than the tokens
    adata = anndata.AnnData(scipy.sparse.csr_matrix(counts[order]), obs.iloc[order], var)
    write_matrix(adata, folder / "counts.h5ad")
    return {**write_study(folder), "counts": folder / "counts.h5ad"}


def fitted(study, folder):
    folder.mkdir()
    paths = [folder / "predictions", folder / "coefficients"]
    inputs = study["counts"], study["vocabulary"]
    tables = fit_baselines(task_fold(study), *inputs, equal_depth=DEPTH, threads=1)
    for table, path, name in zip(
        tables, paths, ("baseline_predictions", "coefficients"), strict=True
    ):
        write_table(table, path, name)
    return paths


@pytest.mark.slow
def test_a_job_writes_predictions_and_coefficients_and_repeats_them(study, tmp_path):
    paths = fitted(study, tmp_path / "a")
    again = fitted(study, tmp_path / "b")
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]
    table = read_table(paths[0])
    assert list(table["baseline"].cat.categories) == list(BASELINES)
    labels = read_table(study["labels"]).set_index("cell")["level"]
    splits = read_table(study["splits"]).query("fold == 1").set_index("cell")["split"]
    for name, part in table.groupby("baseline", observed=True):
        assert len(part) == 60
        assert (part["true"].astype(str).to_numpy() == labels[part["cell"]].astype(str)).all()
        assert (part["split"].astype(str).to_numpy() == splits[part["cell"]].astype(str)).all()
        test = part[part["split"] == "test"]
        hits = (test["true"].astype(str) == test["predicted"].astype(str)).mean()
        if name in ("token0", "rank_lr", "hvg_lr", "pca_lr", "equal_depth_lr"):
            assert hits > 0.8, name
    coefficients = read_table(paths[1])
    assert coefficients["ensembl_id"].str.startswith("ENSG").all()
    assert coefficients["ensembl_id"].is_unique
    assert (coefficients["score"] >= 0).all()
