"""What the logit of a cell is made of: attributions of a contrast of logits to genes.

Every function takes a classifier in eval mode and padded cells, and returns an array [n_cells, L]:
one number per position, signed unless it says otherwise. What is explained is the contrast F of
`contrast`, a logit difference and no probability, so that nothing saturates.

To leave a gene out means to write ``<mask>`` in its place: the encoder was pretrained with it, and
length and ranks stay. Where the classifier reads the state of position 0 (pooling 'first'), masking
or deleting the gene there also changes what is read. Occlusion, deletion and integrated gradients
include that gene, since the model does look at its identity; `keygenes.evidence.faithfulness`
never masks it. Special tokens (``<cls>``, ``<eos>``) are never touched.

Sources: Sundararajan et al. 2017 (integrated gradients); Hao et al. 2021 (ATTATTR).
"""

import numpy as np
import torch

from keygenes.attention.stream import attention_statistics
from keygenes.models.bert import attended, without_padding
from keygenes.models.head import cell_logits

# Ranks on either side whose genes a deleted gene is held against.
RANKS_BESIDE = 10


def contrast(logits):
    """Return F, the logit of the last class less the mean of the others: tensor [n_cells].

    Parameters
    ----------
    logits : tensor [n_cells, n_classes]
    """
    return logits[:, -1] - logits[:, :-1].mean(-1)


def contrasts(model, ids, batch_tokens):
    """Return F of cells of one length: float64 array [n_cells].

    Parameters
    ----------
    ids : int64 tensor [n_cells, L]
        Without padding.
    batch_tokens : int
        Tokens that go through the model at once.
    """
    if not len(ids):
        return np.empty(0)
    parts = ids.split(max(1, batch_tokens // ids.shape[1]))
    with torch.no_grad():
        values = [contrast(logits_of_unpadded(model, part)) for part in parts]
    return torch.cat(values).double().cpu().numpy()


def logits_of_unpadded(model, ids, hidden=None, first=0):
    """Return the logits of cells of one length, as `cell_logits` would.

    Where only position 0 is read, the last layer is computed there alone: such passes are nearly
    all of what attributions and faithfulness cost.

    Parameters
    ----------
    ids : int64 tensor [n_cells, L]
    hidden : tensor [n_cells, L, hidden] or None
        Hidden states after `first` layers, where they are known.
    """
    trunk = model.trunk
    *below, last = trunk.layers
    if getattr(model.config, "classifier_pooling", "first") == "mean" or first > len(below):
        return cell_logits(model, ids, torch.ones_like(ids), hidden, first)
    if hidden is None:
        hidden = trunk.embeddings(ids)
    *_, hidden = trunk.states(hidden, None, first, len(below))
    mixed = last.mixed(attended(*last.heads(hidden, read=slice(1))))
    return model.head(last.after(hidden[:, :1], mixed)[:, 0])


def are_genes(ids, mask, specials):
    """Return which positions hold a gene: bool tensor [n_cells, L].

    Parameters
    ----------
    specials : sequence of int
        Tokens that are none.
    """
    return mask.bool() & ~torch.isin(ids, torch.tensor(list(specials), device=ids.device))


def each_cell(ids, mask):
    """Yield (row, tokens [1, length]) of every cell, without its padding."""
    for row, length in enumerate(mask.sum(1).tolist()):
        yield row, ids[row : row + 1, :length]


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


def integrated_gradients(model, ids, mask, *, mask_token, specials, n_steps, batch_tokens):
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
    attributions, errors = np.zeros(ids.shape), np.full(len(ids), np.nan)
    for row, cell in each_cell(ids, mask):
        genes = are_genes(cell, torch.ones_like(cell), specials)
        baseline = torch.where(genes, mask_token, cell)
        parts = integrated_over_embeddings(model, cell, baseline, n_steps, batch_tokens)
        whole, without = contrasts(model, torch.cat([cell, baseline]), batch_tokens)
        attributions[row, : cell.shape[1]] = parts.double().sum(-1).cpu().numpy()
        errors[row] = relative_error(attributions[row].sum() - (whole - without), whole - without)
    return attributions, errors


def integrated_over_embeddings(model, cell, baseline, n_steps, batch_tokens):
    """Return integrated gradients of one cell per dimension of its embeddings: tensor [L, hidden].

    Parameters
    ----------
    cell, baseline : int64 tensors [1, L]
    """
    embeddings = model.trunk.embeddings
    with torch.no_grad():
        start, end = embeddings.word_embeddings(torch.cat([baseline, cell]))
    mean_gradient = torch.zeros_like(end)
    for a, weights in quadrature_parts(n_steps, batch_tokens // cell.shape[1], end):
        with torch.enable_grad():
            words = (start + a[:, None, None] * (end - start)).requires_grad_()
            hidden = embeddings.placed(words)
            logits = logits_of_unpadded(model, cell.expand(len(a), -1), hidden)
            (gradient,) = torch.autograd.grad(contrast(logits).sum(), words)
        mean_gradient += torch.tensordot(weights, gradient, 1)
    return (end - start) * mean_gradient


def relative_error(error, size):
    """Return |error| / |size|; 0 where there is no error, infinite where there is no size."""
    if error == 0:
        return 0.0
    return abs(error) / abs(size) if size else np.inf


def unit_quadrature(n_steps):
    """Return points and weights of the Gauss-Legendre rule on [0, 1]: float64 arrays [n_steps]."""
    points, weights = np.polynomial.legendre.leggauss(n_steps)
    return (points + 1) / 2, weights / 2


def quadrature_parts(n_steps, at_once, like):
    """Yield points and weights of `unit_quadrature`, at most `at_once`, as tensors like another."""
    for start in range(0, n_steps, max(1, at_once)):
        part = slice(start, start + max(1, at_once))
        yield tuple(torch.from_numpy(x[part]).to(like) for x in unit_quadrature(n_steps))


def attattr(model, ids, mask, *, n_steps, batch_tokens):
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
    attributions, errors = np.zeros(ids.shape), np.full(len(ids), np.nan)
    for row, cell in each_cell(ids, mask):
        layers, changes = attattr_layers(model, cell, n_steps=n_steps, batch_tokens=batch_tokens)
        attributions[row, : cell.shape[1]] = layers.sum(0)
        errors[row] = relative_error(np.abs(layers.sum(1) - changes).sum(), np.abs(changes).sum())
    return attributions, errors


def attattr_layers(model, cell, *, n_steps, batch_tokens):
    """Return ATTATTR of one cell per layer.

    Parameters
    ----------
    cell : int64 tensor [1, L]

    Returns
    -------
    attributions : float64 array [layers, L]
    changes : float64 array [layers]
        F less F without the layer's attention.
    """
    trunk, n_layers = model.trunk, len(model.trunk.layers)
    with torch.no_grad():
        states = list(trunk.states(trunk.embeddings(cell), None, 0, n_layers))
    attributions, changes = np.zeros((n_layers, cell.shape[1])), np.zeros(n_layers)
    for index, layer in enumerate(trunk.layers):
        with torch.no_grad():
            query, key, value = layer.heads(states[index])
        with torch.enable_grad():
            value = value.detach().requires_grad_()
            context = attended(query, key, value)
        mean_gradient = torch.zeros_like(context)
        for a, weights in quadrature_parts(n_steps, batch_tokens // cell.shape[1], context):
            with torch.enable_grad():
                scaled = (a[:, None, None, None] * context.detach()).requires_grad_()
                above = contrast_above(model, cell, states[index], scaled, index)
                (gradient,) = torch.autograd.grad(above.sum(), scaled)
            mean_gradient += torch.tensordot(weights, gradient, 1)
        (carried,) = torch.autograd.grad(context, value, mean_gradient)
        attributions[index] = (value.detach() * carried).double().sum((0, 1, 3)).cpu().numpy()
        with torch.no_grad():
            ends = torch.cat([context, torch.zeros_like(context)])
            whole, without = contrast_above(model, cell, states[index], ends, index).double()
        changes[index] = whole - without
    return attributions, changes


def contrast_above(model, cell, hidden, context, index):
    """Return F of one cell from what a layer's attention gives: tensor [n].

    Parameters
    ----------
    cell : int64 tensor [1, L]
    hidden : tensor [1, L, hidden]
        What the layer reads.
    context : tensor [n, heads, L, d]
        In place of its ``A v``.
    index : int
        The layer's, from 0.
    """
    hidden, ids = hidden.expand(len(context), -1, -1), cell.expand(len(context), -1)
    layer = model.trunk.layers[index]
    hidden = layer.after(hidden, layer.mixed(context))
    return contrast(logits_of_unpadded(model, ids, hidden, index + 1))


def occlusion(model, ids, mask, *, mask_token, specials, batch_tokens):
    """Return F less F with the gene masked, one gene at a time; missing where there is no gene.

    Length and ranks stay. Position 0 is masked like any other (see the module).
    """
    effects = np.full(ids.shape, np.nan)
    for row, cell in each_cell(ids, mask):
        (at,) = torch.nonzero(are_genes(cell, torch.ones_like(cell), specials)[0], as_tuple=True)
        variants = cell.repeat(len(at), 1)
        variants[torch.arange(len(at), device=at.device), at] = mask_token
        (whole,) = contrasts(model, cell, batch_tokens)
        effects[row, at.cpu().numpy()] = whole - contrasts(model, variants, batch_tokens)
    return effects


def deletion(model, ids, mask, *, specials, batch_tokens):
    """Return the effect of deleting a gene, less the mean effect of deleting one of like rank.

    As in Geneformer's in-silico deletion, every later gene moves up a rank, and that alone changes
    F. So the effect, F less F without the gene, is held against that of the genes up to
    `RANKS_BESIDE` ranks before and behind: the mean over them is what a randomly drawn one would
    give on average. Where position 0 is read, its deletion makes the next gene the one that is
    read. Missing where there is no gene, or none beside it.
    """
    effects = np.full(ids.shape, np.nan)
    for row, cell in each_cell(ids, mask):
        genes = are_genes(cell, torch.ones_like(cell), specials)[0]
        (at,) = torch.nonzero(genes, as_tuple=True)
        if len(at) < 2:
            continue
        others = torch.arange(cell.shape[1] - 1, device=at.device)[None]
        variants = cell[0, others + (others >= at[:, None])]
        (whole,) = contrasts(model, cell, batch_tokens)
        effect = whole - contrasts(model, variants, batch_tokens)
        effects[row, at.cpu().numpy()] = effect - mean_beside(effect, RANKS_BESIDE)
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
