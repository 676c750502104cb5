"""Names of genes, where the dataset has none."""

import numpy as np


def gene_names(ensembl_ids, symbols, vocabulary):
    """Return a symbol per gene: the dataset's own, else the vocabulary's, else the id.

    Parameters
    ----------
    ensembl_ids, symbols : arrays of str [n_genes]
        A symbol equal to its id is none.
    vocabulary : table 'vocabulary'
    """
    ids, symbols = np.asarray(ensembl_ids, str), np.asarray(symbols, str)
    known = dict(zip(vocabulary["ensembl_id"], vocabulary["symbol"], strict=True))
    return np.array(
        [known.get(i, i) if s == i else s for i, s in zip(ids, symbols, strict=True)], dtype=object
    )
