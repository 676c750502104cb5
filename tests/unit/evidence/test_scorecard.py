import numpy as np
import pandas as pd
import pytest

from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.agreement import set_metrics
from keygenes.evidence.scorecard import (
    faithfulness_rows,
    gene_facts,
    lengths_of_genes,
    score_tracks,
    significance_rows,
)

N, PLANTED, WELLS = 400, 40, [f"W{i}" for i in range(8)]
GENES = np.array([f"ENSG{i:011d}" for i in range(N)])
TRACKS = ["attention_total", "attention_received", "occlusion"]
SIGNAL = np.where(np.arange(N) < PLANTED, 2.0, 0.0)


def evidence(rng):
    """Return a table 'genes': 'full' finds the planted genes, 'permuted_labels' does not."""
    detection = rng.integers(5, 500, N).astype(float)
    expressed = SIGNAL + rng.standard_normal(N)
    scores = {
        ("detection", None, None): detection,
        ("mean_rank", None, None): -rng.random(N) * 100,
        ("wilcoxon", None, None): np.abs(expressed),
        ("random", None, None): rng.random(N),
    }
    for regime, signal in (("full", SIGNAL), ("permuted_labels", 0 * SIGNAL)):
        for seed in (1, 2, None):
            scores["attention_total", regime, seed] = detection + rng.standard_normal(N)
            scores["attention_received", regime, seed] = signal + rng.standard_normal(N)
            scores["occlusion", regime, seed] = np.where(
                np.arange(N) % 3 > 0, signal + 0.5 * rng.standard_normal(N), np.nan
            )
    frames = []
    for (track, regime, seed), score in scores.items():
        frame = pd.DataFrame({"ensembl_id": GENES, "symbol": GENES, "score": score})
        frame = frame.assign(track=track, regime=regime, seed=seed, n_cells=20, n_wells=8)
        if regime and seed is None:
            p = np.where(SIGNAL > 0, 1e-6, 0.5) if regime == "full" else np.full(N, 0.5)
            frame = frame.assign(p=p, q=p)
        frames.append(frame.dropna(subset="score"))
    table = pd.concat(frames, ignore_index=True)
    for column in TABLES["genes"].names:
        if column not in table:
            table[column] = np.nan
    table["rank"] = 1
    return table.astype({"seed": "Int64", "n_wells": "Int64"})


def wilcoxon_of(expressed):
    frame = pd.DataFrame({"ensembl_id": GENES, "symbol": GENES, "statistic": expressed})
    frame = frame.assign(task="level", reference="rest", log2fc=expressed, p_adj=0.5)
    frame = frame.assign(p=0.5, auc=0.5, n_cells=30, n_reference=10, mean=3.0, mean_reference=1.0)
    frame = frame.assign(detection=0.5, detection_reference=0.5)
    mirrored = frame.assign(group="low", statistic=-expressed, log2fc=-expressed)
    return pd.concat([mirrored, frame.assign(group="high")], ignore_index=True)


def by_well(rng, signal):
    rows = [
        pd.DataFrame(
            {
                "well": well,
                "ensembl_id": GENES,
                "n_cells": 3,
                "sum": 3 * (signal + 5 + rng.standard_normal(N)),
                "subset": "test",
            }
        )
        for well in WELLS
    ]
    return pd.concat(rows).assign(sum_log2=0.0, sum_residual=np.nan, sum_pair=np.nan)


def study(folder, **options):
    """Write a study in which some genes are planted; return its scorecard and agreement."""
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    write_table(evidence(rng), folder / "genes.parquet", "genes")
    write_table(
        wilcoxon_of(SIGNAL + rng.standard_normal(N)), folder / "wilcoxon.parquet", "wilcoxon"
    )
    columns = TABLES["half_tests"].names
    halves = [wilcoxon_of(SIGNAL + rng.standard_normal(N)).assign(half=half) for half in "ab"]
    write_table(pd.concat(halves)[columns], folder / "half_tests.parquet", "half_tests")
    vocabulary = pd.DataFrame({"token": np.arange(N), "ensembl_id": GENES, "symbol": GENES})
    write_table(vocabulary.assign(median=1.0), folder / "vocabulary.parquet", "vocabulary")
    cells = [rng.permutation(N)[: 100 + 5 * i].astype(np.int32) for i in range(40)]
    tokens = pd.DataFrame({"cell": [f"c{i}" for i in range(40)], "input_ids": cells})
    write_table(tokens.assign(length=[len(c) for c in cells]), folder / "tokens.parquet", "tokens")
    paths = {"by_well": {}, "well_scores": {}}
    for regime, signal in (("full", SIGNAL), ("permuted_labels", 0 * SIGNAL)):
        for seed in (1, 2):
            path = paths["by_well"][regime, seed] = folder / f"w.{regime}.{seed}.parquet"
            write_table(by_well(rng, signal), path, "by_well")
    order = {"ci_low": 0.0, "ci_high": 1.0, "n_cells": 9, "n_wells": 4, "regime": "full"}
    rows = [
        {**order, "order": name, "metric": "comprehensiveness", "fraction": fraction}
        for name in ("occlusion", "reversed", "wilcoxon")
        for fraction in (0.1, None)
    ]
    table = pd.DataFrame(rows).assign(value=0.8, gain=0.5, gain_low=0.2, gain_high=0.7)
    write_table(table, folder / "faithfulness.parquet", "faithfulness")
    for name, members in (("planted", GENES[:PLANTED]), ("absent", ["XYZ"])):
        (folder / f"{name}.tsv").write_text("\n".join(["ensembl_id", *members]) + "\n")
    entry = {"format": "tsv"}
    score_tracks(
        **{
            **paths,
            **{name: folder / f"{name}.parquet" for name in ("genes", "half_tests", "wilcoxon")},
            **{name: folder / f"{name}.parquet" for name in ("tokens", "vocabulary")},
            "faithfulness": folder / "faithfulness.parquet",
            "halves": pd.Series(["a", "b"] * 4, WELLS),
            "gene_sets": {n: (folder / f"{n}.tsv", entry) for n in ("planted", "absent")},
            "out_scorecard": folder / "scorecard.parquet",
            "out_agreement": folder / "agreement.parquet",
            **{"task": "level", "regime": "full", "tracks": TRACKS},
            **{"controls": ["permuted_labels"], "n_bootstrap": 200, "n_null_draws": 400},
            **options,
        }
    )
    card = read_table(folder / "scorecard.parquet")
    return card, read_table(folder / "agreement.parquet")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def card(tables):
    return tables[0]


def one(card, track, regime, aspect, against, metric, seed=None):
    rows = card[(card["track"] == track) & (card["aspect"] == aspect)]
    rows = rows[(rows["against"] == against) & (rows["metric"] == metric)]
    rows = rows[rows["regime"].isna() if regime is None else rows["regime"] == regime]
    rows = rows[rows["seed"].isna() if seed is None else rows["seed"] == seed]
    assert len(rows) == 1
    return rows.iloc[0]


def test_tables_keep_their_schemas_and_hold_every_aspect(tables):
    card, agreement = tables
    assert list(card.columns) == TABLES["scorecard"].names
    assert list(agreement.columns) == TABLES["agreement"].names
    assert set(card["aspect"]) == {
        *("truth", "expression", "halves", "confound", "faithfulness", "null")
    }
    assert set(card["track"]) >= {"random", "wilcoxon", *TRACKS}
    keys = ["track", "regime", "seed", "aspect", "against", "metric"]
    assert not card.duplicated(keys).any()


def test_what_was_planted_is_told_by_the_model_and_not_by_its_control(card):
    found = one(card, "attention_received", "full", "truth", "planted", "auprc")
    assert found["value"] > 5 * found["base_rate"]
    assert found["p"] == pytest.approx(1 / 401)
    assert found["ci_low"] < found["value"] < found["ci_high"]
    assert found["null_mean"] == pytest.approx(found["base_rate"], abs=0.06)
    control = one(card, "attention_received", "permuted_labels", "truth", "planted", "auprc")
    assert control["p"] > 0.02
    chance = one(card, "random", None, "truth", "planted", "auroc")
    assert chance["base_rate"] == 0.5
    assert chance["ci_low"] < 0.5 < chance["ci_high"] or abs(chance["value"] - 0.5) < 0.12
    seed = one(card, "attention_received", "full", "truth", "planted", "auprc", seed=1)
    assert seed["value"] > 5 * seed["base_rate"]
    assert np.isnan(seed["p"])


def test_the_universe_is_what_is_detected_and_scored(card):
    """Genes of fewer than ten cells do not count, nor those that a track does not score."""
    detection = evidence(np.random.default_rng(0))
    detection = detection[detection["track"] == "detection"].set_index("ensembl_id")["score"]
    detected = (detection >= 10).to_numpy()
    row = one(card, "attention_received", "full", "truth", "planted", "auroc")
    assert (row["n_genes"], row["n_positive"]) == (detected.sum(), detected[:PLANTED].sum())
    scored = detected & (np.arange(N) % 3 > 0)
    row = one(card, "occlusion", "full", "truth", "planted", "auroc")
    assert (row["n_genes"], row["n_positive"]) == (scored.sum(), scored[:PLANTED].sum())


def test_a_set_of_which_nothing_is_detected_gives_rows_without_values(card):
    rows = card[card["against"] == "absent"]
    assert len(rows)
    assert rows["value"].isna().all()
    assert rows["n_positive"].eq(0).all()


def test_expression_confounds_and_controls(card):
    assert one(card, "attention_total", "full", "confound", "detection", "spearman")["value"] > 0.9
    received = one(card, "attention_received", "full", "confound", "detection", "spearman")
    assert received["ci_low"] < 0.15
    expressed = card[card["aspect"] == "expression"]
    assert set(expressed["against"]) == {"wilcoxon"}, "without a table of pseudobulk"
    assert not (expressed["track"] == "wilcoxon").any(), "a track is not held against itself"
    rbo = one(card, "attention_received", "full", "expression", "wilcoxon", "rbo")
    chance = one(card, "random", None, "expression", "wilcoxon", "rbo")
    assert rbo["ci_low"] > chance["value"]
    assert rbo["ci_low"] <= rbo["value"] <= rbo["ci_high"]
    null = one(card, "attention_total", "full", "null", "permuted_labels", "spearman")
    assert null["value"] > 0.9, "the same without labels: it follows detection"
    null = one(card, "attention_received", "full", "null", "permuted_labels", "spearman")
    assert abs(null["value"]) < 0.2
    share = one(card, "attention_received", "full", "null", "reference_wells", "share_q_below_0.05")
    assert share["value"] == pytest.approx(PLANTED / N)
    assert share["n_positive"] == PLANTED


def test_halves_hold_a_score_against_tests_in_the_other_wells(card):
    found = one(card, "attention_received", "full", "halves", "wilcoxon", "rbo")
    control = one(card, "attention_received", "permuted_labels", "halves", "wilcoxon", "rbo")
    ceiling = one(card, "wilcoxon", None, "halves", "wilcoxon", "rbo")
    chance = one(card, "random", None, "halves", "wilcoxon", "rbo")
    assert min(found["value"], ceiling["value"]) > 2 * max(control["value"], chance["value"])
    assert found["ci_low"] <= found["value"] <= found["ci_high"]


def test_faithfulness_takes_the_mean_over_fractions_of_tracks_alone(card):
    rows = card[card["aspect"] == "faithfulness"]
    assert set(rows["track"]) == {"occlusion", "wilcoxon"}
    row = one(card, "occlusion", "full", "faithfulness", "matched_random", "comprehensiveness_gain")
    assert (row["value"], row["ci_low"], row["ci_high"]) == (0.5, 0.2, 0.7)
    assert faithfulness_rows(pd.DataFrame(columns=TABLES["faithfulness"].names)) == []


def test_agreement_is_of_all_pairs_of_one_regime(tables):
    agreement = tables[1].astype({"track_a": str, "track_b": str})
    names = {"detection", "mean_rank", "wilcoxon", "random", *TRACKS}
    assert len(agreement) == len(names) ** 2
    wide = agreement.pivot(index="track_a", columns="track_b", values="rbo")
    assert set(wide.index) == names
    np.testing.assert_allclose(wide, wide.T)
    np.testing.assert_allclose(np.diag(wide), 1)
    assert wide.loc["attention_total", "detection"] > 5 * wide.loc["attention_total", "random"]


def test_equal_inputs_give_equal_bytes(tables, tmp_path):
    first, again = study(tmp_path / "a"), study(tmp_path / "b")
    for one_table, other in zip(first, again, strict=True):
        pd.testing.assert_frame_equal(one_table, other, check_exact=True)
    pd.testing.assert_frame_equal(tables[0], first[0], check_exact=True)


def test_without_wells_sets_attributions_or_tracks(tmp_path, caplog):
    caplog.set_level("INFO", logger="keygenes")
    card, _ = study(
        tmp_path, halves=None, gene_sets={}, faithfulness=None, by_well={}, tracks=[], controls=[]
    )
    assert "no wells" in caplog.text
    halves = card[card["aspect"] == "halves"]
    assert set(halves["track"]) == {"wilcoxon", "mean_difference", "random"}
    assert not set(card["aspect"]) & {"truth", "faithfulness"}


def test_lengths_are_of_the_cells_that_express_a_gene():
    tokens = pd.DataFrame({"input_ids": [np.array([2, 3]), np.array([3])], "length": [2, 1]})
    vocabulary = pd.DataFrame({"token": [2, 3, 4], "ensembl_id": ["a", "b", "c"]})
    found = lengths_of_genes(tokens, vocabulary)
    assert found[["a", "b"]].to_dict() == {"a": 2, "b": 1.5}
    assert np.isnan(found["c"])


def test_facts_are_of_detected_genes():
    table = evidence(np.random.default_rng(1))
    facts = gene_facts(table, wilcoxon_of(SIGNAL), pd.Series(7.0, GENES))
    assert facts["detection"].min() >= 10
    assert facts["mean_rank"].between(0, 100).all()
    assert facts["mean_expression"].eq((3 * 30 + 10) / 40).all()


def test_no_test_no_share():
    table = evidence(np.random.default_rng(2)).assign(p=np.nan)
    assert significance_rows(table) == []


def test_the_four_targets_among_the_thirty_genes_of_the_thesis(data_root):
    """Four of the thirty are targets of Fischer's; their order in the table gives the precision."""
    folder = data_root / "truth"
    if not (folder / "thesis_figure8.tsv").exists():
        pytest.skip(f"no truth in {folder}")
    shown = pd.read_csv(folder / "thesis_figure8.tsv", sep="\t")["gene"]
    targets = set(pd.read_csv(folder / "fischer2017_p53_targets.tsv", sep="\t")["symbol"])
    inside = np.flatnonzero(shown.isin(targets))
    assert set(shown[inside]) == {"MDM2", "TP53I3", "MYOF", "ITGA3"}
    rank = np.arange(1, 31)
    found = set_metrics(inside[None], rank, rank.astype(float), rank)
    assert found["precision_at_50"][0] == pytest.approx(4 / 30), "no more than there are"
    assert found["precision_at_10"][0] == (inside < 10).sum() / 10
