import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from hub import hub_trunk, stored
from tiny_study import (
    N_GENES,
    model_files,
    obs_of,
    random_cells,
    task_fold,
    write_model,
    write_study,
)

from keygenes.attention import sums as sums_module
from keygenes.attention.expected import Sizes
from keygenes.attention.extract import (
    drawn,
    extract_attention,
    looked_at,
    subset_sums,
    write_attention,
)
from keygenes.attention.stream import ROW_STATISTICS, LayerStatistics
from keygenes.attention.sums import (
    Shape,
    Subset,
    Sums,
    add_attention,
    add_batch,
    merged_sums,
    moments,
    sums_of_model,
    write_sums,
)
from keygenes.attention.tables import gene_table, measure_table, rank_table, well_table
from keygenes.core.jobs import Compute
from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_table
from keygenes.models.batches import padded
from keygenes.models.encoder import load_trunk

N = 14
TOKENS = N_GENES + 2
CELLS = random_cells(N, seed=1, shortest=3)
RNG = np.random.default_rng(0)
CLASSES = RNG.integers(0, 3, N)
WELLS = RNG.integers(0, 4, N)
IDS = np.array(["<pad>", "<mask>", *(f"ENSG{j:011d}" for j in range(N_GENES))])
NAMES = ["low", "mid", "high"]
LAYERS, HEADS = 2, 2
OUTPUTS = ("by_rank", "by_gene", "by_well", "norms", "heads", "expected")


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    paths = write_model(tmp_path_factory.mktemp("model"), spread=0.6)
    return load_trunk(paths["weights"], paths["config"])


def of_one_cell(trunk, cell):
    """Return what Hugging Face and the formulas give for one cell.

    Returns
    -------
    received, value, weighted : float64 [layers, heads, L]
    output, pair : float64 [layers, L]
    entropy, to_self, to_first, to_last_decile : float64 [layers, heads]
    """
    weights, hidden = stored(hub_trunk(trunk), cell)
    weights = weights.numpy()
    entropy = -(weights * np.log(np.maximum(weights, 1e-300))).sum(-1)
    last = min(len(cell) - 1, int(np.ceil(0.9 * len(cell))))
    parts = {
        "received": weights.sum(2),
        "entropy": entropy.mean(-1),
        "to_self": np.diagonal(weights, axis1=2, axis2=3).mean(-1),
        "to_first": weights[..., 0].mean(-1),
        "to_last_decile": weights[..., last:].sum(-1).mean(-1),
        **{name: [] for name in ("value", "weighted", "output", "pair")},
    }
    for index, layer in enumerate(trunk.layers):
        own, dense = layer.attention.self, layer.attention.output.dense
        x = hidden[index]
        with torch.no_grad():
            v = (x @ own.value.weight.double().T + own.value.bias.double()).numpy()
        v = v.reshape(len(cell), HEADS, -1)
        w_o = dense.weight.detach().double().numpy().T.reshape(HEADS, v.shape[2], -1)
        f = np.einsum("lhd,hdo->hlo", v, w_o)
        vectors = np.einsum("hij,hjo->hijo", weights[index], f)
        parts["value"].append(np.linalg.norm(f, axis=-1))
        parts["weighted"].append(np.linalg.norm(vectors, axis=-1).sum(1))
        parts["pair"].append(np.linalg.norm(vectors.sum(0), axis=-1).sum(0))
        parts["output"].append(np.linalg.norm(vectors.sum((0, 2)), axis=-1))
    return {name: np.array(part) for name, part in parts.items()}


@pytest.fixture(scope="module")
def expected(trunk):
    return [of_one_cell(trunk, cell) for cell in CELLS]


@pytest.fixture(scope="module")
def long(expected):
    """Return a row per cell, position, layer and head, with the attention received."""
    rows = []
    for i, (cell, parts) in enumerate(zip(CELLS, expected, strict=True)):
        places = itertools.product(range(LAYERS), range(HEADS), range(len(cell)))
        for layer, head, position in places:
            rows.append(
                {
                    "cell": i,
                    "layer": layer + 1,
                    "head": head + 1,
                    "rank": position + 1,
                    "ensembl_id": IDS[cell[position]],
                    "class": NAMES[CLASSES[i]],
                    "well": f"W{WELLS[i]}",
                    "received": parts["received"][layer, head, position],
                    "pair": parts["pair"][layer, position],
                }
            )
    return pd.DataFrame(rows)


def sums_of(trunk, batch_tokens):
    sizes = Sizes(np.array([len(cell) for cell in CELLS]), np.ones(N))
    sums = sums_of_model(trunk, 3, 4, max_length=24)
    subset = Subset("test", CELLS, sizes, CLASSES, WELLS)
    add_attention(sums, trunk, subset, batch_tokens=batch_tokens, pair_norms=True)
    return sums


@pytest.fixture(scope="module", params=[1, 45, 10_000], ids="{} tokens per batch".format)
def sums(trunk, request):
    return sums_of(trunk, request.param)


def assert_same(table, expected, keys, atol=2e-5):
    """Assert that two tables agree in all columns of `expected`, row by row of `keys`."""
    table = table.assign(**{key: table[key].astype(object) for key in keys}).set_index(keys)
    assert table.index.is_unique
    assert len(table) == len(expected)
    for column in expected:
        found = table[column].reindex(expected.index).to_numpy(float)
        np.testing.assert_allclose(
            found, expected[column].to_numpy(float), rtol=1e-5, atol=atol, err_msg=column
        )


def summary(groups):
    return groups.agg(n_cells="count", sum="sum", mean="mean", sd="std")


@pytest.mark.slow
def test_attention_by_rank_is_that_of_each_cell_alone(sums, long):
    table = rank_table(sums, "test", 1)
    assert set(table["subset"]) == {"test"}
    keys = ["layer", "head", "rank"]
    frame = summary(long.groupby(keys)["received"])
    frame["mean_log2"] = np.log2(long["received"]).groupby([long[key] for key in keys]).mean()
    assert_same(table, frame, keys)
    assert table["rank"].max() == max(map(len, CELLS))


@pytest.mark.slow
def test_attention_by_gene_and_class_is_that_of_each_cell_alone(sums, long):
    table = gene_table(sums, "test", IDS, NAMES, 0)
    keys = ["layer", "head", "ensembl_id", "class"]
    groups = long.groupby(keys)
    frame = summary(groups["received"])
    frame["rank_mean"], frame["rank_sd"] = groups["rank"].mean(), groups["rank"].std()
    assert_same(table.dropna(subset="layer"), frame, keys)
    assert list(table["class"].cat.categories) == NAMES


def test_the_mean_over_layers_and_heads_varies_between_cells(sums, long):
    table = gene_table(sums, "test", IDS, NAMES, 0)
    of_cell = long.groupby(["cell", "ensembl_id", "class"], as_index=False)["received"].mean()
    keys = ["ensembl_id", "class"]
    overall = table[table["layer"].isna()]
    assert overall["head"].isna().all()
    assert_same(overall, summary(of_cell.groupby(keys)["received"]), keys)


def test_attention_by_well_is_that_of_each_cell_alone(sums, long):
    table = well_table(sums, "test", IDS, [f"W{w}" for w in range(4)], pair_norms=True)
    of_cell = long.assign(log2=np.log2(long["received"]))
    of_cell = of_cell.groupby(["cell", "ensembl_id", "well"], as_index=False)
    of_cell = of_cell[["received", "log2", "pair"]].mean()
    keys = ["well", "ensembl_id"]
    frame = summary(of_cell.groupby(keys)["received"])[["n_cells", "sum"]]
    frame["sum_log2"] = of_cell.groupby(keys)["log2"].sum()
    frame["sum_pair"] = of_cell.groupby(keys)["pair"].sum()
    assert_same(table, frame, keys)


def test_norms_are_means_over_cells_of_means_over_genes(sums, expected):
    table = measure_table(sums, "test", ("value", "weighted", "output", "pair"))
    assert len(table) == LAYERS * (2 * HEADS + 2)
    assert table["n_cells"].eq(N).all()
    for row in table.itertuples():
        at = row.layer - 1
        if row.measure in ("output", "pair"):
            assert pd.isna(row.head)
            values = [parts[row.measure][at].mean() for parts in expected]
        else:
            values = [parts[row.measure][at, row.head - 1].mean() for parts in expected]
        assert row.mean == pytest.approx(np.mean(values), abs=2e-5)
        assert row.sd == pytest.approx(np.std(values, ddof=1), abs=2e-5)


def test_where_queries_look_is_a_mean_over_cells(sums, expected):
    table = measure_table(sums, "test", ROW_STATISTICS)
    assert len(table) == LAYERS * HEADS * 4
    for row in table.itertuples():
        values = [parts[row.measure][row.layer - 1, row.head - 1] for parts in expected]
        assert row.mean == pytest.approx(np.mean(values), abs=2e-5)
        assert row.sd == pytest.approx(np.std(values, ddof=1), abs=2e-5)


def test_moments_of_known_numbers():
    values = np.array([[1.0, 4.0, 7.0], [2.0, 2.0, 2.0]])
    mean, sd = moments(values.sum(1), (values**2).sum(1), np.array([3, 3]))
    assert mean.tolist() == [4, 2]
    assert sd.tolist() == [3, 0]
    mean, sd = moments(np.array([5.0, 0.0]), np.array([25.0, 0.0]), np.array([1, 0]))
    assert mean[0] == 5
    assert np.isnan(sd).all()
    assert np.isnan(mean[1])


def test_a_fixed_draw_in_order():
    indices = np.arange(100, 200)
    assert drawn(indices, None, 1) is indices
    assert drawn(indices, 100, 1) is indices
    some = drawn(indices, 10, 1)
    assert len(set(some)) == 10
    assert (np.diff(some) > 0).all()
    assert (some == drawn(indices, 10, 1)).all()
    assert (some != drawn(indices, 10, 2)).any()


def seen(study, obs, max_cells=None):
    """Return the cells of a study's first fold that are looked at."""
    return looked_at(task_fold(study), obs, (obs["dose_um"] == 0).to_numpy(), max_cells)


def extracted(folder, study, model, obs, **options):
    extract_attention(
        seen(study, obs, options.pop("max_cells", None)),
        model_files(study | model),
        {name: folder / f"{name}.parquet" for name in OUTPUTS},
        **{"compute": Compute(120), "pair_norms": False, **options},
    )
    return {name: read_table(folder / f"{name}.parquet") for name in OUTPUTS}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return write_study(folder), write_model(folder)


def test_the_tables_of_test_cells_and_of_vehicle_training_cells(study, tmp_path):
    obs = obs_of().sample(frac=1, random_state=0)  # not in the order of the tokens
    tables = extracted(tmp_path, *study, obs)
    for name, table in tables.items():
        assert list(table.columns) == TABLES[name].names
        assert name == "expected" or set(table["subset"]) == {"test", "vehicle_train"}
    by_subset = {name: table for name, table in tables.items() if name != "expected"}
    splits = read_table(study[0]["splits"]).query("fold == 1").set_index("cell")["split"]
    vehicle = obs.index[obs["dose_um"] == 0]
    cells = {
        "test": splits.index[splits == "test"],
        "vehicle_train": splits[splits == "train"].index.intersection(vehicle),
    }
    tokens = read_table(study[0]["tokens"]).set_index("cell")
    for subset, names in cells.items():
        assert len(names) in (12, 18)
        part = {name: table[table["subset"] == subset] for name, table in by_subset.items()}
        norms = part["norms"]
        assert norms["n_cells"].eq(len(names)).all()
        ranks = part["by_rank"].query("layer == 1 and head == 1")
        expected = [(tokens.loc[names, "length"] >= r).sum() for r in ranks["rank"]]
        assert ranks["n_cells"].tolist() == expected
        assert ranks["rank"].tolist() == list(range(1, max(tokens.loc[names, "length"]) + 1))
        # c averages 1 over the genes of a cell, so its sum is the number of genes
        n_genes = tokens.loc[names, "length"].sum()
        assert ranks["sum"].sum() == pytest.approx(n_genes, rel=1e-5)
        wells = part["by_well"]
        assert set(wells["well"]) == set(obs.loc[names, "well"])
        assert wells["n_cells"].sum() == n_genes
        genes = part["by_gene"].query("layer.isna()")
        assert genes["n_cells"].sum() == n_genes
        of_class = genes.groupby("class", observed=True)["n_cells"].sum().to_dict()
        lengths = tokens.loc[names, "length"].groupby([int(n[1:]) % 2 for n in names]).sum()
        assert of_class == {["low", "high"][k]: v for k, v in lengths.to_dict().items()}


def test_vehicle_training_cells_are_of_one_class_here(study, tmp_path):
    tables = extracted(tmp_path, *study, obs_of())
    genes = tables["by_gene"].query("subset == 'vehicle_train'")
    assert set(genes["class"]) == {"low"}


@pytest.mark.slow
def test_equal_runs_have_equal_bytes_and_a_draw_has_fewer_cells(study, tmp_path):
    for name in ("a", "b"):
        extracted(tmp_path / name, *study, obs_of())
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    tables = extracted(tmp_path / "c", *study, obs_of(), max_cells=5)
    assert tables["norms"]["n_cells"].eq(5).all()


def test_cells_without_wells_share_one(study, tmp_path):
    tables = extracted(tmp_path, *study, obs_of().drop(columns="well"))
    assert set(tables["by_well"]["well"]) == {"all"}


def test_a_leading_cls_has_rank_0_and_genes_start_at_1(tmp_path):
    specials = ("<pad>", "<mask>", "<cls>", "<eos>")
    study = write_study(tmp_path, specials=specials)
    model = write_model(tmp_path, n_tokens=4 + N_GENES)
    tables = extracted(tmp_path, study, model, obs_of())
    assert tables["by_rank"]["rank"].min() == 0
    genes = tables["by_gene"].query("subset == 'test' and layer.isna()")
    cls = genes[genes["ensembl_id"] == "<cls>"]
    assert cls["rank_mean"].eq(0).all()
    assert cls["n_cells"].sum() == 12
    # the first gene of a cell shows its class: ENSG...0 of low, ENSG...1 of high
    first = genes[genes["ensembl_id"] == "ENSG00000000000"].set_index("class")
    assert first.loc["low", "rank_mean"] == 1
    assert first.loc["low", "rank_sd"] == 0


def test_without_cls_the_first_gene_has_rank_1(study, tmp_path):
    tables = extracted(tmp_path, *study, obs_of())
    assert tables["by_rank"]["rank"].min() == 1
    genes = tables["by_gene"].query("subset == 'test' and layer.isna()")
    first = genes[genes["ensembl_id"] == "ENSG00000000001"].set_index("class")
    assert first.loc["high", "rank_mean"] == 1


@pytest.mark.slow
def test_the_norm_over_heads_is_there_if_asked_for(study, tmp_path):
    without = extracted(tmp_path / "a", *study, obs_of())["norms"]
    assert set(without["measure"]) == {"value", "weighted", "output"}
    table = extracted(tmp_path / "b", *study, obs_of(), pair_norms=True)["norms"]
    assert set(table["measure"]) == {"value", "weighted", "output", "pair"}
    pd.testing.assert_frame_equal(
        table[table["measure"] != "pair"].reset_index(drop=True), without, check_categorical=False
    )


def obs_of_depths():
    """Return obs of the study's cells with a depth of its own for each."""
    return obs_of().assign(n_counts=np.random.default_rng(2).integers(500, 9000, 60))


@pytest.mark.slow
@pytest.mark.parametrize("shards", [2, 5, 40])
def test_shards_merge_to_the_bytes_of_one_run(study, tmp_path, shards):
    files, model = study
    obs = obs_of_depths()
    whole = tmp_path / "whole"
    extracted(whole, *study, obs, compute=Compute(40), pair_norms=True)
    looked, paths = seen(files, obs), []
    how = {"pair_norms": True, "compute": Compute(40)}
    for shard in range(1, shards + 1):
        paths.append(tmp_path / f"{shard}.safetensors")
        sums = subset_sums(looked, model_files(files | model), **how, shard=(shard, shards))
        write_sums(sums, paths[-1])
    for order in (paths, paths[::-1]):
        merged = {name: tmp_path / f"merged/{name}.parquet" for name in OUTPUTS}
        vocabulary = {"vocabulary": files["vocabulary"], "pair_norms": True}
        write_attention(merged_sums(order), looked, merged, **vocabulary)
        for path in whole.iterdir():
            assert path.read_bytes() == merged[path.stem].read_bytes(), path.stem


def by_head(table):
    """Return the rows of each layer and head."""
    return table.groupby(["layer", "head"])


@pytest.mark.slow
def test_what_is_expected_is_the_mean_of_vehicle_training_cells_in_their_bin(study, tmp_path):
    obs = obs_of_depths()
    tables = extracted(tmp_path, *study, obs)
    ranks = tables["by_rank"].query("subset == 'vehicle_train'")
    ranks = ranks.assign(total=ranks["mean_log2"] * ranks["n_cells"])
    bins = tables["expected"]
    bins = bins.assign(total=bins["mean_log2"] * bins["n_positions"])
    by_length, by_depth = bins[bins["depth_low"].isna()], bins[bins["length_low"].isna()]
    assert len(by_length) + len(by_depth) == len(bins)
    assert len(by_length[["length_low", "length_high"]].drop_duplicates()) == 5
    assert by_length["length_low"].min() >= 5
    assert len(by_depth[["depth_low", "depth_high"]].drop_duplicates()) == 5
    assert set(by_depth["depth_high"]) <= set(obs["n_counts"])
    parts = [(*place, part) for one in (by_length, by_depth) for place, part in by_head(one)]
    for layer, head, part in parts:
        of_head = ranks[(ranks["layer"] == layer) & (ranks["head"] == head)]
        for (low, high), row in part.groupby(["rank_low", "rank_high"]):
            inside = of_head[of_head["rank"].between(low, high)]
            assert row["n_positions"].sum() == inside["n_cells"].sum()
            assert row["total"].sum() == pytest.approx(inside["total"].sum(), abs=1e-9)
        assert part["rank_high"].max() >= of_head["rank"].max()


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"n_counts": 1000.0}, {"n_counts": np.nan}, {"n_counts": None}])
def test_depths_that_are_equal_or_missing_say_nothing(study, tmp_path, change):
    as_given = extracted(tmp_path / "a", *study, obs_of().drop(columns="n_counts"))
    tables = extracted(tmp_path / "b", *study, obs_of().assign(**change))
    assert tables["expected"]["depth_low"].isna().all()
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    other = extracted(tmp_path / "c", *study, obs_of_depths())["by_well"]
    difference = other["sum_residual"] - as_given["by_well"]["sum_residual"]
    assert difference.abs().max() > 1e-3


def test_residuals_are_what_the_log_has_above_the_expectation(study, tmp_path):
    tables = extracted(tmp_path, *study, obs_of_depths())
    for subset in ("test", "vehicle_train"):
        ranks, wells = (t[t["subset"] == subset] for t in (tables["by_rank"], tables["by_well"]))
        for name in ("log2", "residual"):
            by_rank = (ranks[f"mean_{name}"] * ranks["n_cells"]).sum() / (LAYERS * HEADS)
            assert wells[f"sum_{name}"].sum() == pytest.approx(by_rank, abs=1e-8)
    own = ranks.groupby(["layer", "head"])[["mean_residual", "n_cells"]]
    for _, head in own:
        assert (head["mean_residual"] * head["n_cells"]).sum() == pytest.approx(0, abs=0.5)
        assert head["mean_residual"].abs().max() > 1e-3
    assert tables["by_well"]["sum_pair"].isna().all()


def test_without_vehicle_training_cells_residuals_are_missing(study, tmp_path):
    tables = extracted(tmp_path, *study, obs_of().assign(dose_um=1.0))
    assert tables["expected"].empty
    assert tables["by_rank"]["mean_residual"].isna().all()
    assert tables["by_well"]["sum_residual"].isna().all()
    assert tables["by_rank"]["mean_log2"].notna().all()
    assert set(tables["by_rank"]["subset"]) == {"test"}


def test_attention_of_zero_has_a_logarithm_and_is_counted():
    ids = CELLS[0]
    layer = LayerStatistics(
        received=torch.zeros(1, HEADS, len(ids)),
        rows={name: torch.zeros(1, HEADS) for name in ROW_STATISTICS},
        value_norm=torch.zeros(1, HEADS, len(ids)),
        pair_norm=None,
        output_norm=torch.zeros(1, len(ids)),
    )
    sums = Sums(Shape(LAYERS, HEADS, TOKENS, n_classes=3, n_wells=4), 24)
    none = torch.zeros(4, 1, dtype=torch.int64)
    add_batch(sums, [layer] * LAYERS, *padded([ids]), none)
    assert sums.counts["raised"][0] == LAYERS * HEADS * len(ids)
    assert (sums.log2_sums()[0][..., : len(ids)] == -126).all()


def test_where_memory_runs_out_the_sums_are_those_of_smaller_batches(trunk, monkeypatch):
    whole, statistics = sums_of(trunk, 10_000), sums_module.attention_statistics

    def short_of_memory(trunk, ids, mask, **options):
        if len(ids) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return statistics(trunk, ids, mask, **options)

    monkeypatch.setattr(sums_module, "attention_statistics", short_of_memory)
    halved = sums_of(trunk, 10_000)
    for name in whole.totals:
        np.testing.assert_allclose(halved.total(name), whole.total(name), rtol=1e-5, atol=1e-5)
    for name in whole.counts:
        np.testing.assert_array_equal(halved.count(name), whole.count(name))
