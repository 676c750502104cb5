"""The scorecard: every track held against truth, expression, confounds, controls and chance."""

import logging
import zlib

import numpy as np
import pandas as pd

from keygenes.core.progress import with_progress
from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_table, write_table
from keygenes.core.tracks import TRACKS, in_order
from keygenes.evidence.agreement import (
    SET_METRICS,
    bootstrap_sets,
    positions,
    precision_positions,
    set_metrics,
    wilson,
)
from keygenes.evidence.gene_sets import membership, read_members
from keygenes.evidence.half_scores import (
    detection_of_halves,
    half_scores,
    reader_half_scores,
    scores_of_tests,
)
from keygenes.evidence.matched import matched
from keygenes.evidence.rankings import bootstrap_overlap, rank_biased_overlap, spearman
from keygenes.evidence.score import of_regime
from keygenes.evidence.well_sums import MIN_CELLS
from keygenes.models.learnt import has_learnt

log = logging.getLogger("keygenes")

CONFOUNDS = ("length", "detection", "mean_rank", "mean_expression")
GIVEN = ("detection", "mean_expression", "mean_rank")  # of the partial correlation
TESTS = ("wilcoxon", "pseudobulk")
MAX_OVERLAPS = 200  # resamples behind the interval of a rank-biased overlap


def lengths_of_genes(tokens, vocabulary):
    """Return the mean length, in tokens, of the cells that express each gene: Series by id."""
    ids = np.concatenate(tokens["input_ids"].to_numpy())
    lengths = np.repeat(tokens["length"].to_numpy(float), tokens["input_ids"].map(len))
    size = int(max(vocabulary["token"].max(), ids.max(initial=0))) + 1
    with np.errstate(invalid="ignore"):
        mean = np.bincount(ids, lengths, size) / np.bincount(ids, minlength=size)
    return pd.Series(mean[vocabulary["token"]], vocabulary["ensembl_id"].astype(str).to_numpy())


def gene_facts(genes, tests, lengths):
    """Return what is known of every gene that enough cells express, whatever a model does.

    Parameters
    ----------
    genes : table 'genes'
    tests : table 'wilcoxon' of the task
    lengths : result of `lengths_of_genes`

    Returns
    -------
    DataFrame, indexed by ensembl_id (sorted)
        symbol, detection (test cells), mean_rank, mean_expression (counts per 10,000 over the
        task's cells; 0 where the gene is not tested), length (tokens, of the cells that express
        it). Genes that fewer than `MIN_CELLS` cells express are left out.
    """
    pooled = genes[genes["seed"].isna()]
    detection, ranks = (
        pooled[pooled["track"] == name].set_index("ensembl_id")
        for name in ("detection", "mean_rank")
    )
    facts = pd.DataFrame({"symbol": detection["symbol"], "detection": detection["score"]})
    facts["mean_rank"] = -ranks["score"]
    rest = tests[tests["reference"] == "rest"].drop_duplicates("ensembl_id")
    n, n_reference = rest["n_cells"].to_numpy(), rest["n_reference"].to_numpy()
    total = rest["mean"].to_numpy() * n + rest["mean_reference"].to_numpy() * n_reference
    expression = pd.Series(total / (n + n_reference), rest["ensembl_id"].to_numpy())
    facts["mean_expression"] = expression.reindex(facts.index).fillna(0.0)
    facts["length"] = lengths.reindex(facts.index)
    return facts[facts["detection"] >= MIN_CELLS].sort_index()


def scores_by_run(genes, universe):
    """Return {(track, regime, seed): float array [n_universe]}, NaN where a track has no score.

    regime and seed are None where missing.
    """
    codes = pd.Index(universe).get_indexer(genes["ensembl_id"])
    found = {}
    keys = ["track", "regime", "seed"]
    score = genes["score"].to_numpy(float)
    groups = genes[keys].astype(object).where(genes[keys].notna(), None)
    for key, rows in groups.groupby(keys, dropna=False, sort=False).indices.items():
        track, regime, seed = (None if pd.isna(part) else part for part in key)
        values = np.full(len(universe), np.nan)
        at = codes[rows]
        values[at[at >= 0]] = score[rows][at >= 0]
        found[track, regime, None if seed is None else int(seed)] = values
    return found


def row(run, aspect, against, metric, value, **columns):
    """Return a row of the table 'scorecard'."""
    empty = dict.fromkeys(TABLES["scorecard"].names)
    names = dict(zip(("track", "regime", "seed"), run, strict=True))
    return {
        **empty,
        **names,
        **{"aspect": aspect, "against": against, "metric": metric, "value": value},
        **columns,
    }


def interval(values):
    """Return the 95 % percentile interval of resamples as columns of a row."""
    values = values[~np.isnan(values)]
    low, high = np.percentile(values, [2.5, 97.5]) if len(values) else (np.nan, np.nan)
    return {"ci_low": low, "ci_high": high}


def _rng(*parts):
    return np.random.default_rng([403, zlib.crc32("/".join(map(str, parts)).encode())])


def permuted_columns(tests, run, gene_set, metric):
    """Return the columns permuted_* of a pooled row of AUPRC: what the track's own test says.

    Parameters
    ----------
    tests : table 'track_tests', or None
    run : (track, regime, seed)
    gene_set, metric : str

    Returns
    -------
    dict
        Empty where no model of that regime learned from dealt labels.
    """
    if tests is None or metric != "auprc" or run[2] is not None:
        return {}
    regimes = tests["regime"].astype(object).where(tests["regime"].notna(), None)
    own = (tests["track"].astype(str) == run[0]) & (tests["gene_set"].astype(str) == gene_set)
    own &= regimes == run[1] if run[1] else regimes.isna()
    columns = ["permuted_mean", "permuted_sd", "permuted_p"]
    return tests.loc[own, columns].iloc[0].to_dict() if own.any() else {}


def truth_rows(runs, facts, sets, tests=None, *, n_bootstrap, n_null_draws):
    """Return the rows of aspect 'truth': how well each track tells the genes of a set.

    Pooled rows have an interval, over resampled genes, and a null: as many other genes, matched on
    detection and mean rank. The universe is the track's own: genes that it scores.

    Parameters
    ----------
    runs : result of `scores_by_run`
    facts : result of `gene_facts`
    sets : dict {name: set of str}
    tests : table 'track_tests', optional
        Without it the columns permuted_* stay empty.
    """
    ids = facts.index.to_numpy(str)
    by_universe = {}
    for run, score in runs.items():
        by_universe.setdefault((~np.isnan(score)).tobytes(), []).append(run)
    rows = []
    for name, members in with_progress(sets.items(), "against truth", "gene sets"):
        inside = membership(ids, facts["symbol"].to_numpy(), members)
        log.info("%s: %d of its genes are detected", name, inside.sum())
        for same in by_universe.values():
            scored = ~np.isnan(runs[same[0]])
            positive, kept = inside[scored], ids[scored]
            n, k = len(positive), int(positive.sum())
            sizes = {"n_genes": n, "n_positive": k}
            if k == 0 or k == n:
                rows += [
                    row(run, "truth", name, metric, np.nan, **sizes)
                    for run in same
                    for metric in SET_METRICS
                ]
                continue
            null = None
            if any(seed is None for _, _, seed in same):
                null = matched(positive, facts[scored], n_null_draws, _rng("null", name, n))
            own = np.flatnonzero(positive)[None]
            for run in same:
                score = runs[run][scored]
                rank = precision_positions(score, kept)
                places = (*positions(score), rank)
                values = {m: float(v[0]) for m, v in set_metrics(own, *places).items()}
                pooled = run[2] is None
                if pooled:
                    against_null = null.columns(values, places)
                    resampled = bootstrap_sets(
                        positive, score, rank, n_bootstrap, _rng("bootstrap", *run, name)
                    )
                for metric, value in values.items():
                    columns = {"base_rate": 0.5 if metric == "auroc" else k / n}
                    if pooled:
                        columns |= interval(resampled[metric]) | against_null[metric]
                    columns |= permuted_columns(tests, run, name, metric)
                    rows.append(row(run, "truth", name, metric, value, **columns, **sizes))
    return rows


def ranks(score, ids):
    """Return ranks from 1 by falling score, equal scores by id."""
    return precision_positions(score, ids)


def overlap_columns(a, b, ids, seed=None):
    """Return the rank-biased overlap of two scores, with its interval if a seed is given."""
    rank_a, rank_b = ranks(a, ids), ranks(b, ids)
    columns = {"value": rank_biased_overlap(rank_a, rank_b)}
    if seed is not None and len(ids):
        columns |= interval(bootstrap_overlap(rank_a, rank_b, MAX_OVERLAPS, seed))
    return columns


def _correlation(a, b, covariates=()):
    return dict(zip(("value", "ci_low", "ci_high"), spearman(a, b, covariates), strict=True))


def expression_rows(runs, facts):
    """Return the rows of aspect 'expression': agreement with differential expression.

    rbo and Spearman's rho; partial_spearman is given detection, mean expression and mean rank.
    """
    ids = facts.index.to_numpy(str)
    rows = []
    for against in TESTS:
        target = runs.get((against, None, None))
        if target is None:
            continue
        for run, score in with_progress(runs.items(), f"against {against}", "rankings"):
            if run[0] == against:
                continue
            both = ~np.isnan(score) & ~np.isnan(target)
            a, b, n = score[both], target[both], int(both.sum())
            covariates = [facts[name].to_numpy()[both] for name in GIVEN]
            seed = _rng("overlap", *run, against) if run[2] is None else None
            for metric, columns in (
                ("rbo", overlap_columns(a, b, ids[both], seed)),
                ("spearman", _correlation(a, b)),
                ("partial_spearman", _correlation(a, b, covariates)),
            ):
                rows.append(row(run, "expression", against, metric, n_genes=n, **columns))
    return rows


def confound_rows(runs, facts):
    """Return the rows of aspect 'confound': rho with length, detection, rank and expression."""
    rows = []
    for run, score in runs.items():
        for name in CONFOUNDS:
            values = facts[name].to_numpy(float)
            both = ~np.isnan(score) & ~np.isnan(values)
            columns = _correlation(score[both], values[both])
            n = int(both.sum())
            rows.append(row(run, "confound", name, "spearman", n_genes=n, **columns))
    return rows


def half_rows(scores, tests, universe):
    """Return the rows of aspect 'halves': a score from one half of the wells, tests in the other.

    Values and intervals are means of the two directions.

    Parameters
    ----------
    scores : dict {(track, regime): {half: Series by ensembl_id}}
    tests : dict {half: Series by ensembl_id}
        |z| of the Wilcoxon tests in that half.
    universe : array of str
    """
    rows = []
    for (track, regime), halves in scores.items():
        found = []
        for own, other in (("a", "b"), ("b", "a")):
            if own not in halves or other not in tests:
                continue
            a, b = (s.reindex(universe).to_numpy(float) for s in (halves[own], tests[other]))
            both = ~np.isnan(a) & ~np.isnan(b)
            a, b, ids = a[both], b[both], universe[both]
            found.append(
                {
                    "rbo": overlap_columns(a, b, ids, _rng("halves", track, regime, own)),
                    "spearman": _correlation(a, b),
                    "n": len(a),
                }
            )
        for metric in ("rbo", "spearman") if found else ():
            columns = {
                name: float(np.mean([f[metric].get(name, np.nan) for f in found]))
                for name in ("value", "ci_low", "ci_high")
            }
            n = min(f["n"] for f in found)
            rows.append(
                row((track, regime, None), "halves", "wilcoxon", metric, n_genes=n, **columns)
            )
    return rows


def null_rows(runs, controls):
    """Return the rows of aspect 'null' that compare models with controls: rho of gene scores.

    Parameters
    ----------
    controls : collection of str
        Regimes with permuted labels or a random encoder.
    """
    rows = []
    for (track, regime, seed), score in runs.items():
        if seed is not None or regime is None or regime in controls:
            continue
        for control in controls:
            other = runs.get((track, control, None))
            if other is None:
                continue
            both = ~np.isnan(score) & ~np.isnan(other)
            columns = _correlation(score[both], other[both])
            rows.append(
                row(
                    (track, regime, None),
                    "null",
                    control,
                    "spearman",
                    n_genes=int(both.sum()),
                    **columns,
                )
            )
    return rows


def significance_rows(genes):
    """Return the share of genes whose score differs between the groups of wells, per track.

    q < 0.05 and p < 0.05, over the genes tested; the interval takes genes as independent, which
    genes of the same cells are not. Of a control, this is what there is without anything learned.
    """
    pooled = genes[genes["seed"].isna() & genes["regime"].notna() & genes["p"].notna()]
    rows = []
    for (track, regime), table in pooled.groupby(["track", "regime"], observed=True, sort=False):
        for metric, column in (("share_q_below_0.05", "q"), ("share_p_below_0.05", "p")):
            hits, n = int((table[column] < 0.05).sum()), len(table)
            low, high = wilson(hits, n)
            columns = {"ci_low": low, "ci_high": high, "n_genes": n, "n_positive": hits}
            rows.append(
                row((track, regime, None), "null", "reference_wells", metric, hits / n, **columns)
            )
    return rows


def faithfulness_rows(table):
    """Return the rows of aspect 'faithfulness': the gain of an order over matched random genes.

    In units of the model's own range of logits, so that models can be held against each other.

    Parameters
    ----------
    table : table 'faithfulness'
        Rows without a fraction are means over fractions (AOPC); orders are named as tracks are.
    """
    return [
        row(
            (one.order, one.regime, None),
            "faithfulness",
            "matched_random",
            f"{one.metric}_gain",
            one.gain_scaled,
            ci_low=one.gain_scaled_low,
            ci_high=one.gain_scaled_high,
        )
        for one in _gains(table).itertuples()
    ]


def _gains(table):
    table = table[table["fraction"].isna() & table["gain_scaled"].notna()]
    return table[table["order"].isin(list(TRACKS))]


def over_control_rows(table, controls, metrics):
    """Return the rows of aspect 'faithfulness' that hold a gain against that in control models.

    comprehensiveness_gain_over_control: the gain of a regime less that of a control, with an
    interval that takes the two as independent (the distances to their limits added in squares). A
    model that has not learnt has nothing to be faithful to: it gets no such row.

    Parameters
    ----------
    table : table 'faithfulness'
    controls : collection of str
        Regimes with permuted labels or a random encoder.
    metrics : table 'metrics' of the task
    """
    table = _gains(table)
    table = table[table["metric"].astype(str) == "comprehensiveness"].astype({"regime": str})
    rows = []
    for regime in dict.fromkeys(name for name in table["regime"] if name not in controls):
        if not has_learnt(metrics, regime):
            log.info("%s does not beat the commonest class: its masking counts for nothing", regime)
            continue
        own = table[table["regime"] == regime]
        for control in controls:
            others = table[table["regime"] == control].set_index("order")
            for one in own[own["order"].isin(others.index)].itertuples():
                other = others.loc[one.order]
                gain, low, high = (one.gain_scaled, one.gain_scaled_low, one.gain_scaled_high)
                value = gain - other["gain_scaled"]
                down = np.hypot(gain - low, other["gain_scaled_high"] - other["gain_scaled"])
                up = np.hypot(high - gain, other["gain_scaled"] - other["gain_scaled_low"])
                rows.append(
                    row(
                        (one.order, regime, None),
                        "faithfulness",
                        control,
                        "comprehensiveness_gain_over_control",
                        value,
                        ci_low=value - down,
                        ci_high=value + up,
                    )
                )
    return rows


def agreement(runs, ids, regime):
    """Return the agreement of all pairs of tracks, those of a model of one regime.

    Parameters
    ----------
    runs : result of `scores_by_run`
    ids : array of str [n_universe]

    Returns
    -------
    DataFrame
        Schema "agreement"; over the genes that both tracks score, every pair both ways.
    """
    own = {run[0]: s for run, s in runs.items() if run[2] is None and run[1] in (None, regime)}
    order = in_order(own)
    rows = []
    for i, first in enumerate(order):
        for second in order[i:]:
            both = ~np.isnan(own[first]) & ~np.isnan(own[second])
            a, b = own[first][both], own[second][both]
            found = {
                "rbo": rank_biased_overlap(ranks(a, ids[both]), ranks(b, ids[both])),
                "spearman": spearman(a, b)[0],
                "n_genes": int(both.sum()),
            }
            for pair in dict.fromkeys([(first, second), (second, first)]):
                rows.append({"track_a": pair[0], "track_b": pair[1], **found})
    return pd.DataFrame(rows, columns=TABLES["agreement"].names)


def score_tracks(
    *,
    genes,
    by_well,
    well_scores,
    halves,
    half_tests,
    wilcoxon,
    tokens,
    vocabulary,
    faithfulness,
    metrics,
    track_tests,
    gene_sets,
    out_scorecard,
    out_agreement,
    task,
    regime,
    tracks,
    controls,
    n_bootstrap,
    n_null_draws,
    counted=None,
    readers=None,
):
    """Write a task's scorecard and the agreement of its tracks.

    Parameters
    ----------
    by_well, well_scores : dict {(regime, fold, seed): path}
    halves : Series of 'a' or 'b', indexed by well; None where the cells have no wells
    faithfulness : path, or None where no regime is attributed
    metrics : path
        Table 'metrics' of the task: which regimes have learnt it.
    track_tests : path, or None where the primary test is another task's
    gene_sets : dict {name: path of table 'gene_set'}
    regime : str
        Whose tracks are compared with each other.
    tracks : collection of str
        Tracks of models that are asked for.
    controls : collection of str
        Regimes with permuted labels or a random encoder.
    counted : dict {(fold, seed): path}, optional
        Tables 'by_well' of no model (`counted_genes.count_genes`), where `regime` has no attention.
    readers : dict {(reader, fold, seed): path}, optional
        Tables 'well_scores' of readers that were brought along.
    """
    columns = ["track", "regime", "seed", "ensembl_id", "symbol", "score", "p", "q"]
    genes = read_table(genes, columns)
    tests = read_table(wilcoxon)
    tests = tests[tests["task"] == task]
    lengths = lengths_of_genes(read_table(tokens), read_table(vocabulary))
    facts = gene_facts(genes, tests, lengths)
    ids = facts.index.to_numpy(str)
    runs = scores_by_run(genes, ids)
    log.info("%s: %d rankings of %d genes", task, len(runs), len(ids))
    sets = {name: read_members(path) for name, path in gene_sets.items()}
    own = read_table(track_tests) if track_tests else None
    rows = truth_rows(runs, facts, sets, own, n_bootstrap=n_bootstrap, n_null_draws=n_null_draws)
    rows += expression_rows(runs, facts) + confound_rows(runs, facts)
    rows += null_rows(runs, controls) + significance_rows(genes)

    table = read_table(half_tests)
    of_halves = scores_of_tests(table[table["task"] == task])
    scores = {(track, None): per_half for track, per_half in of_halves.items()}
    chance = runs.get(("random", None, None))
    if chance is not None:
        scores["random", None] = dict.fromkeys("ab", pd.Series(chance, ids))
    if halves is None:
        log.info("the cells have no wells: no track of a model is made from half of them")
    else:
        of_main = counted or of_regime(by_well, regime)
        scores["detection", None] = detection_of_halves(of_main, halves)
        scores |= half_scores(by_well, well_scores, halves, tracks)
        scores |= reader_half_scores(readers or {}, halves)
    rows += half_rows(scores, of_halves["wilcoxon"], ids)
    if faithfulness:
        table = read_table(faithfulness)
        rows += faithfulness_rows(table) + over_control_rows(table, controls, read_table(metrics))

    card = pd.DataFrame(rows, columns=TABLES["scorecard"].names)
    whole = ("seed", "n_genes", "n_positive")
    card = card.astype(dict.fromkeys(whole, "Int64"))
    names = ("track", "regime", "aspect", "against", "metric", *whole)
    card = card.astype({name: float for name in card.columns if name not in names})
    write_table(card, out_scorecard, "scorecard")
    write_table(agreement(runs, ids, regime), out_agreement, "agreement")
