import numpy as np
import pandas as pd
import pytest
import torch
from tiny_study import obs_of, random_cells, write_model, write_study

from keygenes.attention.compare import compare_attention, cosine_table, cosines, rank_shift
from keygenes.attention.extract import extract_attention
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
    trunk.set_attn_implementation("eager")
    with torch.no_grad():
        output = trunk(input_ids=torch.tensor(cell[None].astype(np.int64)), output_attentions=True)
    trunk.set_attn_implementation("sdpa")
    return torch.stack(output.attentions)[:, 0].double().numpy()


@pytest.mark.parametrize("batch_tokens", [1, 45, 10_000])
def test_the_cosine_is_that_of_each_cell_s_whole_matrix(trunks, batch_tokens):
    mean, sd = cosines(trunks, [("a", "b"), ("a", "a")], CELLS, batch_tokens)
    per_cell = []
    for cell in CELLS:
        a, b = weights_alone(trunks["a"], cell), weights_alone(trunks["b"], cell)
        norms = np.sqrt((a**2).sum((-1, -2)) * (b**2).sum((-1, -2)))
        per_cell.append((a * b).sum((-1, -2)) / norms)
    np.testing.assert_allclose(mean["a", "b"], np.mean(per_cell, 0), atol=1e-6)
    np.testing.assert_allclose(sd["a", "b"], np.std(per_cell, 0, ddof=1), atol=1e-5)
    assert mean["a", "b"].max() < 0.99
    np.testing.assert_allclose(mean["a", "a"], 1, atol=1e-6)
    np.testing.assert_allclose(sd["a", "a"], 0, atol=1e-6)


def test_layers_and_heads_are_numbered_from_one():
    mean = {("full", "frozen"): np.array([[0.1, 0.2], [0.3, 0.4]])}
    table = cosine_table(mean, mean, 9, 3)
    places = table.set_index(["layer", "head"])["cosine"].to_dict()
    assert places == {(1, 1): 0.1, (1, 2): 0.2, (2, 1): 0.3, (2, 2): 0.4}
    assert table[["a", "b", "seed", "n_cells"]].drop_duplicates().to_numpy().tolist() == [
        ["full", "frozen", 3, 9]
    ]


def by_rank(sums):
    """Return table 'by_rank' from sums [layers, heads, ranks]; 10 - r cells reach rank r."""
    rows = [
        {"layer": i + 1, "head": h + 1, "rank": r + 1, "n_cells": 9 - r, "sum": sums[i, h, r]}
        for i, h, r in np.ndindex(sums.shape)
    ]
    table = pd.DataFrame(rows).assign(subset="test", mean=0.0, sd=0.0)
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
                model.bert.encoder.layer[1].attention.self.query.weight.mul_(2)
        save_model(model, paths["weights"], paths["config"])
        models[name] = paths
    obs = obs_of()
    settings = {"task": "level", "seed": 1, "batch_tokens": 120, "threads": 1, "device": "cpu"}
    inputs = {k: study[k] for k in ("tokens", "labels", "splits")}
    for name, paths in models.items():
        extract_attention(
            {"by_rank": folder / f"{name}.by_rank.parquet"},
            **inputs,
            **paths,
            **settings,
            vocabulary=study["vocabulary"],
            counts_obs=obs,
            vehicle=(obs["dose_um"] == 0).to_numpy(),
            max_length=24,
            max_cells=None,
            pair_norms=False,
        )
    pairs = [["full", "frozen"], ["frozen", "pretrained"]]
    compare_attention(
        **inputs,
        **settings,
        models={name: (paths["weights"], paths["config"]) for name, paths in models.items()},
        by_rank={name: folder / f"{name}.by_rank.parquet" for name in models},
        out_cosine=folder / "cosine.parquet",
        out_rank_shift=folder / "rank_shift.parquet",
        pairs=pairs,
        max_cells=None,
    )
    return folder


def test_a_frozen_encoder_attends_as_the_pretrained_one(compared):
    table = read_table(compared / "cosine.parquet").set_index(["a", "b", "layer", "head"])
    control = table.loc[("frozen", "pretrained")]
    assert len(control) == 4
    assert np.abs(control["cosine"] - 1).max() < 1e-6
    assert control["n_cells"].eq(12).all(), "the test cells of seed 1"
    changed = table.loc[("full", "frozen")]["cosine"]
    assert np.abs(changed.loc[1] - 1).max() < 1e-6, "layer 1 lies before the change"
    assert changed.loc[2].max() < 1 - 1e-4


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
    write_table(table, compared / "again.parquet", "rank_shift")
