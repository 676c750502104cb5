"""The norm over heads of a pair of genes, compiled: a fraction of the time of array operations.

The heads' contributions are combined a few hundred keys at a time, so that what is combined stays
in the processor's first cache; as array operations every step is a pass over the whole block.
"""

import numba
import numpy as np

KEYS = 512  # combined at a time

compiled = numba.njit(fastmath=True, nogil=True)


@compiled
def _multiply(result, a, b):
    for j in range(result.size):
        result[j] = a[j] * b[j]


@compiled
def _multiply_add(result, a, b):
    for j in range(result.size):
        result[j] += a[j] * b[j]


@compiled
def _add_roots(result, squares):
    for j in range(result.size):
        result[j] += np.sqrt(squares[j])


@compiled
def add_pair_norms(sums, weights, factors):
    """Add sum_i ||sum_h alpha^h_ij f^h(x_j)|| over some rows i to `sums`.

    Parameters
    ----------
    sums : float32 array [L]
    weights : float32 array [heads, n_rows, L]
        Attention.
    factors : float32 array [heads, heads, L]
        Upper triangular R_j with ``R_j^T R_j = <f^h(x_j), f^g(x_j)>``: the norm is that of
        ``R_j alpha_ij``.
    """
    heads, n_rows, length = weights.shape
    part_memory, square_memory = np.empty(KEYS, np.float32), np.empty(KEYS, np.float32)
    for start in range(0, length, KEYS):
        stop = min(start + KEYS, length)
        part, squares = part_memory[: stop - start], square_memory[: stop - start]
        for i in range(n_rows):
            for r in range(heads):
                _multiply(part, weights[r, i, start:stop], factors[r, r, start:stop])
                for h in range(r + 1, heads):
                    _multiply_add(part, weights[h, i, start:stop], factors[r, h, start:stop])
                if r == 0:
                    _multiply(squares, part, part)
                else:
                    _multiply_add(squares, part, part)
            _add_roots(sums[start:stop], squares)
