"""What the logit of a cell is made of: attributions of a contrast of logits to genes.

Every function takes a classifier in eval mode and cells, padded right with a mask, or as they are
with None in its place, and returns an array [n_cells, L]: one number per position, signed unless it
says otherwise. What is explained is the contrast F of
`contrast`, a logit difference and no probability, so that nothing saturates.

To leave a gene out means to write ``<mask>`` in its place: the encoder was pretrained with it, and
length and ranks stay. Where the classifier reads the state of position 0 (pooling 'first'), masking
or deleting the gene there also changes what is read. Occlusion, deletion and integrated gradients
include that gene, since the model does look at its identity; `keygenes.evidence.faithfulness`
never masks it. Special tokens (``<cls>``, ``<eos>``) are never touched.

Sources: Sundararajan et al. 2017 (integrated gradients); Hao et al. 2021 (ATTATTR).
"""

import itertools

import numpy as np
import torch

from keygenes.attention.stream import attention_statistics
from keygenes.models.head import cell_logits
from keygenes.models.softmax import attended, without_padding

# Ranks on either side whose genes a deleted gene is held against.
RANKS_BESIDE = 10


def contrast(logits):
    """Return F, the logit of the last class less the mean of the others: tensor [n_cells].

    Parameters
    ----------
    logits : tensor [n_cells, n_classes]
    """
    return logits[:, -1] - logits[:, :-1].mean(-1)


def contrasts(model, ids, batch_tokens, mask=None):
    """Return F of cells: float64 array [n_cells].

    Parameters
    ----------
    ids : int64 tensor [n_cells, L]
    batch_tokens : int
        Tokens that go through the model at once.
    mask : int64 tensor [n_cells, L] or None
        1 on genes, 0 on padding; None: there is none.
    """
    if not len(ids):
        return np.empty(0)
    at_once = max(1, batch_tokens // ids.shape[1])
    masks = itertools.repeat(None) if mask is None else mask.split(at_once)
    with torch.no_grad():
        values = [
            contrast(read_logits(model, part, of_part))
            for part, of_part in zip(ids.split(at_once), masks, strict=False)
        ]
    return torch.cat(values).double().cpu().numpy()


def read_logits(model, ids, mask=None, hidden=None, first=0):
    """Return the logits of cells, as `cell_logits` would.

    Where only position 0 is read, the last layer is computed there alone: such passes are nearly
    all of what attributions and faithfulness cost.

    Parameters
    ----------
    ids : int64 tensor [n_cells, L]
    mask : int64 tensor [n_cells, L] or None
        None: there is no padding.
    hidden : tensor [n_cells, L, hidden] or None
        Hidden states after `first` layers, where they are known.
    """
    trunk = model.trunk
    *below, last = trunk.layers
    if getattr(model.config, "classifier_pooling", "first") == "mean" or first > len(below):
        known = torch.ones_like(ids) if mask is None else mask
        return cell_logits(model, ids, known, hidden, first)
    if hidden is None:
        hidden = trunk.embeddings(ids)
    *_, hidden = trunk.states(hidden, mask, first, len(below))
    heads = last.heads(hidden, read=slice(1))
    mixed = last.mixed(attended(*heads, without_padding(mask)))
    return model.head(last.after(hidden[:, :1], mixed)[:, 0])


def are_genes(ids, mask, specials):
    """Return which positions hold a gene: bool tensor [n_cells, L].

    Parameters
    ----------
    specials : sequence of int
        Tokens that are none.
    """
    genes = ~torch.isin(ids, torch.tensor(list(specials), device=ids.device))
    return genes if mask is None else genes & mask.bool()


def repeated(mask, n):
    """Return the masks of cells, once for each of `n` passes of all of them; None stays None."""
    return None if mask is None else mask.repeat(n, 1)


def attention_received(model, ids, mask):
    """Return attention received per position, its mean over layers and heads; not signed."""
    with torch.no_grad():
        layers = attention_statistics(model.trunk, ids, mask)
        received = torch.stack([layer.received for layer in layers]).double()
    return received.mean((0, 2)).cpu().numpy()


def attention_gradient(model, ids, mask):
    """Return attention times its gradient, summed over queries, heads and layers, in one pass.

    ``sum_i A_ij dF/dA_ij = <v_j, (A^T G)_j>`` with ``G = dF/d(A v)``, and ``A^T G`` is ``dF/dv``:
    what the backward pass of attention makes anyway, in O(L) memory.
    """
    padding, values = without_padding(mask), []
    with torch.enable_grad():
        hidden = model.trunk.embeddings(ids)
        for layer in model.trunk.layers:
            query, key, value = layer.heads(hidden)
            values.append(value if value.requires_grad else value.requires_grad_())
            hidden = layer.after(hidden, layer.mixed(attended(query, key, value, padding)))
        logits = cell_logits(model, ids, mask, hidden, len(values))
        gradients = torch.autograd.grad(contrast(logits).sum(), values)
    products = [
        (v.detach() * g).double().sum((1, 3)) for v, g in zip(values, gradients, strict=True)
    ]
    return (sum(products) * mask).cpu().numpy()


def integrated_gradients(model, ids, mask, *, mask_token, specials, n_steps, batch_tokens, **_):
    """Return integrated gradients of the word embeddings, and how far they are from complete.

    ``(e - b) * integral of dF/de(b + a (e - b))`` for a from 0 to 1, with e the embeddings of the
    genes and b that of ``<mask>`` in place of every gene; positions and length stay.

    Parameters
    ----------
    n_steps : int
        Points of the Gauss-Legendre rule.

    Returns
    -------
    attributions : float64 array [n_cells, L]
        Summed over the dimensions of the embedding.
    errors : float64 array [n_cells]
        ``|sum(attributions) - (F(x) - F(baseline))| / |F(x) - F(baseline)|``.
    """
    baselines = torch.where(are_genes(ids, mask, specials), mask_token, ids)
    parts = integrated_over_embeddings(model, ids, mask, baselines, n_steps, batch_tokens)
    attributions = parts.double().sum(-1).cpu().numpy()
    both = torch.cat([ids, baselines])
    whole, without = contrasts(model, both, batch_tokens, repeated(mask, 2)).reshape(2, -1)
    error = attributions.sum(1) - (whole - without)
    return attributions, relative_error(error, whole - without)


def integrated_over_embeddings(model, cells, mask, baselines, n_steps, batch_tokens):
    """Return integrated gradients per dimension of the embeddings: tensor [n_cells, L, hidden].

    Parameters
    ----------
    cells, baselines : int64 tensors [n_cells, L]
    mask : int64 tensor [n_cells, L] or None
    """
    embeddings = model.trunk.embeddings
    with torch.no_grad():
        start, end = embeddings.word_embeddings(torch.stack([baselines, cells]))
    mean_gradient = torch.zeros_like(end)
    for a, weights in quadrature_parts(n_steps, batch_tokens // cells.numel(), end):
        with torch.enable_grad():
            words = start + a[:, None, None, None] * (end - start)
            words = words.flatten(0, 1).requires_grad_()
            hidden = embeddings.placed(words)
            ids = cells.repeat(len(a), 1)
            logits = read_logits(model, ids, repeated(mask, len(a)), hidden)
            (gradient,) = torch.autograd.grad(contrast(logits).sum(), words)
        mean_gradient += torch.tensordot(weights, gradient.unflatten(0, (len(a), -1)), 1)
    return (end - start) * mean_gradient


def relative_error(error, size):
    """Return |error| / |size|; 0 where there is no error, infinite where there is no size."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.equal(error, 0), 0.0, np.abs(error) / np.abs(size))


def unit_quadrature(n_steps):
    """Return points and weights of the Gauss-Legendre rule on [0, 1]: float64 arrays [n_steps]."""
    points, weights = np.polynomial.legendre.leggauss(n_steps)
    return (points + 1) / 2, weights / 2


def quadrature_parts(n_steps, at_once, like):
    """Yield points and weights of `unit_quadrature`, at most `at_once`, as tensors like another."""
    for start in range(0, n_steps, max(1, at_once)):
        part = slice(start, start + max(1, at_once))
        yield tuple(torch.from_numpy(x[part]).to(like) for x in unit_quadrature(n_steps))


def attattr(model, ids, mask, *, n_steps, batch_tokens, **_):
    """Return ATTATTR per position: its column sums over queries, summed over heads and layers.

    ``Attr = A * integral of dF(aA)/dA`` for a from 0 to 1; the attention of one layer, all heads
    together, is scaled while the others stay as they are. The layer's context is then ``a (A v)``,
    so the integral needs no attention but that of the cell itself: gradients with respect to the
    scaled context, averaged over a, go through one backward pass of attention
    (`attention_gradient`).

    Parameters
    ----------
    n_steps : int
        Points of the Gauss-Legendre rule.

    Returns
    -------
    attributions : float64 array [n_cells, L]
    errors : float64 array [n_cells]
        A layer's attributions add up to F less F without the layer's attention; here the sum of
        the layers' absolute errors over the sum of these absolute changes.
    """
    layers, changes = attattr_layers(model, ids, mask, n_steps=n_steps, batch_tokens=batch_tokens)
    missing = np.abs(layers.sum(2) - changes).sum(1)
    return layers.sum(1), relative_error(missing, np.abs(changes).sum(1))


def attattr_layers(model, cells, mask, *, n_steps, batch_tokens):
    """Return ATTATTR of cells per layer.

    Parameters
    ----------
    cells : int64 tensor [n_cells, L]
    mask : int64 tensor [n_cells, L] or None

    Returns
    -------
    attributions : float64 array [n_cells, layers, L]
    changes : float64 array [n_cells, layers]
        F less F without the layer's attention.
    """
    trunk, n_layers = model.trunk, len(model.trunk.layers)
    with torch.no_grad():
        states = list(trunk.states(trunk.embeddings(cells), mask, 0, n_layers))
    attributions = np.zeros((len(cells), n_layers, cells.shape[1]))
    changes = np.zeros((len(cells), n_layers))
    for index, layer in enumerate(trunk.layers):
        above = {"model": model, "cells": cells, "mask": mask, "hidden": states[index]}
        with torch.no_grad():
            query, key, value = layer.heads(states[index])
        with torch.enable_grad():
            value = value.detach().requires_grad_()
            context = attended(query, key, value, without_padding(mask))
        mean_gradient = torch.zeros_like(context)
        for a, weights in quadrature_parts(n_steps, batch_tokens // cells.numel(), context):
            with torch.enable_grad():
                scaled = a[:, None, None, None, None] * context.detach()
                scaled.requires_grad_()
                values = contrast_above(**above, contexts=scaled, index=index)
                (gradient,) = torch.autograd.grad(values.sum(), scaled)
            mean_gradient += torch.tensordot(weights, gradient, 1)
        (carried,) = torch.autograd.grad(context, value, mean_gradient)
        moved = (value.detach() * carried).double().sum((1, 3))
        attributions[:, index] = moved.cpu().numpy()
        with torch.no_grad():
            ends = torch.stack([context, torch.zeros_like(context)])
            whole, without = contrast_above(**above, contexts=ends, index=index).double()
        changes[:, index] = (whole - without).cpu().numpy()
    return attributions, changes


def contrast_above(model, cells, mask, hidden, contexts, index):
    """Return F of cells from what a layer's attention gives: tensor [n, n_cells].

    Parameters
    ----------
    cells : int64 tensor [n_cells, L]
    mask : int64 tensor [n_cells, L] or None
    hidden : tensor [n_cells, L, hidden]
        What the layer reads.
    contexts : tensor [n, n_cells, heads, L, d]
        In place of its ``A v``.
    index : int
        The layer's, from 0.
    """
    n, layer = len(contexts), model.trunk.layers[index]
    hidden = layer.after(hidden.repeat(n, 1, 1), layer.mixed(contexts.flatten(0, 1)))
    logits = read_logits(model, cells.repeat(n, 1), repeated(mask, n), hidden, index + 1)
    return contrast(logits).unflatten(0, (n, -1))


def occlusion(model, ids, mask, *, mask_token, specials, batch_tokens, **_):
    """Return F less F with the gene masked, one gene at a time; missing where there is no gene.

    Length and ranks stay. Position 0 is masked like any other (see the module).
    """
    genes = are_genes(ids, mask, specials)
    row, at = torch.nonzero(genes, as_tuple=True)
    variants = ids[row]
    variants[torch.arange(len(at), device=at.device), at] = mask_token
    masks = None if mask is None else mask[row]
    return effects_of(model, ids, mask, genes, variants, masks, batch_tokens)


def effects_of(model, ids, mask, genes, variants, masks, batch_tokens):
    """Return F less F of a variant for each gene [n_cells, L], missing where there is none.

    Parameters
    ----------
    genes : bool tensor [n_cells, L]
    variants : int64 tensor [n_genes, L]
        In the order of the genes.
    masks : int64 tensor [n_genes, L] or None
        1 where a variant has a token.
    """
    effects, genes = np.full(ids.shape, np.nan), genes.cpu().numpy()
    whole = np.repeat(contrasts(model, ids, batch_tokens, mask), genes.sum(1))
    effects[genes] = whole - contrasts(model, variants, batch_tokens, masks)
    return effects


def deletion(model, ids, mask, *, specials, batch_tokens, **_):
    """Return the effect of deleting a gene, less the mean effect of deleting one of like rank.

    As in Geneformer's in-silico deletion, every later gene moves up a rank, and that alone changes
    F. So the effect, F less F without the gene, is held against that of the genes up to
    `RANKS_BESIDE` ranks before and behind: the mean over them is what a randomly drawn one would
    give on average. Where position 0 is read, its deletion makes the next gene the one that is
    read. Missing where there is no gene, or none beside it.
    """
    genes = are_genes(ids, mask, specials)
    genes &= genes.sum(1, keepdim=True) > 1
    row, at = torch.nonzero(genes, as_tuple=True)
    places = torch.arange(ids.shape[1] - 1, device=ids.device)[None]
    variants = ids[row].gather(1, places + (places >= at[:, None]))
    masks = None if mask is None else (places < mask.sum(1)[row, None] - 1).to(mask)
    effects = effects_of(model, ids, mask, genes, variants, masks, batch_tokens)
    for of_cell, has_gene in zip(effects, genes.cpu().numpy(), strict=True):
        if has_gene.any():
            of_cell[has_gene] -= mean_beside(of_cell[has_gene], RANKS_BESIDE)
    return effects


def mean_beside(values, width):
    """Return the mean of the values up to `width` places before and behind each, without itself.

    Parameters
    ----------
    values : float64 array [n], n > 1
    """
    places = np.arange(len(values))
    start, stop = np.maximum(places - width, 0), np.minimum(places + width + 1, len(values))
    total = np.concatenate([[0.0], np.cumsum(values)])
    return (total[stop] - total[start] - values) / (stop - start - 1)
