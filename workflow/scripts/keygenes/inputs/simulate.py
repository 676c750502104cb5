"""A small simulated sci-Plex 2 and a simulated atlas, for the demo and the tests.

No cell of it is real; the genes with names have their real Ensembl ids, so that gene sets and
figures work on them. The model, for cell c and gene g:

    log rate = baseline_g + cell type + programmes + response_g(dose) + well effect,
    share of the cell's counts = rate / sum of rates,
    count ~ negative binomial (mean depth_c x share, gamma shape `GAMMA_SHAPE`),

with depth log-normal, hence cells of different length. The programmes are a few latent factors,
each moving a block of genes together: that is what a masked model can learn from context. One of
them is p53's own activity, so that its targets vary together in untreated cells as well. The
response is a Hill curve, log2 fold change = max x dose^hill / (ec50^hill + dose^hill), and is zero
for ribosomal, mitochondrial and housekeeping genes. It may be that the drug acts in a share of the
cells alone, which no reader can then tell apart better. Genes and their untreated rates
depend on `n_genes` alone: a dose response and an atlas of equal `n_genes` speak of the same genes.
"""

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from keygenes.core.errors import input_error
from keygenes.core.matrices import write_matrix
from keygenes.core.tables import write_table
from keygenes.inputs.genes import (
    HOUSEKEEPING,
    MITOCHONDRIAL,
    P53_INDUCED,
    P53_REPRESSED,
    RIBOSOMAL,
)

TOKENS = ("0", "0.1", "0.5", "1", "5", "10", "50", "100")
UM_PER_TOKEN = 2.5  # Nutlin's factor in sci-Plex 2
SURVIVING = {"50": 0.35, "100": 0.12}  # share of cells left where the drug kills
N_RESPONDERS = 45  # invented genes that respond, besides the named ones
N_PROGRAMMES = 6
N_CELL_TYPES = 5
GENE_SEED = 53
GAMMA_SHAPE = 8.0  # of the counts' overdispersion; infinite would be Poisson
DEPTH_SD = 0.45  # of log depth
WELL_SD = 0.05  # of log rates between wells
P53_SD = 0.12  # of p53's activity between cells, in shares of a full response
FAILED_HASH = 0.05  # share of cells that miss the authors' hash filter
TRUTH_COLUMNS = ("ensembl_id", "symbol", "log2fc_max", "ec50_um", "hill")


def simulate(
    *,
    kind,
    n_genes,
    median_counts,
    seed,
    cells_per_dose=None,
    n_cells=None,
    strength=1.0,
    share_responding=1.0,
    well_sd=WELL_SD,
):
    """Simulate a dataset.

    Parameters
    ----------
    kind : str
        ``dose_response``: scPerturb's layout of sci-Plex 2, Nutlin at all eight doses (six wells
        each, fewer cells where it kills), some cells of Dex, some without a hash, some failing
        the hash filter. ``atlas``: untreated cells of five types, without wells.
    n_genes : int
        All genes; the named ones come first in the parameters, the rest are invented.
    median_counts : float
        Median counts per cell.
    seed : int
        Of the cells; the genes do not depend on it.
    cells_per_dose : int
        Nutlin cells at each dose at which all survive (dose_response only).
    n_cells : int
        Cells in all (atlas only).
    strength : float
        Factor of all log2 fold changes (dose_response only).
    share_responding : float
        Of the treated cells, those in which the drug acts (dose_response only).
    well_sd : float
        Standard deviation of a gene's log rate between wells (dose_response only).

    Returns
    -------
    adata : anndata.AnnData
        X: CSR float32 counts, [n_cells, n_genes].
    truth : pandas.DataFrame
        One row per responding gene: ensembl_id, symbol, log2fc_max, ec50_um (uM), hill. Empty
        for an atlas.

    Raises
    ------
    InputError
        If `kind` is unknown, its number of cells is missing or `n_genes` is too small.
    """
    genes = simulated_genes(n_genes)
    genes["log2fc_max"] *= strength
    rng = np.random.default_rng([seed, {"dose_response": 0, "atlas": 1}.get(kind, 2)])
    needed = {"dose_response": cells_per_dose, "atlas": n_cells}
    if needed.get(kind) is None:
        raise input_error(
            "dataset registry, key 'simulate'",
            found=f"kind {kind!r} without its number of cells"
            if kind in needed
            else f"kind {kind!r}",
            expected="kind 'dose_response' with 'cells_per_dose' or kind 'atlas' with 'n_cells'",
            remedy="correct the entry",
        )
    if kind == "atlas":
        return _atlas(genes, n_cells, median_counts, rng), _truth(genes).iloc[:0]
    cells = _dose_response(genes, cells_per_dose, median_counts, share_responding, well_sd, rng)
    return cells, _truth(genes)


def write_simulation(settings, matrix_path, truth_path):
    """Simulate a dataset and write it: equal settings give equal bytes on one machine.

    Parameters
    ----------
    settings : dict
        Arguments of `simulate`.
    matrix_path : path-like
        h5ad.
    truth_path : path-like
        Parquet, the planted responses.
    """
    adata, truth = simulate(**settings)
    write_matrix(adata, matrix_path)
    write_table(truth, truth_path)


def simulated_genes(n_genes):
    """Return the genes of a simulation and their parameters; a function of `n_genes` alone.

    Returns
    -------
    pandas.DataFrame
        symbol, ensembl_id, kind (induced, repressed, mitochondrial, ribosomal, housekeeping,
        responder, other), log_rate (natural log of the baseline rate), log2fc_max, ec50_um,
        hill (NaN where the gene does not respond), programme (-1 none), loading (natural log
        per unit of the programme), type_0.. (natural log offset in each cell type).
    """
    named = {
        "induced": P53_INDUCED,
        "repressed": P53_REPRESSED,
        "mitochondrial": MITOCHONDRIAL,
        "ribosomal": RIBOSOMAL,
        "housekeeping": HOUSEKEEPING,
    }
    rows = [
        (symbol, ensembl_id, kind)
        for kind, genes in named.items()
        for symbol, ensembl_id in genes.items()
    ]
    smallest = 2 * (len(rows) + N_RESPONDERS)
    if n_genes < smallest:
        raise input_error(
            "dataset registry, key 'simulate: n_genes'",
            found=str(n_genes),
            expected=f"at least {smallest}",
            remedy="ask for more genes",
        )
    n_invented = n_genes - len(rows)
    rows += [
        (f"SIM{i:04d}", f"ENSSIMG{i:011d}", "responder" if i <= N_RESPONDERS else "other")
        for i in range(1, n_invented + 1)
    ]
    genes = pd.DataFrame(rows, columns=["symbol", "ensembl_id", "kind"])
    kind = genes["kind"].to_numpy()
    rng = np.random.default_rng([GENE_SEED, n_genes])

    # Rates relative to the median invented gene; mitochondrial and ribosomal RNA is most of a cell.
    level = {
        "induced": (0.6, 0.5),
        "repressed": (1.4, 0.4),
        "mitochondrial": (2.6, 0.6),
        "ribosomal": (2.0, 0.4),
        "housekeeping": (2.2, 0.5),
        "responder": (0.6, 0.6),
        "other": (0.0, 0.9),
    }
    noise = rng.standard_normal(n_genes)
    genes["log_rate"] = [level[k][0] + level[k][1] * z for k, z in zip(kind, noise, strict=True)]

    n_induced, n_repressed = len(P53_INDUCED), len(P53_REPRESSED)
    maxima = np.full(n_genes, np.nan)
    # The order of the named targets is about the order of their induction.
    maxima[:n_induced] = np.linspace(3.2, 1.2, n_induced)
    maxima[kind == "repressed"] = -np.linspace(2.2, 1.2, n_repressed)
    sizes = rng.uniform(1.2, 2.6, N_RESPONDERS)
    maxima[kind == "responder"] = sizes * np.where(np.arange(N_RESPONDERS) % 2, 1, -1)
    responds = ~np.isnan(maxima)
    genes["log2fc_max"] = maxima
    genes["ec50_um"] = np.where(responds, np.exp(rng.normal(np.log(5.0), 0.8, n_genes)), np.nan)
    genes["hill"] = np.where(responds, 1.6, np.nan)
    # What falls starts higher: else what rises would push every other gene's share down.
    genes.loc[(kind == "responder") & (maxima < 0), "log_rate"] += 0.8

    free = kind == "other"
    programme = np.where(
        free & (rng.random(n_genes) < 0.6), rng.integers(0, N_PROGRAMMES, n_genes), -1
    )
    programme[kind == "ribosomal"] = N_PROGRAMMES
    programme[kind == "mitochondrial"] = N_PROGRAMMES + 1
    genes["programme"] = programme
    signs = rng.choice([-1.0, 1.0], n_genes)
    loading = rng.uniform(0.4, 0.9, n_genes) * signs
    loading[kind == "ribosomal"] = 0.2
    loading[kind == "mitochondrial"] = 0.4
    genes["loading"] = np.where(programme >= 0, loading, 0.0)
    for cell_type in range(N_CELL_TYPES):
        marker = free & (rng.random(n_genes) < 0.12)
        offset = rng.normal(0.8, 0.6, n_genes)
        # The first type is the one of the dose response: the reference.
        genes[f"type_{cell_type}"] = np.where(marker, offset, 0.0) if cell_type else 0.0
    return genes


def hill_response(dose_um, log2fc_max, ec50_um, hill):
    """Return log2 fold changes at doses, zero where a gene does not respond (NaN parameters).

    Parameters
    ----------
    dose_um : ndarray, [n_cells]
        uM.
    log2fc_max, ec50_um, hill : ndarray, [n_genes]

    Returns
    -------
    ndarray of float64, [n_cells, n_genes]
    """
    dose = np.asarray(dose_um, dtype=np.float64)[:, None] ** np.nan_to_num(hill, nan=1.0)
    half = np.nan_to_num(ec50_um, nan=1.0) ** np.nan_to_num(hill, nan=1.0)
    return np.nan_to_num(log2fc_max) * dose / (half + dose)


def _truth(genes):
    responding = genes.loc[genes["log2fc_max"].notna(), list(TRUTH_COLUMNS)]
    return responding.reset_index(drop=True)


def _counts(genes, cell_type, log2fc, wells, median_counts, rng, well_sd=WELL_SD):
    """Draw counts of cells: the model of the module's docstring.

    Parameters
    ----------
    genes : pandas.DataFrame, [n_genes]
    cell_type : ndarray of int, [n_cells]
    log2fc : ndarray, [n_cells, n_genes]
        Response to the drug.
    wells : ndarray of int, [n_cells]
        Wells share an offset per gene.
    median_counts : float or ndarray [n_cells]
    well_sd : float
        Of that offset.

    Returns
    -------
    scipy.sparse.csr_matrix of float32, [n_cells, n_genes]
    """
    n_cells, n_genes = log2fc.shape
    offsets = genes[[f"type_{i}" for i in range(N_CELL_TYPES)]].to_numpy().T
    log_rate = genes["log_rate"].to_numpy() + offsets[cell_type]

    programme, loading = genes["programme"].to_numpy(), genes["loading"].to_numpy()
    loadings = np.zeros((N_PROGRAMMES + 2, n_genes))
    loadings[programme[programme >= 0], np.flatnonzero(programme >= 0)] = loading[programme >= 0]
    log_rate = log_rate + rng.standard_normal((n_cells, N_PROGRAMMES + 2)) @ loadings

    # A cell's p53 activity moves all its targets together, treated or not.
    activity = P53_SD * rng.standard_normal((n_cells, 1))
    response = log2fc + activity * np.nan_to_num(genes["log2fc_max"].to_numpy())
    well_effects = well_sd * rng.standard_normal((wells.max() + 1, n_genes))
    log_rate = log_rate + np.log(2) * response + well_effects[wells]

    rate = np.exp(log_rate)
    depth = median_counts * np.exp(DEPTH_SD * rng.standard_normal(n_cells))
    mean = rate * (depth / rate.sum(axis=1))[:, None]
    counts = rng.poisson(mean * rng.gamma(GAMMA_SHAPE, 1 / GAMMA_SHAPE, mean.shape))
    return sp.csr_matrix(counts.astype(np.float32))


def _atlas(genes, n_cells, median_counts, rng):
    cell_type = rng.integers(0, N_CELL_TYPES, n_cells)
    counts = _counts(
        genes,
        cell_type,
        np.zeros((n_cells, len(genes))),
        np.zeros(n_cells, dtype=int),
        median_counts,
        rng,
    )
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical([f"type_{i + 1}" for i in cell_type]),
            "n_counts": np.asarray(counts.sum(axis=1), dtype=np.float64).ravel(),
        },
        index=[f"atlas_{i:05d}" for i in range(n_cells)],
    )
    var = genes[["ensembl_id", "symbol"]].rename(columns={"symbol": "gene_symbol"})
    var.index = pd.Index(genes["ensembl_id"].to_numpy(), dtype=object)
    return ad.AnnData(X=counts, obs=obs, var=var, uns={"simulated": True})


def _design(cells_per_dose, rng):
    """Return one row per cell of the dose response: drug, token, well and failed, shuffled."""
    rows = []
    # As on the real plates, a drug runs from 100 to 0 along two rows, three times per plate.
    for drug, plate_rows, full in (
        ("Nutlin", "AB", cells_per_dose),
        ("Dex", "CD", max(6, cells_per_dose // 8)),
    ):
        for i, token in enumerate(reversed(TOKENS)):
            wells = [
                f"{plate}{plate_rows[place // 12]}{place % 12 + 1:02d}"
                for plate in "AB"
                for place in range(i, 24, 8)
            ]
            share = SURVIVING.get(token, 1.0) if drug == "Nutlin" else 1.0
            n = max(1, round(full * share))
            rows += [(drug, token, wells[j % len(wells)]) for j in range(n)]
    rows += [("control", None, None)] * max(2, cells_per_dose // 8)
    design = pd.DataFrame(rows, columns=["drug", "token", "well"], dtype=object)
    design["failed"] = rng.random(len(design)) < FAILED_HASH
    return design.iloc[rng.permutation(len(design))].reset_index(drop=True)


def _dose_response(genes, cells_per_dose, median_counts, share_responding, well_sd, rng):
    design = _design(cells_per_dose, rng)
    n_cells = len(design)
    drug, token, well = (design[name].to_numpy() for name in ("drug", "token", "well"))
    treated = drug == "Nutlin"
    dose_um = np.where(treated, [float(t) * UM_PER_TOKEN if t else 0.0 for t in token], 0.0)
    log2fc = hill_response(
        dose_um, *(genes[name].to_numpy() for name in ("log2fc_max", "ec50_um", "hill"))
    )
    if share_responding < 1:
        log2fc *= (rng.random(n_cells) < share_responding)[:, None]
    well_codes = np.unique([w or "" for w in well], return_inverse=True)[1]
    # Dying cells hold less RNA.
    medians = median_counts * np.where(treated & np.isin(token, list(SURVIVING)), 0.7, 1.0)
    cell_types = np.zeros(n_cells, dtype=int)
    counts = _counts(genes, cell_types, log2fc, well_codes, medians, rng, well_sd)

    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    mito = (genes["kind"] == "mitochondrial").to_numpy()
    in_mito = np.asarray(counts[:, mito].sum(axis=1), dtype=np.float64).ravel()
    unhashed = drug == "control"
    failed = design["failed"].to_numpy() | unhashed
    # A failing cell misses one of the three limits of the filter; an unhashed one has no ratio.
    which = np.where(failed, rng.integers(0, 3, n_cells), -1)
    ratio = np.where(
        which == 0, rng.uniform(1.5, 9.5, n_cells), 11 + rng.lognormal(3.2, 0.7, n_cells)
    )
    qval = np.where(which == 1, rng.uniform(0.02, 0.3, n_cells), 1e-9)
    umis = np.where(which == 2, rng.integers(3, 30, n_cells), rng.integers(60, 900, n_cells))
    obs = pd.DataFrame(
        {
            "perturbation": pd.Categorical(drug),
            "dose_value": pd.Categorical(token, categories=sorted(TOKENS)),
            "top_oligo": pd.Categorical(
                [
                    None if u else f"{d}_{t}_{w}"
                    for d, t, w, u in zip(drug, token, well, unhashed, strict=True)
                ]
            ),
            "ncounts": totals,
            "ngenes": np.diff(counts.indptr).astype(np.int64),
            "well": pd.Categorical(well),
            "celltype": pd.Categorical(["alveolar basal epithelial cells"] * n_cells),
            "cell_line": pd.Categorical(["A549"] * n_cells),
            "cancer": True,
            "disease": pd.Categorical(["lung adenocarcinoma"] * n_cells),
            "tissue_type": pd.Categorical(["cell_line"] * n_cells),
            "organism": pd.Categorical(["human"] * n_cells),
            "perturbation_type": pd.Categorical(["drug"] * n_cells),
            "top_to_second_best_ratio": np.where(unhashed, np.nan, ratio),
            "hash_umis": umis.astype(np.float64),
            "qval_demultiplexing": qval,
            "pval_demultiplexing": qval / 10,
            "nperts": np.where(unhashed, 0, 1),
            "percent_mito": 100 * in_mito / np.maximum(totals, 1),
        },
        index=[f"sim_{i:05d}" for i in range(n_cells)],
    )
    var = pd.DataFrame(
        {"ensembl_id": genes["ensembl_id"].to_numpy()},
        index=pd.Index(genes["symbol"].to_numpy(), name="gene_symbol", dtype=object),
    )
    return ad.AnnData(X=counts, obs=obs, var=var, uns={"simulated": True})
