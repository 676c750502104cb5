# Readers that were brought along: their rule files, and their tables checked and taken over.
# Comes in: cells, splits, the config key 'readers'. Goes out: readers/{reader}/{task}/{run}/
# predictions, scores (.tsv, by rules from outside); models/{task}/{reader}/{run}/predictions.parquet
# and evidence/{task}/{reader}/{run}/well_scores.parquet.
from keygenes.core.reader_files import ReaderFiles

READERS = "|".join(STUDY.readers) or "(?!)"


for reader in STUDY.readers.values():
    READER = ReaderFiles(FILES, reader)  # what a rule file may use: docs/extending.md
    include_reader(READER)


rule accept_reader:
    """Check what a reader from outside predicts and scores, and take it over."""
    input:
        predictions=out("readers/{reader}/{task}/{run}/predictions.tsv"),
        scores=out("readers/{reader}/{task}/{run}/scores.tsv"),
        labels=out("cells/labels.parquet"),
        splits=fold_splits,
        counts=out("cells/counts.h5ad"),
    output:
        predictions=out("models/{task}/{reader}/{run}/predictions.parquet"),
        well_scores=out("evidence/{task}/{reader}/{run}/well_scores.parquet"),
    log:
        logfile("accept_reader.{task}.{reader}.{run}"),
    wildcard_constraints:
        reader=READERS,
        run=LABELS_AS_THEY_ARE,
    conda:
        "../../envs/tokens.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        code=code_digest("accept_reader"),
    script:
        "../scripts/accept_reader.py"
