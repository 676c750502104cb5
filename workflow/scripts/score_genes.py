"""Score every gene of a task, and make its key-gene table."""

from keygenes.cells.columns import vehicle_cells
from keygenes.core.matrices import read_annotation
from keygenes.core.step import step
from keygenes.core.tables import read_table, write_table, write_tsv
from keygenes.evidence.gene_sets import read_members
from keygenes.evidence.key_genes import attended_and_expressed, key_gene_table, log_enrichment
from keygenes.evidence.score import BaselineTables, score_genes, symbols_of
from keygenes.evidence.track_files import Question, TrackFiles, of_runs
from keygenes.evidence.tracks import permuted_genes
from keygenes.evidence.well_sums import well_groups

with step(snakemake):
    files, params, out = snakemake.input, snakemake.params, snakemake.output
    task, vocabulary = snakemake.wildcards.task, read_table(files.vocabulary)
    labels = read_table(files.labels).set_index("cell")[task]
    obs = read_annotation(files.counts).obs.loc[labels.index]
    tests = (read_table(path) for path in (files.wilcoxon, files.pseudobulk))
    tests = [table[table["task"] == task] for table in tests]
    permuted = [permuted_genes(read_table(path)) for path in files.relabelled_genes]
    genes, about = score_genes(
        TrackFiles(
            by_gene=of_runs(params.runs, files.by_gene),
            by_well=of_runs(params.runs, files.by_well),
            well_scores=of_runs(params.attributed, files.well_scores),
            readers=of_runs(params.readers, files.reader_scores),
        ),
        BaselineTables(*tests, [read_table(path) for path in files.coefficients]),
        vocabulary,
        well_groups(obs, labels, vehicle_cells(obs, params.vehicle)),
        Question(params.regime, params.tracks),
        dict(zip([params.relabelled_regime], permuted, strict=False)),
    )
    write_table(genes, out.genes, "genes")
    sets = dict(zip(params.gene_sets, map(read_members, files.gene_sets), strict=True))
    keys = key_gene_table(genes, about, symbols_of(tests[0], vocabulary), sets, params.leading)
    write_table(keys, out.key_genes)
    log_enrichment(keys, sets, params.n_key_genes)
    for path in out.attended:  # none where the model in question has no attention
        write_table(attended_and_expressed(keys, tests[0]), path)
    for path in out.figure8:
        write_tsv(keys.head(params.n_key_genes), path, simulated=params.simulated)
