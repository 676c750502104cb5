"""What an entry of the dataset registry says of its file."""


def has_symbols_alone(entry):
    """Return whether a dataset names its genes by symbol and has no Ensembl ids.

    So says ``ensembl_id: null``, and ``symbol: index`` where no column of ids is named.
    """
    columns = entry.get("columns") or {}
    no_ids = "index" if columns.get("symbol") != "index" else None
    return entry.get("layout") == "h5ad" and columns.get("ensembl_id", no_ids) is None
