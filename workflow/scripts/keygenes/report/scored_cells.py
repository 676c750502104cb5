"""The study's cells with what the study says of them, for scanpy: counts, classes, gene scores."""

import logging

import numpy as np
import pandas as pd

from keygenes.core.files import read_json
from keygenes.core.matrices import read_matrix, write_matrix
from keygenes.core.tables import read_table
from keygenes.evidence.gene_table import sets_of, tracks_of

log = logging.getLogger("keygenes")


def out_of_fold(tables):
    """Return what models say of cells that they were not trained on.

    Parameters
    ----------
    tables : list of table 'predictions'
        One per fold, of its first seed, in the config's order. Of a cell that several folds test
        the first counts.

    Returns
    -------
    DataFrame, indexed by cell
        predicted (categorical), probability (of that class).
    """
    tested = pd.concat([table[table["split"] == "test"] for table in tables], ignore_index=True)
    tested = tested.drop_duplicates("cell").set_index("cell")
    return pd.DataFrame(
        {
            "predicted": tested["predicted"],
            "probability": [float(np.max(p)) for p in tested["probabilities"]],
        },
        index=tested.index,
    )


def gene_columns(table):
    """Return the columns of a gene table that differ between tasks; of a track all but its n."""
    shared = {"ensembl_id", "symbol", *(f"in_{name}" for name in sets_of(table))}
    shared |= {f"{name}_n" for name in tracks_of(table)}
    return [name for name in table.columns if name not in shared]


def with_scores(adata, labels, umap, predictions, gene_tables):
    """Return the cells with classes, predictions, UMAP and gene scores; counts as they are.

    Parameters
    ----------
    adata : AnnData [n_cells, n_genes]
        Changed in place: columns of the same names are replaced.
    labels, umap : tables 'labels' and 'umap'
    predictions : dict {task: result of `out_of_fold`}
    gene_tables : dict {task: result of `evidence.gene_table`}

    Returns
    -------
    AnnData
        obs: '{task}.class', '{task}.predicted', '{task}.probability'; obsm: X_umap; var:
        'in_{gene set}' and '{task}.{column of the gene table}'. No name of a task has a dot.
    """
    labels, umap = labels.set_index("cell"), umap.set_index("cell")
    for task, table in gene_tables.items():
        adata.obs[f"{task}.class"] = labels[task].reindex(adata.obs_names)
        if task in predictions:
            for name, column in predictions[task].items():
                adata.obs[f"{task}.{name}"] = column.reindex(adata.obs_names)
        table = table.set_index("ensembl_id", drop=False)
        if others := len(table.index.difference(adata.var_names)):
            log.warning("%s: %d genes go by another id in the counts, left out", task, others)
        table = table.reindex(adata.var_names)
        sets = {f"in_{name}": table[f"in_{name}"] == True for name in sets_of(table)}  # noqa: E712
        own = {f"{task}.{name}": table[name] for name in gene_columns(table)}
        new = pd.DataFrame({**sets, **own}, index=adata.var_names)
        kept = adata.var.drop(columns=[name for name in new if name in adata.var])
        adata.var = pd.concat([kept, new], axis=1)
    adata.obsm["X_umap"] = umap.reindex(adata.obs_names)[["umap1", "umap2"]].to_numpy()
    return adata


def provenance_in_uns(record, regime):
    """Return what a study rests on, in types that every reader of h5ad knows.

    Parameters
    ----------
    record : dict
        From `provenance`.
    regime : str or None
        The regime or reader whose predictions the cells have.
    """
    return {
        "version": record["keygenes"]["version"],
        "commit": record["keygenes"]["commit"] or "",
        "study": record["study"],
        "config_sha256": record["config_sha256"],
        "folds": np.array(record["folds"], np.int64),
        "seeds": np.array(record["seeds"]["seeds"], np.int64),
        "regime": regime or "",
        "simulated": bool(record["simulated"]),
        "simulated_note": record["simulated"] if isinstance(record["simulated"], str) else "",
    }


def write_scored_cells(
    *, counts, labels, umap, predictions, gene_tables, provenance, out_cells, regime
):
    """Write the study's cells with what the study says of them.

    Parameters
    ----------
    counts, labels, umap, provenance : path-like
    predictions : dict {task: list of paths, one per fold}
        Of `regime`; empty where it predicts nothing.
    gene_tables : dict {task: path}
    """
    adata = with_scores(
        read_matrix(counts),
        read_table(labels),
        read_table(umap),
        {task: out_of_fold([read_table(p) for p in paths]) for task, paths in predictions.items()},
        {task: read_table(path) for task, path in gene_tables.items()},
    )
    adata.uns["keygenes"] = provenance_in_uns(read_json(provenance), regime)
    write_matrix(adata, out_cells)
    log.info("%d cells, %d genes with %d columns each", *adata.shape, adata.var.shape[1])
