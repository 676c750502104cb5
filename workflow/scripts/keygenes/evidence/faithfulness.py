"""Whether an order of genes is what the model goes by: mask the first ones, or all but these.

With ``s = sign(F(x))`` of the whole cell, comprehensiveness ``s (F(x) - F(top k masked))`` should
be large, and sufficiency ``s (F(x) - F(only top k kept))`` small (DeYoung et al. 2020); AOPC is
their mean over k. Both depend on where in the cell the genes stand, so every order is held against
random genes from the same ranks. Expression is the order of the ranks itself: the genes of its
first ranks are all that could be drawn there, so it has no match.

The position that the classifier reads is in no order: where the pooling is 'first', the gene of
position 0 is neither masked nor counted. `<mask>` there would change what is read, not what is
known, and every order that starts with it would look comprehensive.
"""

import numpy as np
import pandas as pd

from keygenes.evidence.orders import OF_RANKS

METRICS = ("comprehensiveness", "sufficiency")
RANK_BINS = 20  # of a cell; random genes are matched within them
SMALLEST_BIN = 5  # genes


def numbers_masked(fractions, n):
    """Return how many of `n` genes each fraction is: rounded up, so at least one."""
    return [int(np.ceil(round(fraction * n, 9))) for fraction in fractions]


def rank_bins(n):
    """Return the rank bin of each of `n` genes in the order of a cell: int array [n]."""
    bins = max(1, min(RANK_BINS, n // SMALLEST_BIN))
    return np.arange(n) * bins // max(1, n)


def matched_sets(chosen, numbers, rng):
    """Return random genes, as many from each rank bin as are among the first k of an order.

    Parameters
    ----------
    chosen : int array [n]
        An order of the genes of a cell, by their place in it.
    numbers : list of int
        The values of k.
    rng : numpy.random.Generator

    Returns
    -------
    list of int arrays
        One per k; a larger k has the genes of a smaller one.
    """
    bins = rank_bins(len(chosen))
    shuffled = [rng.permutation(np.flatnonzero(bins == b)) for b in range(bins.max() + 1)]
    return [
        np.concatenate([of_bin[:m] for of_bin, m in zip(shuffled, taken, strict=True)])
        for taken in (np.bincount(bins[chosen[:k]], minlength=len(shuffled)) for k in numbers)
    ]


def masked_variants(cell, genes, sets, mask_token):
    """Return a cell with sets of its genes masked, then with all but these masked.

    Parameters
    ----------
    cell : int array [L]
    genes : int array [n]
        Positions of the genes that may be masked.
    sets : list of int arrays
        Each of places in `genes`.

    Returns
    -------
    int array [2, n_sets, L]
    """
    variants = np.broadcast_to(cell, (2, len(sets), len(cell))).copy()
    variants[1][:, genes] = mask_token
    for i, chosen in enumerate(sets):
        at = genes[chosen]
        variants[0, i, at] = mask_token
        variants[1, i, at] = cell[at]
    return variants


def cell_faithfulness(value, cell, genes, orders, options, mask_token, rng):
    """Return comprehensiveness and sufficiency of one cell for every order of its genes.

    Parameters
    ----------
    value : callable
        ``value(cells)`` -> F, float64 array [n], of int arrays [n, L].
    cell : int array [L]
    genes : int array [n]
        Positions of the genes that may be masked, at least one.
    orders : dict {name: int array [n]}
        Places in `genes`, first the one that matters most.
    options : dict
        fractions: shares of `genes`, list of float. n_random: draws of matched random genes; and
        of the order 'random' of all.
    mask_token : int
    rng : numpy.random.Generator

    Returns
    -------
    DataFrame
        Columns order, metric, fraction (missing: AOPC, the mean over them), value, and matched:
        the mean over draws of rank-matched random genes (missing for 'random' and 'expression').
    """
    fractions, n_random = options["fractions"], options["n_random"]
    numbers = numbers_masked(fractions, len(genes))
    named, sets = [], []
    for name, order in orders.items():
        named.append((name, "value"))
        sets += [order[:k] for k in numbers]
        for _ in range(n_random if name != OF_RANKS else 0):
            named.append((name, "matched"))
            sets += matched_sets(order, numbers, rng)
    for _ in range(n_random):
        named.append(("random", "value"))
        order = rng.permutation(len(genes))
        sets += [order[:k] for k in numbers]
    variants = masked_variants(cell, genes, sets, mask_token)
    (whole,) = value(cell[None])
    sign = 1.0 if whole >= 0 else -1.0
    drops = sign * (whole - value(variants.reshape(-1, len(cell))))
    drops = drops.reshape(2, len(named), len(numbers))
    drops = np.concatenate([drops, drops.mean(2, keepdims=True)], axis=2)
    rows = []
    for name in dict.fromkeys(name for name, _ in named):
        means = {
            kind: drops[:, [i for i, n in enumerate(named) if n == (name, kind)]]
            for kind in ("value", "matched")
        }
        for m, metric in enumerate(METRICS):
            for f, fraction in enumerate([*fractions, np.nan]):
                matched = means["matched"][m, :, f]
                rows.append(
                    {
                        "order": name,
                        "metric": metric,
                        "fraction": fraction,
                        "value": means["value"][m, :, f].mean(),
                        "matched": matched.mean() if len(matched) else np.nan,
                    }
                )
    return pd.DataFrame(rows)
