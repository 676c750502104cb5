"""Hold every track of a task against truth, expression, confounds and controls."""

from keygenes.cells.halves import halves_of_wells, has_wells
from keygenes.core.matrices import read_annotation
from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.evidence.scorecard import score_tracks

with step(snakemake):
    files, params = snakemake.input, snakemake.params
    labels = read_table(files.labels).set_index("cell")[snakemake.wildcards.task]
    obs = read_annotation(files.counts).obs.loc[labels.index]
    runs = [tuple(run) for run in params.runs]
    attributed = [tuple(run) for run in params.attributed]
    readers = [tuple(run) for run in params.readers]
    score_tracks(
        genes=files.genes,
        by_well=dict(zip(runs, files.by_well, strict=True)),
        well_scores=dict(zip(attributed, files.well_scores, strict=True)),
        halves=halves_of_wells(obs, obs.get("dose_um", labels)) if has_wells(obs) else None,
        half_tests=files.half_tests,
        wilcoxon=files.wilcoxon,
        tokens=files.tokens,
        vocabulary=files.vocabulary,
        faithfulness=next(iter(files.faithfulness), None),
        metrics=files.metrics,
        track_tests=next(iter(files.track_tests), None),
        gene_sets=dict(zip(params.gene_sets, files.gene_sets, strict=True)),
        out_scorecard=snakemake.output.scorecard,
        out_agreement=snakemake.output.agreement,
        task=snakemake.wildcards.task,
        regime=params.regime,
        tracks=params.tracks,
        controls=params.controls,
        n_bootstrap=params.n_bootstrap,
        n_null_draws=params.n_null_draws,
        counted={(fold, 1): path for fold, path in zip(params.counted, files.counted, strict=True)},
        readers=dict(zip(readers, files.reader_scores, strict=True)),
    )
