"""Scores of genes from one half of the wells, or of the cells: of models and of tests."""

import pandas as pd

from keygenes.core.tracks import ATTENTION, ATTRIBUTIONS
from keygenes.evidence.score import of_regime, read_well_sums
from keygenes.evidence.tracks import strongest_tests, track_scores


def half_scores(by_well, well_scores, halves, tracks, regime):
    """Return the scores of every model's tracks from each half of the wells.

    Parameters
    ----------
    by_well, well_scores : dict {(regime, fold, seed): path}
    halves : Series of 'a' or 'b', indexed by well
    tracks : collection of str
    regime : str
        Whose cells the detection of genes is counted in.

    Returns
    -------
    dict {(track, regime): {half: Series by ensembl_id}}
    """
    found = {}
    for kind, tables in ((ATTENTION, by_well), (ATTRIBUTIONS, well_scores)):
        wanted = [name for name in kind if name in tracks]
        for one in dict.fromkeys(name for name, _, _ in tables):
            paths = of_regime(tables, one)
            asked = wanted or (["attention_total"] if kind == ATTENTION and one == regime else [])
            for name, sums in read_well_sums(paths, asked).items():
                matrices = sums[None]
                side = halves.reindex(matrices["wells"]).to_numpy(object)
                for half in ("a", "b"):
                    rows = side == half
                    if not rows.any():
                        continue
                    if name in wanted:
                        score = track_scores(name, matrices, 1, rows)
                        found.setdefault((name, one), {})[half] = pd.Series(
                            score, matrices["genes"]
                        )
                    if one == regime and kind == ATTENTION:
                        found.setdefault(("detection", None), {})[half] = pd.Series(
                            matrices["n_cells"][rows].sum(0), matrices["genes"]
                        )
    return found


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
