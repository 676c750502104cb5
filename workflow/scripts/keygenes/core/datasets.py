"""What an entry of the dataset registry says of its file."""

from typing import Any

BY_COLUMNS = ("h5ad", "zarr", "loom", "10x_h5", "10x_mtx")  # layouts that `columns` describes
BY_INDEX = ("h5ad", "zarr")  # of these, those whose ids are the index where no column is named


def has_symbols_alone(entry: dict[str, Any]) -> bool:
    """Return whether a dataset names its genes by symbol and has no Ensembl ids.

    So says ``ensembl_id: null``, and ``symbol: index`` where no column of ids is named.
    """
    columns, layout = entry.get("columns") or {}, entry.get("layout")
    if "ensembl_id" in columns:
        return layout in BY_COLUMNS and columns["ensembl_id"] is None
    return layout in BY_INDEX and columns.get("symbol") == "index"
