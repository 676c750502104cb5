"""The three text files of a GEO sample: counts, genes and cells."""

import logging

from keygenes.core.errors import input_error
from keygenes.inputs.canonical import (
    add_dose,
    add_wells,
    parse_oligo,
    rename_columns,
    require_columns,
)
from keygenes.inputs.frames import usable_frame
from keygenes.inputs.text_tables import read_annotation, read_table
from keygenes.inputs.triplets import read_triplets

log = logging.getLogger("keygenes")


def read_geo_parts(files, entry):
    """Return counts, obs, gene ids and symbols of the files of a GEO sample.

    Parameters
    ----------
    files : dict
        counts, genes, cells: paths.
    entry : dict
        Registry entry.
    """
    genes = read_annotation(files["genes"])
    cells = read_table(files["cells"])
    require_columns(cells, ["top_oligo"], files["cells"], "table")
    if (cells["top_oligo"].astype(str) == "top_oligo").any():
        raise input_error(
            str(files["cells"]),
            found="the header again among the cells",
            expected="one header",
            remedy="remove the other",
        )
    name = next((column for column in ("Cell", "cell") if column in cells), None)
    obs = cells.set_index(name) if name else cells
    obs.index = obs.index.astype(str)
    obs = rename_columns(
        usable_frame(obs, files["cells"], "the table of cells"),
        {"n.umi": "n_counts", "qval": "qval_demultiplexing", "pval": "pval_demultiplexing"},
    )
    parsed = parse_oligo(obs["top_oligo"])
    for column in ("drug", "dose_token"):
        obs[column] = parsed[column].to_numpy()
    add_wells(obs, parsed["well"])
    add_dose(obs, entry, files["cells"])
    counts = read_triplets(files["counts"], n_genes=len(genes), n_cells=len(cells))
    return counts, obs, genes["id"], genes["symbol"]
