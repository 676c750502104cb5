"""What can be said of a study before anything trains: its classes, splits, batches, sets and test.

Nothing here stops a study; what is not there (a column, a value, a class) is refused where cells
are selected and labelled.
"""

import logging
from typing import NamedTuple

import numpy as np
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
MANY = 1_000_000  # relabellings, beyond which nobody counts


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
        What it rests on: cells that have a class (class, split, batch), genes (vocabulary, gene
        set), or relabellings (primary test).
    """

    check: str
    about: str
    outcome: str
    found: str
    advice: str
    n: int


def _several(n, noun):
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


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
            few, found = units < 2, f"{found} in {_several(units, column)}"
        advice = f"an interval takes two {column}s of each class" if few else ""
        yield Check("class", f"{labels.name}: {name}", LOOK if few else FINE, found, advice, n)


def split_checks(labels, splits):
    """Yield a check per fold, that every class is trained on and tested, and one of split cells.

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
        train, test = (f"{table[split].sum():,} cells" for split in ("train", "test"))
        found = "; ".join([f"{train} to train, {test} to test", *lacking])
        advice = "hold out replicates that have every class, or set split.by: random"
        outcome, n = LOOK if lacking else FINE, int(classes[rows.index].notna().sum())
        about = f"{labels.name}, fold {fold}"
        yield Check("split", about, outcome, found, advice if lacking else "", n)
    if (splits["unit"] == "cell").all():
        yield Check(
            "split",
            labels.name,
            LOOK,
            "cells are split one by one",
            "cells that were handled together are on both sides, so that the accuracy may be too "
            "high: map 'columns: replicate:' (plates, batches or donors) if you know it",
            int(labels.notna().sum()),
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
        said = f"{found.n_batches} values, which tell {found.gain:.0%} of the class"
        advice = ""
        if found.single:
            said += f"; {', '.join(found.single)} in one value alone"
            advice = (
                f"these classes cannot be told from '{name}': take cells that were handled together"
            )
        elif found.gathered:
            said += "".join(
                f"; of {about}, {share:.0%} of the cells are in '{batch}', and {others:.0%} of the "
                "other cells"
                for about, batch, share, others in found.gathered
            )
            advice = f"a model may learn '{name}' for the class: take cells of every class from it"
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
        f"{known.sum():,} of the study's {len(known):,} genes are in it, with {share:.0%} of their "
        "counts",
        "check species and gene ids, or take the model of another vocabulary" if few else "",
        len(known),
    )


def set_check(name, table, genes):
    """Return the check of a gene set: how many of its genes the data have, and the study.

    Parameters
    ----------
    name : str
    table : table 'gene_set'
    genes : Index of str [n_genes]
        Ensembl ids of the study.
    """
    counts = set_counts(table)
    said = {"of several genes": "ambiguous", "unknown": "unknown"}
    lost = [f"{counts[key]:,} {what}" for what, key in said.items() if counts[key]]
    n_selected = int(genes.isin(members_in(table)).sum())
    found = f"{counts['matched']:,} of {counts['listed']:,} genes are in the data"
    selected = f"{n_selected:,} of these among the study's genes (section 'select')"
    advice = ""
    if is_partial(counts):
        advice = (
            "check species, ids and symbols of the set; what is found speaks for these genes alone"
        )
    elif 2 * n_selected < counts["listed"]:
        advice = "keep more genes: select.highly_variable_genes: null, a lower min_cells_per_gene"
    outcome = LOOK if advice else FINE
    found = ", ".join([found, *lost, selected])
    return Check("gene set", name, outcome, found, advice, counts["listed"])


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
    many = possible > MANY
    relabellings = f"over {MANY:,} relabellings" if many else _several(possible, "relabelling")
    reasons = []
    if brought:
        reasons.append(f"'{primary['regime']}' was fine-tuned elsewhere and cannot be retrained")
    if n < FEWEST:
        lowest = f"no p is below {smallest_p(n):.2g}, and {ALPHA:g} counts"
        reasons.append(f"{_several(n, 'relabelling')}: {lowest}")
    if units.unit == "cell":
        within = ", within each replicate" if len(units.blocks) > 1 else ""
        reasons.append(
            f"no wells are known, so single cells are relabelled{within}, which is inconclusive "
            "at most: map 'columns: well:' if you know what was handled together"
        )
    if n_positive < MIN_POSITIVES:
        reasons.append(f"the set has {n_positive} genes here, and the test takes {MIN_POSITIVES}")
    return Check(
        "primary test",
        f"{primary['track']} of {primary['regime']} against {primary['gene_set']}",
        LOOK if reasons else FINE,
        f"{_several(len(units.codes), units.unit)}, with {relabellings}",
        f"it cannot come out as supported: {'; '.join(reasons)}" if reasons else "",
        n,
    )


def study_checks(counts, labels, splits, vocabulary, *, columns, sets, **primary):
    """Return the table 'checks', and log each row: a warning where a look is due.

    Parameters
    ----------
    counts : AnnData
        The study's cells and genes, raw counts.
    labels, splits, vocabulary : DataFrame
        Tables.
    columns : dict {task: column of obs}
    sets : dict {name: table 'gene_set'}
    primary : dict
        ``primary`` (section 'evidence.primary' or None), ``permutations``, ``brought``.
    """
    checks, obs, genes = [], counts.obs, counts.var_names
    totals = np.asarray(counts.X.sum(axis=0, dtype=float)).ravel()
    for task, column in columns.items():
        of_task = labels.set_index("cell")[task]
        obs_of_task = obs.loc[of_task.index]
        checks += class_checks(of_task, obs_of_task)
        checks += split_checks(of_task, splits)
        checks += batch_checks(of_task, obs_of_task, splits, column)
    checks.append(vocabulary_check(genes, totals, vocabulary))
    checks += [set_check(name, table, genes) for name, table in sets.items()]
    if asked := primary.pop("primary"):
        n_positive = int(genes.isin(members_in(sets[asked["gene_set"]])).sum())
        checks.append(primary_check(asked, labels, obs, n_positive=n_positive, **primary))
    for check in sorted(checks, key=lambda check: check.outcome == LOOK):  # those at the end
        level = logging.WARNING if check.outcome == LOOK else logging.INFO
        advice = f": {check.advice}" if check.advice else ""
        values = check.outcome, check.check, check.about, check.found, advice
        log.log(level, "%s: %s, %s: %s%s", *values)
    due = sum(check.outcome == LOOK for check in checks)
    log.info("%d checks, %d of which want a look", len(checks), due)
    return pd.DataFrame(checks, columns=Check._fields)
