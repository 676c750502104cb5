"""What can be said of a study before anything trains: its classes, splits, batches, sets and test.

Nothing here stops a study; what is not there (a column, a value, a class) is refused where cells
are selected and labelled.
"""

import logging
from typing import NamedTuple

import pandas as pd

from keygenes.cells.confounding import batch_columns, confounding
from keygenes.cells.relabel import labelled_units, n_relabellings
from keygenes.core.runs import ALPHA, FEWEST
from keygenes.evidence.gene_sets import is_partial, members_in, set_counts
from keygenes.evidence.primary import MIN_POSITIVES, smallest_p

log = logging.getLogger("keygenes")

FINE, LOOK = "fine", "look"
MOSTLY = 0.5  # of what there is to be told of a class, which batches may tell
MOST_LOST = 0.5  # share of the counts that may lie outside the vocabulary


class Check(NamedTuple):
    """One row of the table 'checks'.

    Attributes
    ----------
    check : {'class', 'split', 'batch', 'vocabulary', 'gene set', 'primary test'}
    about : str
        Task, class, column or set.
    outcome : {'fine', 'look'}
    found : str
    advice : str
        What to do, or what it means; empty where all is fine.
    n : int
        Cells, genes or relabellings that it rests on.
    """

    check: str
    about: str
    outcome: str
    found: str
    advice: str
    n: int


def class_checks(labels, obs):
    """Yield a check per class: its cells, and the wells or replicates that they lie in.

    Parameters
    ----------
    labels : categorical Series [n_cells], named after the task, indexed by cell
    obs : DataFrame [n_cells], indexed by cell
    """
    column = next((name for name in ("well", "replicate") if name in obs), None)
    for name in labels.cat.categories:
        cells = (labels == name).to_numpy()
        n, few = int(cells.sum()), False
        found = f"{n:,} cells"
        if column:
            units = obs[column][cells].nunique()
            few, found = units < 2, f"{found} in {units} {column}s"
        advice = f"an interval takes two {column}s of each class" if few else ""
        yield Check("class", f"{labels.name}: {name}", LOOK if few else FINE, found, advice, n)


def split_checks(labels, splits):
    """Yield a check per fold and task: every class is trained on, and tested.

    Parameters
    ----------
    labels : categorical Series [n_cells], named after the task, indexed by cell
    splits : DataFrame
        Table 'splits'.
    """
    classes = splits["cell"].map(labels.astype(str).where(labels.notna()))
    for fold, rows in splits.groupby("fold"):
        table = pd.crosstab(classes[rows.index], rows["split"].astype(str))
        table = table.reindex(labels.cat.categories, columns=["train", "test"], fill_value=0)
        lacking = [f"no {split} cell of {name}" for name, split in table[table == 0].stack().index]
        found = (
            f"{int(table['train'].sum()):,} cells to train, {int(table['test'].sum()):,} to test"
        )
        yield Check(
            "split",
            f"{labels.name}, fold {fold}",
            LOOK if lacking else FINE,
            "; ".join([found, *lacking]),
            "hold out replicates that have every class, or set split.by: random" if lacking else "",
            len(rows),
        )


def batch_checks(labels, obs, splits, column):
    """Yield a check per column of batches, donors or plates.

    Parameters
    ----------
    labels : categorical Series [n_cells], named after the task, indexed by cell
    obs : DataFrame [n_cells], indexed by cell
    splits : DataFrame
        Table 'splits'.
    column : str
        Of obs, that the classes come from.
    """
    for name in batch_columns(obs, but=(column, "well")):
        found = confounding(labels, obs[name], splits)
        if found is None:
            continue
        said = f"{found.n_batches} values, which alone name the class of {found.told:.0%} of the "
        said += f"cells (the commonest class: {found.commonest:.0%})"
        advice = ""
        if found.single:
            said += f"; {', '.join(found.single)} in one value alone"
            advice = (
                f"nothing tells these classes from '{name}': take cells that were handled together"
            )
        elif found.nested and found.split:
            advice = (
                f"'{name}' has cells of a value on both sides of a split: map it as 'columns: "
                "well:' or 'replicate:', so that its values are held out whole"
            )
        elif not found.nested and found.gain >= MOSTLY:
            advice = f"a model may learn '{name}' for the class: balance the classes over it"
        about = f"{labels.name}: {name}"
        yield Check("batch", about, LOOK if advice else FINE, said, advice, found.n_cells)


def vocabulary_check(ensembl_ids, totals, vocabulary):
    """Return the check of what a model's vocabulary knows of the study's genes.

    Parameters
    ----------
    ensembl_ids : Index of str [n_genes]
    totals : float array [n_genes]
        Counts of each gene.
    vocabulary : DataFrame
        Table 'vocabulary'.
    """
    known = pd.Index(ensembl_ids).isin(vocabulary["ensembl_id"].dropna())
    share = float(totals[known].sum() / max(1, totals.sum()))
    few = share < 1 - MOST_LOST
    return Check(
        "vocabulary",
        "genes",
        LOOK if few else FINE,
        f"{known.sum():,} of {len(known):,} genes are in it, with {share:.0%} of the counts",
        "check species and gene ids, or take the model of another vocabulary" if few else "",
        len(known),
    )


def set_check(name, table):
    """Return the check of a gene set: how many of its genes the data have.

    Parameters
    ----------
    name : str
    table : table 'gene_set'
    """
    counts = set_counts(table)
    said = {"of several genes": "ambiguous", "unknown": "unknown"}
    lost = [f"{counts[key]:,} {what}" for what, key in said.items() if counts[key]]
    few = is_partial(counts)
    return Check(
        "gene set",
        name,
        LOOK if few else FINE,
        ", ".join([f"{counts['matched']:,} of {counts['listed']:,} genes are in the data", *lost]),
        "check species, ids and symbols of the set; what is found speaks for these genes alone"
        if few
        else "",
        counts["listed"],
    )


def primary_check(primary, labels, obs, *, n_positive, permutations, brought):
    """Return the check of the primary test: whether its design lets it come out as supported.

    Parameters
    ----------
    primary : dict
        Section 'evidence.primary'.
    labels : DataFrame
        Table 'labels'.
    obs : DataFrame, indexed by cell
    n_positive : int
        Genes of its set that the study has: at least as many as can be scored.
    permutations : int
        ``evidence.permutations``.
    brought : bool
        The regime was fine-tuned elsewhere.
    """
    units, _ = labelled_units(labels, obs, primary["task"])
    possible = n_relabellings(units)
    n = int(min(permutations, possible))
    reasons = []
    if brought:
        reasons.append(f"'{primary['regime']}' was fine-tuned elsewhere and cannot be retrained")
    if n < FEWEST:
        reasons.append(f"{n} relabellings give no p below {smallest_p(n):.2g}, not {ALPHA:g}")
    if units.unit == "cell":
        reasons.append("cells are relabelled, as no wells or replicates are known")
    if n_positive < MIN_POSITIVES:
        reasons.append(f"the set has {n_positive} genes here, and the test takes {MIN_POSITIVES}")
    return Check(
        "primary test",
        f"{primary['track']} of {primary['regime']} against {primary['gene_set']}",
        LOOK if reasons else FINE,
        f"{len(units.codes):,} {units.unit}s, {possible:,.6g} relabellings of them",
        f"it cannot come out as supported: {'; '.join(reasons)}" if reasons else "",
        n,
    )


def study_checks(*, obs, genes, totals, labels, splits, vocabulary, columns, sets, **primary):
    """Return the table 'checks', and log each row: a warning where a look is due.

    Parameters
    ----------
    obs : DataFrame, indexed by cell
    genes : Index of str [n_genes]
        Ensembl ids of the study.
    totals : float array [n_genes]
        Counts of each gene.
    labels, splits, vocabulary : DataFrame
        Tables.
    columns : dict {task: column of obs}
    sets : dict {name: table 'gene_set'}
    primary : dict
        ``primary`` (section 'evidence.primary' or None), ``permutations``, ``brought``.
    """
    checks = []
    for task, column in columns.items():
        of_task = labels.set_index("cell")[task]
        obs_of_task = obs.loc[of_task.index]
        checks += class_checks(of_task, obs_of_task)
        checks += split_checks(of_task, splits)
        checks += batch_checks(of_task, obs_of_task, splits, column)
    checks.append(vocabulary_check(genes, totals, vocabulary))
    checks += [set_check(name, table) for name, table in sets.items()]
    if asked := primary.pop("primary"):
        n_positive = int(genes.isin(members_in(sets[asked["gene_set"]])).sum())
        checks.append(primary_check(asked, labels, obs, n_positive=n_positive, **primary))
    for check in checks:
        level = logging.WARNING if check.outcome == LOOK else logging.INFO
        advice = f": {check.advice}" if check.advice else ""
        log.log(level, "%s, %s: %s%s", check.check, check.about, check.found, advice)
    due = sum(check.outcome == LOOK for check in checks)
    log.info("%d checks, %d of which want a look", len(checks), due)
    return pd.DataFrame(checks, columns=Check._fields)
