"""Random cells and small vocabularies."""

import numpy as np
import pandas as pd
from scipy import sparse

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
