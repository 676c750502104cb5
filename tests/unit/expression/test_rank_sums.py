import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from keygenes.cells.normalise import counts_per_10k
from keygenes.cells.relabel import relabellings, units_of
from keygenes.expression.rank_sums import strongest_z, unit_rank_sums
from keygenes.expression.wilcoxon import Counted, rank_genes


@pytest.fixture(params=[2, 3])
def study(request):
    """Counts with ties, zeros and an empty gene, in 12 wells of `request.param` classes."""
    rng = np.random.default_rng(5)
    n_cells, n_classes = 240, request.param
    well = np.repeat(np.arange(12), n_cells // 12)
    counts = rng.poisson(rng.gamma(1.0, 1.0, 30), (n_cells, 30)) * (rng.random(30) > 0.1)
    counts[:, 0] = 0
    obs = pd.DataFrame(
        {
            "well": [f"W{w:02d}" for w in well],
            "replicate": [f"R{w // 6}" for w in well],
            "n_counts": counts.sum(1).astype(float) + 1,
        },
        index=[f"c{i}" for i in range(n_cells)],
    )
    return sparse.csr_matrix(counts), obs, well % n_classes


def table_scores(counts, obs, codes):
    """|z| of every gene's strongest class, of the table that the workflow makes."""
    genes = np.array([f"G{i:02d}" for i in range(counts.shape[1])])
    labels = pd.Categorical.from_codes(codes, [f"k{c}" for c in range(codes.max() + 1)])
    table = rank_genes(
        Counted(counts, obs["n_counts"].to_numpy(), genes, genes),
        *(labels, np.zeros(len(codes), bool)),
        task="t",
        pseudocount=1.0,
    )
    rest = table[table["reference"] == "rest"]
    return rest.assign(z=rest["statistic"].abs()).groupby("ensembl_id")["z"].max()


def test_scores_under_every_relabelling_are_those_of_the_table(study):
    counts, obs, codes = study
    units = units_of(codes, obs)
    sums = unit_rank_sums(counts_per_10k(counts, obs["n_counts"]), units.of_cell)
    classes = np.stack([units.codes, *relabellings(units, 5)])
    sizes = np.bincount(units.of_cell)
    for of_units, z in zip(classes, strongest_z(*sums, sizes, classes), strict=True):
        expected = table_scores(counts, obs, of_units[units.of_cell])
        np.testing.assert_allclose(z, expected.to_numpy(), rtol=1e-9, atol=1e-9)
