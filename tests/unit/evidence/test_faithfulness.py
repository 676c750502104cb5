import numpy as np
import pandas as pd
import pytest
import scipy.stats

from keygenes.core.schemas import TABLES
from keygenes.evidence.collected import collect_faithfulness, logit_ranges
from keygenes.evidence.faithfulness import (
    cell_faithfulness,
    masked_variants,
    matched_sets,
    numbers_masked,
    rank_bins,
)
from keygenes.evidence.orders import OF_RANKS, ordered

MASK, N = 1, 100
CELL = np.arange(2, 2 + N)
FRACTIONS = [0.01, 0.1]


def one_gene_decides(cells):
    """F is 5 where gene 52 stands in the cell (at position 50), else 1."""
    return np.where((np.asarray(cells) == 52).any(1), 5.0, 1.0)


def table_of(value, orders, genes=None, cell=CELL, n_random=20, **options):
    genes = np.arange(len(cell)) if genes is None else genes
    table = cell_faithfulness(
        value,
        cell,
        genes,
        orders,
        {"fractions": options.pop("fractions", FRACTIONS), "n_random": n_random},
        mask_token=MASK,
        rng=np.random.default_rng(0),
    )
    return table.set_index(["order", "metric", "fraction"])


def test_where_one_gene_decides_masking_it_removes_everything():
    best = np.concatenate([[50], np.delete(np.arange(N), 50)])
    table = table_of(one_gene_decides, {"best": best, "worst": best[::-1]})
    for fraction in FRACTIONS:
        assert table.loc[("best", "comprehensiveness", fraction), "value"] == 4
        assert table.loc[("best", "sufficiency", fraction), "value"] == 0
        assert table.loc[("worst", "comprehensiveness", fraction), "value"] == 0
        assert table.loc[("worst", "sufficiency", fraction), "value"] == 4
    aopc = table[table.index.get_level_values("fraction").isna()]["value"].droplevel("fraction")
    assert aopc["best", "comprehensiveness"] == 4
    assert aopc["worst", "comprehensiveness"] == 0


def test_matched_genes_come_from_the_same_ranks():
    """One of the 5 genes of its rank bin is drawn: the gene in 1 of 5 draws."""
    best = np.concatenate([[50], np.delete(np.arange(N), 50)])
    table = table_of(one_gene_decides, {"best": best}, n_random=2000, fractions=[0.01])
    matched = table.loc[("best", "comprehensiveness", 0.01), "matched"]
    assert matched == pytest.approx(4 / 5, abs=0.15)
    anywhere = table.loc[("random", "comprehensiveness", 0.01), "value"]
    assert anywhere == pytest.approx(4 / 100, abs=0.03)
    assert np.isnan(table.loc[("random", "comprehensiveness", 0.01), "matched"])


def test_an_order_by_rank_would_gain_nothing_once_its_bins_are_full_so_it_has_no_match():
    def value(cells):  # every gene counts, the first ones most
        return ((np.asarray(cells) != MASK) / np.arange(1, N + 1)).sum(1)

    table = table_of(value, {name: np.arange(N) for name in ("by_rank", OF_RANKS)}, fractions=[0.1])
    for metric in ("comprehensiveness", "sufficiency"):
        row = table.loc[("by_rank", metric, 0.1)]
        assert row["value"] == pytest.approx(row["matched"])
        assert np.isnan(table.loc[(OF_RANKS, metric, 0.1), "matched"])
        assert row["value"] > 0


def test_the_sign_of_the_answer_is_what_counts():
    best = np.concatenate([[50], np.delete(np.arange(N), 50)])
    table = table_of(lambda cells: -one_gene_decides(cells), {"best": best})
    assert table.loc[("best", "comprehensiveness", 0.01), "value"] == 4


def test_positions_that_may_not_be_masked_stay():
    cell = np.array([9, 5, 6, 7])
    variants = masked_variants(cell, np.array([1, 2, 3]), [np.array([0]), np.array([2, 0])], MASK)
    assert variants.tolist() == [
        [[9, MASK, 6, 7], [9, MASK, 6, MASK]],
        [[9, 5, MASK, MASK], [9, 5, MASK, 7]],
    ]


def test_at_least_one_gene_is_masked_and_shares_round_up():
    assert numbers_masked([0.01, 0.1, 0.15], 30) == [1, 3, 5]
    assert numbers_masked([0.02], 1) == [1]


def test_orders_put_missing_scores_last_and_ties_by_rank():
    assert ordered([1.0, np.nan, 3.0, 1.0]).tolist() == [2, 0, 3, 1]


def test_rank_bins_hold_five_genes_or_more():
    for n in (1, 4, 7, 12, 99, 100, 683):
        bins = rank_bins(n)
        assert len(bins) == n
        assert (np.diff(bins) >= 0).all()
        assert n < 5 or np.bincount(bins).min() >= 5
    assert rank_bins(683).max() == 19


def test_matched_sets_have_the_bins_of_the_order_and_grow():
    order = np.random.default_rng(1).permutation(60)
    sets = matched_sets(order, [1, 7, 20], np.random.default_rng(2))
    bins = rank_bins(60)
    for k, drawn in zip([1, 7, 20], sets, strict=True):
        assert len(np.unique(drawn)) == k
        assert (
            np.bincount(bins[drawn]) == np.bincount(bins[order[:k]])[: bins[drawn].max() + 1]
        ).all()
    assert set(sets[0]) <= set(sets[1]) <= set(sets[2])


def test_equal_seeds_draw_equal_genes():
    orders = {"best": np.arange(N)[::-1]}
    pd.testing.assert_frame_equal(
        table_of(one_gene_decides, orders, n_random=3),
        table_of(one_gene_decides, orders, n_random=3),
    )


def units_of(n_cells, per_well=5):
    index = [f"c{i}" for i in range(n_cells)]
    wells = [f"W{i // per_well}" for i in range(n_cells)]
    strata = [str(i // per_well % 2) for i in range(n_cells)]
    return pd.DataFrame({"unit_id": wells, "stratum": strata, "is_well": True}, index=index)


def runs_of(values, matched, n_folds=2):
    """Return tables 'cell_faithfulness' and 'attributed_cells' of the folds of one seed."""
    frame = pd.DataFrame(
        {
            "cell": [f"c{i}" for i in range(len(values))],
            "order": "occlusion",
            "metric": "comprehensiveness",
            "fraction": np.nan,
            "value": values,
            "matched": matched,
        }
    )
    parts = np.array_split(np.arange(len(values)), n_folds)
    runs = {("full", fold + 1, 1): frame.iloc[at] for fold, at in enumerate(parts)}
    # F from 0 to 10 in every fold, in two tracks
    cells = {
        run: pd.concat(
            t[["cell"]].assign(track=track, contrast=np.linspace(0, 10, len(t)))
            for track in ("occlusion", "rollout")
        )
        for run, t in runs.items()
    }
    return runs, cells


def test_cells_of_all_folds_are_pooled_and_wells_left_out():
    rng = np.random.default_rng(0)
    well = np.repeat(rng.normal(1, 0.5, 12), 5)
    values = well + rng.normal(0, 0.01, 60)
    found = collect_faithfulness(*runs_of(values, well), units_of(60))
    assert set(found.columns) == set(TABLES["faithfulness"].names)
    (row,) = found.itertuples()
    assert row.value == pytest.approx(values.mean())
    assert row.gain == pytest.approx((values - well).mean())
    assert (row.n_cells, row.n_wells) == (60, 12)
    # the wells differ, not the cells of a well: 12 values in 2 doses carry the interval
    of_wells = values.reshape(12, 5).mean(1).reshape(6, 2)
    half = scipy.stats.t.ppf(0.975, 9.5) * np.sqrt((of_wells.var(0, ddof=1) / 6).sum() / 4)
    assert (row.ci_high - row.ci_low) / 2 == pytest.approx(half, rel=0.1)
    assert row.gain_high - row.gain_low < 0.02


def test_a_gain_is_also_in_units_of_the_models_own_range():
    runs, cells = runs_of(np.full(60, 3.0), np.full(60, 1.0))
    runs["small", 1, 1] = runs["full", 1, 1].assign(value=0.3, matched=0.1)
    cells["small", 1, 1] = cells["full", 1, 1].assign(contrast=cells["full", 1, 1]["contrast"] / 10)
    runs["flat", 1, 1] = runs["small", 1, 1]
    cells["flat", 1, 1] = cells["small", 1, 1].assign(contrast=0.5)
    found = collect_faithfulness(runs, cells, units_of(60)).set_index("regime")
    assert found.loc["full", "gain"] == pytest.approx(2)
    assert found.loc["full", "gain_scaled"] == pytest.approx(2 / 9)
    assert found.loc["small", "gain_scaled"] == pytest.approx(2 / 9)
    assert np.isnan(found.loc["flat", "gain_scaled"]), "logits without a range"
    assert found.loc["flat", "gain"] == pytest.approx(0.2)


def test_a_range_leaves_out_the_outermost_cells():
    contrast = np.r_[np.linspace(0, 1, 99), 1000.0]
    cells = pd.DataFrame({"fold": 1, "seed": 1, "cell": np.arange(100), "contrast": contrast})
    assert logit_ranges(cells).item() == pytest.approx(0.9, abs=0.02)


def test_trainings_that_differ_widen_the_interval_and_a_cell_stays_one():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(1, 0.1, 12), 5)
    runs, cells = runs_of(values, np.zeros(60))
    alone = collect_faithfulness(runs, cells, units_of(60)).iloc[0]
    for (_, fold, _), change in zip(list(runs), (0.5, -0.4), strict=True):
        table = runs["full", fold, 1]
        runs["full", fold, 2] = table.assign(value=table["value"] + change)
        cells["full", fold, 2] = cells["full", fold, 1]
    found = collect_faithfulness(runs, cells, units_of(60)).iloc[0]
    assert found["value"] == pytest.approx(values.mean() + 0.025)
    assert (found["n_cells"], found["n_wells"]) == (60, 12)
    assert found["ci_high"] - found["ci_low"] > 2 * (alone["ci_high"] - alone["ci_low"])


def test_rejected_cells_are_not_counted():
    values = np.where(np.arange(60) % 3 == 0, np.nan, 1.0)
    found = collect_faithfulness(*runs_of(values, np.zeros(60)), units_of(60))
    assert found["n_cells"].item() == 40
    assert found["value"].item() == found["gain_low"].item() == 1


def test_one_well_has_no_interval_and_cells_without_wells_have_no_number_of_wells():
    found = collect_faithfulness(*runs_of(np.ones(5), np.zeros(5)), units_of(5))
    assert found["n_wells"].item() == 1
    assert np.isnan(found["ci_low"].item())
    units = units_of(5, per_well=1).assign(is_well=False)
    found = collect_faithfulness(*runs_of(np.ones(5), np.zeros(5)), units)
    assert found["n_wells"].isna().item()
    assert found["ci_low"].item() == 1


def test_an_order_without_a_match_has_a_value_but_no_gain():
    found = collect_faithfulness(*runs_of(np.ones(60), np.full(60, np.nan)), units_of(60)).iloc[0]
    assert (found["value"], found["ci_low"], found["n_cells"]) == (1, 1, 60)
    assert found[["gain", "gain_low", "gain_scaled"]].isna().all()


def test_runs_without_a_row_give_an_empty_table():
    runs, cells = runs_of(np.ones(5), np.ones(5))
    empty = {key: table.iloc[:0] for key, table in runs.items()}
    found = collect_faithfulness(empty, cells, units_of(5))
    assert list(found.columns) == TABLES["faithfulness"].names
    assert found.empty
