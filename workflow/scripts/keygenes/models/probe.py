"""Logistic regressions: a linear probe of the encoder, and the baseline that needs no encoder."""

import logging

import numpy as np
import scipy.sparse
import torch
from safetensors.numpy import save
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from keygenes.core.errors import input_error
from keygenes.core.files import write_json
from keygenes.core.matrices import read_matrix
from keygenes.core.tables import read_table, write_table
from keygenes.core.tensors import write_tensors
from keygenes.models.batches import budget_batches, padded
from keygenes.models.cells import predictions_table, task_cells
from keygenes.models.device import Hardware, set_up_torch, token_budget
from keygenes.models.encoder import check_fit, load_trunk
from keygenes.models.head import pooled_states, set_pooling

log = logging.getLogger("keygenes")

INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@torch.inference_mode()
def pooled_input(trunk, cells, hardware):
    """Return what the pooler of a classifier on this encoder reads, as its config pools.

    Returns
    -------
    float64 array [n_cells, hidden]
    """
    states = np.empty((len(cells), trunk.config.hidden_size))
    lengths = np.array([len(cell) for cell in cells])
    for batch in budget_batches(lengths, hardware.batch_tokens):
        ids, mask = padded([cells[i] for i in batch], hardware.device)
        hidden = trunk(ids, mask)
        states[batch] = pooled_states(hidden, ids, mask, trunk.config).double().cpu().numpy()
    return states


def log_expression(counts_path, names):
    """Return log(1 + counts per 10,000) of the named cells, dense [n_cells, n_genes]."""
    adata = read_matrix(counts_path, names)
    scale = scipy.sparse.diags(1e4 / adata.obs["n_counts"].to_numpy(float))
    return np.log1p((scale @ adata.X).toarray())


def fit_logistic(features, labels, train, valid):
    """Return a scaled logistic regression fitted on `train`, its penalty chosen on `valid`.

    Parameters
    ----------
    features : float array [n_cells, n_features]
    labels : int array [n_cells]
    train, valid : bool arrays [n_cells]
    """
    best, best_score = None, -np.inf
    for c in INVERSE_PENALTIES:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000))
        model.fit(features[train], labels[train])
        logp = model.predict_log_proba(features[valid])
        score = logp[np.arange(len(logp)), labels[valid]].mean()
        log.info("C = %g: validation loss %.4f", c, -score)
        if score > best_score:
            best, best_score = model, score
    return best


def states_of_pretrained(files, cells, pooling, compute):
    """Return what a classifier on a pretrained encoder would read: `pooled_input` of its files."""
    device = set_up_torch(compute)
    trunk = load_trunk(files.weights, files.config).to(device)
    table = read_table(files.vocabulary)
    longest = files.max_length or max(len(cell) for cell in cells)
    size = {"vocabulary_size": len(table), "max_length": longest}
    check_fit(trunk.config, **size, where=str(files.config))
    set_pooling(trunk.config, pooling, table)
    budget = token_budget(compute, trunk.config)
    return pooled_input(trunk, cells, Hardware(device, compute.precision, budget))


def fit_probe(files, model_files, counts, out, *, features, pooling, compute):
    """Fit a logistic regression on hidden states or expression; write it and its predictions.

    Parameters
    ----------
    files : TaskFold
    model_files : ModelFiles
        Of the pretrained model.
    counts : path-like or None
        Canonical h5ad, for expression.
    out : dict {name: path-like}
        weights, config, predictions.
    features : {'hidden_state', 'expression'}
    pooling : {'first', 'mean', 'cls', None}
        Of the hidden states (`set_pooling`).
    """
    frame, cells, classes = task_cells(*files)
    if features == "hidden_state":
        matrix = states_of_pretrained(model_files, cells, pooling, compute)
    elif features == "expression":
        matrix = log_expression(counts, frame["cell"])
    else:
        raise input_error(
            "config key 'regimes.features'",
            found=f"'{features}'",
            expected="'hidden_state' or 'expression'",
            remedy="choose one of them",
        )
    split = frame["split"].to_numpy()
    with threadpool_limits(compute.threads):
        model = fit_logistic(matrix, frame["label"].to_numpy(), split == "train", split == "valid")
        probabilities = model.predict_proba(matrix)
    scaler, logistic = model[0], model[1]
    tensors = {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "coefficients": logistic.coef_,
        "intercepts": logistic.intercept_,
    }
    write_tensors(save({k: np.ascontiguousarray(v) for k, v in tensors.items()}), out["weights"])
    write_json(
        {"method": "logistic", "features": features, "C": logistic.C, "classes": classes},
        out["config"],
    )
    predictions = predictions_table(frame, probabilities, classes)
    write_table(predictions, out["predictions"], "predictions")
