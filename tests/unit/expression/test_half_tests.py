import numpy as np
import pandas as pd
from scipy import sparse

from keygenes.core.schemas import TABLES
from keygenes.expression.halves import compare_halves
from keygenes.expression.wilcoxon import Counted, rank_genes


def test_a_half_is_tested_as_if_it_were_all():
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(2.0, (48, 20)))
    n_counts = np.full(48, 50.0)
    labels = pd.Categorical(np.repeat(["high", "low"], 24), ["low", "high"])
    halves = np.resize(np.array(["a", "b", "b", None], object), 48)
    ids = [f"g{j:02d}" for j in range(20)]
    found = compare_halves(
        Counted(counts, n_counts, ids, ids), labels, halves, task="level", pseudocount=1.0
    )
    assert list(found.columns) == TABLES["half_tests"].names
    assert found.groupby(["half", "group"], observed=True).size().tolist() == [20] * 4
    part = halves == "b"
    alone = rank_genes(
        Counted(counts[part], n_counts[part], ids, ids),
        *(labels[part], np.zeros(part.sum(), bool)),
        task="level",
        pseudocount=1.0,
    )
    ours = found[(found["half"] == "b") & (found["group"] == "high")].set_index("ensembl_id")
    alone = alone[alone["group"] == "high"].set_index("ensembl_id").loc[ours.index]
    np.testing.assert_allclose(ours["statistic"], alone["statistic"])
    np.testing.assert_allclose(ours["p_adj"], alone["p_adj"])


def test_a_half_without_one_side_is_not_tested():
    counts = sparse.csr_matrix(np.ones((4, 3)))
    frame = compare_halves(
        Counted(counts, np.full(4, 3.0), ["g0", "g1", "g2"], ["g0", "g1", "g2"]),
        *(["x", "x", "x", "y"], np.array(list("aabb"), object)),
        task="t",
        pseudocount=1.0,
    )
    assert set(frame["half"]) == {"b"}
