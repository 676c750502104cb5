"""Whether two encodings of a cell are the same ranking, whatever the order of tied genes."""

import numpy as np


def token_scores(counts, n_counts, genes, vocabulary):
    """Return {token: score} of one cell, straight from the definition.

    Parameters
    ----------
    counts : float array [n_genes]
    n_counts : float
    genes : sequence of (str or None) [n_genes]
        Id of each column in the vocabulary.
    vocabulary : pandas.DataFrame
    """
    medians = dict(zip(vocabulary["ensembl_id"], vocabulary["median"], strict=True))
    tokens = dict(zip(vocabulary["ensembl_id"], vocabulary["token"], strict=True))
    summed = {}
    for j in np.flatnonzero(counts):
        if genes[j] is not None:
            summed[genes[j]] = summed.get(genes[j], 0.0) + float(counts[j])
    return {
        int(tokens[g]): ((x * (1.0 / float(n_counts))) * 10_000) * (1.0 / float(medians[g]))
        for g, x in summed.items()
    }


def difference(ours, theirs, scores, special=()):
    """Return what separates two token lists of a cell beyond the order of ties; '' for nothing."""
    ours, theirs = [int(t) for t in ours], [int(t) for t in theirs]
    if len(ours) != len(theirs):
        return f"{len(ours)} tokens against {len(theirs)}"
    if set(ours) != set(theirs):
        return f"tokens of one only: {sorted(set(ours) ^ set(theirs))[:5]}"
    for place, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if a != b and (a in special or b in special or scores[a] != scores[b]):
            return f"place {place}: token {a} against {b}"
    return ""
