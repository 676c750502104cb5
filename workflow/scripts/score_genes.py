"""Score every gene of a task, and make its key-gene table."""

from keygenes.cells.columns import vehicle_cells
from keygenes.core.matrices import read_annotation
from keygenes.core.step import step
from keygenes.core.tables import read_table
from keygenes.evidence.score import score_genes

with step(snakemake):
    files, params = snakemake.input, snakemake.params
    labels = read_table(files.labels).set_index("cell")[snakemake.wildcards.task]
    obs = read_annotation(files.counts).obs.loc[labels.index]
    runs = [tuple(run) for run in params.runs]
    attributed = [tuple(run) for run in params.attributed]
    counted = [(fold, 1) for fold in params.folds] if files.counted else []
    readers = [tuple(run) for run in params.readers]
    score_genes(
        by_gene=dict(zip(runs, files.by_gene, strict=True)),
        by_well=dict(zip(runs, files.by_well, strict=True)),
        well_scores=dict(zip(attributed, files.well_scores, strict=True)),
        relabelled_genes=next(iter(files.relabelled_genes), None),
        wilcoxon=files.wilcoxon,
        pseudobulk=files.pseudobulk,
        coefficients=dict(zip(params.folds, files.coefficients, strict=True)),
        vocabulary=files.vocabulary,
        obs=obs,
        labels=labels,
        vehicle=vehicle_cells(obs, params.vehicle),
        gene_sets=dict(zip(params.gene_sets, files.gene_sets, strict=True)),
        out_genes=snakemake.output.genes,
        out_key_genes=snakemake.output.key_genes,
        out_attended=next(iter(snakemake.output.attended), None),
        out_figure8=next(iter(snakemake.output.figure8), None),
        task=snakemake.wildcards.task,
        regime=params.regime,
        tracks=params.tracks,
        relabelled_regime=params.relabelled_regime,
        n_key_genes=params.n_key_genes,
        simulated=params.simulated,
        counted=dict(zip(counted, files.counted, strict=True)),
        readers=dict(zip(readers, files.reader_scores, strict=True)),
        leading=params.leading,
    )
