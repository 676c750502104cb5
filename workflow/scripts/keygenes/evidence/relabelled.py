"""Scores of genes by models of true and of dealt labels, scored alike whatever the labels."""

import pandas as pd

from keygenes.core.progress import with_progress
from keygenes.core.tables import write_table
from keygenes.core.tracks import ATTENTION, ATTRIBUTIONS
from keygenes.evidence.score import read_well_sums
from keygenes.evidence.tracks import track_scores


def score_relabelled(*, by_well, well_scores, places, tracks, out):
    """Write table 'relabelled_genes': every gene's score on every track, under all labels.

    Over the test cells of all folds, by the models of one training seed. Genes that too few cells
    express have no score.

    Parameters
    ----------
    by_well, well_scores : dict {Run: path}
        Of the primary regime: every run, on true and on dealt labels.
    places : int
        Layers x heads.
    tracks : collection of str
        Those asked for; a track that a table lacks is left out.
    """
    frames = []
    for names, paths in ((ATTENTION, by_well), (ATTRIBUTIONS, well_scores)):
        wanted, pooled = [name for name in names if name in tracks], {}
        for run, path in paths.items() if wanted else ():
            pooled.setdefault((run.relabelling, run.seed), {})[run.fold, run.seed] = path
        for (relabelling, seed), of_folds in with_progress(pooled.items(), "scores", "labels"):
            for name, sums in read_well_sums(of_folds, wanted).items():
                matrices = sums[None]
                score = track_scores(name, matrices, places)
                frame = pd.DataFrame({"ensembl_id": matrices["genes"], "score": score})
                frame = frame.assign(track=name, relabelling=relabelling, seed=seed)
                frames.append(frame.dropna(subset=["score"]))
    write_table(pd.concat(frames, ignore_index=True), out, "relabelled_genes")
