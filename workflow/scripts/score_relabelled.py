"""Score every gene on every track, by models of true and of dealt labels."""

from keygenes.core.runs import run_named
from keygenes.core.step import step
from keygenes.evidence.relabelled import score_relabelled
from keygenes.evidence.score import places_of

with step(snakemake):
    runs = [run_named(name) for name in snakemake.params.runs]
    by_well, well_scores = (
        dict(zip(runs, paths, strict=True)) if paths else {}
        for paths in (snakemake.input.by_well, snakemake.input.well_scores)
    )
    score_relabelled(
        by_well=by_well,
        well_scores=well_scores,
        places=places_of(snakemake.input.by_gene[0]),
        tracks=snakemake.params.tracks,
        out=snakemake.output.genes,
    )
