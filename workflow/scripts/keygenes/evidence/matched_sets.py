"""Gene sets held against the genes of a study, before anything is scored."""

import logging

import numpy as np

from keygenes.core.errors import input_error
from keygenes.core.shown import shortened
from keygenes.evidence.gene_sets import find_listed, is_partial, read_gene_set, set_counts
from keygenes.inputs.gene_names import KnownGenes, kind_of_names

log = logging.getLogger("keygenes")


def match_gene_set(path, entry, name, genes, vocabulary, names=None):
    """Return table 'gene_set': which genes of the study a set lists.

    Parameters
    ----------
    path : path-like
    entry : dict
        Of the gene-set registry.
    name : str
        Of the set.
    genes : DataFrame
        Var of the dataset.
    vocabulary : table 'vocabulary'
        Its symbols count where the dataset has none.
    names : table 'gene_names', optional
        For what genes are called elsewhere.

    Raises
    ------
    InputError
        If none of its genes is in the data.
    """
    listed = read_gene_set(path, entry)
    ids = genes.index.to_numpy(str)
    table = find_listed(listed, KnownGenes(ids, _symbols(genes, vocabulary), names))
    counts = set_counts(table)
    if not counts["matched"]:
        own = genes["symbol"].astype(str)
        own = own[own.to_numpy() != ids]
        symbols = f"{kind_of_names(own)} as symbols" if len(own) else "no symbols"
        raise input_error(
            f"gene set '{name}' ({path})",
            found=f"{kind_of_names(table['name'])}, none of {counts['listed']} in the dataset",
            expected=f"genes of the dataset, which has {kind_of_names(ids)} and {symbols}",
            remedy="list the genes by the dataset's ids or symbols (of another species: those of "
            "their orthologues), or take the set out of 'evidence.gene_sets'",
        )
    say = log.warning if is_partial(counts) else log.info
    lost = shortened(", ".join(counts["lost"]), 200)
    say(
        "%s: {matched} of {listed} genes are in the dataset, {other_name} of them written "
        "otherwise; {ambiguous} ambiguous, {not_in_data} that it lacks, {unknown} unknown%s".format(
            **counts
        ),
        *(name, f" ({lost})" if lost else ""),
    )
    return table


def _symbols(genes, vocabulary):
    """Return a symbol per gene of a matrix: where it has only an id, that of the vocabulary."""
    own = genes["symbol"].astype(str)
    others = vocabulary.set_index("ensembl_id")["symbol"].astype(str).reindex(genes.index)
    nameless = (own.to_numpy() == genes.index.to_numpy()) & others.notna().to_numpy()
    return np.where(nameless, others, own)
