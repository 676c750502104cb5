"""Differential expression with the well as the unit: counts summed per well, then DESeq2.

One negative binomial model per task has a mean for every group of wells (the class, its untreated
wells apart), and every comparison is a Wald test of a contrast of these means (Love et al. 2014,
in the Python of Muzellec et al. 2023). Wells of a class may differ in dose, so no count is called
an outlier (Cook's distance): the highest dose would be, wherever a gene responds to it.
"""

import logging
import warnings

import numpy as np
import pandas as pd
from pydeseq2.dds import DeseqDataSet
from pydeseq2.ds import DeseqStats
from scipy import sparse
from scipy.stats import false_discovery_control

from keygenes.core.schemas import TABLES
from keygenes.expression.sides import REST, VEHICLE, class_codes

log = logging.getLogger("keygenes")

MIN_COUNTS = 10  # over all wells: with fewer nothing can be said, and the fit takes as long


def well_sums(counts, wells, codes, vehicle):
    """Return the counts summed over the cells of each well, class by class.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix [n_cells, n_genes]
        Raw counts.
    wells : sequence [n_cells]
        Missing: the cell is left out.
    codes : int array [n_cells]
        Class; negative: none.
    vehicle : bool array [n_cells]

    Returns
    -------
    sums : int array [n_samples, n_genes]
    samples : DataFrame [n_samples]
        code (-1: untreated wells of no class), vehicle, well; sorted.
    """
    frame = pd.DataFrame({"code": codes, "vehicle": vehicle, "well": np.asarray(wells, object)})
    kept = (frame["well"].notna() & ((frame["code"] >= 0) | frame["vehicle"])).to_numpy()
    frame = frame[kept].astype({"well": str})
    groups = frame.groupby(["code", "vehicle", "well"])
    number = groups.ngroup().to_numpy()
    samples = groups.size().reset_index()[["code", "vehicle", "well"]]
    member = sparse.csr_matrix(
        (np.ones(len(number)), (number, np.arange(len(number)))), (len(samples), len(number))
    )
    sums = (member @ sparse.csr_matrix(counts)[kept]).toarray()
    return np.rint(sums).astype(np.int64), samples


def comparisons(samples, n_classes):
    """Return the sides of every comparison that has two wells on each.

    Returns
    -------
    list of (int, str, bool array [n_samples], bool array [n_samples])
        Class, reference (rest or vehicle), which samples are the class's, and the reference's.
    """
    code, vehicle = samples["code"].to_numpy(), samples["vehicle"].to_numpy()
    sides = [
        (one, *rest)
        for one in range(n_classes)
        for rest in (
            (REST, code == one, (code >= 0) & (code != one)),
            (VEHICLE, (code == one) & ~vehicle, vehicle),
        )
    ]
    return [side for side in sides if side[2].sum() >= 2 and side[3].sum() >= 2]


def fit(sums, groups):
    """Return DESeq2's model of wells with a mean per group of wells, and its design.

    Parameters
    ----------
    sums : int array [n_samples, n_genes]
    groups : int array [n_samples]
        From 0, none empty.
    """
    names = [f"s{i}" for i in range(len(groups))]
    design = pd.DataFrame(
        np.eye(groups.max() + 1)[groups], index=names, columns=[f"g{i}" for i in np.unique(groups)]
    )
    some_gene_everywhere = (sums > 0).all(axis=0).any()
    model = DeseqDataSet(
        counts=pd.DataFrame(sums, index=names),
        metadata=pd.DataFrame({"group": groups.astype(str)}, index=names),
        design=design,
        size_factors_fit_type="ratio" if some_gene_everywhere else "poscounts",
        refit_cooks=False,
        n_cpus=1,
        quiet=True,
    )
    model.deseq2()
    return model


def pseudobulk(counts, wells, labels, vehicle, ensembl_ids, symbols, *, task):
    """Test every gene of every class against the rest of the task and against vehicle, by wells.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix [n_cells, n_genes]
        Raw counts.
    wells : sequence [n_cells], or None
        None: the cells have no wells.
    labels : sequence [n_cells]
        Class of each cell; None or NaN: not in the task. A categorical keeps its order.
    vehicle : bool array [n_cells]
        Untreated cells, in the task or not.
    ensembl_ids, symbols : sequences of str [n_genes]
    task : str

    Returns
    -------
    pandas.DataFrame
        Schema "pseudobulk". statistic: Wald, positive where the class is higher. log2fc: of the
        means of wells, each well of a side with the same weight. Genes with fewer than
        `MIN_COUNTS` counts in all are left out. Empty, and the log says so, where no comparison
        has two wells on both sides.
    """
    names, codes = class_codes(labels)
    columns = TABLES["pseudobulk"].names
    sides = []
    if wells is not None:
        sums, samples = well_sums(counts, wells, codes, np.asarray(vehicle, bool))
        sides = comparisons(samples, len(names))
    if not sides:
        log.info("task %s: no class with two wells on both sides, so no test by wells", task)
        return pd.DataFrame(columns=columns)
    tested = np.flatnonzero(sums.sum(axis=0) >= MIN_COUNTS)
    groups = samples.groupby(["code", "vehicle"]).ngroup().to_numpy()
    with warnings.catch_warnings():  # it warns of every gene whose fit takes another way
        warnings.simplefilter("ignore")
        model = fit(sums[:, tested], groups)
        tests = [_contrast(model, groups, own, other) for _, _, own, other in sides]
    ids, symbols = np.asarray(ensembl_ids, str)[tested], np.asarray(symbols, str)[tested]
    frames = []
    for (code, reference, own, other), frame in zip(sides, tests, strict=True):
        order = np.lexsort((ids, -frame["statistic"].abs().fillna(0), frame["p"].fillna(1)))
        frame = frame.assign(
            task=task,
            group=names[code],
            reference=reference,
            ensembl_id=ids,
            symbol=symbols,
            base_mean=model.var["_normed_means"].to_numpy(),
            n_wells=int(own.sum()),
            n_reference=int(other.sum()),
        )
        frames.append(frame.iloc[order])
    log.info("task %s: %d wells, %d genes tested", task, len(samples), len(tested))
    return pd.concat(frames, ignore_index=True)[columns]


def _contrast(model, groups, own, other):
    """Return statistic, log2fc, p and p_adj of one side's mean against the other's."""
    weights = [np.bincount(groups[side], minlength=groups.max() + 1) for side in (own, other)]
    difference = weights[0] / own.sum() - weights[1] / other.sum()
    test = DeseqStats(
        model, difference, cooks_filter=False, independent_filter=False, n_cpus=1, quiet=True
    )
    test.run_wald_test()
    p = test.p_values.to_numpy()
    p_adj = np.full(len(p), np.nan)
    known = ~np.isnan(p)
    p_adj[known] = false_discovery_control(p[known])
    return pd.DataFrame(
        {
            "statistic": test.statistics.to_numpy(),
            "log2fc": model.varm["LFC"].to_numpy() @ difference / np.log(2),
            "p": p,
            "p_adj": p_adj,
        }
    )
