"""A dataset whose counts are read some cells at a time, on their way to the canonical matrix."""

import logging

import anndata as ad
import numpy as np
import scipy.sparse as sp

from keygenes.core.blocks import blocks_in_memory
from keygenes.core.matrix_file import matrix_file
from keygenes.inputs.whole_numbers import require_counts

log = logging.getLogger("keygenes")


def as_stored(counts):
    """Return counts as CSR of float32 with sorted indices and no stored zeros."""
    counts = sp.csr_matrix(counts, dtype=np.float32)
    counts.eliminate_zeros()
    counts.sort_indices()
    return counts


def in_memory(counts):
    """Return counts as one CSR matrix, also where they are read in blocks."""
    if sp.issparse(counts):
        return counts
    return sp.vstack(list(counts.blocks()), format="csr")


class Dataset:
    """A canonical matrix (see `keygenes.inputs.canonical`) that is complete but for its counts.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix, or what has such `blocks`, [n_cells, n_columns]
        As supplied; checked as they are read.
    obs : pandas.DataFrame [n_cells]
        `n_counts` where it is supplied.
    var : pandas.DataFrame [n_genes]
    genes : int array [n_columns]
        The row of `var` that each column counts; columns of one gene are summed. Negative: none,
        the column adds to `n_counts` alone.
    mitochondrial : bool array [n_columns]
    apart : int array
        Columns that ``obsm["given_counts"]`` has as they were supplied.
    uns : dict
    path : path-like
        For messages.
    """

    def __init__(self, counts, obs, var, genes, mitochondrial, apart, uns, path):
        self.obs, self.var, self.uns = obs, var, uns
        self._counts, self._mitochondrial, self._apart = counts, mitochondrial, apart
        self._path, self._gather, columns = path, None, np.flatnonzero(genes >= 0)
        if len(genes) != len(var) or (np.diff(genes) != 1).any():
            ones = np.ones(len(columns), np.float32)
            shape = (len(genes), len(var))
            self._gather = sp.csr_matrix((ones, (columns, genes[columns])), shape=shape)

    def _blocks(self, sums):
        """Yield counts and obsm of some cells, and put the cells' sums into a list."""
        blocks = getattr(self._counts, "blocks", lambda: blocks_in_memory(self._counts))
        for given in blocks():
            require_counts(given, self._path)
            given = given.astype(np.float32)  # before anything is summed: small numbers overflow
            given.sum_duplicates()
            counts = as_stored(given if self._gather is None else given @ self._gather)
            of_cells = [given, given[:, self._mitochondrial]]
            totals = [np.asarray(m.sum(axis=1, dtype=np.float64)).ravel() for m in of_cells]
            sums.append((*totals, np.diff(counts.indptr).astype(np.int64)))
            apart = {"given_counts": as_stored(given[:, self._apart])} if len(self._apart) else {}
            yield counts, apart

    def _obs(self, sums):
        """Return obs with what is known of the cells once all counts are read."""
        obs = self.obs.copy()
        nothing = [(np.zeros(0), np.zeros(0), np.zeros(0, np.int64))]
        totals, in_mito, n_genes = map(np.concatenate, zip(*(sums or nothing), strict=True))
        if "n_counts" in obs:
            supplied = obs["n_counts"].to_numpy()
            if low := int((supplied < totals - 0.5).sum()):
                log.warning(
                    "%s: n_counts of %d cells is below the sum of their counts", self._path, low
                )
            obs["n_counts"] = np.where(np.isnan(supplied), totals, supplied)
        else:
            obs["n_counts"] = totals
        obs["n_genes"] = n_genes
        if self._mitochondrial.any():
            obs["percent_mito"] = 100 * in_mito / np.maximum(obs["n_counts"].to_numpy(), 1)
        return obs

    def write(self, path):
        """Write the canonical matrix; no more than some cells of it are in memory."""
        sums = []
        with matrix_file(path) as file:
            for counts, apart in self._blocks(sums):
                file.append(counts, **apart)
            file.finish(self._obs(sums), self.var, self.uns)

    def in_memory(self):
        """Return the canonical matrix as AnnData."""
        sums = []
        blocks = list(self._blocks(sums))
        if not blocks:
            counts = sp.csr_matrix((0, len(self.var)), dtype=np.float32)
            return ad.AnnData(X=counts, obs=self._obs(sums), var=self.var, uns=self.uns)
        obsm = {
            name: sp.vstack([apart[name] for _, apart in blocks], format="csr")
            for name in blocks[0][1]
        }
        counts = sp.vstack([counts for counts, _ in blocks], format="csr")
        return ad.AnnData(X=counts, obs=self._obs(sums), var=self.var, uns=self.uns, obsm=obsm)
