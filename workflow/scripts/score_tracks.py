"""Hold every track of a task against truth, expression, confounds and controls."""

from keygenes.cells.halves import halves_of_wells, has_wells
from keygenes.core.matrices import read_annotation
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.gene_facts import lengths_of_genes
from keygenes.evidence.gene_sets import read_members
from keygenes.evidence.scorecard import Draws, TaskTables, score_tracks
from keygenes.evidence.track_files import Question, TrackFiles, of_runs

COLUMNS = ["track", "regime", "seed", "ensembl_id", "symbol", "score", "p", "q"]

with step(snakemake):
    files, params, task = snakemake.input, snakemake.params, snakemake.wildcards.task
    labels = read_table(files.labels).set_index("cell")[task]
    obs = read_annotation(files.counts).obs.loc[labels.index]
    tests = (read_table(path) for path in (files.wilcoxon, files.half_tests))
    optional = [
        next(map(read_table, paths), None) for paths in (files.faithfulness, files.track_tests)
    ]
    card, agreement = score_tracks(
        TaskTables(
            read_table(files.genes, COLUMNS),
            *(table[table["task"] == task] for table in tests),
            read_table(files.metrics),
            *optional,
        ),
        lengths_of_genes(read_table(files.tokens), read_table(files.vocabulary)),
        dict(zip(params.gene_sets, map(read_members, files.gene_sets), strict=True)),
        TrackFiles(
            by_well=of_runs(params.runs, files.by_well),
            well_scores=of_runs(params.attributed, files.well_scores),
            readers=of_runs(params.readers, files.reader_scores),
        ),
        halves_of_wells(obs, obs.get("dose_um", labels)) if has_wells(obs) else None,
        Question(params.regime, params.tracks, params.controls),
        Draws(**params.draws),
    )
    write_table(card, snakemake.output.scorecard, "scorecard")
    write_table(agreement, snakemake.output.agreement, "agreement")
