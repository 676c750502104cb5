"""Put the comparisons of all seeds into one table each."""

import pandas as pd

from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table

with step(snakemake):
    for name in ("cosine", "rank_shift"):
        tables = [read_table(path) for path in snakemake.input[name]]
        write_table(pd.concat(tables, ignore_index=True), snakemake.output[name], name)
