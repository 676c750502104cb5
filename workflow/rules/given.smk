# Input functions of jobs that read what a study is given: downloads, datasets, cells to encode.
# Comes in: STUDY, RESOLVED, GENE_NAMES. Goes out: the functions below.
from keygenes.core.datasets import has_symbols_alone


def download_paths(kind):
    """Return a regular expression of the paths under resources/ that this kind of download makes."""
    return (
        "|".join(re.escape(path.removeprefix("resources/")) for path in RESOLVED["downloads"][kind])
        or "(?!)"
    )


def download_params(kind):
    """Return what a download depends on: its address and checksums."""
    return lambda wildcards: RESOLVED["downloads"][kind][f"resources/{wildcards.path}"]


def files_of_dataset(wildcards):
    """Return the files that a dataset is read from, by part."""
    if "simulate" in STUDY.entries["datasets"][wildcards.dataset]:
        return {"matrix": out(f"inputs/{wildcards.dataset}.simulated.h5ad")}
    files = RESOLVED["dataset_files"][wildcards.dataset]
    # A folder is as old as its list of names: what lies in it is looked at as well.
    inside = [p for f in files.values() if os.path.isdir(f) for p in sorted(Path(f).iterdir())]
    files = {**files, "inside": [str(path) for path in inside if path.is_file()]}
    if has_symbols_alone(STUDY.entries["datasets"][wildcards.dataset]) and GENE_NAMES:
        return {**files, "gene_names": GENE_NAMES[0]}
    return files


def to_tokenize(counts):
    """Return an input function: the matrix of cells to encode, and the dictionaries."""
    mapping = {k: v for k, v in RESOLVED["vocabulary_files"].items() if k == "mapping"}
    return lambda wildcards: {
        **mapping,
        "counts": counts,
        "vocabulary": out("vocabulary.parquet"),
    }


def cells_or_shards(wildcards):
    """Return what the token table is made from: the cells, or the shards of them."""
    counts, shards = out("cells/counts.h5ad"), range(STUDY.tokens["shards"])
    if len(shards) == 1:
        return to_tokenize(counts)(wildcards)
    return {
        "counts": counts,
        "shards": expand(out("tokens/shards/{shard}.parquet"), shard=shards),
        "shard_reports": expand(out("tokens/shards/{shard}.report.parquet"), shard=shards),
    }


def include_reader(reader):
    """Include the rule file of a reader from outside; say in one sentence what is wrong with it."""
    try:
        workflow.include(reader.rules)
        reader.check_made(str(path) for made in workflow.rules for path in made.output)
    except SyntaxError as error:
        raise WorkflowError(f"{reader.rules}, line {error.lineno}: {error.msg}") from None
    except InputError as error:
        raise WorkflowError(str(error)) from None
