"""Hold the regimes that read a variant of the tokens against their counterparts."""

import pandas as pd

from keygenes.cells.units import resampling_units
from keygenes.core.matrices import read_annotation
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.input_length import Compared, ModelTables, gene_group, input_length

with step(snakemake):
    files, params = snakemake.input, snakemake.params
    labels = read_table(files.labels).set_index("cell")[snakemake.wildcards.task]
    obs, splits = read_annotation(files.counts).obs, read_table(files.splits)
    genes = read_table(files.vocabulary, columns=["ensembl_id", "symbol"])
    tables = {
        name: {
            tuple(run): read_table(path) for run, path in zip(params.runs, files[name], strict=True)
        }
        for name in ("predictions", "by_well")
    }
    rank_shift = next(map(read_table, files.rank_shift), None)
    pairs = [tuple(pair) for both in params.pairs for pair in both if pair]
    wells = obs["well"].astype(str) if "well" in obs else "all"
    table = input_length(
        ModelTables(**tables, rank_shift=rank_shift, max_cells=params.max_cells),
        Compared(params.counterparts, params.encodings, pairs),
        resampling_units(obs, labels, splits).assign(well=wells),
        pd.Series(gene_group(genes["symbol"]), genes["ensembl_id"]),
        params.n_top,
    )
    write_table(table, snakemake.output.table, "input_length")
