# Input functions of jobs that look at models: which files a job's wildcards ask for.
# Comes in: STUDY, FILES. Goes out: the functions below.


def of_job(path_of):
    """Return an input function: a path for every run of a job, by its regime, task and run."""
    return lambda w: [path_of(w.regime, w.task, run) for run in FILES.runs_of_job(w.run)]


def of_run(path_of):
    """Return an input function: the path for the one run of a job."""
    return lambda w: path_of(w.regime, w.task, run_named(w.run))


def names_of_runs(wildcards):
    """Return the names of the runs that share a job, for its params."""
    return [run.name for run in FILES.runs_of_job(wildcards.run)]


def run_files(kind, name, regimes):
    """Return an input function: the paths of one file for every regime and run of a job's task."""
    return lambda wildcards: FILES.of_runs(kind, name, regimes, wildcards.task)


def fold_splits(wildcards):
    """Return the path of the splits of a run's fold, whatever its labels."""
    return out(f"cells/splits/fold{run_named(wildcards.run).fold}.parquet")


def of_compared(path_of):
    """Return an input function: a path for each model that a job compares, of its own run."""
    return lambda w: [
        path_of(name, w.task, STUDY.run_for(name, w.run))
        for name in STUDY.compared(w.task, w.encoding)
    ]


def retrained(wildcards):
    """Return the fine-tuned ones of a job's models that the run before trained too."""
    names = STUDY.compared(wildcards.task, wildcards.encoding)
    trained = [name for name in names if name in STUDY.finetuned]
    return trained if STUDY.run_before(wildcards.run) else []


def of_retrained(path_of):
    """Return an input function: a path for each of `retrained`, of the run before."""
    return lambda w: [path_of(n, w.task, STUDY.run_before(w.run)) for n in retrained(w)]


def comparisons(table):
    """Return an input function: one table of comparisons, of every encoding and run."""
    runs = [Run(fold, seed).name for fold in STUDY.folds for seed in STUDY.seeds]

    def paths(wildcards):
        encodings = [name for name in STUDY.encodings if STUDY.pairs_of(wildcards.task, name)]
        path = out(f"attention/{wildcards.task}/{table}.{{encoding}}.{{run}}.parquet")
        return expand(path, encoding=encodings, run=runs)

    return paths


def on_variants(kind, name):
    """Return an input function: one file of every run that reads a variant, or its counterpart."""
    return lambda w: FILES.of_runs(kind, name, STUDY.on_variants(w.task), w.task)


def gene_tables(name, *models):
    """Return an input function: a table of genes of every model that is looked at, or of some."""
    return lambda w: list(FILES.gene_tables(name, w.task, models or None).values())
