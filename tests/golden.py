"""Are our tokens Geneformer's? Compare a folder of cells with the tokens that upstream gave them.

python tests/golden.py FOLDER --version v1|v2 --dictionaries DIR

FOLDER holds cells.h5ad (raw counts, var 'ensembl_id', obs 'n_counts' and perhaps 'filter_pass') and
upstream_tokens.parquet (cell, input_ids); DIR, or a folder below it, Geneformer's dictionaries.
Prints one line of JSON. Exit status: 0 if all cells agree, 1 if not, 2 for input that does not fit.
"""

import argparse
import json
import logging
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from keygenes.cells.columns import passing_cells
from keygenes.core.errors import InputError, input_error
from keygenes.core.files import checksum
from keygenes.inputs.canonical import require_columns
from keygenes.inputs.dataset import in_memory  # noqa: E402
from keygenes.inputs.h5ad import read_h5ad_parts
from keygenes.tokens.encode import Encoding, encode_cells, rank_values
from keygenes.tokens.plan import frame_tokens, plan_genes
from keygenes.tokens.vocabulary import geneformer_vocabulary, read_mapping

CORPUS = {"v1": "30M", "v2": "104M"}
MAX_LENGTH = {"v1": 2048, "v2": 4096}


def find_dictionary(folder, stem, version, needed=True):
    """Return the path of one of a version's dictionaries in `folder` or below it."""
    pattern = f"{stem}*{CORPUS[version]}*.pkl"
    found = sorted(p for p in Path(folder).rglob(pattern) if p.is_file())
    if len({checksum(path) for path in found}) > 1:
        raise input_error(
            folder,
            found=f"different files {pattern}: {found[0]} and {found[1]}",
            expected="one",
            remedy="name the folder of one revision",
        )
    if not found and needed:
        raise input_error(
            folder,
            found=f"no file {pattern} in it or below it",
            expected=f"the dictionaries of Geneformer {version.upper()}",
            remedy="name the folder that has them",
        )
    return found[0] if found else None


def load_dictionaries(folder, version):
    """Return the vocabulary of a version and, for v2, the mapping of gene ids (else None)."""
    vocabulary = geneformer_vocabulary(
        find_dictionary(folder, "token_dictionary", version),
        find_dictionary(folder, "gene_median_dictionary", version),
        find_dictionary(folder, "gene_name_id_dict", version, needed=False),
    )
    if version == "v1":
        return vocabulary, None
    return vocabulary, read_mapping(find_dictionary(folder, "ensembl_mapping_dict", version))


def read_cells(path):
    """Return counts (CSR, or an array where stored so), n_counts, ids and names of the cells."""
    counts, obs, var = read_h5ad_parts(path)
    counts = in_memory(counts)
    require_columns(var, ["ensembl_id"], path, "var")
    if "n_counts" not in obs:
        raise input_error(
            path,
            found="no obs column 'n_counts'",
            expected="the total counts of each cell over all measured genes, as upstream needs",
            remedy="add it",
        )
    chosen = passing_cells(obs)
    counts, n_counts = counts[chosen], obs["n_counts"].to_numpy()[chosen]
    if not np.issubdtype(n_counts.dtype, np.number):
        raise input_error(
            f"{path}, obs column 'n_counts'",
            found=f"values of type {n_counts.dtype}",
            expected="numbers",
            remedy="correct the column",
        )
    with h5py.File(path) as handle:
        if isinstance(handle["X"], h5py.Dataset):
            counts = counts.toarray()
    names = obs.index.astype(str)[chosen]
    _require_unique(names, path)
    return counts, n_counts, [str(given) for given in var["ensembl_id"]], names.tolist()


def read_upstream(path):
    """Return {cell: int64 array of tokens} of upstream's table."""
    if not path.is_file():
        raise input_error(
            path, found="no such file", expected="upstream's tokens", remedy="check the folder"
        )
    try:
        table = pd.read_parquet(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise input_error(
            path,
            found=f"a file that is no Parquet table ({str(error).splitlines()[0]})",
            expected="upstream's tokens",
            remedy="write it again",
        ) from None
    require_columns(table, ["cell", "input_ids"], path, "table")
    _require_unique(table["cell"], path)
    ids = [np.asarray(tokens) for tokens in table["input_ids"]]
    if not all(i.ndim == 1 and (not len(i) or np.issubdtype(i.dtype, np.integer)) for i in ids):
        raise input_error(
            f"{path}, column 'input_ids'",
            found="other values than lists of whole numbers",
            expected="the tokens of each cell",
            remedy="write it again",
        )
    return dict(zip(table["cell"].astype(str), ids, strict=True))


def _require_unique(names, path):
    repeated = pd.Index(names)[pd.Index(names).duplicated()]
    if len(repeated):
        raise input_error(
            path,
            found=f"the cell {repeated[0]!r} more than once",
            expected="a name of its own for each cell",
            remedy="make the names unique",
        )


def agreement(ours, theirs, scores, n_before=0, n_after=0):
    """Return how far two encodings of a cell agree.

    Parameters
    ----------
    ours, theirs : int arrays
    scores : float array [n_genes]
        Rank values of all genes of the cell, in any order: places with equal ones are tied.
    n_before, n_after : int
        Special tokens in front of and behind the genes.

    Returns
    -------
    identical, identical_after_grouping_ties, same_set : bool
        The second implies the third, in which a token that stands there twice counts twice.
    """
    ours, theirs = np.asarray(ours, dtype=np.int64), np.asarray(theirs, dtype=np.int64)
    same_set = np.array_equal(np.sort(ours), np.sort(theirs))
    if not same_set:
        return False, False, False
    n_genes = max(len(ours) - n_before - n_after, 0)
    falling = np.sort(-np.asarray(scores))[:n_genes]
    tie = np.cumsum(np.concatenate([[1], falling[1:] != falling[:-1]])[:n_genes])
    place = np.concatenate([np.arange(-n_before, 0), tie, len(ours) + np.arange(n_after)])
    grouped = np.array_equal(ours[np.lexsort((ours, place))], theirs[np.lexsort((theirs, place))])
    return np.array_equal(ours, theirs), grouped, same_set


def compare_folder(folder, version, dictionaries, *, upstream=True):
    """Encode the cells of a folder and compare them with upstream's tokens.

    A cell that upstream left out agrees if it has no gene of the vocabulary here; a cell that only
    upstream has never agrees.

    Parameters
    ----------
    folder, dictionaries : path-like
    version : {"v1", "v2"}
    upstream : bool
        In upstream mode, or in the default mode of the pipeline.

    Returns
    -------
    dict
        version, cells, identical, identical_after_grouping_ties, same_sets (numbers of cells) and
        mismatched (the first ten names).
    """
    folder = Path(folder)
    vocabulary, mapping = load_dictionaries(dictionaries, version)
    counts, n_counts, genes, names = read_cells(folder / "cells.h5ad")
    theirs = read_upstream(folder / "upstream_tokens.parquet")
    ours, report = encode_cells(
        *(counts, n_counts, genes, vocabulary),
        Encoding(
            max_length=MAX_LENGTH[version], version=version, mapping=mapping, upstream=upstream
        ),
    )
    plan = plan_genes(genes, vocabulary, mapping, upstream=upstream)
    values, _ = rank_values(counts, n_counts, plan)
    before, after, _ = frame_tokens(vocabulary, version, MAX_LENGTH[version])
    found = dict.fromkeys(theirs, (False, False, False))
    for i, name in enumerate(names):
        if name in theirs:
            scores = values.data[values.indptr[i] : values.indptr[i + 1]]
            frame = (len(before), len(after)) if len(ours[i]) else (0, 0)
            found[name] = agreement(ours[i], theirs[name], scores, *frame)
        else:
            found[name] = (bool(report["n_in_vocabulary"].iloc[i] == 0),) * 3
    columns = ["identical", "identical_after_grouping_ties", "same_sets"]
    table = pd.DataFrame(list(found.values()), index=list(found), columns=columns, dtype=bool)
    agree = table["identical_after_grouping_ties"] & table["same_sets"]
    return {
        "version": version,
        "cells": len(table),
        **{column: int(table[column].sum()) for column in columns},
        "mismatched": sorted(table.index[~agree])[:10],
    }


def main(arguments=None):
    """Run the comparison as described at the top; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--version", choices=sorted(CORPUS), required=True)
    parser.add_argument("--dictionaries", required=True)
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    logging.disable()
    try:
        result = compare_folder(given.folder, given.version, given.dictionaries)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(result))
    return 1 if result["mismatched"] else 0


if __name__ == "__main__":
    sys.exit(main())
