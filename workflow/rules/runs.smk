# Which models a study has, and where their files are: runs of regimes, what they learn from, pairs.
# Comes in: the names of common.smk. Goes out: the functions below.


def regimes_of(task):
    """Return the names of a task's regimes."""
    return [name for name, regime in REGIMES.items() if task in tasks_of(regime, config)]


def of_task(regimes, task):
    """Return those of some regimes that a task has; every task has 'pretrained'."""
    if task in GENE_TASKS:  # these have models of their own
        return list(regimes)
    return [name for name in regimes if name in [*regimes_of(task), "pretrained"]]


def runs_of(regime):
    """Return the runs of a regime: every fold with every seed, or with one where nothing trains."""
    seeds = SEEDS if regime in FINETUNED else SEEDS[:1]
    return [Run(fold, seed) for fold in FOLDS for seed in seeds]


def run_for(regime, run):
    """Return a regime's own run beside that of another one: its fold, and a seed that it has."""
    run = run_named(run) if isinstance(run, str) else run
    return run if run in runs_of(regime) else run._replace(seed=SEEDS[0])


def runs_of_job(name):
    """Return the runs that share a job: that of the name, or of its number the relabellings."""
    job = run_named(name)
    return [job._replace(relabelling=b) for b in relabellings_of(job.relabelling)] or [job]


def names_of_runs(wildcards):
    """Return the names of the runs that share a job, for its params."""
    return [run.name for run in runs_of_job(wildcards.run)]


def relabellings_of(batch):
    """Return the numbers of the relabellings of a batch; of batch 0, the labels as they are, none."""
    return [PER_JOB * (batch - 1) + place for place in PLACES] if batch else []


def batch_of(relabelling):
    """Return the batch of a relabelling, and its place there, both from 1 on."""
    batch, place = divmod(relabelling - 1, PER_JOB)
    return batch + 1, place + 1


def folder_of(run):
    """Return the folder of a run: fold1.seed2; relabelled2.fold1.seed1/3 is batch 2, place 3."""
    if not run.relabelling:
        return run.name
    batch, place = batch_of(run.relabelling)
    return f"{run._replace(relabelling=batch).name}/{place}"


def run_file(kind, task, regime, run, name):
    """Return the path of one file of a run."""
    run = run if isinstance(run, str) else folder_of(run)
    return out(f"{kind}/{task}/{regime}/{run}/{name}")


def of_batch(path):
    """Return the paths of a file of all runs of a batch, for outputs; wildcards stay."""
    folder, name = path.rsplit("/", 1)
    return [out(f"{folder}/{place}/{name}") for place in PLACES]


def run_files(kind, name, regimes):
    """Return the paths of one file for every regime and run of the job's task."""
    return lambda wildcards: [
        run_file(kind, wildcards.task, regime, run, name)
        for regime in of_task(regimes, wildcards.task)
        for run in runs_of(regime)
    ]


def runs(regimes, task):
    """Return [regime, fold, seed] in the order of `run_files`."""
    return [
        [regime, run.fold, run.seed] for regime in of_task(regimes, task) for run in runs_of(regime)
    ]


def primary_runs():
    """Return every run of the primary regime: on the labels as they are, then on dealt ones."""
    dealt = [Run(fold, SEEDS[0], b) for b in RELABELLINGS for fold in FOLDS]
    return [*runs_of(PRIMARY["regime"]), *dealt] if PRIMARY else []


def primary_files(kind, name, regimes=None):
    """Return the paths of one file of every run of the primary regime.

    With `regimes`, only where it is one of them.
    """
    if regimes is not None and PRIMARY and PRIMARY["regime"] not in regimes:
        return []
    return [run_file(kind, PRIMARY_TASK, PRIMARY["regime"], run, name) for run in primary_runs()]


def encoded(encoding):
    """Return the path of the cells' tokens in the 'main' encoding or a variant."""
    return out("tokens.parquet" if encoding == "main" else f"tokens/{encoding}.parquet")


def tokens_of(regime):
    """Return the path of the tokens that a regime (or 'pretrained') reads."""
    return encoded(REGIMES.get(regime, {}).get("tokens", "main"))


def relabelling_of(regime, run):
    """Return the relabelling that a run learns from, or 0: the labels as they are."""
    dealt = "labels" in REGIMES.get(regime, {})
    return run.relabelling or (SEEDS.index(run.seed) + 1 if dealt else 0)


def relabelled_cells(task, relabelling, fold, table):
    """Return the path of the labels or splits of one relabelling."""
    batch, place = batch_of(relabelling)
    return out(f"cells/relabelled/{task}/{batch}.fold{fold}/{place}/{table}.parquet")


def splits_of(regime, task, run):
    """Return the path of a run's splits: the fold's, those by cell, or those of a relabelling."""
    if relabelling := relabelling_of(regime, run):
        return relabelled_cells(task, relabelling, run.fold, "splits")
    folder = "splits_random" if "split" in REGIMES.get(regime, {}) else "splits"
    return out(f"cells/{folder}/fold{run.fold}.parquet")


def labels_of(regime, task, run):
    """Return the path of what a run is told of the cells: their labels, or dealt ones."""
    if relabelling := relabelling_of(regime, run):
        return relabelled_cells(task, relabelling, run.fold, "labels")
    return out("cells/labels.parquet")


def of_job(path_of):
    """Return an input function: a path for every run of a job, by its regime, task and run."""
    return lambda w: [path_of(w.regime, w.task, run) for run in runs_of_job(w.run)]


def fold_splits(wildcards):
    """Return the path of the splits of a run's fold, whatever its labels."""
    return out(f"cells/splits/fold{run_named(wildcards.run).fold}.parquet")


def pairs_of(task, encoding):
    """Return the pairs of models of a task that read an encoding."""
    return [
        pair
        for pair in PAIRS
        if of_task(pair, task) == list(pair)
        and all(tokens_of(name) == encoded(encoding) for name in pair)
    ]


def compared(task, encoding):
    """Return the models that some pair of a task and encoding names, each once."""
    return list(dict.fromkeys(name for pair in pairs_of(task, encoding) for name in pair))


def corrected_pairs(task):
    """Return the pairs of a task shown before and after correction for length.

    They are the first on the study's tokens, and the first on each variant of equally long cells.
    """
    encodings = ["main", *(name for name, variant in VARIANTS.items() if variant.get("length"))]
    return [pair for encoding in encodings for pair in pairs_of(task, encoding)[:1]]


def run_before(run):
    """Return the run that another one is held against, or None: nothing but chance differs.

    The fold's seed before; where there is one seed, the fold before.
    """
    run = run_named(run) if isinstance(run, str) else run
    key, among = ("seed", SEEDS) if len(SEEDS) > 1 else ("fold", FOLDS)
    at = among.index(getattr(run, key))
    return run._replace(**{key: among[at - 1]}) if at else None


def retrained(wildcards):
    """Return the fine-tuned ones of a job's models that the run before trained too."""
    names = compared(wildcards.task, wildcards.encoding)
    return [name for name in names if name in FINETUNED] if run_before(wildcards.run) else []


def all_runs():
    """Return every fold with every seed."""
    return [Run(fold, seed) for fold in FOLDS for seed in SEEDS]


def comparisons(table):
    """Return an input function: one table of comparisons, of every encoding and run."""

    def paths(wildcards):
        of_task = [name for name in ["main", *VARIANTS] if pairs_of(wildcards.task, name)]
        path = out(f"attention/{wildcards.task}/{table}.{{encoding}}.{{run}}.parquet")
        return expand(path, encoding=of_task, run=[run.name for run in all_runs()])

    return paths


def counterpart_of(regime, task):
    """Return the regime of a task that differs from another one by its tokens alone, or None."""
    other = counterpart(regime, REGIMES, "tokens")
    return other if other in regimes_of(task) else None


def on_variants(task):
    """Return the regimes of a task that read a variant of the tokens, and their counterparts."""
    found = []
    for name in of_task(ATTENDED, task):
        if "tokens" in REGIMES.get(name, {}):
            found += [counterpart_of(name, task), name]
    return [name for name in dict.fromkeys(found) if name]


def pairs_on_variants(task):
    """Return the pairs of models of each variant, with the same pair on the main tokens or None."""
    found = []
    for pair in (pair for variant in VARIANTS for pair in pairs_of(task, variant)):
        main = tuple(counterpart_of(name, task) for name in pair)
        found.append([pair, main if main in PAIRS else None])
    return found


def attended_runs():
    """Return [task, regime, fold, seed] of every model whose attention is looked at."""
    return [[task, *run] for task in TASKS for run in runs(ATTENDED, task)]


def of_classifiers(name):
    """Return the paths of one file of every classifier that transformers reads, of all tasks.

    Logistic regressions are none of these. In the order of `classifier_runs`.
    """
    return [run_file("models", task, regime, run, name) for task, regime, run in classifier_runs()]


def classifier_runs():
    """Return [task, regime, run] of every classifier that transformers reads, as names."""
    return [
        [task, regime, run.name]
        for task in TASKS
        for regime in of_task([*FINETUNED, *BROUGHT], task)
        for run in runs_of(regime)
    ]


def weights_of(regime, task, run):
    """Return the path of a run's weights; 'pretrained' is the base model."""
    if regime == "pretrained":
        return base_model("weights")
    return run_file("models", task, regime, run, "model.safetensors")


def config_of(regime, task, run):
    """Return the path of the config.json that goes with `weights_of`."""
    if regime == "pretrained":
        return base_model("config")
    return run_file("models", task, regime, run, "config.json")


def by_well_of(regime, task, run):
    """Return the path of a run's attention per well."""
    return run_file("attention", task, regime, run, "by_well.parquet")
