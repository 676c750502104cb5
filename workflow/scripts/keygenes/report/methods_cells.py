"""The methods in words: which cells entered, how they were split and encoded."""

import re

from keygenes.core.tasks import cell_tasks
from keygenes.report.wording import counted, listed, number, others_words, percent

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


def data(config, entries, counts, cited, simulated):
    """Yield where the cells come from, which were kept, their classes and their splits."""
    select, name = config["select"], config["dataset"]
    dataset = entries["datasets"][name]
    if simulated:
        what = f" ({others_words(simulated)})" if isinstance(simulated, str) else ""
        yield f"The data of this study are simulated{what}"
    drug = f" treated with {others_words(select['drug'])}" if select["drug"] else ""
    doses = f"{in_um(select['doses_um'])}; " if select["doses_um"] else ""
    yield (
        f"Cells{drug} ({doses}{reference(config)}: {_vehicle(select['vehicle'])}) are from "
        f"{quoted(dataset, cited[name])}"
    )
    if dataset.get("simulate", {}).get("kind") == "dose_response":
        yield (
            "Genes that were made to respond include known targets of p53 "
            "[@fischer2017; @sullivan2018; @engeland2018]"
        )
    yield from _kept(select, counts, stratum(config, entries))
    tasks = [f"{task['name']} ({_classes(task)})" for task in cell_tasks(config)]
    yield f"{'Tasks were' if tasks[1:] else 'The task was'} {listed(tasks)}"
    yield _splits(config, entries, counts)


def reference(config):
    """Return what the cells of select.vehicle are called: 'reference' where no drug is chosen."""
    select = config["select"]
    return "vehicle" if select["drug"] or select["doses_um"] else "reference"


def _vehicle(vehicle):
    value = vehicle["value"]
    if vehicle["column"] == "dose_um" and not isinstance(value, str):
        return f"{number(value)} µM"
    return f"{others_words(vehicle['column'])} {others_words(value)}"


def _kept(select, counts, group):
    """Yield which cells and genes were kept, and how many these are."""
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
    yield f"We kept cells{tests} with {listed(had)}"
    if select["max_cells_per_dose"] is not None:
        n = counted(select["max_cells_per_dose"], "cell")
        column = others_words(select["vehicle"]["column"])
        each = "dose" if group == "dose" else f"value of {column}"
        yield f"At most {n} per {each} were drawn at random"
    genes = f"genes seen in at least {counted(select['min_cells_per_gene'], 'cell')}"
    if select["highly_variable_genes"] is None:
        genes = f"We used all {genes}"
    else:
        n = number(select["highly_variable_genes"])
        genes = f"We used the {n} most variable [@satija2015] of the {genes}"
    if "n_cells" in counts:
        left = [counted(counts["n_cells"], "cell"), counted(counts["n_genes"], "gene")]
        genes += f", in all {listed(left)}"
    yield genes


def class_name(task, name):
    """Return a class of a task as text; a dose with its unit."""
    values = task["classes"][name]
    numbers = task["column"] == "dose_um" and not any(isinstance(v, str) for v in values)
    is_dose = numbers and [number(value) for value in values] == [name]
    return f"{name} µM" if is_dose else others_words(name)


def _classes(task):
    """Return the classes of a task, and what is in them where the name does not say it."""
    names = [class_name(task, name) for name in task["classes"]]
    if all(name.endswith(" µM") for name in names):
        return f"{listed(task['classes'])} µM"
    parts = []
    for name, values in zip(names, task["classes"].values(), strict=True):
        numbers = task["column"] == "dose_um" and not any(isinstance(v, str) for v in values)
        members = in_um(values) if numbers else listed(map(others_words, values))
        parts.append(name if members == name else f"{name}: {members}")
    return "; ".join(parts) if any(": " in part for part in parts) else listed(parts)


def stratum(config, entries):
    """Return what cells and wells are drawn within: their dose, or where none is known their class.

    Where several datasets are combined one with doses is enough.
    """
    datasets, name = entries["datasets"], config["dataset"]
    members = [datasets[member] for member in datasets[name].get("combine", [name])]
    known = any(m.get("layout") != "h5ad" or "dose_um" in m.get("columns", {}) for m in members)
    return "dose" if known else "class"


def _splits(config, entries, counts):
    split, seeds = config["split"], listed(config["seeds"])
    unit = counts.get("unit", "well" if split["by"] == "replicate" else "cell")
    valid, group = percent(split["valid_fraction"]), stratum(config, entries)
    if unit == "cell":
        reason = ", as no replicates are known," if split["by"] == "replicate" else ""
        return (
            f"Cells were split one by one{reason} within each {group}: "
            f"{percent(split['test_fraction'])} for testing, and {valid} of the others for "
            f"validation (seed {seeds})"
        )
    return (
        f"Seed k ({seeds}) tested on {unit if unit == 'replicate' else 'the wells of replicate'} k "
        f"and validated on {valid} of the other {'wells' if unit == 'well' else 'cells'} of each "
        f"{group}"
    )


def encoding(config, entries, counts, cited):
    """Yield how a cell becomes tokens."""
    tokens, vocabulary = config["tokens"], entries["vocabulary"]
    name = title_of(vocabulary).split(",")[0] if vocabulary else ""
    corpus = f"the pretraining corpus of {name}" if vocabulary else "the pretraining cells"
    genes = f" ({counted(counts['n_vocabulary'], 'gene')})" if "n_vocabulary" in counts else ""
    frame = " (<cls> and <eos> included)" if (vocabulary or {}).get("version") == "v2" else ""
    yield (
        f"A cell was encoded by rank value [@theodoris2023], in at most "
        f"{number(tokens['max_length'])} tokens{frame}: its genes in falling order of their share "
        f"of the cell's counts over their non-zero median in {corpus}{genes}"
    )
    if tokens["upstream"]:
        yield "Identifiers were looked up as Geneformer's own tokenizer does"
    if drawn := drawn_words(tokens):
        yield f"All cells had {drawn}"
    if "median_length" in counts:
        cut = f"; {counted(counts['n_cut'], 'cell')} lost some" if counts["n_cut"] else ""
        yield f"The median cell had {number(counts['median_length'])} tokens{cut}"


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
