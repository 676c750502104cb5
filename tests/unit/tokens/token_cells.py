"""Random cells, small vocabularies, and their token tables."""

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from keygenes.core.tables import write_table
from keygenes.tokens.encode import Encoding
from keygenes.tokens.store import merge_tokens, write_tokens

GENES = [f"ENSG{i:011d}" for i in range(6)]


def vocabulary_of(genes=GENES, medians=None, specials=("<pad>", "<mask>")):
    ids = [*specials, *genes]
    medians = np.ones(len(genes)) if medians is None else np.asarray(medians, dtype=float)
    return pd.DataFrame(
        {
            "token": np.arange(len(ids)),
            "ensembl_id": ids,
            "symbol": ids,
            "median": np.concatenate([[np.nan] * len(specials), medians]),
        }
    )


V2 = vocabulary_of(specials=("<pad>", "<mask>", "<cls>", "<eos>"))


def random_cells(n_cells=2500, n_genes=300, seed=0):
    rng = np.random.default_rng(seed)
    counts = sparse.csr_matrix(rng.poisson(0.4, (n_cells, n_genes)).astype(np.float32))
    genes = np.array([f"ENSG{i:011d}" for i in range(n_genes)])
    vocabulary = vocabulary_of(list(genes[: n_genes - 20]), rng.gamma(2, 2, n_genes - 20))
    return counts, genes, vocabulary


def write_cells(path, counts, genes):
    adata = anndata.AnnData(sparse.csr_matrix(counts, dtype=np.float32))
    adata.obs_names = [f"cell{i}" for i in range(adata.n_obs)]
    adata.var_names = list(genes)
    adata.obs["n_counts"] = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    adata.write_h5ad(path)


def tokens_written(folder, counts, genes, vocabulary, **settings):
    write_cells(folder / "cells.h5ad", counts, genes)
    write_table(vocabulary, folder / "vocabulary.parquet", "vocabulary")
    outputs = folder / "tokens.parquet", folder / "report.parquet"
    inputs, shard = (
        (folder / "cells.h5ad", folder / "vocabulary.parquet"),
        settings.pop("shard", None),
    )
    encoding = Encoding(**{"max_length": 90, "version": "v1", **settings})
    write_tokens(*inputs, *outputs, encoding, shard=shard)
    return outputs


def in_shards(folder, n_shards, cells, name="merged", **settings):
    """Encode cells in shards, put them together and return the paths of both tables."""
    parts = []
    for shard in range(n_shards):
        (folder / f"shard{shard}").mkdir()
        parts.append(
            tokens_written(folder / f"shard{shard}", *cells, shard=[shard, n_shards], **settings)
        )
    merged = folder / f"{name}.parquet", folder / f"{name}_report.parquet"
    options = {"max_length": 90, "where": "cells.h5ad", **settings}
    for name in ("version", "draws"):
        options.pop(name, None)
    merge_tokens(*zip(*parts, strict=True), *merged, **options)
    return merged
