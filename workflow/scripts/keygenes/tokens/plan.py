"""What a vocabulary makes of the genes of a matrix: their tokens, medians and special tokens.

Upstream loses genes in silence, among them every id with a version. The default mode looks a gene
up by all its spellings; upstream mode finds what upstream finds, and no more. Each case is in
`docs/geneformer-compatibility.md`.
"""

import re

import numpy as np
import pandas as pd
from scipy import sparse

from keygenes.core.errors import input_error
from keygenes.tokens.vocabulary import is_special

VERSION = re.compile(r"^(ENS[A-Z]*\d+)\.\d+$")
FRAMES = {"v1": ((), ()), "v2": (("<cls>",), ("<eos>",))}  # special tokens before and after


def vocabulary_ids(ensembl_ids, known, mapping=None):
    """Return the id under which each measured gene stands in the vocabulary.

    Parameters
    ----------
    ensembl_ids : sequence of str [n_genes]
        With or without version suffix.
    known : set of str
        Ids of the vocabulary.
    mapping : dict, optional
        V2's dictionary from an upper-case id or alias to the id in the vocabulary.

    Returns
    -------
    list of (str or None) [n_genes]
        None where the vocabulary does not have the gene.
    """
    found = []
    for given in ensembl_ids:
        plain = VERSION.sub(r"\1", str(given))
        if mapping is not None:
            # Clones are listed under names like AC012345.1, so the full id is looked up first.
            upper = str(given).upper()
            plain = mapping.get(upper) or mapping.get(VERSION.sub(r"\1", upper)) or plain
        found.append(plain if plain in known else None)
    return found


def upstream_ids(ensembl_ids, known, mapping=None):
    """Return the id under which Geneformer's tokenizer finds each gene, and whether it sums.

    Parameters
    ----------
    ensembl_ids : sequence of str [n_genes]
        As the user gave them: nothing is stripped.
    known, mapping
        See `vocabulary_ids`. Without a mapping an id counts as it is written.

    Returns
    -------
    list of (str or None) [n_genes]
    bool
        Whether the columns of one gene are summed. Upstream does so only if its mapping sends
        two different ids, as written, to one gene; an id that stands there twice is none of these.
    """
    if mapping is None:
        return [given if given in known else None for given in ensembl_ids], False
    mapping = {key: value for key, value in mapping.items() if value in known}
    listed = {given for given in ensembl_ids if given in mapping}
    summed = len(listed) != len({mapping[given] for given in listed})
    return [mapping.get(given.upper()) for given in ensembl_ids], summed


def plan_genes(ensembl_ids, vocabulary, mapping=None, *, upstream=False):
    """Return how the columns of a matrix turn into tokens.

    Parameters
    ----------
    ensembl_ids : sequence of str [n_genes]
    vocabulary : pandas.DataFrame
        Columns token, ensembl_id, median.
    mapping : dict, optional
        See `vocabulary_ids`.
    upstream : bool
        Look genes up by `upstream_ids`: one gene may then have several columns and tokens.

    Returns
    -------
    projection : scipy.sparse.csr_matrix of float64 [n_genes, n_kept]
        Ones; sums the columns of one gene. Kept genes stand in the order of their first column.
    tokens : int32 array [n_kept]
    medians : float64 array [n_kept]
    """
    genes = vocabulary[~is_special(vocabulary["ensembl_id"])]
    row_of = dict(zip(genes["ensembl_id"], range(len(genes)), strict=True))
    if upstream:
        found, summed = upstream_ids(ensembl_ids, row_of.keys(), mapping)
    else:
        found, summed = vocabulary_ids(ensembl_ids, row_of.keys(), mapping), True
    columns = np.array([i for i, gene in enumerate(found) if gene is not None], dtype=np.int64)
    chosen = np.array([row_of[found[i]] for i in columns], dtype=np.int64)
    codes = np.arange(len(chosen))
    if summed:
        codes, chosen = pd.factorize(chosen)
    shape = (len(found), len(chosen))
    projection = sparse.csr_matrix((np.ones(len(codes)), (columns, codes)), shape=shape)
    tokens = genes["token"].to_numpy(np.int32)[chosen]
    return projection, tokens, genes["median"].to_numpy(np.float64)[chosen]


def frame_tokens(vocabulary, version, max_length):
    """Return the special tokens before and after a cell's genes, and the room between them.

    Parameters
    ----------
    vocabulary : pandas.DataFrame
    version : {"v1", "v2"}
        v1 has none, v2 puts ``<cls>`` before and ``<eos>`` behind.
    max_length : int
        Tokens per cell, special tokens included.

    Returns
    -------
    before, after : int32 arrays
    room : int
        Genes that fit.

    Raises
    ------
    InputError
        If the version is unknown, a special token is missing or no gene fits.
    """
    if version not in FRAMES:
        raise input_error(
            "key 'version' of the vocabulary",
            found=repr(version),
            expected=" or ".join(FRAMES),
            remedy="correct the entry in the model registry",
        )
    token_of = dict(zip(vocabulary["ensembl_id"], vocabulary["token"], strict=True))
    missing = [text for side in FRAMES[version] for text in side if text not in token_of]
    if missing:
        raise input_error(
            "vocabulary",
            found=f"no token {missing[0]}",
            expected=f"the special tokens of version {version}",
            remedy="correct 'version' in the model registry, or take the matching dictionaries",
        )
    before, after = (np.array([token_of[t] for t in s], dtype=np.int32) for s in FRAMES[version])
    room = max_length - len(before) - len(after)
    if room < 1:
        raise input_error(
            "config key 'tokens.max_length'",
            found=max_length,
            expected=f"at least {max_length - room + 1}",
            remedy="raise it, at most to the positions of the model",
        )
    return before, after, room
