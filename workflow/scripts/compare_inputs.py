"""Hold the regimes that read a variant of the tokens against their counterparts."""

import pandas as pd

from keygenes.cells.units import resampling_units
from keygenes.core.matrices import read_matrix
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.input_length import gene_group, input_length

with step(snakemake):
    files, params = snakemake.input, snakemake.params
    labels = read_table(files.labels).set_index("cell")[snakemake.wildcards.task]
    obs, splits = read_matrix(files.counts).obs, read_table(files.splits)
    genes = read_table(files.vocabulary, columns=["ensembl_id", "symbol"])
    tables = {"predictions": {}, "by_well": {}}
    for name, of_regime in tables.items():
        for (regime, _), path in zip(params.runs, files[name], strict=True):
            of_regime.setdefault(regime, []).append(read_table(path))
    table = input_length(
        **tables,
        rank_shift=read_table(files.rank_shift),
        counterparts=params.counterparts,
        encodings=params.encodings,
        pairs=[tuple(pair) for both in params.pairs for pair in both if pair],
        cells=resampling_units(obs, labels, splits).assign(
            well=obs["well"].astype(str) if "well" in obs else "all"
        ),
        groups=pd.Series(gene_group(genes["symbol"]), genes["ensembl_id"]),
        n_top=params.n_top,
        n_bootstrap=params.n_bootstrap,
    )
    write_table(table, snakemake.output.table, "input_length")
