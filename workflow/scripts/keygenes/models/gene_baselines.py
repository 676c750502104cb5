"""What tells classes of genes apart without an encoder: how widely and highly they are found."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def detection_and_rank(cells, tokens, special, n_tokens):
    """Return what a gene's expression alone says: detection rate and mean rank where detected.

    Parameters
    ----------
    cells : list of int arrays
    tokens : int array [n_genes]
        Each occurs in some cell.
    special : bool array [n_tokens]
        Which tokens are no genes; they take no rank.

    Returns
    -------
    float64 array [n_genes, 2]
    """
    counts, ranks = np.zeros(n_tokens), np.zeros(n_tokens)
    for cell in cells:
        genes = cell[~special[cell]]
        counts[genes] += 1
        ranks[genes] += np.arange(1, len(genes) + 1)
    return np.column_stack([counts[tokens] / len(cells), ranks[tokens] / counts[tokens]])


def logistic_out_of_fold(features, labels, fold):
    """Return out-of-fold probabilities [n_genes, n_classes] of a logistic regression."""
    probabilities = np.empty((len(labels), labels.max() + 1))
    for k in range(fold.max() + 1):
        held_out = fold == k
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        model.fit(features[~held_out], labels[~held_out])
        probabilities[held_out] = model.predict_proba(features[held_out])
    return probabilities
