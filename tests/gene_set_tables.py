"""Tables 'gene_set', made as the pipeline makes them."""

from pathlib import Path

from keygenes.core.tables import write_table
from keygenes.evidence.gene_sets import find_listed, read_gene_set
from keygenes.inputs.gene_names import KnownGenes


def matched_set(path, ensembl_ids, symbols=None):
    """Match the set in a TSV with some genes; return the path of its table beside it."""
    table = find_listed(read_gene_set(path, {"format": "tsv"}), KnownGenes(ensembl_ids, symbols))
    out = Path(path).with_suffix(".gene_set.parquet")
    write_table(table, out, "gene_set")
    return out
