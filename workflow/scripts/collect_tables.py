"""Put the tables of all runs into one each."""

import pandas as pd

from keygenes.core.schemas import TABLES
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table

with step(snakemake):
    for name, path in snakemake.output.items():
        tables = [read_table(part) for part in snakemake.input[name]]
        write_table(pd.concat(tables, ignore_index=True)[TABLES[name].names], path, name)
