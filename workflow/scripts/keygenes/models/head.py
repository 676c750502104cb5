"""From hidden states to logits: which states a classifier reads."""

from keygenes.core.errors import input_error

POOLINGS = ("first", "mean", "cls")


def set_pooling(config, pooling, vocabulary):
    """Let a config say which hidden states its classifier reads.

    Parameters
    ----------
    config : config of an encoder
        Gains `classifier_pooling` and `pooling_leaves_out`, which go into its config.json.
    pooling : {'first', 'mean', 'cls', None}
        The state of position 0 (upstream's; in V1 the top-ranked gene), the mean over the genes
        of the cell, or the state of ``<cls>``. None: 'cls' where the vocabulary has it, else
        'first'.
    vocabulary : DataFrame
        Table 'vocabulary'.

    Raises
    ------
    InputError
        If 'cls' is asked for and the vocabulary has none.
    """
    frame = vocabulary.loc[vocabulary["ensembl_id"].isin(["<cls>", "<eos>"])]
    has_cls = "<cls>" in set(frame["ensembl_id"])
    if pooling is not None and pooling not in POOLINGS:
        raise input_error(
            "key 'classifier_pooling' of a model's config.json",
            found=repr(pooling),
            expected=f"one of {', '.join(POOLINGS)}",
            remedy="correct it",
        )
    if pooling == "cls" and not has_cls:
        raise input_error(
            "config key 'finetune.pooling'",
            found="'cls', but the vocabulary has no <cls> token",
            expected="'first' or 'mean' with this vocabulary",
            remedy="set it to null: the model's own",
        )
    config.classifier_pooling = pooling or ("cls" if has_cls else "first")
    config.pooling_leaves_out = sorted(int(token) for token in frame["token"])


def pooled_states(hidden, ids, mask, config):
    """Return what the pooler of a classifier reads: one hidden state per cell.

    Parameters
    ----------
    hidden : tensor [n_cells, length, hidden]
        Of the last layer.
    ids, mask : int64 tensors [n_cells, length]
    config : config of an encoder
        See `set_pooling`; a config that does not say means position 0.

    Returns
    -------
    tensor [n_cells, hidden]
    """
    if getattr(config, "classifier_pooling", "first") != "mean":
        return hidden[:, 0]
    genes = mask.bool()
    for token in config.pooling_leaves_out:  # <cls> and <eos> are none
        genes = genes & (ids != token)
    weights = genes.to(hidden.dtype)
    return (hidden * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)


def cell_logits(model, ids, mask, hidden=None, first=0):
    """Return the logits of a classifier for padded cells [n_cells, length], as pooled.

    Parameters
    ----------
    hidden : tensor [n_cells, length, hidden] or None
        Hidden states after `first` layers, where they are known; None: computed from the ids.
    """
    if hidden is None:
        hidden, first = model.trunk.embeddings(ids), 0
    *_, hidden = model.trunk.states(hidden, mask, first, len(model.trunk.layers))
    return model.head(pooled_states(hidden, ids, mask, model.config))
