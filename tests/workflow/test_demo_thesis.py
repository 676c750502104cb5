"""What the finished demo of the thesis says: contents of tables, figures and pages."""

import base64
import gzip
import html
import json
import re
import zipfile

import anndata
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from looking import unreadable
from rocrate.rocrate import ROCrate
from running import run_snakemake
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
)
from transformers import AutoModelForSequenceClassification

from keygenes.core.figures import GENE_TASK, SHEETS, STUDY, TASK
from keygenes.core.files import checksum
from keygenes.core.runs import run_named
from keygenes.core.schemas import TABLES, gene_table_schema
from keygenes.core.tables import read_stamp, read_table
from keygenes.core.tracks import ATTENTION, ATTRIBUTIONS, BASELINES
from keygenes.report.captions import caption, plain_text
from keygenes.report.model_card import CONTROLS

TASKS = {"dose": ["0", "1.25", "2.5", "12.5", "25"], "level": ["low", "high"]}
FOLDS = [1, 2]  # each trained once
TUNED = ["frozen", "last_layer", "full"]
REGIMES = [*TUNED, "linear_probe", "logistic_genes"]  # of both tasks; the controls are of 'level'
LAYERS, HEADS = 6, 4
# Tables whose columns depend on the study, or that belong to the simulation.
OWN_COLUMNS = {"labels", "key_genes", "attended_vs_expressed", "truth", "gene_table"}
# That demo has no gene task, one shard, no second study, and ids that need no dictionary.
NOT_HERE = {
    *("gene_classes", "gene_predictions", "gene_metrics"),
    *("token_shard", "replication", "gene_names"),
}
OF_LEVEL = ("plot_inputs", "plot_primary")  # what 'dose' has no sheet of
PLACES = {STUDY: [None], TASK: list(TASKS), GENE_TASK: []}
FIGURES = {  # {name: its record}
    sheet.path(figure).format(task=task): figure
    for sheet in SHEETS
    for task in PLACES[sheet.per]
    for figure in sheet.figures
    if task != "dose" or sheet.name not in OF_LEVEL
}


@pytest.fixture(scope="module")
def results(thesis):
    return thesis / "results/demo_thesis"


@pytest.fixture(scope="module")
def obs(results):
    return anndata.read_h5ad(results / "cells/counts.h5ad").obs


def pooled_rows(table):
    """Return the rows of all folds and trainings together: bool Series."""
    return table["fold"].isna() & table["seed"].isna()


def runs(regimes):
    return [(task, regime, fold) for task in TASKS for regime in regimes for fold in FOLDS]


def table_name(path):
    """Return the schema that a file's place in the results gives it."""
    if path.parent.name in ("splits", "splits_random"):
        return "splits"
    if "export" in path.parts:
        return "gene_table"
    if "baselines" in path.parts and path.stem == "predictions":
        return "baseline_predictions"
    if path.parent.name.startswith("fold") and "evidence" in path.parts:  # of one model
        return {"cells": "attributed_cells", "well_scores": "well_scores"}.get(
            path.stem, f"cell_{path.stem}"
        )
    if path.parent.name == "gene_sets":
        return "gene_set"
    if path.parent.name == "tokens":  # variants, and the cells to pretrain on
        return "token_report" if "report" in path.name else "tokens"
    return path.name.split(".")[-2] if "truth" in path.name else path.name.split(".")[0]


# Tables


def test_every_table_has_its_schema_and_says_where_it_comes_from(results):
    paths = sorted(results.rglob("*.parquet"))
    assert {table_name(path) for path in paths} == set(TABLES) - NOT_HERE | OWN_COLUMNS
    for path in paths:
        name, stamp = table_name(path), read_stamp(path)
        if name not in OWN_COLUMNS:
            assert pq.read_schema(path).equals(TABLES[name]), path
        assert len(read_table(path)) > 0 or path.name == "simulated_atlas.truth.parquet", path
        assert re.fullmatch("[0-9a-f]{64}", stamp["params_sha256"]), path
        assert {"keygenes", "python", "pandas", "pyarrow"} <= set(stamp["versions"]), path
        place = str(path.relative_to(results))
        for value in stamp["wildcards"].values():
            assert value in place
        names = ("task", "regime", "design", "encoding", "dataset", "run", "batch", "gene_set")
        parts = [stamp["wildcards"].get(name) for name in names]
        fold = stamp["wildcards"].get("fold")
        parts = [stamp["rule"], *parts, f"fold{fold}" if fold else None]
        assert (results / f"logs/{'.'.join(filter(None, parts))}.log").is_file(), path


def test_nothing_half_written_is_left(results):
    names = [path.name for path in results.rglob("*")]
    assert not [name for name in names if name.startswith(".") or name == "resume.pt"]


# Cells


def test_each_fold_tests_one_replicate_and_shares_no_well(results, obs):
    splits = read_table(results / "cells/splits.parquet").merge(
        obs[["well", "replicate", "dose_um"]], left_on="cell", right_index=True
    )
    assert len(splits) == len(FOLDS) * len(obs)
    assert set(splits["unit"]) == {"well"}
    for fold, frame in splits.groupby("fold"):
        test = frame["split"] == "test"
        assert set(frame.loc[test, "replicate"]) == {f"rep{fold}"}
        assert f"rep{fold}" not in set(frame.loc[~test, "replicate"])
        assert (frame.groupby("well", observed=True)["split"].nunique() == 1).all()
        # Every dose in every part, by wells of its own.
        wells = frame.groupby(["dose_um", "split"], observed=True)["well"].nunique()
        assert wells.unstack().to_dict("list") == {
            "test": [2] * 5,
            "train": [3] * 5,
            "valid": [1] * 5,
        }


def test_only_cells_that_pass_are_kept(results, obs):
    steps = read_table(results / "cells/selection.parquet")
    assert (steps["n_cells"].diff().dropna() <= 0).all()
    assert steps["n_cells"].iloc[-1] == len(obs)
    assert set(obs["drug"]) == {"Nutlin"}
    assert set(obs["dose_um"]) == {0, 1.25, 2.5, 12.5, 25}
    assert obs["top_to_second_best_ratio"].min() > 10
    assert obs["qval_demultiplexing"].max() < 0.01
    labels = read_table(results / "cells/labels.parquet").set_index("cell")
    high = obs["dose_um"].reindex(labels.index) >= 12.5
    assert ((labels["level"] == "high") == high).all()


# Differential expression


def test_planted_genes_are_recovered(results):
    truth = read_table(results / "inputs/simulated_sciplex.truth.parquet").set_index("ensembl_id")
    table = read_table(results / "expression/wilcoxon.parquet")
    table = table[table["task"] == "dose"][lambda t: t["group"] == "25"]
    table = table[table["reference"] == "vehicle"].set_index("ensembl_id")
    planted = table.index.isin(truth.index)
    assert 0.1 < planted.mean() < 0.2
    assert average_precision_score(planted, table["statistic"].abs()) > 0.75
    first = table.sort_values("p").head(20)
    assert first.index.isin(truth.index).all()
    assert (np.sign(first["log2fc"]) == np.sign(truth["log2fc_max"].reindex(first.index))).all()
    assert {"MDM2", "CDKN1A"} <= set(first["symbol"])


def test_more_genes_answer_to_a_higher_dose(results):
    screen = read_table(results / "expression/dose_screen.parquet").sort_values("dose_um")
    n = (screen["n_up"] + screen["n_down"]).to_numpy()
    assert list(screen["dose_um"]) == [0.25, 1.25, 2.5, 12.5, 25, 125, 250]
    assert list(screen["selected"]) == [False, True, True, True, True, False, False]
    assert n[0] <= 3
    assert (np.diff(n[:4]) > 0).all()
    assert n[4] > n[2], "at 25 uM nearly every planted gene answers already at 12.5"


# Models


@pytest.mark.parametrize(("task", "regime", "fold"), runs(REGIMES))
def test_predictions_are_probabilities_of_the_classes(results, task, regime, fold):
    folder = results / f"models/{task}/{regime}/fold{fold}.seed1"
    table = read_table(folder / "predictions.parquet")
    p = np.stack(table["probabilities"])
    assert p.shape[1] == len(TASKS[task])
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
    assert list(table["true"].cat.categories) == TASKS[task]
    assert (np.array(TASKS[task])[p.argmax(1)] == table["predicted"].astype(str)).all()
    labels = read_table(results / "cells/labels.parquet").set_index("cell")[task]
    assert (labels.reindex(table["cell"]).astype(str).values == table["true"].astype(str)).all()
    splits = read_table(results / "cells/splits.parquet").query("fold == @fold").set_index("cell")
    assert (splits["split"].reindex(table["cell"]).astype(str).values == table["split"]).all()
    if regime in TUNED:
        history = read_table(folder / "history.parquet")
        assert history["best"].sum() == 1
        kept = history.loc[history["best"]].iloc[0]
        if regime == "frozen":  # to convergence
            assert kept["valid_loss"] == history["valid_loss"].min()
            assert len(history) > 5
        else:
            assert kept["epoch"] == len(history) == 5


@pytest.mark.parametrize("task", TASKS)
def test_metrics_follow_from_the_predictions(results, task):
    metrics = read_table(results / f"models/{task}/metrics.parquet")
    confusion = read_table(results / f"models/{task}/confusion.parquet")
    for regime in REGIMES:
        tables = [
            read_table(results / f"models/{task}/{regime}/fold{fold}.seed1/predictions.parquet")
            for fold in FOLDS
        ]
        pooled = pd.concat([table[table["split"] == "test"] for table in tables])
        assert pooled["cell"].is_unique
        true, predicted = pooled["true"].astype(str), pooled["predicted"].astype(str)
        rows = metrics[(metrics["regime"] == regime) & pooled_rows(metrics)]
        found = rows.set_index("metric")["value"].to_dict()
        code = {name: i for i, name in enumerate(TASKS[task])}
        off = (true.map(code) - predicted.map(code)).abs()
        expected = {
            "accuracy": accuracy_score(true, predicted),
            "balanced_accuracy": balanced_accuracy_score(true, predicted),
            "macro_f1": f1_score(true, predicted, average="macro"),
            "quadratic_kappa": cohen_kappa_score(
                true, predicted, labels=TASKS[task], weights="quadratic"
            ),
            "mean_absolute_error": off.mean(),
        }
        if regime != "full":  # whose accuracy is held against it
            full = metrics[(metrics["regime"] == "full") & pooled_rows(metrics)]
            full = full.loc[full["metric"] == "accuracy", "value"].item()
            expected["accuracy_gain"] = full - expected["accuracy"]
        commonest = true.value_counts(normalize=True).iloc[0]
        expected["accuracy_over_commonest"] = expected["accuracy"] - commonest
        expected["classes_named"] = max(
            t.loc[t["split"] == "test", "predicted"].astype(str).nunique() for t in tables
        )
        assert found == pytest.approx(expected)
        rows = rows[rows["metric"] != "classes_named"]
        assert (rows["ci_low"] <= rows["value"]).all()
        assert (rows["ci_high"] >= rows["value"]).all()
        assert set(rows["covers"]) == {"wells"}
        assert set(rows["n_cells"]) == {len(pooled)}
        assert set(rows["n_units"]) == {20}  # two replicates of two wells, five doses
        cells = confusion[(confusion["regime"] == regime) & pooled_rows(confusion)]
        counts = pd.crosstab(true, predicted).stack()
        for row in cells.itertuples():
            assert row.n_cells == counts.get((row.true, row.predicted), 0)


def pooled_accuracy(results, task):
    """Return the pooled accuracy on test cells by regime: value, ci_low, ci_high, n_cells."""
    table = read_table(results / f"models/{task}/metrics.parquet")
    table = table[(table["metric"] == "accuracy") & (table["split"] == "test")]
    table = table[table["design"] == "grouped"]
    return table[pooled_rows(table)].astype({"regime": str}).set_index("regime")


def test_the_level_is_learnt(results):
    accuracy = pooled_accuracy(results, "level")
    assert accuracy.loc["full", "ci_low"] > accuracy.loc["majority", "value"]
    assert accuracy.loc["logistic_genes", "value"] > 0.9, "what the simulation makes possible"


def test_permuted_labels_are_dealt_to_whole_wells_and_cannot_be_learnt(results, obs):
    of_folds = [
        read_table(results / f"cells/relabelled/level/1.fold{fold}/1/labels.parquet")
        for fold in FOLDS
    ]
    pd.testing.assert_frame_equal(*of_folds)
    told = of_folds[0].set_index("cell")
    for fold in FOLDS:
        folder = results / f"models/level/permuted_labels/fold{fold}.seed1"
        table = read_table(folder / "predictions.parquet").set_index("cell")
        labels = read_table(results / "cells/labels.parquet").set_index("cell")
        assert (told["level"].reindex(table.index).astype(str) == table["true"].astype(str)).all()
        wells = obs["well"].astype(str).reindex(table.index)
        assert (table["true"].astype(str).groupby(wells).nunique() == 1).all()
        replicate = obs["replicate"].astype(str).reindex(table.index)
        dealt, own = (
            t["level"].astype(str).groupby([replicate, wells]).first() for t in (told, labels)
        )
        for part in replicate.unique():
            assert sorted(dealt[part]) == sorted(own[part])
        true = read_table(results / f"models/level/full/fold{fold}.seed1/predictions.parquet")
        tested = true.loc[true["split"] == "test", "cell"]
        assert set(table.index[table["split"] == "test"]) == set(tested)
        assert (told["level"].astype(str) != labels["level"].astype(str)).any()
    accuracy = pooled_accuracy(results, "level")
    assert accuracy.loc["permuted_labels", "value"] < accuracy.loc["full", "ci_low"]


def test_a_split_by_cell_is_marked_as_such(results, obs):
    metrics = read_table(results / "models/level/metrics.parquet")
    by_cell = metrics[metrics["design"] == "random"]
    assert "full_random_split" in set(by_cell["regime"])
    assert set(by_cell["unit"]) == {"well"}, "cells of a well resemble each other all the same"
    assert "leak" in set(by_cell["metric"])
    assert "full_random_split" not in set(metrics.loc[metrics["design"] == "grouped", "regime"])
    table = read_table(results / "models/level/full_random_split/fold1.seed1/predictions.parquet")
    table = table.assign(well=obs["well"].reindex(table["cell"]).to_numpy())
    assert (table.groupby("well", observed=True)["split"].nunique() > 1).all(), (
        "wells on both sides"
    )


def test_equally_long_cells_are_as_long_as_they_can_be(results):
    whole = read_table(results / "tokens/report.parquet").set_index("cell")
    drawn = read_table(results / "tokens/equal_length.report.parquet").set_index("cell")
    genes = whole["n_in_vocabulary"].reindex(drawn.index)
    assert (drawn["length"] == genes.clip(upper=150)).all()
    assert (genes > 150).mean() > 0.9
    tokens = read_table(results / "tokens.parquet").set_index("cell")["input_ids"]
    few = read_table(results / "tokens/equal_length.parquet").set_index("cell")["input_ids"]
    for cell in few.index[:20]:
        kept = np.isin(tokens[cell], few[cell])
        assert tokens[cell][kept].tolist() == few[cell].tolist(), "in their order"
    table = read_table(results / "evidence/level/input_length.parquet")
    accuracy = table[table["measure"] == "accuracy"].astype({"regime": str}).set_index("regime")
    pooled = pooled_accuracy(results, "level")["value"]
    for regime in ("full", "full_equal_length", "frozen", "frozen_equal_length"):
        assert accuracy.loc[regime, "value"] == pytest.approx(pooled[regime])
    difference = pooled["full_equal_length"] - pooled["full"]
    assert accuracy.loc["full_equal_length", "difference"] == pytest.approx(difference)


# Attention


@pytest.mark.parametrize("task", TASKS)
def test_what_was_not_trained_attends_as_before(results, task):
    table = read_table(results / f"attention/{task}/cosine.parquet")
    by_pair = {
        pair: frame.set_index(["fold", "layer", "head"])["cosine"]
        for pair, frame in table.groupby(["a", "b"], observed=True)
    }
    equal_length = {("full_equal_length", "frozen_equal_length")} if task == "level" else set()
    assert set(by_pair) == {
        *(("full", "frozen"), ("last_layer", "frozen"), ("frozen", "pretrained")),
        *equal_length,
    }
    index = pd.MultiIndex.from_product([FOLDS, range(1, LAYERS + 1), range(1, HEADS + 1)])
    for cosine in by_pair.values():
        assert set(cosine.index) == set(index)
        assert (cosine <= 1 + 1e-6).all()
    np.testing.assert_allclose(by_pair["frozen", "pretrained"], 1, atol=1e-6)
    last = by_pair["last_layer", "frozen"]
    is_last = last.index.get_level_values("layer") == LAYERS
    np.testing.assert_allclose(last[~is_last], 1, atol=1e-6)
    assert (last[is_last] < 1 - 1e-6).all()
    assert (by_pair["full", "frozen"] < 1 - 1e-6).all()


@pytest.mark.parametrize(("task", "regime", "fold"), runs([*TUNED, "pretrained"]))
def test_attention_adds_up(results, task, regime, fold):
    folder = results / f"attention/{task}/{regime}/fold{fold}.seed1"
    ranks, genes = read_table(folder / "by_rank.parquet"), read_table(folder / "by_gene.parquet")
    lengths = read_table(results / "tokens/report.parquet").set_index("cell")["length"]
    splits = read_table(results / "cells/splits.parquet").query("fold == @fold")
    tested = lengths[splits.loc[splits["split"] == "test", "cell"]].to_numpy()

    ranks, genes = ranks[ranks["subset"] == "test"], genes[genes["subset"] == "test"]
    for _, frame in ranks.groupby(["layer", "head"]):
        n = frame.sort_values("rank")["n_cells"].to_numpy()
        assert (np.diff(n) <= 0).all()
        assert n.tolist() == [(tested >= rank).sum() for rank in range(1, tested.max() + 1)]
        # In multiples of a uniform share, a cell's genes receive 1 on average.
        assert frame["sum"].sum() / n.sum() == pytest.approx(1, abs=1e-6)
    by_head = ranks.groupby(["layer", "head"])["sum"].sum()
    assert len(by_head) == LAYERS * HEADS

    heads = genes.dropna(subset=["layer"])
    np.testing.assert_allclose(heads.groupby(["layer", "head"])["sum"].sum(), by_head, rtol=1e-6)
    overall = genes[genes["layer"].isna()]
    assert overall["sum"].sum() == pytest.approx(by_head.mean(), rel=1e-6)
    assert overall["n_cells"].sum() == tested.sum()
    wells = read_table(folder / "by_well.parquet").query("subset == 'test'")
    totals = overall.groupby("ensembl_id", observed=True)["sum"].sum()
    of_wells = wells.groupby("ensembl_id", observed=True)["sum"].sum()
    np.testing.assert_allclose(of_wells.reindex(totals.index), totals, rtol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_rank_shift_follows_from_the_ranks(results, task):
    shift = read_table(results / f"attention/{task}/rank_shift.parquet")
    shift = shift[(shift["a"] == "full") & (shift["b"] == "frozen") & (shift["fold"] == 1)]
    shift = shift[shift["layer"].isna()].set_index("rank")
    sums = {}
    for regime in ("full", "frozen"):
        table = read_table(results / f"attention/{task}/{regime}/fold1.seed1/by_rank.parquet")
        sums[regime] = table[table["subset"] == "test"].groupby("rank")["sum"].sum()
    expected = 100 * (sums["full"] / sums["frozen"] - 1)
    np.testing.assert_allclose(shift["percent_change"], expected.reindex(shift.index), atol=1e-6)


# Genes


@pytest.mark.parametrize("task", TASKS)
def test_key_genes_are_the_most_attended(results, task):
    tables = [
        read_table(results / f"attention/{task}/full/fold{fold}.seed1/by_gene.parquet")
        for fold in FOLDS
    ]
    table = pd.concat(tables)
    table = table[(table["subset"] == "test") & table["layer"].notna()]
    totals = table.groupby(table["ensembl_id"].astype(str))["sum"].sum()
    keys = read_table(results / f"evidence/{task}/key_genes.parquet").set_index("ensembl_id")
    assert set(keys.index) == set(totals[totals > 0].index)
    np.testing.assert_allclose(keys["attention_total"], totals[keys.index], rtol=1e-9)
    assert keys["attention_total"].is_monotonic_decreasing
    assert (keys["attention"].max(), keys["attention"].min()) == (1, 0)
    assert keys.loc[keys["symbol"] == "MDM2", "in_p53_textbook"].all()
    shown = pd.read_csv(results / f"figures/{task}/figure8_key_genes.tsv", sep="\t", comment="#")
    assert len(shown) == 30
    assert shown["symbol"].tolist() == keys["symbol"].head(30).tolist()


# Export


@pytest.mark.parametrize("task", TASKS)
def test_the_gene_table_says_what_the_tables_say(results, task):
    folder = results / f"export/{task}"
    table = read_table(folder / "genes.parquet")
    tracks = [*BASELINES, *ATTENTION, *ATTRIBUTIONS]
    schema = gene_table_schema(["p53_textbook", "planted_demo_thesis"], tracks)
    assert pq.read_schema(folder / "genes.parquet").equals(schema)
    wilcoxon = read_table(results / "expression/wilcoxon.parquet").query("task == @task")
    genes = read_table(results / f"evidence/{task}/genes.parquet")
    genes = genes[genes["seed"].isna() & (genes["regime"].isna() | (genes["regime"] == "full"))]
    table = table.set_index("ensembl_id")
    assert set(table.index) == {*wilcoxon["ensembl_id"], *genes["ensembl_id"]}
    for name, own in genes.groupby("track", observed=True):
        found = table[f"{name}_score"].dropna()
        assert found.to_dict() == own.set_index("ensembl_id")["score"].to_dict()
    attended = read_table(results / f"evidence/{task}/attended_vs_expressed.parquet")
    attended = attended.set_index("ensembl_id")
    assert (table.loc[attended.index, "log2fc"] == attended["log2fc"]).all()
    assert (
        table.loc[attended.index, "in_planted_demo_thesis"] == attended["in_planted_demo_thesis"]
    ).all()
    sheets = pd.read_excel(folder / "genes.xlsx", sheet_name=None)
    assert list(sheets) == ["genes (SIMULATED)", "columns"]
    shown, text = sheets["genes (SIMULATED)"], pd.read_csv(folder / "genes.tsv", sep="\t")
    assert shown["ensembl_id"].tolist() == text["ensembl_id"].tolist() == list(table.index)
    assert "SIMULATED DATA: no cell is real" in (folder / "columns.tsv").read_text()


def test_the_cells_with_scores_are_the_studys_cells(results):
    scored = anndata.read_h5ad(results / "export/scored.h5ad")
    counts = anndata.read_h5ad(results / "cells/counts.h5ad")
    for part in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(scored.X, part), getattr(counts.X, part))
    pd.testing.assert_frame_equal(scored.obs[counts.obs.columns], counts.obs)
    said = scored.uns["keygenes"]
    record = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    assert said["config_sha256"] == record["config_sha256"]
    assert said["simulated"]
    for task in TASKS:
        keys = read_table(results / f"evidence/{task}/key_genes.parquet")["ensembl_id"]
        ranked = scored.var.sort_values(f"{task}.attention_total_rank").index
        assert ranked[:30].tolist() == keys.head(30).tolist()
        tested = scored.obs.dropna(subset=[f"{task}.predicted"])
        right = tested[f"{task}.predicted"].astype(str) == tested[f"{task}.class"].astype(str)
        assert right.mean() == pytest.approx(pooled_accuracy(results, task).loc["full", "value"])


def test_every_classifier_is_a_folder_of_transformers_with_a_card(results):
    weights = results.glob("models/*/*/fold*/model.safetensors")
    folders = [path.parent for path in weights if (path.parent / "loading.json").exists()]
    assert len(folders) == 20
    assert {path.parent for path in results.glob("models/*/*/fold*/README.md")} == set(folders)
    vocabulary = read_table(results / "vocabulary.parquet")
    for folder in folders:
        task, regime, run = folder.parts[-3:]
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        assert list(model.config.id2label.values()) == TASKS[task]
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert yaml.safe_load(card.split("---\n")[1])["library_name"] == "transformers"
        assert "**SIMULATED DATA: no cell is real.**" in card
        assert any(said in card for said in CONTROLS.values()) == (regime not in TUNED)
        rows = read_table(results / f"models/{task}/metrics.parquet").astype({"regime": str})
        (value,) = rows[
            (rows["metric"] == "accuracy")
            & (rows["split"] == "test")
            & (rows["regime"] == regime)
            & (rows["fold"] == run_named(run).fold)
            & (rows["seed"] == 1)
        ]["value"]
        assert f"| {value:.3f} |" in card
        tokens = pd.read_csv(folder / "vocabulary.tsv", sep="\t", float_precision="round_trip")
        assert tokens["median"].equals(vocabulary["median"])
        assert tokens["ensembl_id"].equals(vocabulary["ensembl_id"])


# Figures and pages


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_whole_and_marked(results, name):
    svg = (results / f"figures/{name}.svg").read_text(encoding="utf-8")
    assert "simulated data" in svg
    assert svg.rstrip().endswith("</svg>")
    assert not re.search(r'(?:href|src)="(?!#)(?!data:)', svg)
    png = (results / f"figures/{name}.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert png.endswith(b"IEND\xaeB`\x82")
    assert int.from_bytes(png[16:20]) > 800, "pixels wide"


def test_no_figure_is_unknown(results):
    found = {
        str(path.relative_to(results / "figures").with_suffix(""))
        for path in (results / "figures").rglob("*.svg")
    }
    assert found == set(FIGURES)


def test_page_asks_for_its_folder_alone_and_shows_everything(thesis, results):
    folder = results / "report"
    page = (folder / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', page)
    files = {link for link in links if not link.startswith(("#", "data:", "https://"))}
    assert {"assets/page.js", "references.bib", "tables/dose/genes.xlsx"} <= files
    assert all((folder / link).is_file() for link in files)
    asked = re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="([^"]*)"', page)
    assert not [link for link in asked if link.startswith("http")], "references are links alone"
    made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    data = {f"data/{name}.js" for name in ("charts", "run_times")}
    data |= {f"data/{of}.{task}.js" for of in ("genes", "details") for task in TASKS}
    assert made - files == data | {"index.html", "summary.txt", "assets/licences.txt"}
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "Simulated data" in text
    assert page.count("<img ") == len(FIGURES)
    for name in {figure.split("/")[-1] for figure in FIGURES}:
        rst = (thesis / f"workflow/report/{name}.rst").read_text(encoding="utf-8")
        for paragraph in plain_text(rst).split("\n\n"):
            assert " ".join(paragraph.split()) in text, name
    assert "learning_rate: " in text
    assert "torch" in text
    told = re.findall(r"<p>(.*?)</p>", page.split('id="answer"')[1].split("</section>")[0], re.S)
    asked = next(i for i, said in enumerate(told) if said.endswith("?"))
    assert len(told) - asked == 5 and asked <= 1, "a model that has not learnt is told of first"


def unpacked(path):
    """Return the data in one of the page's scripts."""
    packed = re.fullmatch(r'keygenes\.take\("[\w.]+", "(.*)"\);\n', path.read_text())[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_charts_and_files_hold_what_the_figures_draw(results):
    specs = unpacked(results / "report/data/charts.js")
    charted = {"figure1_umap"} | {
        f"{task}/{name}"
        for task in TASKS
        for name in ("training_curves", "figure3_confusion", "forest", "figure4_cosine")
        + ("figure5_rank_shift", "figure6_rank_shift_layers", "figure9_norms")
    }
    assert set(specs) == charted
    for name in FIGURES:
        table = pd.read_csv(results / f"figures/{name}.tsv", sep="\t")
        assert len(table), name
        assert table["simulated"].all()
        copied = results / f"report/figures/{name}.tsv"
        assert copied.read_bytes() == (results / f"figures/{name}.tsv").read_bytes()


@pytest.mark.parametrize("task", TASKS)
def test_the_page_has_every_gene_with_its_ranks(results, task):
    shown = unpacked(results / f"report/data/genes.{task}.js")
    table = read_table(results / f"export/{task}/genes.parquet")
    titles = [column["title"] for column in shown["columns"]]
    frame = pd.DataFrame(shown["rows"], columns=titles)
    assert frame["Ensembl id"].tolist() == table["ensembl_id"].tolist()
    ranks = table["attention_received_rank"].astype(float)
    assert frame["attention received, rank"].astype(float).equals(ranks)
    details = unpacked(results / f"report/data/details.{task}.js")
    assert details["classes"] == TASKS[task]
    assert len(details["scores"]) == len(details["attention"]) == len(table)
    heads = read_table(results / f"evidence/{task}/gene_heads.parquet")
    id_ = table["ensembl_id"].iloc[0]
    of_gene = heads[heads["ensembl_id"] == id_].sort_values(["layer", "head"])["mean"]
    assert details["attention"][0] == pytest.approx(of_gene.tolist(), rel=1e-3)


def test_summary_says_what_the_tables_say(results):
    lines = (results / "report/summary.txt").read_text(encoding="utf-8").splitlines()
    assert "SIMULATED DATA" in lines[1]
    numbers = dict(
        re.split(r"\s{2,}|(?<=claims): ", line.strip(), maxsplit=1)
        for line in lines
        if re.match("  [a-z]", line)
    )
    assert len(numbers) == 7
    claims = read_table(results / "evidence/claims.parquet")
    n = claims.loc[claims["primary"], "verdict"].value_counts()
    assert n.sum() == claims["claim"].nunique() == 12
    assert numbers["claims"] == (
        f"{n['holds']} hold, {n['holds in part']} in part, {n['fails']} fail, "
        f"{n['undecided']} undecided, {n['not testable here']} not testable here (one verdict "
        "each, of 12 claims)"
    )
    (primary,) = read_table(results / "evidence/primary.parquet").itertuples()
    assert [value for key, value in numbers.items() if key.startswith("primary test")] == [
        primary.outcome
    ]
    said = {key.split(",")[0]: value for key, value in numbers.items()}
    splits = read_table(results / "cells/splits.parquet")
    assert int(said["cells in the study"].replace(",", "")) == splits["cell"].nunique()
    for task in TASKS:
        row = pooled_accuracy(results, task).loc["full"]
        expected = f"{row['value']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f})"
        assert numbers[f"accuracy of the full model, task {task}"] == expected
    cosine = read_table(results / "attention/level/cosine.parquet")
    cosine = cosine.loc[(cosine["a"] == "full") & (cosine["b"] == "frozen"), "cosine"]
    assert said["attention of full against frozen"] == f"cosine {cosine.mean():.3f}"
    keys = read_table(results / "evidence/level/key_genes.parquet")
    found = str(keys["in_p53_textbook"].head(30).sum())
    assert said["genes of p53 textbook among the 30 most attended"] == found


def test_provenance_names_config_inputs_code_software_and_results(thesis, results):
    record = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    assert record["study"] == record["config"]["study"] == "demo_thesis"
    assert record["simulated"] == "no cell is real"
    assert record["config"]["folds"] == FOLDS
    assert record["seeds"]["seeds"] == [1]
    assert {"simulated_sciplex", "simulated_atlas"} == set(record["entries"]["datasets"])
    behind = {"keygenes", "python", "torch", "illico", "pydeseq2", "transformers"}
    behind |= {"snakemake"}
    assert behind <= set(record["software"])
    assert all(len(versions) == 1 for versions in record["software"].values())
    scripts = {path.stem for path in (thesis / "workflow/scripts").glob("*.py")}
    assert set(record["keygenes"]["scripts"]) == scripts
    assert str(thesis) not in json.dumps(record)
    for source in record["inputs"]:
        assert source["sha256"] == checksum(thesis / source["path"])
    assert {"claims", "gene set 'p53_textbook'"} == {source["name"] for source in record["inputs"]}
    for path, found in record["results"].items():
        assert found["sha256"] == checksum(results / path), path
    models = [path for path in record["results"] if path.endswith("model.safetensors")]
    there = results.glob("models/*/*/fold*/model.safetensors")
    assert sorted(models) == sorted(str(path.relative_to(results)) for path in there)


def test_the_record_is_an_ro_crate(results):
    crate = ROCrate(results)
    record = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    run = crate.dereference("#run")
    assert {file.id for file in run["result"]} == set(record["results"])
    assert run["instrument"]["name"] == "keygenes"
    assert {item["sha256"] for item in run["object"] if item.type == "MediaObject"} == {
        source["sha256"] for source in record["inputs"]
    }
    assert "Simulated" in crate.description


def test_the_report_stays_light(results):
    folder = results / "report"
    page = folder / "index.html"
    pictures = re.findall(r'<img src="([^"]+)"', page.read_text(encoding="utf-8"))
    loaded = [page, *(folder / path for path in pictures)]
    loaded += [path for name in ("assets", "data") for path in (folder / name).iterdir()]
    assert len(pictures) == len(FIGURES)
    assert sum(path.stat().st_size for path in loaded) < 10_000_000, "with all that may be opened"


# Snakemake's own report

TABLES_CARRIED = {
    "All tasks": {"selection", "checks"},
    **{f"Task {task}": {"figure8_key_genes"} for task in TASKS},
}
for name, figure in FIGURES.items():
    *task, _ = name.split("/")
    TABLES_CARRIED[f"Task {task[0]}" if task else "All tasks"] |= {figure.table} - {None}


@pytest.fixture(scope="module")
def snakemake_report(thesis, tmp_path_factory):
    """Return the page of Snakemake's report, made without a network, and the names of its files."""
    closed = dict.fromkeys(["http_proxy", "https_proxy"], "http://127.0.0.1:9")
    path = tmp_path_factory.mktemp("report") / "report.zip"
    run = run_snakemake(
        thesis, "--report", path, "--configfile", "config/demo_thesis.yaml", **closed
    )
    assert run.returncode == 0, run.text
    with zipfile.ZipFile(path) as archive:
        return archive.read("report/report.html").decode(), archive.namelist()


def carried(page, variable):
    """Return a variable of the page's data."""
    start = page.rindex(f"var {variable} = ") + len(f"var {variable} = ")
    return json.JSONDecoder().raw_decode(page[start:])[0]


def test_snakemakes_own_report_needs_no_network(snakemake_report):
    page, names = snakemake_report
    drawn = sorted(name.split("/")[-1] for name in names if name.endswith(".svg"))
    assert drawn == sorted(f"{figure.split('/')[-1]}.svg" for figure in FIGURES)
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="https?:', page)


def test_snakemakes_own_report_has_a_place_caption_and_labels_for_each_figure(snakemake_report):
    page, _ = snakemake_report
    results, categories = carried(page, "results"), carried(page, "categories")
    assert set(categories) == {"Data", "Models", "Attention", "Genes", "Claims"}
    figures, tables = set(), {}
    for of_category in categories.values():
        for place, paths in of_category.items():
            for path in paths:
                shown = results[path]
                text = html.unescape(re.sub(r"<[^>]+>", "", shown["caption"]))
                name, kind = shown["labels"]["name"], shown["labels"]["kind"]
                assert " ".join(text.split()) == " ".join(caption(name).split()), path
                if kind == "figure":
                    figures.add(
                        path.removeprefix("results/demo_thesis/figures/").removesuffix(".svg")
                    )
                    assert shown["mime_type"] == "image/svg+xml"
                else:
                    tables.setdefault(place, set()).add(name)
                    assert shown["mime_type"] == "text/tab-separated-values"
                task = place.removeprefix("Task ")
                assert (f"/{task}/" in path) == (place != "All tasks"), path
    assert figures == set(FIGURES)
    assert tables == TABLES_CARRIED
    assert len(results) == sum(len(p) for of in categories.values() for p in of.values())


def test_snakemakes_own_report_says_what_was_run(snakemake_report):
    page, _ = snakemake_report
    start = page.rindex("var workflow_desc = ")
    text = re.sub(r"<[^>]+>", "", page[start : page.index("</div>", start)])
    text = " ".join(text.replace("\\n", " ").split())
    assert "Study demo_thesis, dataset simulated_sciplex, tasks dose, level. " in text
    assert "{" not in text


def test_every_file_of_the_study_opens(results):
    assert unreadable(results) == {}
