"""Every claim of the claims file, put to its test."""

from keygenes.core.step import step
from keygenes.evidence.claims import judge_claims

TABLES = (
    "metrics",
    "confusion",
    "cosine",
    "bounds",
    "rank_shift",
    "genes",
    "key_genes",
    "attended",
    "scorecard",
)

with step(snakemake):
    params, files = snakemake.params, snakemake.input
    norms = {task: {} for task in params.classes}
    for (task, *run), path in zip(params.runs, files.norms, strict=True):
        norms[task][tuple(run)] = path
    tables = {name: dict(zip(params.classes, files[name], strict=True)) for name in TABLES}
    tables["input_length"] = dict(zip(params.on_variants, files.input_length, strict=True))
    judge_claims(
        claims=files.claims,
        files=tables,
        norms=norms,
        classes=params.classes,
        out=snakemake.output.claims,
    )
