import itertools

import numpy as np
import pandas as pd
import pytest
from evidence_tables import statistics
from gene_set_tables import matched_set
from sklearn.metrics import average_precision_score
from stated import logged

from keygenes.core.runs import Run
from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_table, write_table
from keygenes.core.tracks import BASELINES
from keygenes.evidence.agreement import set_metrics
from keygenes.evidence.agreement_rows import significance_rows
from keygenes.evidence.collected import collect_faithfulness
from keygenes.evidence.faithfulness_rows import faithfulness_rows
from keygenes.evidence.gene_facts import gene_facts, lengths_of_genes
from keygenes.evidence.gene_sets import read_members
from keygenes.evidence.intervals import well_units
from keygenes.evidence.primary_tables import detected_genes, scores_by_labels
from keygenes.evidence.relabelled import score_relabelled
from keygenes.evidence.score import BaselineTables, score_genes
from keygenes.evidence.scorecard import Draws, TaskTables, score_tracks
from keygenes.evidence.track_files import Question, TrackFiles
from keygenes.evidence.track_tests import scored, track_table
from keygenes.evidence.tracks import permuted_genes
from keygenes.evidence.well_sums import well_groups
from keygenes.models.cells import predictions_table
from keygenes.models.evaluate import evaluate

N, PLANTED, WELLS = 400, 40, [f"W{i}" for i in range(8)]
GENES = np.array([f"ENSG{i:011d}" for i in range(N)])
SETS = {"planted": GENES[:PLANTED], "absent": ["XYZ"]}
TRACKS = ["attention_total", "attention_received", "occlusion"]
SIGNAL = np.where(np.arange(N) < PLANTED, 2.0, 0.0)
# The regimes, how much of the signal their attention shows, and their training seeds.
REGIMES = {"full": (1.0, (1, 2)), "permuted_labels": (0.0, (1,))}
FOLDS, CLASSES, OF_WELL = (1, 2), ["low", "high"], 6
RELABELLINGS = (1, 2, 3, 4)
DETECTION = np.random.default_rng(0).uniform(0.1, 1, N)


def cells():
    """Return obs of the cells: six in each of eight wells, four wells tested in each fold."""
    well = np.repeat(np.arange(8), OF_WELL)
    obs = pd.DataFrame({"well": [WELLS[w] for w in well], "fold": 1 + well // 4})
    obs["level"] = np.where(well % 2, "high", "low")
    return obs.set_axis([f"c{i}" for i in obs.index])


def expressed():
    """Return a row per cell and gene that it expresses, with the gene's rank there."""
    rng = np.random.default_rng(1)
    rows = []
    for cell, own in enumerate(cells().itertuples()):
        genes = rng.permutation(np.flatnonzero(rng.random(N) < DETECTION))
        frame = pd.DataFrame({"gene": genes, "rank": np.arange(1, len(genes) + 1)})
        names = {"cell": cell, "fold": own.fold, "well": own.well, "layer": 1, "head": 1}
        rows.append(frame.assign(ensembl_id=GENES[genes], **{"class": own.level}, **names))
    return pd.concat(rows, ignore_index=True)


def run_tables(raw, fold, share, rng):
    """Return by_gene, by_well and well_scores of one model, which shows a share of the signal."""
    raw = raw[raw["fold"] == fold]
    gene = 5 + share * SIGNAL + 1.2 * rng.standard_normal(N)
    of_class = np.where(raw["class"] == "high", 1 + 0.1 * share * SIGNAL[raw["gene"]], 1)
    raw = raw.assign(received=gene[raw["gene"]] * of_class + rng.random(len(raw)))
    attributed = raw[raw["gene"] % 3 > 0].assign(n_cells=1, sum=raw["received"] * 0.1)
    sums = attributed.groupby(["well", "ensembl_id"], as_index=False)[["n_cells", "sum"]].sum()
    sums = sums.assign(sum_absolute=sums["sum"], track="occlusion")
    return {**statistics(raw), "well_scores": sums}


def wilcoxon_of(expressed):
    frame = pd.DataFrame({"ensembl_id": GENES, "symbol": GENES, "statistic": expressed})
    frame = frame.assign(task="level", reference="rest", log2fc=expressed, p_adj=0.5)
    frame = frame.assign(p=0.5, auc=0.5, n_cells=30, n_reference=10, mean=3.0, mean_reference=1.0)
    frame = frame.assign(detection=0.5, detection_reference=0.5)
    mirrored = frame.assign(group="low", statistic=-expressed, log2fc=-expressed)
    return pd.concat([mirrored, frame.assign(group="high")], ignore_index=True)


def faithfulness_of(regimes):
    """Return table 'faithfulness': a gain per regime, of models whose logits span 10 or 1."""
    obs, tables, scored_cells = cells(), {}, {}
    rng = np.random.default_rng(2)
    for regime, (gain, span) in regimes.items():
        for fold, seed in itertools.product(FOLDS, REGIMES[regime][1]):
            names = obs.index[obs["fold"] == fold]
            own = pd.DataFrame({"cell": names, "metric": "comprehensiveness"})
            value = span * (gain + 0.02 * rng.standard_normal(len(own)))
            own = own.assign(well=obs.loc[names, "well"].array, value=value, matched=0.0)
            tables[regime, fold, seed] = pd.concat(
                own.assign(order=order, fraction=fraction)
                for order in ("occlusion", "reversed", "wilcoxon")
                for fraction in (0.1, None)
            )
            contrast = span * np.linspace(-0.5, 0.5, len(own)) / 0.9
            scored_cells[regime, fold, seed] = pd.DataFrame({"cell": names, "contrast": contrast})
    return collect_faithfulness(tables, scored_cells, well_units(obs, obs["level"]))


def metrics_of(shares):
    """Return table 'metrics': what share of its cells each regime names right."""
    obs, predictions, baselines = cells(), {}, {}
    label = (obs["level"] == "high").to_numpy().astype(int)
    for fold in FOLDS:
        frame = pd.DataFrame({"cell": obs.index, "label": label})
        frame["split"] = np.where(obs["fold"] == fold, "test", "train")
        for regime, share in shares.items():
            right = np.arange(len(frame)) % OF_WELL < share * OF_WELL
            named = np.eye(2)[np.where(right, label, 1 - label)]
            for seed in REGIMES[regime][1]:
                predictions[regime, fold, seed] = predictions_table(frame, named, CLASSES)
        table = predictions_table(frame, np.eye(2)[label], CLASSES)
        baselines["grouped", fold] = table.assign(baseline="length")
    units = pd.DataFrame({"unit_id": obs["well"], "unit": "well", "stratum": obs["level"]})
    return evaluate(predictions, baselines, units, CLASSES)[0]


def write_evidence(folder):
    """Write tables of all models and the table 'genes' that is made of them; return the paths."""
    rng = np.random.default_rng(3)
    raw, paths, dealt = expressed(), {}, {"by_well": {}, "well_scores": {}}

    def written(tables, where, key, name):
        for kind, table in tables.items():
            path = folder / f"{kind}.{name}.parquet"
            where.setdefault(kind, {})[key] = path
            write_table(table, path, kind)

    for regime, (share, seeds) in REGIMES.items():
        for fold, seed in itertools.product(FOLDS, seeds):
            tables = run_tables(raw, fold, share, rng)
            written(tables, paths, (regime, fold, seed), f"{regime}.{Run(fold, seed).name}")
    for b, fold in itertools.product(RELABELLINGS, FOLDS):
        tables = run_tables(raw, fold, 0.0, rng)
        tables.pop("by_gene")
        run = Run(fold, 1, b)
        written(tables, dealt, run, f"full.{run.name}")
    true = {
        kind: {Run(f, s): path for (name, f, s), path in paths[kind].items() if name == "full"}
        for kind in dealt
    }
    every = {kind: true[kind] | dealt[kind] for kind in dealt}
    scores = folder / "relabelled_genes.parquet"
    score_relabelled(**every, places=1, tracks=TRACKS, out=scores)
    write_table(
        wilcoxon_of(SIGNAL + rng.standard_normal(N)), folder / "wilcoxon.parquet", "wilcoxon"
    )
    write_table(
        pd.DataFrame(columns=TABLES["pseudobulk"].names),
        folder / "pseudobulk.parquet",
        "pseudobulk",
    )
    vocabulary = pd.DataFrame({"token": np.arange(N), "ensembl_id": GENES, "symbol": GENES})
    write_table(vocabulary.assign(median=1.0), folder / "vocabulary.parquet", "vocabulary")
    of_genes = pd.DataFrame({"ensembl_id": GENES, "score": 1.0 * (np.arange(N) % 7)})
    of_genes = of_genes.assign(baseline="bag_of_genes_l1", direction=1.0)
    write_table(of_genes, folder / "coefficients.parquet", "coefficients")
    obs = cells()
    names = ("wilcoxon", "pseudobulk", "coefficients")
    *tests, fitted = (read_table(folder / f"{name}.parquet") for name in names)
    labels = pd.Categorical(obs["level"], CLASSES)
    groups = well_groups(obs, labels, np.zeros(len(obs), bool))
    for name, dealt in (("", {}), ("_relabelled", {"full": permuted_genes(read_table(scores))})):
        genes, _ = score_genes(
            TrackFiles(**paths),
            BaselineTables(*tests, [fitted] * len(FOLDS)),
            read_table(folder / "vocabulary.parquet"),
            groups,
            Question("full", TRACKS),
            dealt,
        )
        write_table(genes, folder / f"genes{name}.parquet", "genes")
    return paths


def write_track_tests(folder):
    """Write table 'track_tests' of the planted genes, by the functions that the test uses."""
    facts = detected_genes(read_table(folder / "genes.parquet"))
    scores = scores_by_labels(read_table(folder / "relabelled_genes.parquet"))
    of_models = {t: scored(s, facts, set(SETS["planted"])) for t, s in scores.items()}
    named = {"task": "level", "track": TRACKS[0], "gene_set": "planted", "regime": "full"}
    table = track_table(of_models, {}, named, n_draws=100)
    write_table(table, folder / "track_tests.parquet", "track_tests")


def write_study(folder):
    """Write a study in which some genes are planted; return the paths of its models' tables."""
    rng = np.random.default_rng(0)
    paths = write_evidence(folder)
    write_track_tests(folder)
    columns = TABLES["half_tests"].names
    halves = [wilcoxon_of(SIGNAL + rng.standard_normal(N)).assign(half=half) for half in "ab"]
    write_table(pd.concat(halves)[columns], folder / "half_tests.parquet", "half_tests")
    in_cells = [rng.permutation(N)[: 100 + 5 * i].astype(np.int32) for i in range(40)]
    tokens = pd.DataFrame({"cell": [f"c{i}" for i in range(40)], "input_ids": in_cells})
    lengths = [len(cell) for cell in in_cells]
    write_table(tokens.assign(length=lengths), folder / "tokens.parquet", "tokens")
    gains = {"full": (0.3, 10.0), "permuted_labels": (0.2, 1.0)}
    write_table(faithfulness_of(gains), folder / "faithfulness.parquet", "faithfulness")
    for name, share in (("metrics", 5 / 6), ("metrics_unlearnt", 0.5)):
        table = metrics_of({"full": share, "permuted_labels": 0.5})
        write_table(table, folder / f"{name}.parquet", "metrics")
    for name, members in SETS.items():
        (folder / f"{name}.tsv").write_text("\n".join(["ensembl_id", *members]) + "\n")
    return paths


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def paths(folder):
    return write_study(folder)


def carded(folder, paths, out, *, relabelled=False, **options):
    """Return scorecard and agreement of a study, with or without models of dealt labels."""
    names = {name: name for name in ("wilcoxon", "half_tests", "metrics", "faithfulness")}
    names["genes"] = "genes_relabelled" if relabelled else "genes"
    names |= {"track_tests": "track_tests"} if relabelled else {}
    tables = {key: read_table(folder / f"{name}.parquet") for key, name in names.items()}
    lists = (read_table(folder / f"{name}.parquet") for name in ("tokens", "vocabulary"))
    matched = {n: matched_set(folder / f"{n}.tsv", [*GENES, "XYZ"]) for n in SETS}
    files = {kind: paths[kind] for kind in ("by_well", "well_scores")}
    question = {"regime": "full", "tracks": TRACKS, "controls": ["permuted_labels"]}
    for record in (tables, files, question):
        record |= {name: options.pop(name) for name in [*record] if name in options}
    found = score_tracks(
        TaskTables(**tables),
        lengths_of_genes(*lists),
        options.pop("sets", {name: read_members(path) for name, path in matched.items()}),
        TrackFiles(**files),
        options.pop("halves", pd.Series(list("aabb") * 2, WELLS)),
        Question(**question),
        Draws(n_bootstrap=200, n_null_draws=400),
    )
    assert not options
    for name, table in zip(("scorecard", "agreement"), found, strict=True):
        write_table(table, out / f"{name}.parquet", name)
    return read_table(out / "scorecard.parquet"), read_table(out / "agreement.parquet")


@pytest.fixture(scope="module")
def tables(folder, paths):
    return carded(folder, paths, folder)


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_was_planted_is_told_by_the_model_and_not_by_its_control(card):
    found = one(card, "attention_received", "full", "truth", "planted", "auprc")
    assert found["value"] > 5 * found["base_rate"]
    assert found["matched_p"] == pytest.approx(1 / 401)
    assert found["ci_low"] < found["value"] < found["ci_high"]
    assert found["matched_null_mean"] == pytest.approx(found["base_rate"], abs=0.06)
    assert found["matched_overlap"] == 0
    control = one(card, "attention_received", "permuted_labels", "truth", "planted", "auprc")
    assert control["matched_p"] > 0.02
    chance = one(card, "random", None, "truth", "planted", "auroc")
    assert chance["base_rate"] == 0.5
    assert chance["ci_low"] < 0.5 < chance["ci_high"] or abs(chance["value"] - 0.5) < 0.12
    seed = one(card, "attention_received", "full", "truth", "planted", "auprc", seed=1)
    assert seed["value"] > 5 * seed["base_rate"]
    assert np.isnan(seed["matched_p"])


PERMUTED = ["permuted_mean", "permuted_sd", "permuted_p"]


@pytest.mark.slow
def test_without_models_of_dealt_labels_no_column_speaks_of_them(card, folder):
    """Random gene sets are another null: what they give must never be read as permuted labels."""
    assert card[PERMUTED].isna().all().all()
    matched = card[(card["aspect"] == "truth") & card["seed"].isna() & card["value"].notna()]
    assert matched[["matched_null_mean", "matched_null_sd", "matched_p"]].notna().all().all()
    genes = read_table(folder / "genes.parquet")
    assert genes[["permuted_mean", "permuted_sd"]].isna().all().all()


@pytest.mark.slow
def test_models_of_dealt_labels_are_the_null_of_their_regime_alone(card, folder, paths, tmp_path):
    with_null = carded(folder, paths, tmp_path, relabelled=True)[0]
    pd.testing.assert_frame_equal(with_null.drop(columns=PERMUTED), card.drop(columns=PERMUTED))
    filled = with_null[with_null["permuted_mean"].notna()]
    assert set(filled["track"]) == set(TRACKS)
    assert set(filled["regime"]) == {"full"}
    assert set(filled["metric"]) == {"auprc"}
    assert set(filled["against"]) == {"planted"}
    assert filled["seed"].isna().all(), "a track has one test"
    scores = read_table(folder / "relabelled_genes.parquet")
    detected = detected_genes(read_table(folder / "genes.parquet")).index
    for track, rows in scores.groupby(scores["track"].astype(str)):
        wide = rows.pivot(index="ensembl_id", columns=["relabelling", "seed"], values="score")
        wide = wide[wide.index.isin(detected)].dropna()
        positive = wide.index.isin(SETS["planted"])
        found = {labels: average_precision_score(positive, wide[labels]) for labels in wide}
        dealt = np.array([value for (b, _), value in found.items() if b])
        first = one(with_null, track, "full", "truth", "planted", "auprc", seed=1)
        assert first["value"] == pytest.approx(found[0, 1]), "the same genes, the same score"
        pool = one(with_null, track, "full", "truth", "planted", "auprc")
        assert pool["permuted_mean"] == pytest.approx(dealt.mean())
        assert pool["permuted_sd"] == pytest.approx(dealt.std(ddof=1))
        assert pool["permuted_p"] == (1 + (dealt >= found[0, 1]).sum()) / 5
    assert one(with_null, "attention_received", "full", "truth", "planted", "auprc")[
        "permuted_p"
    ] == pytest.approx(1 / 5)
    genes = read_table(folder / "genes_relabelled.parquet")
    filled = genes[genes["permuted_mean"].notna()]
    assert set(filled["track"]) == set(TRACKS)
    assert set(filled["regime"]) == {"full"}
    received = filled[(filled["track"] == "attention_received") & filled["seed"].isna()]
    planted = received["ensembl_id"].isin(SETS["planted"])
    excess = received["score"] - received["permuted_mean"]
    assert excess[planted].mean() > excess[~planted].quantile(0.9)


def test_the_universe_is_what_is_detected_and_scored(card, folder):
    """Genes of fewer than ten cells do not count, nor those that a track does not score."""
    genes = read_table(folder / "genes.parquet")
    detection = genes[genes["track"] == "detection"].set_index("ensembl_id")["score"]
    detected = (detection.reindex(GENES).fillna(0) >= 10).to_numpy()
    assert 0 < detected.sum() < N
    row = one(card, "attention_received", "full", "truth", "planted", "auroc")
    assert (row["n_genes"], row["n_positive"]) == (detected.sum(), detected[:PLANTED].sum())
    scored_too = detected & (np.arange(N) % 3 > 0)
    row = one(card, "occlusion", "full", "truth", "planted", "auroc")
    assert (row["n_genes"], row["n_positive"]) == (scored_too.sum(), scored_too[:PLANTED].sum())


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
    assert null["value"] > 0.7, "the same without labels: it follows detection"
    null = one(card, "attention_received", "full", "null", "permuted_labels", "spearman")
    assert abs(null["value"]) < 0.4
    share = one(card, "attention_received", "full", "null", "reference_wells", "share_q_below_0.05")
    assert share["value"] == pytest.approx(share["n_positive"] / share["n_genes"])
    assert 5 < share["n_positive"] < 2 * PLANTED


def test_halves_hold_a_score_against_tests_in_the_other_wells(card):
    found = one(card, "attention_received", "full", "halves", "wilcoxon", "rbo")
    control = one(card, "attention_received", "permuted_labels", "halves", "wilcoxon", "rbo")
    ceiling = one(card, "wilcoxon", None, "halves", "wilcoxon", "rbo")
    chance = one(card, "random", None, "halves", "wilcoxon", "rbo")
    assert min(found["value"], ceiling["value"]) > 1.3 * max(control["value"], chance["value"])
    assert found["ci_low"] <= found["value"] <= found["ci_high"]


def test_faithfulness_takes_the_mean_over_fractions_of_tracks_alone(card):
    """In units of a model's own logits: the control's gain is a fifteenth of the model's in F."""
    rows = card[card["aspect"] == "faithfulness"]
    assert set(rows["track"]) == {"occlusion", "wilcoxon"}
    metric = "comprehensiveness_gain"
    for regime, gain in (("full", 0.3), ("permuted_labels", 0.2)):
        row = one(card, "occlusion", regime, "faithfulness", "matched_random", metric)
        assert row["value"] == pytest.approx(gain, abs=0.02)
        assert row["ci_low"] < row["value"] < row["ci_high"]
    assert faithfulness_rows(pd.DataFrame(columns=TABLES["faithfulness"].names)) == []


def test_masking_counts_beyond_what_it_does_to_models_of_permuted_labels(card, folder):
    metric = "comprehensiveness_gain_over_control"
    over = one(card, "occlusion", "full", "faithfulness", "permuted_labels", metric)
    table = read_table(folder / "faithfulness.parquet")
    table = table[table["fraction"].isna() & (table["order"] == "occlusion")].set_index("regime")
    full, control = table.loc["full"], table.loc["permuted_labels"]
    assert over["value"] == pytest.approx(full["gain_scaled"] - control["gain_scaled"])
    halves = [(row["gain_scaled_high"] - row["gain_scaled_low"]) / 2 for row in (full, control)]
    assert over["ci_high"] - over["ci_low"] == pytest.approx(2 * np.hypot(*halves))
    assert over["ci_low"] > 0
    assert set(card.loc[card["metric"] == metric, "regime"]) == {"full"}, "no control of a control"


@pytest.mark.slow
def test_a_model_that_has_not_learnt_has_nothing_to_be_faithful_to(folder, paths, tmp_path, caplog):
    caplog.set_level("INFO", logger="keygenes")
    metrics = read_table(folder / "metrics_unlearnt.parquet")
    card = carded(folder, paths, tmp_path, metrics=metrics, sets={}, halves=None)[0]
    assert logged(caplog, "full", "commonest")
    assert "comprehensiveness_gain_over_control" not in set(card["metric"])
    assert "comprehensiveness_gain" in set(card["metric"])


def test_agreement_is_of_all_pairs_of_one_regime(tables):
    agreement = tables[1].astype({"track_a": str, "track_b": str})
    names = {*BASELINES, *TRACKS} - {"pseudobulk"}
    assert len(agreement) == len(names) ** 2
    wide = agreement.pivot(index="track_a", columns="track_b", values="rbo")
    assert set(wide.index) == names
    np.testing.assert_allclose(wide, wide.T)
    np.testing.assert_allclose(np.diag(wide), 1)
    assert wide.loc["attention_total", "detection"] > 2 * wide.loc["attention_total", "random"]


@pytest.mark.slow
def test_equal_inputs_give_equal_bytes(tables, folder, paths, tmp_path):
    carded(folder, paths, tmp_path)
    for name in ("scorecard.parquet", "agreement.parquet"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.slow
def test_without_wells_sets_attributions_or_tracks(folder, paths, tmp_path, caplog):
    caplog.set_level("INFO", logger="keygenes")
    nothing = {"sets": {}, "by_well": {}, "tracks": [], "controls": []}
    card = carded(folder, paths, tmp_path, halves=None, faithfulness=None, **nothing)[0]
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


def test_facts_are_of_detected_genes(tables, folder):
    facts = gene_facts(
        read_table(folder / "genes.parquet"), wilcoxon_of(SIGNAL), pd.Series(7.0, GENES)
    )
    assert facts["detection"].min() >= 10
    assert facts["mean_rank"].between(0, N).all()
    assert facts["mean_expression"].eq((3 * 30 + 10) / 40).all()


def test_no_test_no_share(tables, folder):
    assert significance_rows(read_table(folder / "genes.parquet").assign(p=np.nan)) == []


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
