"""The primary test from tables to its verdict: wells, relabellings and a planted gene set."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from evidence_tables import statistics
from gene_set_tables import matched_set
from scipy import sparse
from sklearn.metrics import average_precision_score

from keygenes.cells.relabel import relabelled_cells
from keygenes.core.runs import Run
from keygenes.core.tables import read_table, write_table
from keygenes.evidence import primary_tables
from keygenes.evidence.gene_sets import read_members
from keygenes.evidence.primary import INCONCLUSIVE, SUPPORTED
from keygenes.evidence.relabelled import score_relabelled
from keygenes.evidence.tracks import expression_tracks, gene_totals
from keygenes.models.evaluate import evaluate

GENES = [f"ENSG{j:011d}" for j in range(60)]
PLANTED = GENES[::5]  # 12 of them
B, FOLDS = 19, (1, 2)
NAMED = {
    **{"task": "level", "track": "attention_received", "gene_set": "planted"},
    "regime": "full",
}


@pytest.fixture(scope="module")
def cells():
    """12 wells of two classes in two replicates, 6 cells each, with counts of every gene."""
    rng = np.random.default_rng(0)
    well = np.repeat(np.arange(12), 6)
    high = well % 2 == 1
    rates = np.where(high[:, None] & np.isin(GENES, PLANTED), 14.0, 7.0)
    shown = rng.random(rates.shape) < rng.uniform(0.5, 1, len(GENES))  # detection says nothing
    counts = rng.poisson(rates) * shown
    obs = pd.DataFrame(
        {
            "well": [f"W{w:02d}" for w in well],
            "replicate": [f"R{w // 6 + 1}" for w in well],
            "dose_um": np.where(high, 25.0, 0.0),
            "n_counts": counts.sum(1).astype(float),
        },
        index=[f"c{i:02d}" for i in range(len(well))],
    )
    var = pd.DataFrame({"symbol": GENES}, index=GENES)
    return ad.AnnData(sparse.csr_matrix(counts.astype(np.float32)), obs, var)


def attention(cells, fold, strength, rng):
    """Tables of a model that looks at planted genes by so much, in high wells."""
    test = (cells.obs["replicate"] == f"R{fold}").to_numpy()
    high = cells.obs["dose_um"].to_numpy() > 0
    cell, gene = np.nonzero((cells.X.toarray() > 0) & test[:, None])
    looked_at = np.isin(GENES, PLANTED)[gene] & high[cell]
    rows = {
        **{"cell": cell, "class": "high", "well": cells.obs["well"].to_numpy()[cell]},
        **{"ensembl_id": np.array(GENES)[gene], "rank": gene + 1, "layer": 1, "head": 1},
        "received": 1 + strength * looked_at + 0.3 * rng.random(len(cell)),
    }
    return statistics(pd.DataFrame(rows))


@pytest.fixture(scope="module")
def inputs(cells, tmp_path_factory):
    """Inputs of the primary test as the rooms before it make them."""
    folder, rng = tmp_path_factory.mktemp("primary"), np.random.default_rng(1)
    own = pd.Categorical(np.where(cells.obs["dose_um"] > 0, "high", "low"), ["low", "high"])
    labels = pd.DataFrame({"cell": cells.obs_names, "level": own})
    write_table(labels, folder / "labels.parquet")
    splits = pd.concat(
        pd.DataFrame(
            {
                "cell": cells.obs_names,
                "fold": fold,
                "split": np.where(cells.obs["replicate"] == f"R{fold}", "test", "train"),
                "unit": "well",
            }
        )
        for fold in FOLDS
    )
    paths, predictions, tables, of_gene = {}, {}, {}, []
    for b in range(B + 1):
        told = labels
        if b:
            told, _ = relabelled_cells(labels, cells.obs, splits, "level", b, 0.25)
        for fold in FOLDS:
            run = Run(fold, 1, b)
            made = attention(cells, fold, 0.0 if b else 0.5, rng)
            paths[run] = folder / f"{run.name}.parquet"
            write_table(made["by_well"], paths[run], "by_well")
            of_gene += [made["by_gene"]] if b == 0 else []
            split = splits.loc[splits["fold"] == fold, "split"].to_numpy()
            tables[run] = pd.DataFrame(
                {
                    **{"cell": cells.obs_names, "split": split, "true": told["level"].to_numpy()},
                    "predicted": told["level"].to_numpy(),
                    "probabilities": [[0.5, 0.5]] * len(labels),
                }
            )
            predictions[run] = folder / f"{run.name}.predictions.parquet"
            write_table(tables[run], predictions[run], "predictions")
    genes = pd.concat(expression_tracks(gene_totals(pd.concat(of_gene), 1)))
    write_table(genes.assign(symbol=genes["ensembl_id"]), folder / "genes.parquet", "genes")
    units = pd.DataFrame(
        {"unit_id": cells.obs["well"], "unit": "well", "stratum": cells.obs["dose_um"].astype(str)}
    )
    true = {("full", run.fold, run.seed): tables[run] for run in tables if not run.relabelling}
    baseline = {
        ("grouped", fold): tables[Run(fold, 1)].assign(baseline="length_only") for fold in FOLDS
    }
    metrics, _ = evaluate(true, baseline, units, ["low", "high"], main="full")
    write_table(metrics, folder / "metrics.parquet", "metrics")
    pd.DataFrame({"ensembl_id": PLANTED}).to_csv(folder / "planted.tsv", sep="\t", index=False)
    return {
        "by_well": paths,
        "predictions": predictions,
        **{name: folder / f"{name}.parquet" for name in ("genes", "metrics", "labels")},
        "counts": cells,
        "gene_set": matched_set(folder / "planted.tsv", cells.var_names),
        "n_null_draws": 500,
        "brought": False,
    }


def run(inputs, folder, *, relabellings=B):
    """Return the four tables of the test on some of its relabellings."""
    tables = ("relabelled_scores", "trained_accuracy", "track_tests", "primary")
    out = {name: folder / f"{name}.parquet" for name in tables}
    few = {
        name: {r: path for r, path in inputs[name].items() if r.relabelling <= relabellings}
        for name in ("by_well", "predictions")
    }
    genes = folder / "relabelled_genes.parquet"
    tracks = ["attention_total", "attention_received"]
    score_relabelled(by_well=few["by_well"], well_scores={}, places=1, tracks=tracks, out=genes)
    found = primary_tables.test_primary(
        primary_tables.PrimaryTables(
            read_table(genes),
            {run: read_table(path) for run, path in few["predictions"].items()},
            *(read_table(inputs[name]) for name in ("genes", "metrics", "labels")),
        ),
        inputs["counts"],
        read_members(inputs["gene_set"]),
        NAMED,
        **{"min_effect": 0.05, "n_null_draws": inputs["n_null_draws"], "brought": False},
    )
    for name, path in out.items():
        write_table(found[name], path, name)
    return {name: read_table(path) for name, path in out.items()}


@pytest.fixture(scope="module")
def found(inputs, tmp_path_factory):
    return run(inputs, tmp_path_factory.mktemp("found"))


@pytest.mark.slow
def test_a_planted_set_is_supported_and_total_attention_is_exploratory(found):
    (row,) = found["primary"].itertuples()
    assert (row.outcome, row.n_permuted, row.permuted_unit) == (SUPPORTED, B, "well")
    assert row.permuted_p == row.smallest_p == 1 / (B + 1)
    assert row.n_positive == len(PLANTED)
    assert row.trained_accuracy == row.permuted_trained_accuracy == 1
    assert row.learnt
    tests = found["track_tests"].set_index("track")
    assert tests["role"].to_dict() == {
        **{"attention_received": "primary", "attention_total": "exploratory"},
        **dict.fromkeys(["wilcoxon", "detection", "mean_rank"], "reference"),
    }
    assert tests["regime"].notna().to_dict() == {
        track: role != "reference" for track, role in tests["role"].items()
    }


@pytest.mark.slow
def test_scores_are_pooled_over_folds_under_every_labels(found, inputs):
    scores = found["relabelled_scores"]
    scores = scores[scores["track"] == "attention_received"].set_index("relabelling")["auprc"]
    assert list(scores.index) == list(range(B + 1))
    for b in (0, 7):
        tables = [read_table(inputs["by_well"][Run(fold, 1, b)]) for fold in FOLDS]
        sums = pd.concat(tables).groupby("ensembl_id", observed=True)[["sum", "n_cells"]].sum()
        mean = sums["sum"] / sums["n_cells"]
        expected = average_precision_score(mean.index.isin(PLANTED), mean)
        assert scores[b] == pytest.approx(expected)
    row = found["track_tests"].set_index("track").loc["attention_received"]
    assert row["auprc"] == scores[0]
    assert row["permuted_mean"] == pytest.approx(scores[1:].mean())
    assert row["effect"] == pytest.approx(scores[0] - scores[1:].mean())


@pytest.mark.slow
def test_differential_expression_stands_beside_under_as_many_relabellings_as_there_are(found):
    scores = found["relabelled_scores"]
    # 20 ways to deal three of six wells, in two replicates, and the exchange of equal classes
    assert (scores["track"] == "wilcoxon").sum() == min(999, 20 * 20 // 2 - 1) + 1
    tests = found["track_tests"].set_index("track")
    assert tests.loc["wilcoxon", "auprc"] > 0.8
    assert tests.loc["wilcoxon", "permuted_p"] < 0.01
    assert tests.loc[["detection", "mean_rank"], "n_permuted"].eq(0).all()
    assert tests.loc[["detection", "mean_rank"], "permuted_p"].isna().all()


def test_without_relabellings_nothing_is_supported_and_no_null_is_made_up(inputs, tmp_path):
    found = run(inputs, tmp_path, relabellings=0)
    (row,) = found["primary"].itertuples()
    assert row.outcome == INCONCLUSIVE
    assert row.n_permuted == 0
    models = found["track_tests"].query("role != 'reference'")
    columns = ["permuted_mean", "permuted_sd", "permuted_p", "permuted_p_max", "effect"]
    assert models[columns].isna().all(axis=None)
    assert models["matched_p"].notna().all()


@pytest.mark.slow
def test_equal_inputs_give_equal_bytes(inputs, found, tmp_path):
    again = run(inputs, tmp_path)
    for name, table in found.items():
        pd.testing.assert_frame_equal(again[name], table, check_exact=True)
