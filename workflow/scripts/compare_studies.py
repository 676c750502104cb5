"""Two finished studies held against each other: tables, a figure per task, a page."""

import pandas as pd

from keygenes.core.step import step
from keygenes.core.studies import check_recorded
from keygenes.core.tables import read_table, write_table, write_tsv
from keygenes.evidence.replication import not_in_both, primary_beside, replication
from keygenes.report.figures_replication import replication_figure
from keygenes.report.plates import save_plate
from keygenes.report.replication_page import (
    page_content,
    shown_regime,
    simulated_words,
    write_replication_page,
)

PRIMARY = "evidence/primary.parquet"

with step(snakemake) as log:
    params, to = snakemake.params.about, snakemake.output
    for study, paths in zip(params.studies, params.paths, strict=True):
        for name, path in paths.items():
            check_recorded(study, name, path)
    names = [study.name for study in params.studies]
    tables, alone = {}, {}
    for i, task in enumerate(params.tasks):
        genes = [read_table(paths[f"evidence/{task}/genes.parquet"]) for paths in params.paths]
        tables[task] = replication(*genes, names).assign(task=task)
        alone[task] = not_in_both(*genes, names)
        figure = replication_figure(
            tables[task], names=names, regime=shown_regime(tables[task], params.studies), task=task
        )
        save_plate(
            figure,
            tables[task],
            to.figures[3 * i : 3 * i + 3],
            simulated=simulated_words(params.studies),
        )
        log.info("task %s: %d pairs of tracks", task, len(tables[task]))
    every = pd.concat(tables.values(), ignore_index=True)
    write_table(every, to.table, "replication")
    write_tsv(every, to.text)
    primary = [read_table(p[PRIMARY]) if PRIMARY in p else None for p in params.paths]
    content = page_content(
        params.studies,
        *(
            [read_table(paths[f"cells/{name}.parquet"]) for paths in params.paths]
            for name in ("selection", "labels")
        ),
        tables,
        primary_beside(*primary, names),
        left_out=params.left_out,
        alone=alone,
    )
    write_replication_page(to.page, **content)
    log.info("page: %s", to.page)
