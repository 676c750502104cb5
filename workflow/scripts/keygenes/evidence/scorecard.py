"""The scorecard: every track held against truth, expression, confounds, controls and chance."""

import logging
from typing import NamedTuple

import pandas as pd

from keygenes.core.schemas import TABLES
from keygenes.evidence.agreement_rows import (
    agreement,
    confound_rows,
    expression_rows,
    half_rows,
    null_rows,
    significance_rows,
)
from keygenes.evidence.faithfulness_rows import faithfulness_rows, over_control_rows
from keygenes.evidence.gene_facts import gene_facts, scores_by_run
from keygenes.evidence.half_scores import (
    detection_of_halves,
    half_scores,
    reader_half_scores,
    scores_of_tests,
)
from keygenes.evidence.track_files import of_regime
from keygenes.evidence.truth_rows import truth_rows

log = logging.getLogger("keygenes")


class TaskTables(NamedTuple):
    """Tables of a task that its tracks are read from and held against.

    Attributes
    ----------
    genes, wilcoxon, half_tests, metrics : DataFrames
        metrics: which regimes have learnt the task.
    faithfulness : DataFrame or None
        None where no regime is attributed.
    track_tests : DataFrame or None
        None where the primary test is another task's.
    """

    genes: pd.DataFrame
    wilcoxon: pd.DataFrame
    half_tests: pd.DataFrame
    metrics: pd.DataFrame
    faithfulness: pd.DataFrame | None = None
    track_tests: pd.DataFrame | None = None


class Draws(NamedTuple):
    """How many resamples an interval rests on, and how many random sets a null."""

    n_bootstrap: int
    n_null_draws: int


def scores_of_halves(of_tests, chance, files, halves, question):
    """Return every track's scores from each half of the wells: {(track, regime): {half: Series}}.

    Parameters
    ----------
    of_tests : result of `scores_of_tests`
    chance : Series by ensembl_id
        Of the track 'random', the same in both.
    files, halves, question
        As of `score_tracks`.
    """
    scores = {(track, None): per_half for track, per_half in of_tests.items()}
    scores["random", None] = dict.fromkeys("ab", chance)
    if halves is None:
        log.info("the cells have no wells: no track of a model is made from half of them")
        return scores
    of_main = of_regime(files.by_well, question.regime)
    scores["detection", None] = detection_of_halves(of_main, halves)
    scores |= half_scores(files.by_well, files.well_scores, halves, question.tracks)
    return scores | reader_half_scores(files.readers, halves)


def score_tracks(tables, lengths, sets, files, halves, question, draws):
    """Return a task's scorecard and the agreement of its tracks, as tables of that name.

    Parameters
    ----------
    tables : TaskTables
    lengths : result of `lengths_of_genes`
    sets : dict {name: set of str}
    files : TrackFiles
    halves : Series of 'a' or 'b', indexed by well; None where the cells have no wells
    question : Question
    draws : Draws
    """
    facts = gene_facts(tables.genes, tables.wilcoxon, lengths)
    ids = facts.index.to_numpy(str)
    runs = scores_by_run(tables.genes, ids)
    log.info("%d rankings of %d genes", len(runs), len(ids))
    rows = truth_rows(runs, facts, sets, tables.track_tests, **draws._asdict())
    rows += expression_rows(runs, facts) + confound_rows(runs, facts)
    rows += null_rows(runs, question.controls) + significance_rows(tables.genes)

    of_tests = scores_of_tests(tables.half_tests)
    chance = pd.Series(runs["random", None, None], ids)
    scores = scores_of_halves(of_tests, chance, files, halves, question)
    rows += half_rows(scores, of_tests["wilcoxon"], ids)
    if (masked := tables.faithfulness) is not None:
        rows += faithfulness_rows(masked)
        rows += over_control_rows(masked, question.controls, tables.metrics)

    card = pd.DataFrame(rows, columns=TABLES["scorecard"].names)
    whole = ("seed", "n_genes", "n_positive")
    card = card.astype(dict.fromkeys(whole, "Int64"))
    names = ("track", "regime", "aspect", "against", "metric", *whole)
    card = card.astype({name: float for name in card.columns if name not in names})
    return card, agreement(runs, ids, question.regime)
