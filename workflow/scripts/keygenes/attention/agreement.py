"""How much two patterns of attention agree, and what agreement to expect of any two."""

import numpy as np
import pandas as pd
import scipy
import torch

from keygenes.attention.stream import attention_of, queries_and_keys
from keygenes.core.progress import with_progress
from keygenes.models.batches import budget_batches, padded

MEASURES = ("cosine", "pearson", "spearman", "jensen_shannon")
FEWEST_CELLS = 10  # of a gene in each half, for its mean attention to count


def cosine(a, b):
    """Return the cosine of rows [..., n]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))


def pearson(a, b):
    """Return the correlation of rows [..., n]: of attention received, the cosine of c - 1."""
    return cosine(a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True))


def jensen_shannon(a, b):
    """Return the Jensen-Shannon divergence of rows [..., n], each scaled to sum to 1, in bits.

    It is 0 where they are proportional and 1 where they have nothing in common.
    """
    a, b = (x / x.sum(-1, keepdims=True) for x in (a, b))
    middle = (a + b) / 2
    nats = (scipy.special.rel_entr(a, middle) + scipy.special.rel_entr(b, middle)).sum(-1) / 2
    return np.clip(nats / np.log(2), 0, 1)


def of_profiles(a, b):
    """Return pearson, spearman and jensen_shannon of rows [..., n]: float64 [3, ...]."""
    ranks = (scipy.stats.rankdata(x, axis=-1) for x in (a, b))
    return np.stack([pearson(a, b), pearson(*ranks), jensen_shannon(a, b)])


@torch.inference_mode()
def compared_cells(trunks, pairs, cells, batch_tokens, label="comparison"):
    """Yield what each cell's attention is in some models, and its cosines between them.

    Each model runs once, however many pairs it is in, and leaves its queries and keys; from these
    the attention of all models is computed side by side in blocks of rows, and never stored.

    Parameters
    ----------
    trunks : dict {name: Trunk}
    pairs : list of (name, name)
    cells : list of int arrays

    Yields
    ------
    index : int
        Of the cell.
    cosines : dict {pair: float64 array [layers, heads]}
        Of the full L x L attention.
    received : dict {name: float64 array [layers, heads, L]}
    """
    config = next(iter(trunks.values())).config
    device = next(iter(trunks.values())).device
    asked = list(dict.fromkeys([*pairs, *((name, name) for pair in pairs for name in pair)]))
    lengths = np.array([len(cell) for cell in cells])
    batches = budget_batches(lengths, batch_tokens) if len(cells) else []
    for batch in with_progress(batches, label):
        ids, mask = padded([cells[i] for i in batch], device)
        attention = attention_of(mask)
        of_models = {
            name: queries_and_keys(trunk, ids, attention) for name, trunk in trunks.items()
        }
        cosines, received = {pair: [] for pair in pairs}, {name: [] for name in trunks}
        for layer in range(config.num_hidden_layers):
            of_layer = {name: layers[layer] for name, layers in of_models.items()}
            product, sums = attention.compared(of_layer, asked)
            for a, b in pairs:
                norm = (product[a, a] * product[b, b]).sqrt()
                cosines[a, b].append((product[a, b] / norm).cpu().numpy())
            for name, of_name in sums.items():
                received[name].append(of_name.double().cpu().numpy())
        cosines = {pair: np.stack(parts, 1) for pair, parts in cosines.items()}
        received = {name: np.stack(parts, 1) for name, parts in received.items()}
        for row, index in enumerate(batch):
            yield (
                int(index),
                {pair: of_cells[row] for pair, of_cells in cosines.items()},
                {name: of_cells[row, ..., : lengths[index]] for name, of_cells in received.items()},
            )


def agreement_table(found, **columns):
    """Return a row per layer and head from arrays [layers, heads] by column name."""
    shape = next(iter(found.values())).shape
    layer, head = (place.ravel() + 1 for place in np.indices(shape))
    arrays = {name: np.asarray(values, float).ravel() for name, values in found.items()}
    return pd.DataFrame({**columns, "layer": layer, "head": head, **arrays})


def between_halves(sums, n_cells):
    """Return the measures between the mean attention of genes in two halves of some cells.

    Parameters
    ----------
    sums : float64 array [2, layers, heads, n_tokens]
    n_cells : float64 array [2, n_tokens]

    Returns
    -------
    dict {measure: float64 array [layers, heads]}
        NaN where fewer than two genes are in `FEWEST_CELLS` cells of both halves.
    """
    genes = (n_cells >= FEWEST_CELLS).all(0)
    if genes.sum() < 2:
        return {measure: np.full(sums.shape[1:3], np.nan) for measure in MEASURES}
    a, b = (half[..., genes] / n[genes] for half, n in zip(sums, n_cells, strict=True))
    return dict(zip(MEASURES, [cosine(a, b), *of_profiles(a, b)], strict=True))


def comparison_bounds(trunks, others, cells, batch_tokens, run, other=None):
    """Return table 'comparison_bounds': how much attention agrees where nothing should differ.

    Parameters
    ----------
    trunks : dict {regime: Trunk}
        Of this run. For each, the bound 'split_half': mean attention of genes in every second
        cell against the others.
    others : dict {regime: Trunk}
        Some of them as the other run trained them, on the same cells: the bound 'other_seed', or
        'other_fold' where that run has another fold, and so other training cells.
    cells : list of int arrays
    run, other : `core.runs.Run`, Run or None
    """
    config = next(iter(trunks.values())).config
    shape = (config.num_hidden_layers, config.num_attention_heads)
    named = {(name, True): trunk for name, trunk in trunks.items()}
    named |= {(name, False): trunk for name, trunk in others.items()}
    pairs = [((name, True), (name, False)) for name in others]
    totals = {name: np.zeros((len(MEASURES), *shape)) for name in others}
    sums = {name: np.zeros((2, *shape, config.vocab_size)) for name in trunks}
    n_cells = np.zeros((2, config.vocab_size))
    for index, cosines, received in compared_cells(named, pairs, cells, batch_tokens, "bounds"):
        for a, b in pairs:
            totals[a[0]] += [cosines[a, b], *of_profiles(received[a], received[b])]
        half, cell = index % 2, cells[index]
        n_cells[half, cell] += 1
        for name in trunks:
            sums[name][half][..., cell] += received[name, True]
    frames = []
    for name, total in totals.items():
        bound = "other_seed" if other.fold == run.fold else "other_fold"
        found = dict(zip(MEASURES, total / max(1, len(cells)), strict=True))
        columns = {"other_fold": other.fold, "other_seed": other.seed}
        frames.append(agreement_table(found, regime=name, bound=bound, **columns))
    for name, of_halves in sums.items():
        found, columns = (
            between_halves(of_halves, n_cells),
            {"other_fold": None, "other_seed": None},
        )
        frames.append(agreement_table(found, regime=name, bound="split_half", **columns))
    table = pd.concat(frames, ignore_index=True)
    table = table.astype({"other_fold": "Int64", "other_seed": "Int64"})
    return table.assign(fold=run.fold, seed=run.seed, n_cells=len(cells))
