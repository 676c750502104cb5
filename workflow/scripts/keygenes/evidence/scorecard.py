"""The scorecard: every track held against truth, expression, confounds, controls and chance."""

import logging

import pandas as pd

from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.agreement_rows import (
    agreement,
    confound_rows,
    expression_rows,
    half_rows,
    null_rows,
    significance_rows,
)
from keygenes.evidence.faithfulness_rows import faithfulness_rows, over_control_rows
from keygenes.evidence.gene_facts import gene_facts, lengths_of_genes, scores_by_run
from keygenes.evidence.gene_sets import read_members
from keygenes.evidence.half_scores import (
    detection_of_halves,
    half_scores,
    reader_half_scores,
    scores_of_tests,
)
from keygenes.evidence.score import of_regime
from keygenes.evidence.truth_rows import truth_rows

log = logging.getLogger("keygenes")


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
