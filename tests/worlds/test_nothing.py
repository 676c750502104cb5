"""Classes dealt to the wells at random: no track may find genes more often than it says."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from world_study import EVERY, run_world

from keygenes.core.matrices import read_matrix
from keygenes.core.tables import read_table
from keygenes.evidence.tracks import expression_tests
from keygenes.expression.pseudobulk import pseudobulk

N_SEEDS, AT_MOST = 20, 4
FOLDS = {"n_replicates": 4, "n_folds": 4}


def expression_track(paths):
    """Return the track 'pseudobulk' of a world: the baseline that has a q."""
    cells = read_matrix(paths["counts"])
    labels = read_table(paths["labels"]).set_index("cell").loc[cells.obs_names, "level"]
    tests = pseudobulk(
        sp.csr_matrix(cells.X),
        cells.obs["well"],
        labels,
        (cells.obs["dose_um"] == 0).to_numpy(),
        cells.var_names,
        cells.var["symbol"].to_numpy(),
        task="level",
    )
    sizes = labels.astype(str).value_counts().to_dict()
    return expression_tests("pseudobulk", tests, n_cells=sizes)


def pooled_rate(found, n_draws=2000):
    """Return rate and 95 % bootstrap interval over seeds of a bool table [n_seeds, n_tracks].

    Tracks of one world are not independent, so whole worlds are drawn.
    """
    of_seeds = found.mean(axis=1).to_numpy()
    rng = np.random.default_rng(0)
    draws = of_seeds[rng.integers(len(of_seeds), size=(n_draws, len(of_seeds)))].mean(axis=1)
    return of_seeds.mean(), *np.quantile(draws, [0.025, 0.975])


@pytest.mark.slow
def test_no_track_finds_genes_where_there_are_none(tmp_path, capsys):
    rows = {}
    for seed in range(N_SEEDS):
        frame, _, paths = run_world(
            tmp_path / f"world{seed}",
            "nothing",
            seed=seed,
            tracks=EVERY,
            costly_cells=16,
            options={"epochs": 6},
            **FOLDS,
        )
        frame = pd.concat([frame, expression_track(paths)]).astype({"track": str})
        tested = frame[frame["q"].notna()]
        rows[seed] = (tested["q"] < 0.05).groupby(tested["track"]).any()
    found = pd.DataFrame(rows).T
    assert found.notna().all().all(), "a track without a test"
    found = found.astype(bool)
    rate, low, high = pooled_rate(found)
    with capsys.disabled():
        print(f"\nWorlds of {N_SEEDS} with any gene at q < 0.05, by track")
        print(found.sum().sort_values().to_string())
        print(f"pooled rate {rate:.3f} (95 % interval {low:.3f} to {high:.3f})")
    assert set(found) >= {*EVERY, "pseudobulk"}
    assert (found.sum() <= AT_MOST).all()
    assert low <= 0.05
