"""Vocabularies: which gene is which token, and the median that scales its counts.

A vocabulary is a table with one row per token: token, ensembl_id, symbol, median. Special tokens
stand in `ensembl_id` by their text (``<pad>``, ``<mask>``, ``<cls>``, ``<eos>``), without a median.
"""

import numpy as np
import pandas as pd
from scipy import sparse

from keygenes.core.errors import input_error
from keygenes.core.shown import gene_name
from keygenes.inputs.gene_names import ALIAS, COLUMNS, SYMBOL, dates_of
from keygenes.tokens.pickled import read_pickled_dict

TARGET_SUM = 10_000  # medians are of counts per 10,000


def is_special(ensembl_ids):
    """Return which entries of a vocabulary are special tokens (bool array)."""
    return np.char.startswith(np.asarray(ensembl_ids, dtype=str), "<")


def _checked_tokens(path):
    tokens = {str(gene): token for gene, token in read_pickled_dict(path).items()}
    whole = all(isinstance(token, int | np.integer) for token in tokens.values())
    problem = None
    if not whole:
        problem = "values that are not whole numbers"
    elif sorted(tokens.values()) != list(range(len(tokens))):
        problem = "token numbers that repeat or leave gaps"
    elif not {"<pad>", "<mask>"} <= set(tokens):
        problem = "no <pad> or no <mask>"
    elif tokens["<pad>"] != 0:
        problem = f"<pad> as token {tokens['<pad>']}, not 0"
    if problem:
        raise input_error(
            path,
            found=problem,
            expected="a dictionary from Ensembl id to token 0, 1, 2, ... with <pad> (0) and <mask>",
            remedy="check that 'tokens' in the model registry is the token dictionary",
        )
    return tokens


def geneformer_vocabulary(tokens_path, medians_path, names_path=None, mapping_path=None):
    """Return the vocabulary that Geneformer's dictionaries define.

    Parameters
    ----------
    tokens_path, medians_path, names_path : path-like
        Pickled dictionaries: Ensembl id to token, Ensembl id to median of its non-zero counts per
        10,000, gene name to Ensembl id. Without names every gene is called by its id.
    mapping_path : path-like, optional
        V2's dictionary from any gene id to the id in the vocabulary; only checked here (every
        gene of the vocabulary must map to itself), `encode` uses it.

    Returns
    -------
    pandas.DataFrame
        Columns token (int64), ensembl_id, symbol, median (float64, counts per 10,000; NaN for
        special tokens), sorted by token. A gene with several names gets the first in sorted
        order, one without a name its id.

    Raises
    ------
    InputError
        If a file cannot be read safely or the dictionaries do not belong together.
    """
    tokens = _checked_tokens(tokens_path)
    ids = sorted(tokens, key=tokens.get)
    special = is_special(ids)
    medians = read_pickled_dict(medians_path)
    known = {i: m for i, m in medians.items() if isinstance(m, int | float | np.number)}
    values = np.array(
        [np.nan if s else known.get(i, np.nan) for i, s in zip(ids, special, strict=True)], float
    )
    bad = np.flatnonzero(~special & ~(np.isfinite(values) & (values > 0)))
    if len(bad):
        raise input_error(
            medians_path,
            found=f"no positive median for {len(bad)} of the {sum(~special)} genes, "
            f"the first being {ids[bad[0]]}",
            expected=f"a median for every gene of {tokens_path}",
            remedy="take both dictionaries from the same Geneformer version",
        )
    if mapping_path is not None:
        mapping = read_mapping(mapping_path)
        strays = [i for i, s in zip(ids, special, strict=True) if not s and mapping.get(i, i) != i]
        if strays:
            raise input_error(
                mapping_path,
                found=f"{len(strays)} genes of the vocabulary that are mapped to another id, "
                f"the first being {strays[0]}",
                expected=f"a mapping onto the genes of {tokens_path}",
                remedy="take both dictionaries from the same Geneformer version",
            )
    symbols = {}
    names = {} if names_path is None else read_pickled_dict(names_path)
    for name, gene in sorted(names.items()):
        symbols.setdefault(gene, name)
    return pd.DataFrame(
        {
            "token": np.arange(len(ids), dtype=np.int64),
            "ensembl_id": ids,
            "symbol": [gene_name(symbols.get(i, i)) for i in ids],
            "median": values,
        }
    )


def read_mapping(path):
    """Return V2's dictionary from any known gene id or alias to the id in the vocabulary."""
    return {str(key): str(value) for key, value in read_pickled_dict(path).items()}


def gene_names(names_paths, mapping_paths):
    """Return what dictionaries call which gene: table 'gene_names'.

    Parameters
    ----------
    names_paths : sequence of path-like
        Gene name to Ensembl id: of one that two dictionaries know, the first has the word.
    mapping_paths : sequence of path-like
        V2's: any known id, symbol or alias, in upper case, to Ensembl id.

    Returns
    -------
    DataFrame
        name (unique within a kind), ensembl_id, kind ('symbol' or 'alias'; left out are aliases of
        the gene that has them as its symbol, and dates, which are damaged names here as anywhere).
    """
    symbols, aliases = {}, {}
    for path in names_paths:
        for name, gene in sorted(read_mapping(path).items()):
            symbols.setdefault(name, gene)
    own = {(name.upper(), gene) for name, gene in symbols.items()}
    for path in mapping_paths:
        for name, gene in sorted(read_mapping(path).items()):
            if name != gene and (name.upper(), gene) not in own and not dates_of(name):
                aliases.setdefault(name, gene)
    rows = [(*pair, SYMBOL) for pair in symbols.items()]
    rows += [(*pair, ALIAS) for pair in aliases.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def dataset_vocabulary(adata):
    """Return a vocabulary made from cells: the genes seen in them and their own medians.

    Parameters
    ----------
    adata : anndata.AnnData
        Canonical matrix: raw counts, obs `n_counts`, var index Ensembl id, var `symbol`.

    Returns
    -------
    pandas.DataFrame
        As from `geneformer_vocabulary`: ``<pad>`` 0, ``<mask>`` 1, then the genes by sorted id.
        The median of a gene is over the cells in which it has a count, of counts per 10,000 of
        all the cell's counts. Genes never seen are left out.

    Raises
    ------
    InputError
        If no gene has a count.
    """
    n_counts = adata.obs["n_counts"].to_numpy(np.float64)
    counts = sparse.csr_matrix(adata.X, dtype=np.float64)
    counts.eliminate_zeros()
    per_row = np.diff(counts.indptr)
    if not (n_counts[per_row > 0] > 0).all():
        raise input_error(
            "obs column 'n_counts'",
            found="cells with counts but no positive total",
            expected="the total counts of each cell over all measured genes",
            remedy="correct the column, or leave it out of the dataset's 'columns'",
        )
    with np.errstate(divide="ignore"):  # a cell without counts has nothing to scale
        counts.data *= np.repeat(TARGET_SUM / n_counts, per_row)
    columns = counts.tocsc()
    seen = np.flatnonzero(np.diff(columns.indptr))
    if not len(seen):
        raise input_error(
            "vocabulary 'dataset'",
            found="cells without a single count",
            expected="raw counts to take the genes and medians from",
            remedy="check the dataset and the limits under 'select'",
        )
    ids = adata.var_names.to_numpy(dtype=str)
    seen = seen[np.argsort(ids[seen])]
    bounds = columns.indptr
    medians = [np.median(columns.data[bounds[j] : bounds[j + 1]]) for j in seen]
    specials = ["<pad>", "<mask>"]
    return pd.DataFrame(
        {
            "token": np.arange(len(seen) + len(specials), dtype=np.int64),
            "ensembl_id": specials + list(ids[seen]),
            "symbol": specials + list(adata.var["symbol"].to_numpy(dtype=str)[seen]),
            "median": np.concatenate([[np.nan] * len(specials), medians]),
        }
    )
