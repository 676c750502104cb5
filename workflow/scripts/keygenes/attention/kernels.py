"""Sums over queries of attention whose row sums are known, on a GPU: tiles that memory never sees.

Kernels of attention walk down the queries of a cell for a block of its keys and keep their sums in
registers: one more product of queries and keys, and nothing of size [L, L] anywhere. The order of
the additions is fixed, so equal inputs give equal bytes. What the functions return is said at
their namesakes in `fused`, `norms` and `sums`, which do the same in plain PyTorch.
"""

import torch
import triton
import triton.language as tl

BLOCK = 64  # queries, and keys, of a tile
# Products of float32 on tensor cores in three parts, as exact as needed here and faster than one
PRECISION = {torch.float32: "tf32x3"}


@triton.jit
def _log_attention(
    query, key, lse, rows, columns, length, strides, scaling,
    dims: tl.constexpr, width: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """Return log attention of a tile [rows, columns]; in rows of padding so low that exp() is 0."""
    at = tl.arange(0, width)
    q = tl.load(
        query + rows[:, None] * strides[0] + at[None, :],
        mask=(rows < length)[:, None] & (at < dims)[None, :],
        other=0.0,
    )
    k = tl.load(
        key + columns[None, :] * strides[1] + at[:, None],
        mask=(columns < length)[None, :] & (at < dims)[:, None],
        other=0.0,
    )
    total = tl.load(lse + rows, mask=rows < length, other=1e30)  # inf would make 0 * inf
    return tl.dot(q, k, input_precision=precision) * scaling - total[:, None]


@triton.jit
def _head_of(pointer, strides, cell, head):
    """Return where a head of a cell starts."""
    return pointer + cell * strides[0] + head * strides[1]


@triton.jit
def _column_sums(
    query, key, lse, lengths, weights, received, entropy, to_self, scaling, heads, longest,
    q_strides, k_strides, weighted: tl.constexpr,
    dims: tl.constexpr, width: tl.constexpr, block: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(1).to(tl.int64)
    cell, head = at // heads, at % heads
    start = tl.program_id(0) * block
    columns = start + tl.arange(0, block)
    length = tl.load(lengths + cell)
    query, key = _head_of(query, q_strides, cell, head), _head_of(key, k_strides, cell, head)
    sums = tl.zeros([block], tl.float32)
    entropies = tl.zeros([block], tl.float32)
    own = tl.zeros([block], tl.float32)
    for first in range(0, length, block):
        rows = first + tl.arange(0, block)
        log_a = _log_attention(
            query, key, lse + at * longest, rows, columns, length,
            (q_strides[2], k_strides[2]), scaling, dims, width, precision,
        )  # fmt: skip
        a = tl.exp(log_a)
        if first == start:
            own += tl.sum(tl.where(rows[:, None] == columns[None, :], a, 0.0), 0)
        if weighted:
            weight = tl.load(weights + cell * longest + rows, mask=rows < length, other=0.0)
            a = a * weight[:, None]
        sums += tl.sum(a, 0)
        entropies -= tl.sum(a * log_a, 0)
    valid, place = columns < length, at * longest + columns
    tl.store(received + place, tl.where(valid, sums, 0.0), mask=columns < longest)
    tl.store(entropy + place, tl.where(valid, entropies, 0.0), mask=columns < longest)
    tl.store(to_self + place, tl.where(valid, own, 0.0), mask=columns < longest)


@triton.jit
def _products(
    query, key, lse, other_query, other_key, other_lse, lengths, products, scaling, heads, longest,
    q_strides, k_strides, other_q_strides, other_k_strides,
    dims: tl.constexpr, width: tl.constexpr, block: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(1).to(tl.int64)
    cell, head = at // heads, at % heads
    columns = tl.program_id(0) * block + tl.arange(0, block)
    length = tl.load(lengths + cell)
    query, key = _head_of(query, q_strides, cell, head), _head_of(key, k_strides, cell, head)
    other_query = _head_of(other_query, other_q_strides, cell, head)
    other_key = _head_of(other_key, other_k_strides, cell, head)
    sums = tl.zeros([block], tl.float32)
    for first in range(0, length, block):
        rows = first + tl.arange(0, block)
        log_a = _log_attention(
            query, key, lse + at * longest, rows, columns, length,
            (q_strides[2], k_strides[2]), scaling, dims, width, precision,
        )  # fmt: skip
        log_b = _log_attention(
            other_query, other_key, other_lse + at * longest, rows, columns, length,
            (other_q_strides[2], other_k_strides[2]), scaling, dims, width, precision,
        )  # fmt: skip
        sums += tl.sum(tl.exp(log_a + log_b), 0)
    sums = tl.where(columns < length, sums, 0.0)
    tl.store(products + at * longest + columns, sums, mask=columns < longest)


@triton.jit
def _pair_norms(
    query, key, lse, factors, lengths, norms, scaling, heads, longest, q_strides, k_strides,
    dims: tl.constexpr, width: tl.constexpr, block: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    cell = tl.program_id(1).to(tl.int64)
    columns = tl.program_id(0) * block + tl.arange(0, block)
    length = tl.load(lengths + cell)
    sums = tl.zeros([block], tl.float32)
    for first in range(0, length, block):
        rows = first + tl.arange(0, block)
        squares = tl.zeros([block, block], tl.float32)
        for r in range(heads):
            part = tl.zeros([block, block], tl.float32)
            for h in range(r, heads):  # computed again for each row of the factor: no room to keep
                log_a = _log_attention(
                    _head_of(query, q_strides, cell, h), _head_of(key, k_strides, cell, h),
                    lse + (cell * heads + h) * longest, rows, columns, length,
                    (q_strides[2], k_strides[2]), scaling, dims, width, precision,
                )  # fmt: skip
                factor = tl.load(
                    factors + ((cell * heads + r) * heads + h) * longest + columns,
                    mask=columns < length,
                    other=0.0,
                )
                part += tl.exp(log_a) * factor[None, :]
            squares += part * part
        sums += tl.sum(tl.sqrt(squares), 0)
    sums = tl.where(columns < length, sums, 0.0)
    tl.store(norms + cell * longest + columns, sums, mask=columns < longest)


@triton.jit
def _value_norms(
    value, products, lengths, norms, heads, longest, strides,
    dims: tl.constexpr, width: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(1).to(tl.int64)
    cell, head = at // heads, at % heads
    rows, within = tl.program_id(0) * block + tl.arange(0, block), tl.arange(0, width)
    length = tl.load(lengths + cell)
    v = tl.load(
        _head_of(value, strides, cell, head) + rows[:, None] * strides[2] + within[None, :],
        mask=(rows < length)[:, None] & (within < dims)[None, :],
        other=0.0,
    ).to(tl.float32)
    inside = (within < dims)[:, None] & (within < dims)[None, :]
    place = head * dims * dims + within[:, None] * dims + within[None, :]
    product = tl.load(products + place, mask=inside, other=0.0)
    squares = tl.sum(tl.dot(v, product, input_precision="tf32x3") * v, 1)
    found = tl.sqrt(tl.maximum(squares, 0.0))
    tl.store(norms + at * longest + rows, found, mask=rows < longest)


@triton.jit
def _add_by_code(
    values, order, codes, ends, sums, squares, n_rows, n_codes, n_values,
    squared: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64)
    code = tl.load(codes + at)
    before = tl.load(codes + at - 1, mask=at > 0, other=-1)
    if code != before:  # the first of its code adds up all of them
        rows = tl.program_id(1).to(tl.int64) * width + tl.arange(0, width)
        inside = rows < n_rows
        total = tl.zeros([width], tl.float64)
        of_squares = tl.zeros([width], tl.float64)
        for i in range(at, tl.load(ends + at)):
            place = tl.load(order + i)
            value = tl.load(values + rows * n_values + place, mask=inside, other=0.0)
            total += value
            of_squares += value * value
        place = rows * n_codes + code
        _add_exactly(sums, place, n_rows * n_codes, total, inside)
        if squared:
            _add_exactly(squares, place, n_rows * n_codes, of_squares, inside)


@triton.jit
def _add_exactly(total, place, size, amounts, inside):
    """Add to the entries of a sum kept in two parts, as `sums.add_exactly` does."""
    old = tl.load(total + place, mask=inside, other=0.0)
    low = tl.load(total + size + place, mask=inside, other=0.0)
    new = old + amounts
    part = new - old
    tl.store(total + size + place, low + ((old - (new - part)) + (amounts - part)), mask=inside)
    tl.store(total + place, new, mask=inside)


def _tiles(query, programs):
    """Return the grid of a kernel and what its tiles look like."""
    longest, dims = query.shape[2:]
    grid = (triton.cdiv(longest, BLOCK), programs)
    width = max(16, triton.next_power_of_2(dims))  # the least that tensor cores take
    precision = PRECISION.get(query.dtype, "tf32")
    return grid, {"dims": dims, "width": width, "block": BLOCK, "precision": precision}


def column_sums(scored, scaling, weights=None):
    """Return attention received, each key's part of the entropies, and what it pays itself."""
    query, key, lse, lengths = scored
    n_cells, heads, longest, _ = query.shape
    found = [torch.empty_like(lse) for _ in range(3)]
    grid, tiles = _tiles(query, n_cells * heads)
    strides = query.stride()[:3], key.stride()[:3]
    _column_sums[grid](
        *(query, key, lse, lengths, weights, *found, scaling, heads, longest, *strides),
        **{"weighted": weights is not None, **tiles},
    )
    return found


def products(scored, other, scaling):
    """Return the sums over queries of the products of two models' attention."""
    query, key, lse, lengths = scored
    n_cells, heads, longest, _ = query.shape
    found = torch.empty_like(lse)
    grid, tiles = _tiles(query, n_cells * heads)
    strides = [x.stride()[:3] for x in (query, key, other.query, other.key)]
    _products[grid](
        *(query, key, lse, other.query, other.key, other.lse, lengths, found),
        *(scaling, heads, longest, *strides),
        **tiles,
    )
    return found


def pair_norms(scored, factors, scaling):
    """Return the sums over queries of the norm of all heads' weighted vectors."""
    query, key, lse, lengths = scored
    n_cells, heads, longest, _ = query.shape
    norms = lse.new_empty(n_cells, longest)
    grid, tiles = _tiles(query, n_cells)
    strides = query.stride()[:3], key.stride()[:3]
    _pair_norms[grid](
        *(query, key, lse, factors, lengths, norms, scaling, heads, longest, *strides), **tiles
    )
    return norms


def value_norms(value, products, lengths):
    """Return the norms of what each head moves; 0 at padding."""
    n_cells, heads, longest, dims = value.shape
    norms = torch.empty(n_cells, heads, longest, device=value.device)
    grid, tiles = _tiles(value, n_cells * heads)
    del tiles["precision"]
    _value_norms[grid](
        *(value, products.contiguous(), lengths, norms, heads, longest, value.stride()[:3]), **tiles
    )
    return norms


def add_by_code(sums, squares, values, order, codes, ends):
    """Add values [n_rows, n] to sums [2, n_rows, n_codes] and their squares where asked for.

    Parameters
    ----------
    order, codes, ends : int64 tensors [n]
        What sorts the codes of the values, the sorted codes, and for each where its code ends.
    """
    n_rows, n_values = values.shape
    width = min(32, triton.next_power_of_2(n_rows))
    grid = (len(order), triton.cdiv(n_rows, width))
    _add_by_code[grid](
        *(values, order, codes, ends, sums, sums if squares is None else squares),
        *(n_rows, sums.shape[-1], n_values),
        squared=squares is not None,
        width=width,
    )
