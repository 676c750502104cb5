"""The methods in words: which cells entered, how they were split and encoded."""

import re

from keygenes.report.wording import counted, listed, number, others_words, percent, times

PARENTHESES = re.compile(r"\s*\([^()]*\)")
HASH_TESTS = {
    "top_to_second_best_ratio": "oligo ratio > {}",
    "qval_demultiplexing": "q < {}",
    "hash_umis": "> {} hash UMIs",
}


def title_of(entry):
    """Return the title of a registry entry, without what it has in parentheses."""
    return PARENTHESES.sub("", others_words(entry["title"])).strip()


def quoted(entry, cited):
    """Return the title of a registry entry in quotation marks, with what it cites."""
    return f"“{title_of(entry)}”{cited}"


def in_um(values):
    """Return doses as text with their unit: '0, 1.25 and 2.5 µM'."""
    return f"{listed(number(value) for value in values)} µM"


def data(study, counts, cited):
    """Yield where the cells come from, which were kept, their classes and their splits."""
    select, name = study.select, study.dataset
    dataset = study.entries["datasets"][name]
    if simulated := study.simulated:
        what = f" ({others_words(simulated)})" if isinstance(simulated, str) else ""
        yield f"The data are simulated{what}"
    drug = f" treated with {others_words(select['drug'])}" if select["drug"] else ""
    doses = f"{in_um(select['doses_um'])}; " if select["doses_um"] else ""
    planted = ""
    if dataset.get("simulate", {}).get("kind") == "dose_response":
        planted = (
            ", whose responding genes include p53 targets "
            "[@fischer2017; @sullivan2018; @engeland2018]"
        )
    yield (
        f"Cells{drug} ({doses}{reference(study)}: {_vehicle(select['vehicle'])}) are from "
        f"{quoted(dataset, cited[name])}{planted}"
    )
    yield from _kept(select, counts, stratum(study))
    tasks = [f"{t['name']} ({_classes(t, select['doses_um'])})" for t in study.cell_tasks]
    yield f"{'Tasks were' if tasks[1:] else 'The task was'} {listed(tasks)}"
    yield _splits(study, counts)
    seeds = study.seeds
    if not is_random(study):
        yield "Every fold was trained once"
    elif seeds[1:]:
        yield (
            f"Every fold was trained {times(len(seeds))}, from seeds {listed(seeds)}, which choose "
            "no cell"
        )
    else:
        yield f"Every fold was trained once, from seed {seeds[0]}"


def is_random(study):
    """Return whether a model other than the baselines is trained from each of the seeds."""
    return bool(study.regimes) or any(reader.random for reader in study.readers.values())


def reference(study):
    """Return what the cells of select.vehicle are called: 'reference' where no drug is chosen."""
    select = study.select
    return "vehicle" if select["drug"] or select["doses_um"] else "reference"


def _vehicle(vehicle):
    value = vehicle["value"]
    if vehicle["column"] == "dose_um" and not isinstance(value, str):
        return f"{number(value)} µM"
    return f"{others_words(vehicle['column'])} {others_words(value)}"


def _kept(select, counts, group):
    """Yield which cells and genes were kept, and how many."""
    limits = select["hash_filter"] or {}
    used = [key for key in limits if key in counts.get("hash_columns", limits)]
    passed = []
    if used:
        tests = ", ".join(HASH_TESTS[key].format(number(limits[key])) for key in used)
        passed.append(f"the authors' hash filter ({tests})")
    if counts.get("filter_pass"):
        passed.append("the dataset's own filter (filter_pass)")
    had = [f"at least {number(select['min_counts'])} counts", f"{select['min_genes']:,} genes"]
    if select["max_percent_mito"] is not None:
        had.append(f"at most {number(select['max_percent_mito'])} % mitochondrial counts")
    tests = f" that pass {listed(passed)}" if passed else ""
    cells = f"cells{tests} with {listed(had)}"
    if select["max_cells_per_dose"] is not None:
        n = counted(select["max_cells_per_dose"], "cell")
        column = others_words(select["vehicle"]["column"])
        each = "dose" if group == "dose" else f"value of {column}"
        cells += f" (at most {n} per {each}, drawn at random)"
    genes = f"genes seen in at least {counted(select['min_cells_per_gene'], 'cell')}"
    if select["highly_variable_genes"] is not None:
        n = number(select["highly_variable_genes"])
        genes = f"the {n} most variable [@satija2015] of the {genes}"
    left = ""
    if "n_cells" in counts:
        kept = [counted(counts["n_cells"], "cell"), counted(counts["n_genes"], "gene")]
        left = f": {', '.join(kept)}"
    yield f"We kept {cells}, and {genes}{left}"


def class_name(task, name):
    """Return a class of a task as text; a dose with its unit."""
    values = task["classes"][name]
    numbers = task["column"] == "dose_um" and not any(isinstance(v, str) for v in values)
    is_dose = numbers and [number(value) for value in values] == [name]
    return f"{name} µM" if is_dose else others_words(name)


def _classes(task, doses):
    """Return the classes of a task, and what is in them where the name does not say it.

    Parameters
    ----------
    doses : list or None
        Those of the study, which need not be said twice.
    """
    names = [class_name(task, name) for name in task["classes"]]
    if all(name.endswith(" µM") for name in names):
        each = doses and list(map(number, doses)) == list(task["classes"])
        return "each dose" if each else f"{listed(task['classes'])} µM"
    parts = []
    for name, values in zip(names, task["classes"].values(), strict=True):
        numbers = task["column"] == "dose_um" and not any(isinstance(v, str) for v in values)
        members = in_um(values) if numbers else listed(map(others_words, values))
        parts.append(name if members == name else f"{name}: {members}")
    return "; ".join(parts) if any(": " in part for part in parts) else listed(parts)


def stratum(study):
    """Return what cells and wells are drawn within: their dose, or where none is known their class.

    Where several datasets are combined one with doses is enough.
    """
    known = any(
        entry.get("layout") != "h5ad" or "dose_um" in entry.get("columns", {})
        for entry in study.members
    )
    return "dose" if known else "class"


def _splits(study, counts):
    split, folds = study.split, listed(study.folds)
    unit = counts.get("unit", "well" if split["by"] == "replicate" else "cell")
    valid, group = percent(split["valid_fraction"]), stratum(study)
    if unit == "cell":
        reason = ", as no replicates are known," if split["by"] == "replicate" else ""
        return (
            f"Cells were split one by one{reason} within each {group}: "
            f"{percent(split['test_fraction'])} for testing, and {valid} of the others for "
            f"validation (fold{'s' if study.folds[1:] else ''} {folds})"
        )
    return (
        f"Fold k ({folds}) tested {unit if unit == 'replicate' else 'the wells of replicate'} k "
        f"and validated on {valid} of the other {'wells' if unit == 'well' else 'cells'} of each "
        f"{group}"
    )


def encoding(study, counts, cited):
    """Yield how a cell becomes tokens."""
    tokens, vocabulary = study.tokens, study.entries["vocabulary"]
    name = title_of(vocabulary).split(",")[0] if vocabulary else ""
    corpus = f"the pretraining corpus of {name}" if vocabulary else _own_corpus(study, cited)
    genes = f" ({counted(counts['n_vocabulary'], 'gene')})" if "n_vocabulary" in counts else ""
    said = ["<cls> and <eos> included"] if (vocabulary or {}).get("version") == "v2" else []
    if "median_length" in counts:
        said.append(f"median {number(counts['median_length'])}")
        said += [f"{counted(counts['n_cut'], 'cell')} cut"] if counts["n_cut"] else []
    inside = f" ({'; '.join(said)})" if said else ""
    yield (
        "Cells were encoded by rank value [@theodoris2023]: at most "
        f"{number(tokens['max_length'])} tokens{inside}, genes in "
        "falling order of their share of counts over their non-zero median in "
        f"{corpus}{genes}"
    )
    if not study.regimes:
        yield "Baselines of ranks, detection and mean ranks of genes are of this encoding"
    if tokens["upstream"]:
        yield "Identifiers were looked up as Geneformer's own tokenizer does"
    if drawn := drawn_words(tokens):
        yield f"All cells had {drawn}"


def _own_corpus(study, cited):
    """Return what the cells are called that the vocabulary is made from."""
    name = study.pretrain["dataset"]
    entry = study.entries["datasets"].get(name)
    if study.regimes or not entry:
        return "the pretraining cells"
    return f"the cells of {quoted(entry, cited[name])}"


def drawn_words(keys):
    """Return what is drawn at random as a cell is encoded, in words; '' if nothing is.

    Parameters
    ----------
    keys : dict
        Section 'tokens', or a variant of it.
    """
    parts = []
    if keys.get("depth"):
        parts.append(f"{number(keys['depth'])} random counts per cell")
    if keys.get("length"):
        parts.append(f"{number(keys['length']['subsample'])} random genes per cell")
    if keys.get("order") == "shuffled":
        parts.append("genes in random order")
    return listed(parts)
