"""The numbers of a study that its methods mention, counted from its tables."""


def study_counts(*, selection, splits, tokens, vocabulary, metrics, cosine, genes, pseudobulk):
    """Return what the tables of a study count.

    Parameters
    ----------
    selection, splits, vocabulary, pseudobulk : tables of these names
    tokens : table 'tokens/report'
    metrics, cosine, genes : dict {task: table}
        Of tasks of cells.

    Returns
    -------
    dict
        n_cells, n_genes (of the study); hash_columns (of the hash filter, that the cells have);
        filter_pass (whether the cells have this column); unit ('well', 'replicate' or 'cell': what
        was held out whole); n_units {task: int} (units tested); has_wells (whether wells could be
        compared); n_vocabulary (genes); n_cut (cells longer than a model
        reads), median_length (tokens); n_layers, n_heads; tracks (of models, that have scores).
    """
    notes = dict(zip(selection["step"].astype(str), selection["note"].astype(str), strict=True))
    kept = selection.iloc[-1]
    lengths = tokens.loc[tokens["length"] > 0, "length"]
    tested = {}
    for task, table in metrics.items():
        rows = table[table["seed"].isna() & (table["metric"].astype(str) == "accuracy")]
        tested[task] = int(rows.loc[rows["design"].astype(str) == "grouped", "n_units"].max())
    places = next(iter(cosine.values()))
    scored = {
        name for table in genes.values() for name in table.loc[table["regime"].notna(), "track"]
    }
    named = [part.split() for part in notes.get("hash filter", "").split(", ")]
    return {
        "n_cells": int(kept["n_cells"]),
        "n_genes": int(kept["n_genes"]),
        "hash_columns": [words[0] for words in named if len(words) == 3 and words[1] in "<>"],
        "filter_pass": "filter_pass" in notes,
        "unit": str(splits["unit"].iloc[0]),
        "n_units": tested,
        "has_wells": len(pseudobulk) > 0,
        "n_vocabulary": int((~vocabulary["ensembl_id"].astype(str).str.startswith("<")).sum()),
        "n_cut": int((tokens["n_truncated"] > 0).sum()),
        "median_length": float(lengths.median()),
        "n_layers": int(places["layer"].max()),
        "n_heads": int(places["head"].max()),
        "tracks": sorted(map(str, scored)),
    }
