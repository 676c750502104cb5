"""What is known of every gene whatever a model does, and the scores of each run in its order."""

import numpy as np
import pandas as pd

from keygenes.evidence.well_sums import MIN_CELLS


def lengths_of_genes(tokens, vocabulary):
    """Return the mean length, in tokens, of the cells that express each gene: Series by id."""
    ids = np.concatenate(tokens["input_ids"].to_numpy())
    lengths = np.repeat(tokens["length"].to_numpy(float), tokens["input_ids"].map(len))
    size = int(max(vocabulary["token"].max(), ids.max(initial=0))) + 1
    with np.errstate(invalid="ignore"):
        mean = np.bincount(ids, lengths, size) / np.bincount(ids, minlength=size)
    return pd.Series(mean[vocabulary["token"]], vocabulary["ensembl_id"].astype(str).to_numpy())


def gene_facts(genes, tests, lengths):
    """Return what is known of every gene that enough cells express, whatever a model does.

    Parameters
    ----------
    genes : table 'genes'
    tests : table 'wilcoxon' of the task
    lengths : result of `lengths_of_genes`

    Returns
    -------
    DataFrame, indexed by ensembl_id (sorted)
        symbol, detection (test cells), mean_rank, mean_expression (counts per 10,000 over the
        task's cells; 0 where the gene is not tested), length (tokens, of the cells that express
        it). Genes that fewer than `MIN_CELLS` cells express are left out.
    """
    pooled = genes[genes["seed"].isna()]
    detection, ranks = (
        pooled[pooled["track"] == name].set_index("ensembl_id")
        for name in ("detection", "mean_rank")
    )
    facts = pd.DataFrame({"symbol": detection["symbol"], "detection": detection["score"]})
    facts["mean_rank"] = -ranks["score"]
    rest = tests[tests["reference"] == "rest"].drop_duplicates("ensembl_id")
    n, n_reference = rest["n_cells"].to_numpy(), rest["n_reference"].to_numpy()
    total = rest["mean"].to_numpy() * n + rest["mean_reference"].to_numpy() * n_reference
    expression = pd.Series(total / (n + n_reference), rest["ensembl_id"].to_numpy())
    facts["mean_expression"] = expression.reindex(facts.index).fillna(0.0)
    facts["length"] = lengths.reindex(facts.index)
    return facts[facts["detection"] >= MIN_CELLS].sort_index()


def scores_by_run(genes, universe):
    """Return {(track, regime, seed): float array [n_universe]}, NaN where a track has no score.

    regime and seed are None where missing.
    """
    codes = pd.Index(universe).get_indexer(genes["ensembl_id"])
    found = {}
    keys = ["track", "regime", "seed"]
    score = genes["score"].to_numpy(float)
    groups = genes[keys].astype(object).where(genes[keys].notna(), None)
    for key, rows in groups.groupby(keys, dropna=False, sort=False).indices.items():
        track, regime, seed = (None if pd.isna(part) else part for part in key)
        values = np.full(len(universe), np.nan)
        at = codes[rows]
        values[at[at >= 0]] = score[rows][at >= 0]
        found[track, regime, None if seed is None else int(seed)] = values
    return found
