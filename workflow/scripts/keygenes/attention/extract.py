"""Attention per rank, per gene and per well, and norms: reduced while the model runs."""

import logging

import numpy as np
import pandas as pd
import torch

from keygenes.attention.layers import (
    attention_layers,
    attention_received,
    output_norms,
    transformed_norms,
)
from keygenes.attention.subsets import TEST, VEHICLE
from keygenes.core.tables import read_table, write_table
from keygenes.models.batches import budget_batches, padded, with_progress
from keygenes.models.cells import task_cells
from keygenes.models.device import set_up_torch
from keygenes.models.encoder import load_trunk

log = logging.getLogger("keygenes")


def moments(total, squares, n):
    """Return mean and sample standard deviation from sums; NaN where n is too small."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / n
        variance = (squares - n * mean**2) / (n - 1)
    return mean, np.sqrt(np.where(n > 1, np.maximum(variance, 0), np.nan))


class Sums:
    """Running sums of one subset of cells; nothing grows with the number of cells.

    Attributes
    ----------
    rank_sum, rank_squares : float64 [layers, heads, max_length]
    gene_sum, gene_squares : float64 [layers + 1, heads, classes, tokens]
        Attention received; entry ``[layers, 0]`` is the mean over all layers and heads.
    well_sum : float64 [wells, tokens]
        That mean, by well.
    """

    def __init__(self, layers, heads, n_tokens, max_length, n_classes, n_wells):
        self.cells = 0
        self.rank_n = np.zeros(max_length)
        self.rank_sum = np.zeros((layers, heads, max_length))
        self.rank_squares = np.zeros((layers, heads, max_length))
        self.gene_n = np.zeros((n_classes, n_tokens))
        self.gene_rank_sum = np.zeros((n_classes, n_tokens))
        self.gene_rank_squares = np.zeros((n_classes, n_tokens))
        self.gene_sum = np.zeros((layers, heads, n_classes, n_tokens))
        self.gene_squares = np.zeros((layers, heads, n_classes, n_tokens))
        self.mean_sum = np.zeros((n_classes, n_tokens))
        self.mean_squares = np.zeros((n_classes, n_tokens))
        self.well_n = np.zeros((n_wells, n_tokens))
        self.well_sum = np.zeros((n_wells, n_tokens))
        # value, weighted [layers, heads]; output [layers, 1]
        self.norm_sum = {m: np.zeros((layers, heads)) for m in ("value", "weighted", "output")}
        self.norm_squares = {m: np.zeros((layers, heads)) for m in self.norm_sum}

    def add_norm(self, measure, layer, per_cell):
        """Add the norms of some cells [n_cells, heads] to a layer."""
        heads = per_cell.shape[1]
        self.norm_sum[measure][layer, :heads] += per_cell.sum(0)
        self.norm_squares[measure][layer, :heads] += (per_cell**2).sum(0)

    def add_ranks_of_genes(self, genes, ranks, classes, wells):
        """Count where genes stand: flat arrays over the valid positions of some cells."""
        k, v = self.gene_n.shape
        flat = classes * v + genes

        def scattered(weights=None):
            return np.bincount(flat, weights, k * v).reshape(k, v)

        self.gene_n += scattered()
        self.gene_rank_sum += scattered(ranks)
        self.gene_rank_squares += scattered(ranks.astype(float) ** 2)
        w = self.well_n.shape[0]
        self.well_n += np.bincount(wells * v + genes, minlength=w * v).reshape(w, v)

    def add_attention(self, layer, received, genes, positions, classes):
        """Add attention received by the valid positions: float64 [heads, n_positions]."""
        k, v = self.gene_n.shape
        flat = classes * v + genes
        n = self.rank_n.shape[0]
        for head, c in enumerate(received):
            self.rank_sum[layer, head] += np.bincount(positions, c, n)
            self.rank_squares[layer, head] += np.bincount(positions, c**2, n)
            self.gene_sum[layer, head] += np.bincount(flat, c, k * v).reshape(k, v)
            self.gene_squares[layer, head] += np.bincount(flat, c**2, k * v).reshape(k, v)

    def add_mean(self, mean, genes, classes, wells):
        """Add attention received averaged over layers and heads: float64 [n_positions]."""
        k, v = self.gene_n.shape
        flat = classes * v + genes
        self.mean_sum += np.bincount(flat, mean, k * v).reshape(k, v)
        self.mean_squares += np.bincount(flat, mean**2, k * v).reshape(k, v)
        w = self.well_n.shape[0]
        self.well_sum += np.bincount(wells * v + genes, mean, w * v).reshape(w, v)


@torch.inference_mode()
def attention_sums(trunk, cells, classes, wells, *, n_classes, n_wells, max_length, batch_tokens):
    """Return the `Sums` of a model's attention over some cells.

    Parameters
    ----------
    trunk : transformers.BertModel
        In eval mode, on the device to use.
    cells : list of int arrays
        Tokens of each cell.
    classes, wells : int arrays [n_cells]
        Codes; the well of a cell without one is 0.
    """
    config = trunk.config
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    sums = Sums(layers, heads, config.vocab_size, max_length, n_classes, n_wells)
    lengths = np.array([len(cell) for cell in cells])
    batches = budget_batches(lengths, batch_tokens) if len(cells) else []
    for batch in with_progress(batches, "attention"):
        ids, mask = padded([cells[i] for i in batch], trunk.device)
        valid = mask.bool().cpu().numpy()
        row, positions = np.nonzero(valid)
        genes = ids.cpu().numpy()[row, positions]
        cell_classes, cell_wells = classes[batch][row], wells[batch][row]
        sums.cells += len(batch)
        sums.rank_n += np.bincount(positions, minlength=max_length)
        sums.add_ranks_of_genes(genes, positions + 1, cell_classes, cell_wells)
        n_valid = lengths[batch].astype(float)[:, None]
        mean = np.zeros(len(positions))
        for layer, attention in enumerate(attention_layers(trunk, ids, mask)):
            dense = trunk.encoder.layer[layer].attention.output.dense.weight
            received = attention_received(attention.weights)
            norms = transformed_norms(attention.values, dense) * mask[:, None]
            weighted = (received * norms).double().sum(-1).cpu().numpy()
            output = (output_norms(attention.context, dense) * mask).double().sum(-1).cpu().numpy()
            sums.add_norm("value", layer, norms.double().sum(-1).cpu().numpy() / n_valid)
            sums.add_norm("weighted", layer, weighted / n_valid)
            sums.add_norm("output", layer, output[:, None] / n_valid)
            flat = received.double().cpu().numpy().transpose(1, 0, 2)[:, row, positions]
            sums.add_attention(layer, flat, genes, positions, cell_classes)
            mean += flat.mean(0) / layers
        sums.add_mean(mean, genes, cell_classes, cell_wells)
    return sums


def rank_table(sums, subset, first_rank):
    """Return table 'by_rank': a row per layer, head and rank that some cell reaches."""
    layers, heads, _ = sums.rank_sum.shape
    reached = np.flatnonzero(sums.rank_n)
    layer, head, rank = np.meshgrid(np.arange(layers), np.arange(heads), reached, indexing="ij")
    layer, head, rank = layer.ravel(), head.ravel(), rank.ravel()
    n = sums.rank_n[rank]
    total = sums.rank_sum[layer, head, rank]
    mean, sd = moments(total, sums.rank_squares[layer, head, rank], n)
    return pd.DataFrame(
        {
            "subset": subset,
            "layer": layer + 1,
            "head": head + 1,
            "rank": rank + first_rank,
            "n_cells": n.astype(int),
            "sum": total,
            "mean": mean,
            "sd": sd,
        }
    )


def gene_table(sums, subset, ensembl_ids, class_names, rank_offset):
    """Return table 'by_gene': a row per layer, head, class and gene that some cell expresses.

    Rows without layer and head hold the mean over all layers and heads (its sd is between
    cells).
    """
    layers, heads = sums.gene_sum.shape[:2]
    classes, genes = np.nonzero(sums.gene_n)
    n = sums.gene_n[classes, genes]
    rank_mean, rank_sd = moments(
        sums.gene_rank_sum[classes, genes], sums.gene_rank_squares[classes, genes], n
    )
    ids = pd.Categorical.from_codes(genes, ensembl_ids)
    names = pd.Categorical.from_codes(classes, class_names)
    places = [(layer, head) for layer in range(layers) for head in range(heads)]
    frames = []
    for layer, head in [(None, None), *places]:
        if layer is None:
            total, squares = sums.mean_sum[classes, genes], sums.mean_squares[classes, genes]
        else:
            total = sums.gene_sum[layer, head][classes, genes]
            squares = sums.gene_squares[layer, head][classes, genes]
        mean, sd = moments(total, squares, n)
        frames.append(
            pd.DataFrame(
                {
                    "subset": subset,
                    "layer": pd.array([layer if layer is None else layer + 1] * len(n), "Int64"),
                    "head": pd.array([head if head is None else head + 1] * len(n), "Int64"),
                    "ensembl_id": ids,
                    "class": names,
                    "n_cells": n.astype(int),
                    "sum": total,
                    "mean": mean,
                    "sd": sd,
                    "rank_mean": rank_mean - rank_offset,
                    "rank_sd": rank_sd,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def well_table(sums, subset, ensembl_ids, well_names):
    """Return table 'by_well': attention received per gene and well, mean of layers and heads."""
    wells, genes = np.nonzero(sums.well_n)
    return pd.DataFrame(
        {
            "subset": subset,
            "well": pd.Categorical.from_codes(wells, well_names),
            "ensembl_id": pd.Categorical.from_codes(genes, ensembl_ids),
            "n_cells": sums.well_n[wells, genes].astype(int),
            "sum": sums.well_sum[wells, genes],
        }
    )


def norm_table(sums, subset):
    """Return table 'norms': a row per layer, head and measure (no head for 'output').

    Every measure is the mean over cells of a per-gene mean: 'value' of ||f(x)||, 'weighted' of
    the column sums of ||alpha f(x)||, 'output' of ||sum alpha f(x)|| over queries.
    """
    rows = []
    for measure, total in sums.norm_sum.items():
        mean, sd = moments(total, sums.norm_squares[measure], np.full(total.shape, sums.cells))
        for layer in range(total.shape[0]):
            for head in [None] if measure == "output" else range(total.shape[1]):
                at = (layer, head or 0)
                rows.append(
                    {
                        "subset": subset,
                        "layer": layer + 1,
                        "head": None if head is None else head + 1,
                        "measure": measure,
                        "n_cells": sums.cells,
                        "mean": mean[at],
                        "sd": sd[at],
                    }
                )
    return pd.DataFrame(rows).astype({"head": "Int64"})


def drawn(indices, at_most, seed):
    """Return at most `at_most` of the indices, a fixed random draw, in their order."""
    if at_most is None or len(indices) <= at_most:
        return indices
    rng = np.random.default_rng([seed, 13])
    return np.sort(rng.permutation(indices)[:at_most])


def extract_attention(
    *,
    tokens,
    labels,
    splits,
    vocabulary,
    counts_obs,
    weights,
    config,
    out_by_rank,
    out_by_gene,
    out_by_well,
    out_norms,
    task,
    seed,
    vehicle,
    max_length,
    batch_tokens,
    max_cells,
    threads,
    device,
):
    """Write attention statistics of one model on test cells and on vehicle training cells.

    Parameters
    ----------
    counts_obs : DataFrame, indexed by cell
        Obs of the study's cells; its `well` is used where there is one.
    vehicle : bool array, in the order of `counts_obs`
        Untreated cells; those in the training split give the null of later corrections.
    """
    device = set_up_torch(threads=threads, device=device)
    trunk = load_trunk(weights, config).to(device)
    genes = read_table(vocabulary)["ensembl_id"].to_numpy()
    # a leading <cls> takes position 0 without being a gene: ranks of genes start at 1 all the same
    leading = int("<cls>" in set(genes))
    frame, cells, class_names = task_cells(tokens, labels, splits, task, seed)
    known = "well" in counts_obs and counts_obs["well"].notna().all()
    of_cell = counts_obs["well"].astype(str) if known else pd.Series("all", counts_obs.index)
    wells = pd.Categorical(of_cell.loc[frame["cell"]])
    is_vehicle = pd.Series(vehicle, counts_obs.index).loc[frame["cell"]].to_numpy()
    split = frame["split"].to_numpy()
    subsets = {
        TEST: drawn(np.flatnonzero(split == "test"), max_cells, seed),
        VEHICLE: drawn(np.flatnonzero((split == "train") & is_vehicle), max_cells, seed),
    }
    tables = {"by_rank": [], "by_gene": [], "by_well": [], "norms": []}
    for subset, chosen in subsets.items():
        sums = attention_sums(
            trunk,
            [cells[i] for i in chosen],
            frame["label"].to_numpy()[chosen],
            wells.codes[chosen].astype(np.int64),
            n_classes=len(class_names),
            n_wells=len(wells.categories),
            max_length=max_length,
            batch_tokens=batch_tokens,
        )
        log.info("%s: attention of %d cells", subset, sums.cells)
        tables["by_rank"].append(rank_table(sums, subset, 1 - leading))
        tables["by_gene"].append(gene_table(sums, subset, genes, class_names, leading))
        tables["by_well"].append(well_table(sums, subset, genes, wells.categories))
        tables["norms"].append(norm_table(sums, subset))
    outputs = (out_by_rank, out_by_gene, out_by_well, out_norms)
    for (name, frames), path in zip(tables.items(), outputs, strict=True):
        write_table(pd.concat(frames, ignore_index=True), path, name)
