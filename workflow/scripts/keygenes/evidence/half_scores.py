"""Scores of genes from one half of the wells, or of the cells: of models and of tests."""

import pandas as pd

from keygenes.attention.subsets import TEST
from keygenes.core.tables import read_table
from keygenes.core.tracks import ATTENTION, ATTRIBUTIONS
from keygenes.evidence.score import read_well_sums, without_special_tokens
from keygenes.evidence.track_files import of_regime
from keygenes.evidence.tracks import strongest_tests, track_scores
from keygenes.evidence.well_sums import well_matrices


def _of_halves(matrices, halves, values):
    """Return {half: Series by ensembl_id} of `values(rows)`, rows being the wells of a half."""
    side = halves.reindex(matrices["wells"]).to_numpy(object)
    return {
        half: pd.Series(values(side == half), matrices["genes"])
        for half in ("a", "b")
        if (side == half).any()
    }


def detection_of_halves(by_well, halves):
    """Return {half: Series by ensembl_id}: test cells that have each gene among their tokens.

    Parameters
    ----------
    by_well : dict {(fold, seed): path}
        Of one regime, or of none.
    halves : Series of 'a' or 'b', indexed by well
    """
    tables = [without_special_tokens(read_table(path)) for path in by_well.values()]
    tables = [table[table["subset"] == TEST] for table in tables]
    matrices = well_matrices(tables, [], [fold for fold, _ in by_well])
    return _of_halves(matrices, halves, lambda rows: matrices["n_cells"][rows].sum(0))


def half_scores(by_well, well_scores, halves, tracks):
    """Return the scores of every model's tracks from each half of the wells.

    Parameters
    ----------
    by_well, well_scores : dict {(regime, fold, seed): path}
    halves : Series of 'a' or 'b', indexed by well
    tracks : collection of str

    Returns
    -------
    dict {(track, regime): {half: Series by ensembl_id}}
    """
    found = {}
    for kind, tables in ((ATTENTION, by_well), (ATTRIBUTIONS, well_scores)):
        wanted = [name for name in kind if name in tracks]
        for one in dict.fromkeys(name for name, _, _ in tables):
            found |= _of_tracks(wanted, one, of_regime(tables, one), halves)
    return found


def reader_half_scores(well_scores, halves):
    """Return the scores of readers that were brought along from each half, as `half_scores` does.

    One whose scores are of no wells has none.
    """
    found = {}
    for name in dict.fromkeys(name for name, _, _ in well_scores):
        found |= _of_tracks([name], None, of_regime(well_scores, name), halves)
    return {key: scores for key, scores in found.items() if scores}


def _of_tracks(names, regime, paths, halves):
    return {
        (name, regime): _of_halves(
            sums[None], halves, lambda rows, n=name, m=sums[None]: track_scores(n, m, 1, rows)
        )
        for name, sums in read_well_sums(paths, names).items()
    }


def scores_of_tests(half_tests):
    """Return |z| and |log2fc| of every gene's strongest class in each half.

    Returns
    -------
    dict {track: {half: Series by ensembl_id}}
        Of wilcoxon and mean_difference.
    """
    found = {"wilcoxon": {}, "mean_difference": {}}
    for half, table in half_tests.groupby(half_tests["half"].astype(str)):
        for track, by in (("wilcoxon", "statistic"), ("mean_difference", "log2fc")):
            frame = strongest_tests(table, by)
            found[track][half] = frame.set_index("ensembl_id")[f"abs_{by}"]
    return found
