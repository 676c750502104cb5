"""Running sums of attention over cells, exact in any order: shards merge to one run's sums."""

import functools
from typing import NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save

from keygenes.attention import fused
from keygenes.attention.expected import ONE_BIN, Sizes, binned
from keygenes.attention.stream import ROW_STATISTICS, attention_statistics
from keygenes.attention.subsets import TEST, VEHICLE
from keygenes.core.files import intact
from keygenes.core.progress import with_progress
from keygenes.core.tensors import check_tensors, write_tensors
from keygenes.models.batches import budget_batches, moved, padded, places
from keygenes.models.device import halving

GENE_COUNTS = ("gene_n", "gene_rank_sum", "gene_rank_squares")
NORM_MEASURES = ("value", "weighted")
HEAD_MEASURES = (*ROW_STATISTICS, *NORM_MEASURES)  # a value per cell, layer and head
LAYER_MEASURES = ("output", "pair")  # a value per cell and layer
LOG_SUMS = ("log2_length", "log2_depth")  # of log2 of attention, by bin of the cell's size
SMALLEST = float(np.finfo(np.float32).tiny)  # what attention received is raised to for its log


def moments(total, squares, n):
    """Return mean and sample standard deviation from sums; NaN where n is too small."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / n
        variance = (squares - n * mean**2) / (n - 1)
    return mean, np.sqrt(np.where(n > 1, np.maximum(variance, 0), np.nan))


def add_exactly(total, at, amounts):
    """Add to some entries of a sum, keeping what rounding loses (Knuth's two-sum).

    The result does not depend on the order of the additions, so that sums over shards of the
    cells, merged, are those of one run.

    Parameters
    ----------
    total : float64 tensor [2, ..., n]
        High and low part; the sum is high + low. Changed in place.
    at : index of the last axis, without repeats
    amounts : float64 tensor [..., len(at)]
    """
    high, low = total
    old = high[..., at]
    new = old + amounts
    part = new - old
    low[..., at] += (old - (new - part)) + (amounts - part)
    high[..., at] = new


class Subset(NamedTuple):
    """The cells of one subset, in the order of the token table.

    Attributes
    ----------
    name : str
    cells : list of int arrays
        Tokens of each cell.
    sizes : Sizes
        Of each cell: number of tokens, total counts.
    classes, wells : int arrays [n_cells]
        Codes; the well of a cell without one is 0.
    """

    name: str
    cells: list[np.ndarray]
    sizes: Sizes
    classes: np.ndarray
    wells: np.ndarray


class Shape(NamedTuple):
    """How many of each there are in `Sums`; the bins are of lengths and depths of cells."""

    layers: int
    heads: int
    n_tokens: int
    n_classes: int
    n_wells: int
    length_bins: int = 1
    depth_bins: int = 1


class Sums:
    """Running sums of one subset of cells; nothing grows with the number of cells.

    They lie where the model computes, and come back as arrays (`count`, `total`).

    Parameters
    ----------
    shape : Shape
    max_length : int
        Tokens of the longest cell.
    device : torch.device or str

    Attributes
    ----------
    counts : dict of float64 tensors
        Whole numbers: ``cells`` [1]; ``rank_n`` [max_length]; per class and gene, [classes,
        tokens], ``gene_n`` and the sums of ranks ``gene_rank_sum``, ``gene_rank_squares``;
        ``well_n`` [wells, tokens]; ``raised`` [1], values of attention that were 0 in float32.
    totals : dict of float64 tensors [2, ...]
        As `add_exactly` keeps them. Attention received: ``rank_sum``, ``rank_squares`` [layers,
        heads, max_length]; ``gene_sum``, ``gene_squares`` [layers, heads, classes * tokens]; its
        mean over layers and heads: ``mean_sum``, ``mean_squares`` [classes * tokens],
        ``well_sum`` [wells * tokens]. Its log2: ``log2_length_sum`` [layers, heads, length bins *
        max_length], ``log2_depth_sum`` [layers, heads, depth bins * max_length] (not added to
        where depth has one bin), and the mean over
        layers and heads ``well_log2_sum`` [wells * tokens]. The pair norm, mean over layers:
        ``well_pair_sum`` [wells * tokens]. Means per cell: ``head_sum``, ``head_squares``
        [measures, layers * heads] and ``layer_sum``, ``layer_squares`` [measures, layers].
    """

    def __init__(self, shape, max_length, device="cpu"):
        layers, heads, n_tokens, n_classes, n_wells, *n_bins = shape

        def zeros(*shape):
            return torch.zeros(shape, dtype=torch.float64, device=device)

        self.shape = shape
        of_genes, of_wells = (n_classes, n_tokens), (n_wells, n_tokens)
        self.counts = {
            "cells": zeros(1),
            "rank_n": zeros(max_length),
            **{name: zeros(*of_genes) for name in GENE_COUNTS},
            "well_n": zeros(*of_wells),
            "raised": zeros(1),
        }
        shapes = {
            "rank": (layers, heads, max_length),
            "gene": (layers, heads, n_classes * n_tokens),
            "mean": (n_classes * n_tokens,),
            "head": (len(HEAD_MEASURES), layers * heads),
            "layer": (len(LAYER_MEASURES), layers),
        }
        self.totals = {
            f"{name}_{power}": zeros(2, *shape)
            for name, shape in shapes.items()
            for power in ("sum", "squares")
        }
        for name in ("well_sum", "well_log2_sum", "well_pair_sum"):
            self.totals[name] = zeros(2, n_wells * n_tokens)
        for name, n in zip(LOG_SUMS, n_bins, strict=True):
            self.totals[f"{name}_sum"] = zeros(2, layers, heads, n * max_length)

    def count(self, name):
        """Return a count as a float64 array."""
        return self.counts[name].cpu().numpy()

    def total(self, name):
        """Return a total as one float64 array."""
        return self.totals[name].sum(0).cpu().numpy()

    def log2_sums(self):
        """Return sums of log2 by bin of length and of depth: [layers, heads, bins, max_length]."""
        max_length = len(self.counts["rank_n"])
        totals = (self.total(f"{name}_sum") for name in LOG_SUMS)
        return [total.reshape(*self.shape[:2], -1, max_length) for total in totals]

    def add(self, name, amounts, squares):
        """Add to all entries of ``<name>_sum`` and ``<name>_squares``."""
        add_exactly(self.totals[f"{name}_sum"], slice(None), amounts)
        add_exactly(self.totals[f"{name}_squares"], slice(None), squares)

    def merge(self, other):
        """Add the sums of other cells."""
        for name, count in other.counts.items():
            self.counts[name] += count
        for name, (high, low) in other.totals.items():
            for part in (high, low):
                add_exactly(self.totals[name], slice(None), part)


class Groups:
    """Where the values of a batch are added: by code, sorted once for all that has these codes.

    Parameters
    ----------
    codes : int64 tensor [n]
        The entry of the last axis of a sum that each value counts towards.
    """

    def __init__(self, codes):
        if kernels := fused.kernels_for(codes.device.type):
            codes, order = torch.sort(codes, stable=True)
            ends = torch.searchsorted(codes, codes, right=True)
            self.add_sorted = functools.partial(
                kernels.add_by_code, order=order, codes=codes, ends=ends
            )
        else:
            self.distinct, self.position = torch.unique(codes, return_inverse=True)
            self.add_sorted = None

    def add(self, total, values, squares=None):
        """Add values to a sum and, where given, their squares to another.

        Parameters
        ----------
        total, squares : float64 tensors [2, ..., n_codes]
            As `add_exactly` keeps them.
        values : float64 tensor [..., n]
        """
        if self.add_sorted:
            n_codes, n = total.shape[-1], values.shape[-1]
            total, squares = (x if x is None else x.view(2, -1, n_codes) for x in (total, squares))
            self.add_sorted(total, squares, values.reshape(-1, n).contiguous())
            return
        add_exactly(total, self.distinct, self.summed(values))
        if squares is not None:
            add_exactly(squares, self.distinct, self.summed(values**2))

    def summed(self, values):
        """Return values [..., n] summed by code: [..., n_distinct]."""
        shape = (*values.shape[:-1], len(self.distinct))
        if values.device.type == "cpu":  # several times as fast there
            at, flat = self.position.numpy(), values.reshape(-1, values.shape[-1]).numpy()
            rows = [np.bincount(at, row, len(self.distinct)) for row in flat]
            return torch.from_numpy(np.stack(rows)).reshape(shape)
        return values.new_zeros(shape).index_add_(-1, self.position, values)


def add_batch(sums, layers, ids, mask, codes, at=None):
    """Add the statistics of a batch of cells to the sums.

    Parameters
    ----------
    sums : Sums
    layers : list of `stream.LayerStatistics`
    ids, mask : int64 tensors [n_cells, L]
        Padded right.
    codes : int64 tensor [4, n_cells]
        Class and well of each cell, bin of its length and of its depth.
    at : int64 tensor [2, n], optional
        The `places` of all tokens; without it the device is asked, and waited for.
    """
    n_layers, n_heads, n_tokens, n_classes, n_wells = sums.shape[:5]
    max_length = len(sums.counts["rank_n"])
    row, positions = mask.nonzero(as_tuple=True) if at is None else at
    genes, lengths = ids[row, positions], mask.sum(1).double()
    of_gene, of_well = (of_cell[row] * n_tokens + genes for of_cell in codes[:2])
    ranks = positions + 1.0

    def count(name, at, amounts):
        sums.counts[name].view(-1).index_add_(0, at, amounts.double())

    sums.counts["cells"] += len(lengths)
    ones = torch.ones_like(ranks)
    count("rank_n", positions, ones)
    for name, amounts in zip(GENE_COUNTS, (ones, ranks, ranks**2), strict=True):
        count(name, of_gene, amounts)
    count("well_n", of_well, ones)

    received = torch.stack([layer.received for layer in layers], 2)  # [cells, heads, layers, L]
    flat = received.permute(2, 1, 0, 3).double()[:, :, row, positions]  # [layers, heads, n]
    mean = flat.mean((0, 1))
    totals, by_gene, by_well = sums.totals, Groups(of_gene), Groups(of_well)
    for name, groups, values in (
        ("rank", Groups(positions), flat),
        ("gene", by_gene, flat),
        ("mean", by_gene, mean),
    ):
        groups.add(totals[f"{name}_sum"], values, totals[f"{name}_squares"])
    logs = flat.clamp_min(SMALLEST).log2()
    sums.counts["raised"] += (flat < SMALLEST).sum()
    for name, of_bin, n_bins in zip(LOG_SUMS, codes[2:], sums.shape[5:], strict=True):
        if n_bins == 1 and name != LOG_SUMS[0]:
            continue  # it would be the first again
        Groups(of_bin[row] * max_length + positions).add(totals[f"{name}_sum"], logs)
    by_well.add(totals["well_sum"], mean)
    by_well.add(totals["well_log2_sum"], logs.mean((0, 1)))
    has_pairs = layers[0].pair_norm is not None
    if has_pairs:
        pairs = torch.stack([layer.pair_norm for layer in layers]).double()
        by_well.add(totals["well_pair_sum"], pairs[:, row, positions].mean(0))

    def mean_over_genes(tensors):
        """Return the mean over valid positions, padding being 0, of tensors [cells, ..., L]."""
        summed = torch.stack([tensor.double().sum(-1) for tensor in tensors])
        return summed / lengths.view(-1, *[1] * (summed.ndim - 2))

    of_heads = [torch.stack([layer.rows[n] for layer in layers]).double() for n in ROW_STATISTICS]
    of_heads.append(mean_over_genes([layer.value_norm for layer in layers]))
    of_heads.append(mean_over_genes([layer.received * layer.value_norm for layer in layers]))
    of_heads = torch.stack(of_heads).transpose(2, 3)  # [measures, layers, heads, cells]
    of_heads = of_heads.reshape(len(HEAD_MEASURES), n_layers * n_heads, -1)
    sums.add("head", of_heads.sum(-1), (of_heads**2).sum(-1))
    of_layers = torch.zeros(len(LAYER_MEASURES), n_layers, len(lengths)).to(of_heads)
    of_layers[0] = mean_over_genes([layer.output_norm for layer in layers])
    if has_pairs:
        of_layers[1] = mean_over_genes([layer.pair_norm for layer in layers])
    sums.add("layer", of_layers.sum(-1), (of_layers**2).sum(-1))


def sums_of_model(trunk, n_classes, n_wells, max_length, bins=ONE_BIN):
    """Return the `Sums` of a model over no cells, on its device."""
    config = trunk.config
    shape = (config.num_hidden_layers, config.num_attention_heads, config.vocab_size)
    return Sums(Shape(*shape, n_classes, n_wells, *bins.shape), max_length, trunk.device)


@torch.inference_mode()
def add_attention(
    sums, trunk, subset, *, batch_tokens, pair_norms=False, shard=(1, 1), bins=ONE_BIN
):
    """Add a model's attention over some cells to `Sums`.

    Parameters
    ----------
    sums : Sums
        Where the model computes (`sums_of_model`).
    trunk : trunk of a model (`models.families`)
        In eval mode, on the device to use.
    subset : Subset
    pair_norms : bool
        Whether to compute the norm over heads per pair of genes.
    shard : (int, int)
        Which shard of how many, from 1: a share of the batches. The batches are the same for any
        number of shards, and so is every cell's attention.
    bins : expected.Bins
        Of the size of cells, those of `sums`; without them all are in one.
    """
    device, cells, lengths = trunk.device, subset.cells, subset.sizes.lengths
    codes = [subset.classes, subset.wells, *binned(subset.sizes, bins)]
    codes = np.stack(codes).astype(np.int64)

    def looked_at(batch):
        ids, mask = padded([cells[i] for i in batch], device)
        layers = attention_statistics(trunk, ids, mask, pair_norms=pair_norms)
        return batch, layers, ids, mask

    batches = budget_batches(lengths, batch_tokens) if len(cells) else []
    for batch in with_progress(
        batches[shard[0] - 1 :: shard[1]], f"attention, {subset.name} cells"
    ):
        # nothing is added before all of the batch has gone through
        for part, *found in halving(looked_at, batch):
            of_part, at = moved(codes[:, part], device), places(lengths[part], device)
            add_batch(sums, *found, of_part, at)


def write_sums(sums, path):
    """Write the sums of a shard, {subset: Sums}, as safetensors."""
    arrays = {}
    for subset, part in sums.items():
        named = {"shape": torch.tensor(part.shape), **part.counts, **part.totals}
        arrays.update({f"{subset}/{name}": array.cpu().numpy() for name, array in named.items()})
    write_tensors(save(arrays), path)


def merged_sums(paths):
    """Return {subset: Sums} of all cells from the shards' files, one in memory at a time."""
    merged = {}
    for path in paths:
        with intact(path), safe_open(path, "numpy") as file:
            check_tensors(path)
            for subset in (TEST, VEHICLE):
                shape = Shape(*map(int, file.get_tensor(f"{subset}/shape")))
                max_length = file.get_slice(f"{subset}/rank_n").get_shape()[0]
                part = Sums(shape, max_length)
                for arrays in (part.counts, part.totals):
                    for name in arrays:
                        arrays[name] = torch.from_numpy(file.get_tensor(f"{subset}/{name}"))
                if subset in merged:
                    merged[subset].merge(part)
                else:
                    merged[subset] = part
    return merged
