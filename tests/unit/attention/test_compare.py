import numpy as np
import pandas as pd
import pytest
import torch
from hub import hub_trunk, stored
from scipy.spatial.distance import jensenshannon
from scipy.stats import pearsonr, spearmanr
from tiny_study import model_files, obs_of, random_cells, task_fold, write_model, write_study

from keygenes.attention.agreement import (
    MEASURES,
    agreement_table,
    between_halves,
    comparison_bounds,
    cosine,
    jensen_shannon,
    of_profiles,
    pearson,
)
from keygenes.attention.compare import (
    OfRun,
    cells_compared,
    compare_attention,
    compared_pairs,
    rank_shift,
    rank_shifts,
)
from keygenes.attention.extract import extract_attention, looked_at
from keygenes.core.jobs import Compute
from keygenes.core.runs import Run
from keygenes.core.tables import read_table, write_table
from keygenes.models.encoder import load_trunk, pretrained_classifier, read_config, save_model

CELLS = random_cells(7, seed=4)


def trunk_of(folder, **options):
    paths = write_model(folder, **options)
    return load_trunk(paths["weights"], paths["config"])


@pytest.fixture(scope="module")
def trunks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {name: trunk_of(folder / name, seed=i) for i, name in enumerate(("a", "b"))}


def weights_alone(trunk, cell):
    """Return the attention of one cell as Hugging Face computes it: [layers, heads, L, L]."""
    return stored(hub_trunk(trunk), cell)[0].numpy()


@pytest.mark.slow
@pytest.mark.parametrize("batch_tokens", [1, 45, 10_000])
def test_the_cosine_is_that_of_each_cell_s_whole_matrix(trunks, batch_tokens):
    found = compared_pairs(trunks, [("a", "b"), ("a", "a")], CELLS, batch_tokens)
    per_cell = []
    for cell in CELLS:
        a, b = weights_alone(trunks["a"], cell), weights_alone(trunks["b"], cell)
        norms = np.sqrt((a**2).sum((-1, -2)) * (b**2).sum((-1, -2)))
        per_cell.append((a * b).sum((-1, -2)) / norms)
    different, same = found["a", "b"], found["a", "a"]
    np.testing.assert_allclose(different["cosine"], np.mean(per_cell, 0), atol=1e-6)
    np.testing.assert_allclose(different["sd"], np.std(per_cell, 0, ddof=1), atol=1e-5)
    assert different["cosine"].max() < 0.99
    for measure, value in zip(MEASURES, (1, 1, 1, 0), strict=True):
        np.testing.assert_allclose(same[measure], value, atol=1e-6)
    np.testing.assert_allclose(same["sd"], 0, atol=1e-6)


def of_vectors(a, b):
    """Return pearson, spearman and Jensen-Shannon divergence of two vectors, by scipy."""
    return pearsonr(a, b)[0], spearmanr(a, b)[0], jensenshannon(a, b, base=2) ** 2


@pytest.mark.slow
def test_the_other_measures_are_those_of_attention_received(trunks):
    found = compared_pairs(trunks, [("a", "b")], CELLS, 45)["a", "b"]
    expected = np.zeros((3, 2, 2))
    for cell in CELLS:
        a, b = (weights_alone(trunks[name], cell).sum(2) for name in ("a", "b"))
        for place in np.ndindex(2, 2):
            expected[:, *place] += np.array(of_vectors(a[place], b[place])) / len(CELLS)
    for measure, values in zip(MEASURES[1:], expected, strict=True):
        # two values that differ by rounding alone may change places, hence ranks
        np.testing.assert_allclose(found[measure], values, atol=1e-4)
        assert values.std() > 0.01


def test_the_cosine_of_positive_vectors_is_high_where_they_have_nothing_to_do_with_each_other():
    a, b = np.exp(np.random.default_rng(0).normal(0, 0.5, (2, 5000)))
    assert cosine(a, b) == pytest.approx(0.78, abs=0.02)
    others = of_profiles(a, b)
    np.testing.assert_allclose(others[:2], 0, atol=0.05)
    assert pearson(a, b) == pytest.approx(cosine(a - a.mean(), b - b.mean()))


def test_the_divergence_is_in_bits_and_ignores_the_scale():
    a, b = np.array([[1.0, 1, 0, 0], [0, 0, 1, 1]])
    assert jensen_shannon(a, b) == pytest.approx(1)
    assert jensen_shannon(a, 3 * a) == 0
    # H(3/4, 1/4) - (H(1/2, 1/2) + H(1)) / 2, in bits
    half = jensen_shannon(np.array([1.0, 1.0]), np.array([2.0, 0.0]))
    assert half == pytest.approx(0.811278 - 0.5, abs=1e-6)


def test_halves_are_compared_on_genes_that_enough_cells_of_both_have():
    rng = np.random.default_rng(0)
    n_cells = np.array([[10, 20, 9, 12, 40], [30, 10, 50, 11, 0]])
    means = rng.random((2, 2, 2, 5))
    means[..., 2] = means[..., 4] = 1000
    found = between_halves(means * n_cells[:, None, None], n_cells)
    for place in np.ndindex(2, 2):
        a, b = means[:, *place][:, [0, 1, 3]]
        expected = (cosine(a, b), *of_vectors(a, b))
        for measure, value in zip(MEASURES, expected, strict=True):
            assert found[measure][place] == pytest.approx(value)
    for values in between_halves(means, np.full((2, 5), 9)).values():
        assert np.isnan(values).all()


@pytest.mark.slow
def test_bounds_are_agreement_with_another_seed_and_between_halves_of_the_cells(trunks):
    cells = random_cells(44, seed=9)
    models = {"full": trunks["a"]}, {"full": trunks["b"]}
    table = comparison_bounds(*models, cells, 300, Run(3, 2), Run(3, 1))
    assert table[["fold", "seed"]].drop_duplicates().to_numpy().tolist() == [[3, 2]]
    assert table["n_cells"].eq(44).all()
    of_seed = table[table["bound"] == "other_seed"].set_index(["layer", "head"])
    assert of_seed["other_seed"].eq(1).all()
    assert of_seed["other_fold"].eq(3).all()
    expected = compared_pairs(trunks, [("a", "b")], cells, 300)["a", "b"]
    halves = table[table["bound"] == "split_half"].set_index(["layer", "head"])
    assert halves[["other_fold", "other_seed"]].isna().all(None)
    assert len(of_seed) == len(halves) == 4
    for place in np.ndindex(2, 2):
        row = of_seed.loc[(place[0] + 1, place[1] + 1)]
        for measure in MEASURES:
            assert row[measure] == pytest.approx(expected[measure][place], abs=1e-6)
    # every second cell against the others, from whole matrices
    sums, n = np.zeros((2, 2, 2, 32)), np.zeros((2, 32))
    for i, cell in enumerate(cells):
        sums[i % 2][..., cell] += weights_alone(trunks["a"], cell).sum(2)
        n[i % 2][cell] += 1
    assert (n >= 10).all(0).sum() > 5
    for measure, values in between_halves(sums, n).items():
        np.testing.assert_allclose(halves[measure], values.ravel(), atol=1e-3)
    only = comparison_bounds(models[0], {}, cells, 300, Run(3, 1))
    assert set(only["bound"]) == {"split_half"}


def test_a_run_of_another_fold_is_no_other_seed(trunks):
    models = {"full": trunks["a"]}, {"full": trunks["b"]}
    table = comparison_bounds(*models, CELLS, 300, Run(2, 1), Run(1, 1))
    assert set(table["bound"]) == {"other_fold", "split_half"}
    other = table[table["bound"] == "other_fold"]
    assert other[["fold", "seed"]].drop_duplicates().to_numpy().tolist() == [[2, 1]]
    assert other[["other_fold", "other_seed"]].drop_duplicates().to_numpy().tolist() == [[1, 1]]


def test_layers_and_heads_are_numbered_from_one():
    found = {"cosine": np.array([[0.1, 0.2], [0.3, 0.4]])}
    table = agreement_table(found, a="full", b="frozen", seed=3)
    places = table.set_index(["layer", "head"])["cosine"].to_dict()
    assert places == {(1, 1): 0.1, (1, 2): 0.2, (2, 1): 0.3, (2, 2): 0.4}
    assert table[["a", "b", "seed"]].drop_duplicates().to_numpy().tolist() == [
        ["full", "frozen", 3]
    ]


def by_rank(sums):
    """Return table 'by_rank' from sums [layers, heads, ranks]; 10 - r cells reach rank r."""
    rows = [
        {"layer": i + 1, "head": h + 1, "rank": r + 1, "n_cells": 9 - r, "sum": sums[i, h, r]}
        for i, h, r in np.ndindex(sums.shape)
    ]
    table = pd.DataFrame(rows).assign(subset="test", mean=0.0, sd=0.0, mean_residual=0.0)
    return table.sample(frac=1, random_state=0)


def test_the_shift_per_rank_is_that_of_the_sums_over_heads_and_layers():
    b = np.array([[[10.0, 20.0], [30.0, 40.0]], [[5.0, 5.0], [5.0, 15.0]]])
    a = b.copy()
    a[0] *= 1.5  # layer 1: +50 %
    a[1, 0, 1] = 0  # layer 2, rank 2: 20 -> 15, -25 %
    table = rank_shift(by_rank(a), by_rank(b))
    found = {
        (None if pd.isna(row.layer) else row.layer, row.rank): row for row in table.itertuples()
    }
    assert len(table) == len(found) == 6
    assert found[1, 1].percent_change == pytest.approx(50)
    assert found[1, 2].percent_change == pytest.approx(50)
    assert found[2, 1].percent_change == pytest.approx(0)
    assert found[2, 2].percent_change == pytest.approx(-25)
    # rank 1: 50 -> 70; rank 2: 80 -> 105
    assert found[None, 1].percent_change == pytest.approx(40)
    assert found[None, 2].percent_change == pytest.approx(100 * 25 / 80)
    assert (found[None, 2].sum_a, found[None, 2].sum_b) == (105, 80)
    assert [found[None, 1].n_cells, found[None, 2].n_cells, found[2, 2].n_cells] == [9, 8, 8]


def test_the_corrected_shift_is_that_of_mean_residuals():
    """Rank 1: +1 in one of two heads of layer 1; rank 2: -1 in both heads of layer 2."""
    a, b = by_rank(np.ones((2, 2, 2))), by_rank(np.ones((2, 2, 2)))
    first = (a["layer"] == 1) & (a["head"] == 2) & (a["rank"] == 1)
    second = (a["layer"] == 2) & (a["rank"] == 2)
    a.loc[first, "mean_residual"], a.loc[second, "mean_residual"] = 1.5, -1.0
    b.loc[(b["layer"] == 1) & (b["head"] == 2) & (b["rank"] == 1), "mean_residual"] = 0.5
    table = rank_shift(a, b)
    found = {
        (None if pd.isna(row.layer) else row.layer, row.rank): row.percent_residual
        for row in table.itertuples()
    }
    expected = {
        **{(1, 1): 2**0.5, (1, 2): 1, (2, 1): 1, (2, 2): 0.5},
        **{(None, 1): 2**0.25, (None, 2): 2**-0.5},
    }
    assert found == pytest.approx({place: 100 * (x - 1) for place, x in expected.items()})
    assert table["percent_change"].abs().max() < 1e-12


def test_equal_tables_do_not_shift():
    table = by_rank(np.random.default_rng(0).random((2, 2, 3)) + 0.1)
    assert rank_shift(table, table)["percent_change"].abs().max() < 1e-12


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Return the comparison of a frozen classifier, a changed one and the pretrained model."""
    folder = tmp_path_factory.mktemp("study")
    study = write_study(folder)
    models = {"pretrained": write_model(folder / "base")}
    for name in ("frozen", "full"):
        paths = {"weights": folder / f"{name}.safetensors", "config": folder / f"{name}.json"}
        base = models["pretrained"]
        model, _ = pretrained_classifier(
            base["weights"], read_config(base["config"]), ["low", "high"], 1
        )
        if name == "full":
            with torch.no_grad():
                model.trunk.layers[1].attention.self.query.weight.mul_(2)
        save_model(model, paths["weights"], paths["config"])
        models[name] = paths
    obs = obs_of()
    looked = looked_at(task_fold(study), obs, (obs["dose_um"] == 0).to_numpy(), None)
    for name, paths in models.items():
        extract_attention(
            looked,
            model_files(study | paths),
            {"by_rank": folder / f"{name}.by_rank.parquet"},
            pair_norms=False,
            compute=Compute(120),
        )
    pairs, run = [("full", "frozen"), ("frozen", "pretrained")], Run(1, 4)
    of_run = {name: (paths["weights"], paths["config"]) for name, paths in models.items()}
    cosine, bounds = compare_attention(
        OfRun(run, of_run),
        OfRun(Run(1, 7), {"full": of_run["frozen"]}),
        pairs,
        cells_compared(task_fold(study), None),
        Compute(120),
    )
    by_rank = {name: read_table(folder / f"{name}.by_rank.parquet") for name in models}
    write_table(cosine, folder / "cosine.parquet", "cosine")
    write_table(bounds, folder / "bounds.parquet", "comparison_bounds")
    write_table(rank_shifts(by_rank, pairs, run), folder / "rank_shift.parquet", "rank_shift")
    return folder


@pytest.mark.slow
def test_a_frozen_encoder_attends_as_the_pretrained_one(compared):
    table = read_table(compared / "cosine.parquet").set_index(["a", "b", "layer", "head"])
    control = table.loc[("frozen", "pretrained")]
    assert len(control) == 4
    assert np.abs(control["cosine"] - 1).max() < 1e-6
    assert control["n_cells"].eq(12).all(), "the test cells of fold 1"
    changed = table.loc[("full", "frozen")]["cosine"]
    assert np.abs(changed.loc[1] - 1).max() < 1e-6, "layer 1 lies before the change"
    assert changed.loc[2].max() < 1 - 1e-4


def test_the_bounds_are_those_of_the_models_at_hand(compared):
    table = read_table(compared / "bounds.parquet")
    assert table["n_cells"].eq(12).all(), "all test cells: there are fewer than the limit"
    halves = table[table["bound"] == "split_half"]
    assert set(halves["regime"]) == {"pretrained", "frozen", "full"}
    others = table[table["bound"] == "other_seed"].set_index(["layer", "head"])
    assert set(others["regime"]) == {"full"}
    assert others["other_seed"].eq(7).all()
    assert others["other_fold"].eq(1).all()
    pairs = (
        read_table(compared / "cosine.parquet").query("a == 'full'").set_index(["layer", "head"])
    )
    for measure in MEASURES:
        np.testing.assert_allclose(others[measure], pairs[measure].loc[others.index], atol=1e-9)


def test_the_shift_by_rank_sees_the_same_layer(compared):
    table = read_table(compared / "rank_shift.parquet")
    control = table[table["a"] == "frozen"]
    assert control["percent_change"].abs().max() < 1e-3
    change = table[table["a"] == "full"]
    assert change.loc[change["layer"] == 1, "percent_change"].abs().max() < 1e-3
    assert change.loc[change["layer"] == 2, "percent_change"].abs().max() > 1
    assert change["layer"].isna().sum() == change["rank"].max()
    ranks = read_table(compared / "full.by_rank.parquet")
    ranks = ranks[(ranks["subset"] == "test") & (ranks["layer"] == 1) & (ranks["head"] == 1)]
    of_rank = change[change["layer"] == 1].set_index("rank")["n_cells"]
    assert of_rank.to_dict() == ranks.set_index("rank")["n_cells"].to_dict()
    assert table[["fold", "seed"]].drop_duplicates().to_numpy().tolist() == [[1, 4]]
    write_table(table, compared / "again.parquet", "rank_shift")
