import pandas as pd

from keygenes.cells.halves import halves_of_cells, halves_of_wells


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
