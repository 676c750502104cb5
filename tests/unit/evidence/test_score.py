import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from evidence_tables import GENES, HEADS, LAYERS, attributions, raw_attention, statistics
from gene_set_tables import matched_set

from keygenes.core.runs import Run
from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_table, write_table
from keygenes.core.tracks import ATTENTION, BASELINES
from keygenes.evidence.gene_sets import read_members
from keygenes.evidence.key_genes import (
    attended_and_expressed,
    enrichment,
    key_gene_table,
    key_genes,
    mean_ranks_by_class,
    min_max,
)
from keygenes.evidence.relabelled import score_relabelled
from keygenes.evidence.score import (
    BaselineTables,
    score_genes,
    symbols_of,
    without_special_tokens,
)
from keygenes.evidence.track_files import Question, TrackFiles
from keygenes.evidence.tracks import counted_once, permuted_genes
from keygenes.evidence.well_sums import well_groups

SYMBOLS = ["MDM2", "CDKN1A", "RPS6", "MT-ND4", "ACTB", "GDF15", "RARE", "<b>SOME</b>"]


def vocabulary():
    ids = ["<pad>", "<mask>", *GENES]
    return pd.DataFrame(
        {
            "token": range(len(ids)),
            "ensembl_id": ids,
            "symbol": ["<pad>", "<mask>", *SYMBOLS],
            "median": 1.0,
        }
    )


def test_values_scaled_to_the_unit_interval():
    assert min_max(np.array([2.0, 6.0, 4.0])).tolist() == [0, 1, 0.5]
    assert min_max(np.array([-1.0, np.nan, 1.0]))[[0, 2]].tolist() == [0, 1]
    assert min_max(np.array([3.0, 3.0])).tolist() == [0, 0]


@pytest.mark.parametrize("n_top", [1, 10, 30, 100])
def test_enrichment_is_the_hypergeometric_tail(n_top):
    flags = np.zeros(100, bool)
    flags[[0, 3, 7, 29, 30, 80]] = True
    result = enrichment(flags, n_top)
    found = {1: 1, 10: 3, 30: 4, 100: 6}[n_top]
    assert result["found"] == found
    assert result["expected"] == pytest.approx(n_top * 0.06)
    assert result["base_rate"] == 0.06
    tail = sum(scipy.stats.hypergeom.pmf(k, 100, 6, n_top) for k in range(found, 7))
    assert result["p"] == pytest.approx(tail)
    table = [[found, n_top - found], [6 - found, 94 - (n_top - found)]]
    assert result["p"] == pytest.approx(scipy.stats.fisher_exact(table, "greater").pvalue)


def test_enrichment_of_nothing_and_of_a_short_list():
    assert enrichment(np.zeros(50, bool), 30)["p"] == 1
    result = enrichment(np.array([True, False]), 30)
    assert (result["n_top"], result["found"], result["p"]) == (2, 1, 1)


def test_special_tokens_are_no_genes():
    frame = pd.DataFrame({"ensembl_id": pd.Categorical(["<cls>", "ENSG1", "<eos>"]), "sum": 1.0})
    assert without_special_tokens(frame)["ensembl_id"].tolist() == ["ENSG1"]


@pytest.fixture(scope="module")
def folds():
    """Return the raw attention of two folds, whose test cells differ."""
    return [raw_attention(seed=1), raw_attention(seed=2)]


@pytest.fixture(scope="module")
def keys(folds):
    tables = {(fold, 1): statistics(raw)["by_gene"] for fold, raw in enumerate(folds, 1)}
    return key_genes(counted_once(tables), vocabulary(), {"p53": {"MDM2", GENES[1], "TP53"}})


def pooled(folds):
    raw = pd.concat([raw.assign(cell=raw["cell"] + 100 * i) for i, raw in enumerate(folds)])
    groups = raw.groupby(["ensembl_id", "class", "cell"], as_index=False)
    return groups.agg(total=("received", "sum"), mean=("received", "mean"), rank=("rank", "first"))


def test_key_genes_fall_by_total_attention_over_all_folds(folds, keys):
    totals = pooled(folds).groupby("ensembl_id")["total"].sum().sort_values(ascending=False)
    assert keys["ensembl_id"].tolist() == list(totals.index)
    assert keys["position"].tolist() == list(range(1, 9))
    np.testing.assert_allclose(keys["attention_total"], totals)
    scaled = (totals - totals.min()) / (totals.max() - totals.min())
    np.testing.assert_allclose(keys["attention"], scaled)


def test_the_columns_of_the_key_gene_table(keys):
    first = ["position", "ensembl_id", "symbol", "attention", "attention_total"]
    assert list(keys.columns)[:5] == first
    assert set(keys.columns) == {
        *first,
        *("attention_received", "n_cells", "rank_mean", "rank_sd"),
        *("mean_rank_low", "mean_rank_high", "in_p53"),
    }
    assert keys.set_index("ensembl_id")["symbol"].to_dict() == dict(
        zip(GENES, SYMBOLS, strict=True)
    )
    assert set(keys.loc[keys["in_p53"], "symbol"]) == {"MDM2", "CDKN1A"}


def test_ranks_and_means_of_key_genes(folds, keys):
    keys = keys.set_index("ensembl_id")
    for gene, rows in pooled(folds).groupby("ensembl_id"):
        assert keys.loc[gene, "n_cells"] == len(rows)
        assert keys.loc[gene, "attention_received"] == pytest.approx(rows["mean"].mean())
        assert keys.loc[gene, "rank_mean"] == pytest.approx(rows["rank"].mean())
        assert keys.loc[gene, "rank_sd"] == pytest.approx(rows["rank"].std())
        for name in ("low", "high"):
            of_class = rows.loc[rows["class"] == name, "rank"]
            found = keys.loc[gene, f"mean_rank_{name}"]
            assert found == pytest.approx(of_class.mean(), nan_ok=True)
    # the rare gene is seen once per fold, each time in a cell of class high
    assert np.isnan(keys.loc[GENES[-2], "mean_rank_low"])


def test_mean_ranks_weigh_folds_by_their_cells():
    rows = {"ensembl_id": "g", "class": "low", "subset": "test", "layer": pd.NA}
    table = pd.DataFrame(
        [{**rows, "rank_mean": 10.0, "n_cells": 30}, {**rows, "rank_mean": 50.0, "n_cells": 10}]
    )
    assert mean_ranks_by_class(table).loc["g", "mean_rank_low"] == 20


def test_equal_totals_go_by_id():
    raw = raw_attention().assign(received=1.0)
    raw = raw[raw["ensembl_id"].isin(GENES[:2])]
    raw = pd.concat([raw[raw["ensembl_id"] == GENES[0]].assign(ensembl_id=g) for g in "zay"])
    frame = key_genes(statistics(raw)["by_gene"], vocabulary(), {})
    assert frame["ensembl_id"].tolist() == ["a", "y", "z"]
    assert frame["attention"].eq(0).all()


def wilcoxon_of(genes=GENES, task="level"):
    """Return tests in which the genes' |z| falls in reverse order of the ids."""
    rows = []
    for group, sign in (("low", -1), ("high", 1)):
        for j, gene in enumerate(genes):
            rows.append(
                {
                    **{"task": task, "group": group, "reference": "rest", "ensembl_id": gene},
                    **{"symbol": f"DE{j}", "statistic": sign * (j + 1.0), "log2fc": sign * 0.5},
                    **{"auc": 0.6, "p": 0.01, "p_adj": 0.02, "mean": 1.0, "mean_reference": 2.0},
                    **{"detection": 0.5, "detection_reference": 0.5, "n_cells": 20},
                    "n_reference": 20,
                }
            )
    return pd.DataFrame(rows)


def test_attended_beside_differentially_expressed(keys):
    table = attended_and_expressed(keys, wilcoxon_of())
    assert set(table["ensembl_id"]) == set(GENES)
    by_gene = table.set_index("ensembl_id")
    assert by_gene["de_rank"].to_dict() == {g: 8 - j for j, g in enumerate(GENES)}
    expected = keys.set_index("ensembl_id")["position"]
    assert by_gene["attention_rank"].to_dict() == expected.to_dict()
    assert by_gene["log2fc"].eq(0.5).all(), "of two classes, the last"


UNTESTED = GENES[-2]  # attended to, but in no test


def cells_of(folds):
    """Return obs, labels and vehicle of the cells of `raw_attention`."""
    cells = pd.concat(folds).drop_duplicates(["cell", "well"]).drop_duplicates("well")
    labels = pd.Categorical(cells["class"], ["low", "high"])
    return (
        cells[["well"]].reset_index(drop=True),
        labels,
        cells["well"].isin(["W0", "W2"]).to_numpy(),
    )


def scored(folder, folds, **options):
    """Score two regimes in two folds; return the paths that were written.

    'full' is trained twice: the attention of its second training is three times the first one's.
    'frozen' is trained once, and pays twice as much.
    """
    folder.mkdir(exist_ok=True)
    write_table(vocabulary(), folder / "vocabulary.parquet", "vocabulary")
    other = wilcoxon_of(["ENSG9"], task="dose")
    tested = [gene for gene in GENES if gene != UNTESTED]
    tests = pd.concat([wilcoxon_of([*tested, "ENSG00000000099"]), other], ignore_index=True)
    write_table(tests, folder / "wilcoxon.parquet", "wilcoxon")
    columns = TABLES["pseudobulk"].names
    wells = tests.assign(base_mean=1.0, n_wells=3)[columns] if options.pop("wells", True) else None
    wells = pd.DataFrame(columns=columns) if wells is None else wells
    write_table(wells, folder / "pseudobulk.parquet", "pseudobulk")
    coefficients = {}
    for fold in (1, 2):
        coefficients[fold] = folder / f"coefficients.{fold}.parquet"
        table = pd.DataFrame({"ensembl_id": tested, "score": np.arange(7.0), "direction": 1.0})
        write_table(table.assign(baseline="bag_of_genes_l1"), coefficients[fold])
    (folder / "set.tsv").write_text("symbol\nDE0\nRARE\nMDM2\n")
    paths = {"by_gene": {}, "by_well": {}, "well_scores": {}}
    for (regime, seed, factor), (fold, raw) in itertools.product(
        (("full", 1, 1.0), ("full", 2, 3.0), ("frozen", 1, 2.0)), enumerate(folds, 1)
    ):
        raw = raw.assign(received=raw["received"] * factor)
        extra = raw[raw["ensembl_id"] == GENES[0]].assign(ensembl_id="<cls>")
        tables = statistics(pd.concat([raw, extra]))
        if regime == "full":
            tables["well_scores"] = attributions(raw, ["occlusion", "rollout"], 2 * fold + seed)
        for name, table in tables.items():
            path = folder / f"{name}.{regime}.{fold}.{seed}.parquet"
            paths[name][regime, fold, seed] = path
            write_table(table, path, name)
    tables = [read_table(folder / f"{name}.parquet") for name in ("wilcoxon", "pseudobulk")]
    tables = [table[table["task"] == "level"] for table in tables]
    question = {"regime": "full", "tracks": [*ATTENTION, "occlusion", "attattr"]}
    question |= {name: options[name] for name in question if name in options}
    names = read_table(folder / "vocabulary.parquet")
    genes, about = score_genes(
        TrackFiles(**paths),
        BaselineTables(*tables, [read_table(path) for path in coefficients.values()]),
        names,
        well_groups(*options.get("cells", cells_of(folds))),
        Question(**question),
        options.get("permuted"),
    )
    sets = {"mine": read_members(matched_set(folder / "set.tsv", GENES, SYMBOLS))}
    keys = key_gene_table(genes, about, symbols_of(tables[0], names), sets, "attention_total")
    outputs = {name: folder / f"{name}.parquet" for name in ("genes", "key_genes", "attended")}
    write_table(genes, outputs["genes"], "genes")
    write_table(keys, outputs["key_genes"])
    write_table(attended_and_expressed(keys, tables[0]), outputs["attended"])
    return outputs


@pytest.mark.slow
def test_the_evidence_table_holds_every_track_regime_and_seed(folds, tmp_path):
    table = read_table(scored(tmp_path, folds)["genes"])
    assert list(table.columns) == TABLES["genes"].names
    runs = table.groupby("track", observed=True)[["regime", "seed"]].agg(
        lambda column: column.nunique()
    )
    attention = ("attention_total", "attention_received", "attention_residual")
    assert runs["regime"].to_dict() == {
        **dict.fromkeys(BASELINES, 0),
        **dict.fromkeys(attention, 2),
        "occlusion": 1,
    }, "rollout was not asked for, norm_pair and attattr are in no table"
    assert runs.loc[[*attention, "occlusion"], "seed"].eq(2).all()
    assert runs.loc[list(BASELINES), "seed"].eq(0).all(), "nothing is trained, or once per fold"
    frozen = table[table["regime"] == "frozen"]
    assert frozen["seed"].isna().all(), "of one training seed, the pooled rows are all there is"
    assert not table["ensembl_id"].str.startswith("<").any(), "special tokens are no genes"
    assert "ENSG9" not in set(table["ensembl_id"]), "of another task"
    names = table.drop_duplicates("ensembl_id").set_index("ensembl_id")["symbol"]
    assert names[GENES[0]] == "DE0", "the dataset's name before the vocabulary's"
    assert names[UNTESTED] == "RARE", "the vocabulary's, where the dataset has none"
    assert names["ENSG00000000099"] == "DE7", "out of the vocabulary"
    detection = table[table["track"] == "detection"].set_index("ensembl_id")["score"]
    n_cells = pooled(folds).groupby("ensembl_id").size()
    assert detection.to_dict() == n_cells.to_dict(), "over the test cells of all folds, once"
    ranks = table.groupby(["track", "regime", "seed"], observed=True, dropna=False)["rank"]
    assert (ranks.max() == ranks.size()).all()
    total = table[table["track"] == "attention_total"].set_index(["regime", "seed", "ensembl_id"])
    full, frozen = total.loc["full"]["score"], total.loc["frozen"]["score"]
    sums = pooled(folds).groupby("ensembl_id")["total"].sum().sort_index()
    for seed, factor in ((1, 1), (2, 3), (np.nan, 2)):
        np.testing.assert_allclose(full.loc[seed].sort_index(), factor * sums)
    np.testing.assert_allclose(frozen.loc[np.nan].sort_index(), 2 * sums)
    assert total["n_cells"].groupby("ensembl_id").nunique().eq(1).all()


@pytest.mark.slow
def test_pooled_rows_alone_have_p(folds, tmp_path):
    table = read_table(scored(tmp_path, folds)["genes"])
    of_model = table[table["regime"].notna()]
    assert of_model.loc[of_model["seed"].notna(), "p"].isna().all()
    pool = of_model[of_model["seed"].isna()]
    assert pool.groupby("track", observed=True)["p"].count().gt(0).all()
    assert table[["permuted_mean", "permuted_sd"]].isna().all().all(), "nothing was dealt anew"


@pytest.mark.slow
def test_the_null_of_a_gene_is_that_of_models_trained_on_dealt_classes(folds, tmp_path):
    dealt = {"by_well": {}, "well_scores": {}}
    for b, (fold, raw) in itertools.product((1, 2), enumerate(folds, 1)):
        tables = statistics(raw.assign(received=b * raw["received"]))
        tables = {"by_well": tables["by_well"], "well_scores": attributions(raw, ["occlusion"], b)}
        for name, one in tables.items():
            path = dealt[name][Run(fold, 1, b)] = tmp_path / f"{name}.{b}.{fold}.parquet"
            write_table(one, path, name)
    path = tmp_path / "relabelled_genes.parquet"
    score_relabelled(**dealt, places=LAYERS * HEADS, tracks=[*ATTENTION, "occlusion"], out=path)
    dealt = {"full": permuted_genes(read_table(path))}
    table = scored(tmp_path, folds, permuted=dealt)["genes"]
    table = read_table(table)
    sums = pooled(folds).groupby("ensembl_id")["total"].sum()
    of_full = table[(table["regime"] == "full") & (table["track"] == "attention_total")]
    for _, rows in of_full.groupby("seed", dropna=False):
        rows = rows.set_index("ensembl_id")
        np.testing.assert_allclose(rows["permuted_mean"], 1.5 * sums[rows.index])
        np.testing.assert_allclose(rows["permuted_sd"], np.sqrt(0.5) * sums[rows.index])
    assert table.loc[table["regime"] != "full", "permuted_mean"].isna().all()
    occlusion = table[(table["track"] == "occlusion") & (table["regime"] == "full")]
    assert occlusion["permuted_sd"].gt(0).all()


@pytest.mark.slow
def test_tracks_that_are_switched_off_are_left_out_but_never_the_baselines(folds, tmp_path):
    table = read_table(scored(tmp_path, folds, tracks=[])["genes"])
    assert set(table["track"]) == set(BASELINES)
    assert read_table(tmp_path / "key_genes.parquet")["attention_total"].gt(0).all()


@pytest.mark.slow
def test_cells_without_wells_give_tracks_without_p(folds, tmp_path, caplog):
    caplog.set_level("INFO", logger="keygenes")
    bare = [raw.assign(well="all") for raw in folds]
    table = read_table(
        scored(
            tmp_path,
            bare,
            wells=False,
            cells=(
                pd.DataFrame(index=range(2)),
                pd.Categorical(["low", "high"], ["low", "high"]),
                np.array([True, False]),
            ),
        )["genes"]
    )
    assert "no wells" in caplog.text
    assert "pseudobulk" not in set(table["track"])
    received = table[table["track"] == "attention_received"]
    assert received[["p", "q", "n_wells"]].isna().all().all()
    assert (received["ci_low"] < received["score"]).all(), "over cells"


@pytest.mark.slow
def test_the_key_genes_are_those_of_one_regime(folds, tmp_path):
    outputs = scored(tmp_path, folds)
    keys = read_table(outputs["key_genes"])
    assert len(keys) == 8
    assert keys["position"].tolist() == list(range(1, 9))
    totals = pooled(folds).groupby("ensembl_id")["total"].sum()
    np.testing.assert_allclose(
        keys["attention_total"],
        2 * totals[keys["ensembl_id"]],
        err_msg="of the regime 'full' alone, the mean over its trainings",
    )
    assert set(keys.loc[keys["in_mine"], "symbol"]) == {"DE0", "RARE"}
    attended = read_table(outputs["attended"])
    assert set(attended["ensembl_id"]) == set(GENES) - {UNTESTED}
    frozen = read_table(scored(tmp_path, folds, regime="frozen")["key_genes"])
    np.testing.assert_allclose(frozen["attention_total"], keys["attention_total"])
    same = ["n_cells", "mean_rank_low", "mean_rank_high"]
    pd.testing.assert_frame_equal(frozen[same], keys[same])


@pytest.mark.slow
def test_equal_inputs_give_equal_bytes(folds, tmp_path):
    first, again = scored(tmp_path / "a", folds), scored(tmp_path / "b", folds)
    for name in first:
        assert first[name].read_bytes() == again[name].read_bytes()
