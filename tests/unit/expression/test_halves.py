import numpy as np
import pandas as pd
from scipy import sparse

from keygenes.core.tables import TABLES
from keygenes.expression.halves import compare_halves, halves_of_cells, halves_of_wells
from keygenes.expression.wilcoxon import rank_genes


def plate(doses=(0.0, 25.0), replicates=6, cells=4):
    rows = [
        {"well": f"W{dose:g}_{replicate}", "replicate": str(replicate), "dose_um": dose}
        for dose in doses
        for replicate in range(1, replicates + 1)
        for _ in range(cells)
    ]
    return pd.DataFrame(rows, index=[f"c{i}" for i in range(len(rows))])


def test_odd_and_even_replicates_of_every_dose():
    obs = plate()
    halves = halves_of_wells(obs, obs["dose_um"])
    assert sorted(halves.index[halves == "a"]) == [
        *("W0_1", "W0_3", "W0_5", "W25_1", "W25_3", "W25_5")
    ]
    shuffled = obs.sample(frac=1, random_state=1)
    again = halves_of_wells(shuffled, shuffled["dose_um"])
    assert again.to_dict() == halves.to_dict(), "the order of the cells does not matter"


def test_replicate_ten_comes_after_nine_and_odd_numbers_of_wells_even_out():
    obs = plate((0.0,), 10)
    assert halves_of_wells(obs, obs["dose_um"])["W0_10"] == "b"
    obs = plate((0.0, 1.0, 2.0, 3.0), 3)
    assert halves_of_wells(obs, obs["dose_um"]).value_counts().to_dict() == {"a": 6, "b": 6}


def test_cells_follow_their_well_and_without_wells_a_seeded_draw():
    obs = plate()
    of_wells = halves_of_cells(obs, obs["dose_um"])
    assert obs.assign(half=of_wells).groupby("well")["half"].nunique().eq(1).all()
    obs.loc["c0", "well"] = None
    assert halves_of_cells(obs, obs["dose_um"])[0] is None
    bare = obs.drop(columns=["well", "replicate"])
    drawn = halves_of_cells(bare, bare["dose_um"])
    assert drawn.tolist() == halves_of_cells(bare, bare["dose_um"]).tolist()
    counts = pd.crosstab(bare["dose_um"], drawn)
    assert counts.to_numpy().tolist() == [[12, 12], [12, 12]], "half of each dose"
    assert drawn.tolist() != halves_of_cells(bare, bare["dose_um"], seed=1).tolist()


def test_a_half_is_tested_as_if_it_were_all():
    obs = plate()
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(2.0, (len(obs), 20)))
    n_counts = np.full(len(obs), 50.0)
    labels = pd.Categorical(np.where(obs["dose_um"] > 0, "high", "low"), ["low", "high"])
    halves = halves_of_cells(obs, obs["dose_um"])
    ids = [f"g{j:02d}" for j in range(20)]
    found = compare_halves(
        counts, n_counts, labels, halves, ids, ids, task="level", pseudocount=1.0
    )
    assert list(found.columns) == TABLES["half_tests"].names
    assert found.groupby(["half", "group"], observed=True).size().tolist() == [20] * 4
    part = halves == "b"
    alone = rank_genes(
        *(counts[part], n_counts[part], labels[part], np.zeros(part.sum(), bool), ids, ids),
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
        *(counts, np.full(4, 3.0), ["x", "x", "x", "y"], np.array(list("aabb"), object)),
        *(["g0", "g1", "g2"], ["g0", "g1", "g2"]),
        task="t",
        pseudocount=1.0,
    )
    assert set(frame["half"]) == {"b"}
