"""What can be predicted without the model: from a cell's length, its first gene, or its counts.

Every baseline sees the cells, classes and splits that the regimes see. What it learns, the choice
of genes, scales and components included, it learns from training cells; its penalty is chosen on
validation cells. So a regime that does not beat them has found nothing that needs an encoder.
"""

import copy
import logging
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from threadpoolctl import threadpool_limits

from keygenes.cells.normalise import counts_per_10k
from keygenes.cells.variable_genes import moments, variable_genes
from keygenes.core.matrices import read_matrix
from keygenes.core.progress import Progress
from keygenes.core.regimes import BASELINES
from keygenes.core.tables import read_table
from keygenes.models.cells import predictions_table, task_cells
from keygenes.tokens.draws import thinned_counts
from keygenes.tokens.vocabulary import is_special

log = logging.getLogger("keygenes")

INVERSE_PENALTIES = tuple(10.0 ** (i / 2) for i in range(-8, 5))  # scikit-learn's C
N_VARIABLE_GENES = 2000
N_COMPONENTS = 50
DEPTH_PERCENTILE = 10
NO_GENE = -1  # of a cell that holds nothing but special tokens


def gene_features(cells, n_tokens, special):
    """Return presence and relative rank of the genes of every cell.

    Parameters
    ----------
    cells : list of int arrays
        Tokens, from the top-ranked gene on.
    n_tokens : int
        Size of the vocabulary.
    special : bool array [n_tokens]
        Tokens that are no genes: left out.

    Returns
    -------
    presence, rank : scipy.sparse.csr_matrix of float64 [n_cells, n_tokens]
        `rank` is 1 at the top of the cell and falls evenly to 1 / L at its end (1 - (r - 1) / L
        for rank r of L genes); 0 is a gene that the cell does not have.
    """
    genes = [cell[~special[cell]] for cell in cells]
    lengths = np.array([len(cell) for cell in genes])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    columns = np.concatenate(genes).astype(np.int64)
    position = np.arange(len(columns)) - np.repeat(offsets[:-1], lengths)
    values = 1 - position / np.repeat(lengths, lengths)
    shape = (len(genes), n_tokens)
    presence = scipy.sparse.csr_matrix((np.ones(len(columns)), columns, offsets), shape)
    rank = scipy.sparse.csr_matrix((values, columns.copy(), offsets), shape)
    for matrix in (presence, rank):
        matrix.sort_indices()
    return presence, rank


def length_features(presence, n_counts, train):
    """Return the logs of the number of genes and of all counts of every cell.

    Returns
    -------
    float array [n_cells, 2]
        Less the training mean, in units of the training standard deviation.
    """
    lengths = np.diff(presence.indptr)
    features = np.log(np.column_stack([lengths, np.maximum(1, n_counts)]))
    mean, sd = features[train].mean(0), features[train].std(0)
    return (features - mean) / np.where(sd > 0, sd, 1)


def _log_loss(probabilities, labels):
    of_truth = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.maximum(of_truth, 1e-12)).mean()


def fit_penalised(features, labels, train, valid, *, l1=False, seed=0):
    """Return the logistic regression whose penalty is best on the validation cells.

    Penalties are tried from the strongest on. Of squares, until the validation loss has risen twice
    in a row; of absolute values all are, as the first genes to enter may raise it.

    Parameters
    ----------
    features : array or scipy.sparse.csr_matrix [n_cells, n_features]
    labels : int array [n_cells]
    train, valid : bool arrays [n_cells]
    l1 : bool
        Sum of absolute coefficients instead of squares; of more than two classes, each is then
        held against the rest.
    """
    k = labels.max() + 1
    if l1:
        # liblinear penalises the intercept as well, less so the larger its scaling
        model = LogisticRegression(
            l1_ratio=1, solver="liblinear", intercept_scaling=10, max_iter=1000, random_state=seed
        )
        model = OneVsRestClassifier(model) if k > 2 else model
    else:
        model = LogisticRegression(max_iter=2000, warm_start=True)
    best, best_loss, rises = None, np.inf, 0
    for c in INVERSE_PENALTIES:
        model.set_params(**{"estimator__C" if l1 and k > 2 else "C": c})
        model.fit(features[train], labels[train])
        loss = _log_loss(model.predict_proba(features[valid]), labels[valid])
        rises = rises + 1 if loss > best_loss else 0
        if loss < best_loss:
            best, best_c, best_loss = copy.deepcopy(model), c, loss
        if rises == 2 and not l1:
            break
    log.info("  C = %g, validation loss %.4f", best_c, best_loss)
    return best


def predict_from_first(first, labels, train, valid):
    """Return the probabilities that a cell's top-ranked gene alone gives [n_cells, n_classes].

    A gene that tops no training cell says nothing: its cells get the classes' shares.

    Parameters
    ----------
    first : int array [n_cells]
        Token of the top-ranked gene.
    """
    known = np.unique(first[train])
    column = np.searchsorted(known, first)
    seen = np.isin(first, known)
    rows = np.flatnonzero(seen)
    shape = (len(first), len(known))
    one_hot = scipy.sparse.csr_matrix((np.ones(len(rows)), (rows, column[rows])), shape)
    probabilities = fit_penalised(one_hot, labels, train, valid).predict_proba(one_hot)
    prior = np.bincount(labels[train], minlength=probabilities.shape[1]) / train.sum()
    probabilities[~seen] = prior
    log.info(
        "  %d of %d cells start with a gene that tops no training cell", (~seen).sum(), len(seen)
    )
    return probabilities


def fit_boosting(features, labels, train, valid, seed):
    """Return gradient-boosted trees, stopped by the validation cells.

    On the variable genes themselves, not on their components: a tree splits at one gene at a
    time, and components would take that away from it.
    """
    model = HistGradientBoostingClassifier(
        max_iter=200,
        max_leaf_nodes=8,
        early_stopping=True,
        n_iter_no_change=10,
        random_state=seed,
    )
    return model.fit(features[train], labels[train], X_val=features[valid], y_val=labels[valid])


def expression_features(counts, n_counts, train):
    """Return log(1 + counts per 10,000) of the genes most variable among the training cells.

    Left on this scale, which all genes share: in units of its own spread a gene that hardly any
    cell has would weigh as much as MDM2.

    Returns
    -------
    scipy.sparse.csr_matrix [n_cells, at most 2,000]
    """
    scaled = counts_per_10k(counts, n_counts)
    return scaled[:, variable_genes([scaled[train]], N_VARIABLE_GENES)].log1p()


def principal_components(features, train, seed):
    """Return up to 50 principal components of training cells, for all cells [n_cells, n]."""
    dense = features.toarray()
    n = min(N_COMPONENTS, train.sum() - 1, dense.shape[1])
    model = PCA(n, svd_solver="randomized", random_state=seed).fit(dense[train])
    return model.transform(dense)


def importance(model, features, train):
    """Return score and direction of every feature of a logistic regression.

    Returns
    -------
    score : float array [n_features]
        Mean over classes of the absolute coefficient, times the feature's standard deviation
        among the training cells: what a typical difference of the feature moves a logit by.
    direction : float array [n_features]
        Sign of the coefficient for the last class.
    """
    coefficients = (
        model.coef_
        if hasattr(model, "coef_")
        else np.vstack([one.coef_ for one in model.estimators_])
    )
    _, variance = moments([features[train]])
    return np.abs(coefficients).mean(0) * np.sqrt(variance), np.sign(coefficients[-1])


class EqualDepth(NamedTuple):
    """How many counts cells are drawn down to.

    Attributes
    ----------
    depth : int or None
        Counts per cell for equal_depth_lr; None: what nine of ten training cells have.
    seed : int
        Of the draw: with that of the tokens, a cell keeps the counts it is encoded by.
    """

    depth: int | None
    seed: int


def baseline_probabilities(cells, special, adata, labels, split, equal_depth, seed):
    """Return what every baseline predicts, and what the sparse one goes by.

    Parameters
    ----------
    cells : list of int arrays [n_cells]
        Tokens.
    special : bool array [n_tokens]
        Tokens that are no genes.
    adata : AnnData [n_cells, n_genes]
        Raw counts; obs n_counts, over all measured genes.
    labels : int array [n_cells]
    split : str array [n_cells]
    equal_depth : EqualDepth
    seed : int

    Returns
    -------
    probabilities : dict {baseline: float array [n_cells, n_classes]}, in the order of BASELINES
    score, direction : float arrays [n_tokens]
        Of bag_of_genes_l1 (`importance`).
    """
    presence, rank = gene_features(cells, len(special), special)
    counts, obs = scipy.sparse.csr_matrix(adata.X), adata.obs
    names, n_counts = obs.index.astype(str), obs["n_counts"].to_numpy(float)
    train, valid = split == "train", split == "valid"
    genes = [cell[~special[cell]] for cell in cells]
    first = np.array([cell[0] if len(cell) else NO_GENE for cell in genes], np.int64)
    found = {}
    progress = Progress("baselines", len(BASELINES), "fits")

    def keep(name, predicted):
        found[name] = predicted
        progress.step()

    def logistic(name, features, **options):
        log.info("%s: %d features", name, features.shape[1])
        model = fit_penalised(features, labels, train, valid, seed=seed, **options)
        keep(name, model.predict_proba(features))
        return model

    logistic("length_only", length_features(presence, n_counts, train))
    log.info("token0")
    keep("token0", predict_from_first(first, labels, train, valid))
    model = logistic("bag_of_genes_l1", presence, l1=True)
    score, direction = importance(model, presence, train)
    logistic("bag_of_genes_l2", presence)
    logistic("rank_lr", rank)
    expression = expression_features(counts, n_counts, train)
    logistic("hvg_lr", expression)
    components = principal_components(expression, train, seed)
    logistic("pca_lr", components)
    model = fit_boosting(expression.toarray(), labels, train, valid, seed)
    log.info("gradient_boosting: %d rounds", model.n_iter_)
    keep("gradient_boosting", model.predict_proba(expression.toarray()))
    totals = np.asarray(counts.sum(1)).ravel()
    depth = equal_depth.depth or int(np.percentile(totals[train], DEPTH_PERCENTILE))
    log.info("equal depth: %d counts, which %.0f %% have", depth, 100 * (totals >= depth).mean())
    drawn, _ = thinned_counts(counts, depth, names, equal_depth.seed)
    drawn_totals = np.asarray(drawn.sum(1)).ravel()
    logistic("equal_depth_lr", expression_features(drawn, drawn_totals, train))
    progress.end()
    return {name: found[name] for name in BASELINES}, score, direction


def fit_baselines(files, counts, vocabulary, *, equal_depth, threads):
    """Fit all baselines of one task and split.

    Parameters
    ----------
    files : TaskFold
        Its fold also seeds what is drawn.
    counts, vocabulary : path-like
    equal_depth : EqualDepth
    threads : int

    Returns
    -------
    predictions : DataFrame
        Table 'baseline_predictions'.
    coefficients : DataFrame
        Table 'coefficients', of bag_of_genes_l1: genes that training cells have.
    """
    frame, cells, classes = task_cells(*files)
    genes = read_table(vocabulary).sort_values("token")
    special = is_special(genes["ensembl_id"])
    adata = read_matrix(counts, frame["cell"])
    split = frame["split"].to_numpy()
    labels = frame["label"].to_numpy()
    with threadpool_limits(threads):
        probabilities, score, direction = baseline_probabilities(
            cells, special, adata, labels, split, equal_depth, files.fold
        )
    tables = [
        predictions_table(frame, p, classes).assign(baseline=name)
        for name, p in probabilities.items()
    ]
    seen = np.unique(np.concatenate([cells[i] for i in np.flatnonzero(split == "train")]))
    seen = seen[~special[seen]]
    coefficients = pd.DataFrame(
        {
            "baseline": "bag_of_genes_l1",
            "ensembl_id": genes["ensembl_id"].to_numpy()[seen],
            "score": score[seen],
            "direction": direction[seen],
        }
    )
    return pd.concat(tables, ignore_index=True), coefficients
