import numpy as np
import pytest
from levels import SHIFTS, p_of_genes

from keygenes.attention.expected import (
    Bins,
    Sizes,
    binned,
    bins_for,
    edges_of,
    expected_by_gene,
    expected_by_rank,
    fitted,
    hats,
    rank_edges,
)

MAX_LENGTH = 400


def sizes_of(lengths, depths=None):
    return Sizes(np.asarray(lengths), np.ones(len(lengths)) if depths is None else depths)


def sums_of(mu, sizes, bins, max_length=MAX_LENGTH):
    """Return the sums of an exact effect mu(ranks, length, depth), for one layer and head."""
    sums = [np.zeros((1, 1, n, max_length)) for n in bins.shape]
    for length, depth, *of_cell in zip(*sizes, *binned(sizes, bins), strict=True):
        for total, of_bin in zip(sums, of_cell, strict=True):
            total[0, 0, of_bin, :length] += mu(np.arange(1, length + 1), length, depth)
    return sums


def fit_to(mu, lengths, depths=None):
    sizes = sizes_of(lengths, depths)
    bins = bins_for(sizes)
    return fitted(sums_of(mu, sizes, bins), sizes, bins)


def at(expectation, length, depth=1.0):
    """Return the expectation along one cell, from a gene of its own at each position."""
    cell = np.arange(length)
    return expected_by_gene(expectation, [cell], np.array([depth]), [0], 1, length)[0]


def bilinear(ranks, length, _=1.0):
    return 1 - 0.4 * np.log2(ranks) - 0.7 * np.log2(length) + 0.2 * np.log2(ranks) * np.log2(length)


LENGTHS = np.random.default_rng(0).integers(60, 250, 300)


@pytest.mark.parametrize("length", [3, 30, 60, 155, 249, 400], ids="cell of {} genes".format)
def test_an_effect_linear_in_log_rank_and_log_length_is_removed_exactly(length):
    """Also where cells are shorter or longer than any that the expectation comes from."""
    found = at(fit_to(bilinear, LENGTHS), length)
    expected = bilinear(np.arange(1, length + 1), length)
    np.testing.assert_allclose(found, expected, atol=0.01)


def smooth(ranks, length, _=1.0):
    every = np.arange(1, MAX_LENGTH + 1)

    def weight(r):
        return 2 ** (-0.5 * np.log2(r) + 0.4 * np.sin(np.log2(r)))

    return np.log2(weight(ranks) / weight(every[:length]).mean())


def moved_by_depth(ranks, length, depth):
    return bilinear(ranks, length) + 0.3 * (np.log2(ranks) - 5) * np.log2(depth / 6000)


def test_a_smooth_effect_is_removed_and_more_of_it_than_by_a_step_per_bin():
    expectation = fit_to(smooth, LENGTHS)
    sizes, bounds = sizes_of(LENGTHS), rank_edges(MAX_LENGTH)
    bins = bins_for(sizes)
    sums = sums_of(smooth, sizes, bins)[0][0, 0]
    reached = sums_of(lambda r, *_: np.ones(len(r)), sizes, bins)[0][0, 0]
    n = np.add.reduceat(reached, bounds[:-1] - 1, 1)
    steps = np.add.reduceat(sums, bounds[:-1] - 1, 1) / np.where(n > 0, n, np.nan)
    ours, step = [], []
    for length in (65, 100, 150, 200, 240):
        true = smooth(np.arange(1, length + 1), length)
        of_rank = np.searchsorted(bounds, np.arange(1, length + 1), side="right") - 1
        ours.append(np.abs(at(expectation, length) - true).mean())
        step.append(np.abs(steps[binned(sizes_of([length]), bins)[0, 0], of_rank] - true).mean())
    assert max(ours) < 0.02
    assert np.mean(ours) < np.mean(step) / 4


OTHER_DEPTHS = np.array([1500.0, 4000.0, 9000.0, 30000.0])
DEPTHS = 30 * LENGTHS * np.exp(np.random.default_rng(5).normal(0, 0.3, len(LENGTHS)))


def test_means_by_rank_are_those_of_the_cells_that_reach_it():
    expectation = fit_to(moved_by_depth, LENGTHS, DEPTHS)
    others = np.array([20, 90, 90, 300])
    found = expected_by_rank(expectation, sizes_of(others, OTHER_DEPTHS), MAX_LENGTH)[0, 0]
    lines = np.full((len(others), MAX_LENGTH), np.nan)
    for line, length, depth in zip(lines, others, OTHER_DEPTHS, strict=True):
        line[:length] = at(expectation, length, depth)
    np.testing.assert_allclose(found[:300], np.nanmean(lines[:, :300], 0))


def test_sums_by_gene_and_group_are_those_of_each_cell():
    expectation = fit_to(moved_by_depth, LENGTHS, DEPTHS)
    cells = [np.array([4, 2, 0]), np.array([2, 3]), np.array([0, 1, 2, 4])]
    found = expected_by_gene(expectation, cells, OTHER_DEPTHS[:3], [1, 0, 1], 2, 5)
    expected = np.zeros((2, 5))
    for cell, depth, group in zip(cells, OTHER_DEPTHS, [1, 0, 1], strict=False):
        expected[group, cell] += at(expectation, len(cell), depth)
    np.testing.assert_allclose(found, expected)


def test_layers_and_heads_have_their_own_expectation_and_genes_the_mean_of_them():
    sizes = sizes_of(LENGTHS)
    bins = bins_for(sizes)
    four = [
        np.concatenate([np.concatenate([one, 3 * one], 1), np.concatenate([-one, one], 1)])
        for one in sums_of(smooth, sizes, bins)
    ]
    expectation = fitted(four, sizes, bins)
    by_rank = expected_by_rank(expectation, sizes, MAX_LENGTH)
    np.testing.assert_allclose(by_rank[0, 1], 3 * by_rank[0, 0], atol=1e-9)
    np.testing.assert_allclose(by_rank[1, 0], -by_rank[0, 0], atol=1e-9)
    np.testing.assert_allclose(at(expectation, 99), at(fit_to(smooth, LENGTHS), 99), atol=1e-9)


def test_cells_of_one_length_say_nothing_about_another():
    expectation = fit_to(bilinear, np.full(40, 100))
    assert len(expectation.lengths) == 1
    found = at(expectation, 100)
    np.testing.assert_allclose(found, bilinear(np.arange(1, 101), 100), atol=0.02)
    np.testing.assert_allclose(at(expectation, 50), found[:50])


def test_bins_of_lengths_and_ranks():
    assert edges_of(np.arange(1, 101)).tolist() == [20, 40, 60, 80]
    edges = Bins(np.array([20, 40, 60, 80]), np.array([7.5]))
    sizes = sizes_of([1, 20, 21, 80, 81, 5000], np.array([7.0, 7.5, 7.6, 1.0, 9.0, 8.0]))
    assert binned(sizes, edges).tolist() == [[0, 0, 1, 3, 4, 4], [0, 0, 1, 0, 1, 1]]
    assert edges.shape == (5, 2)
    assert edges_of(np.array([7, 7, 7, 7, 7, 7, 7, 9])).tolist() == [7]
    assert edges_of(np.full(9, 7)).tolist() == []
    assert edges_of(np.zeros(0, int)).tolist() == []
    nobody = sizes_of(np.zeros(0, int))
    assert fitted([np.zeros((1, 1, 1, 9))] * 2, nobody, bins_for(nobody)) is None
    bounds = rank_edges(2048)
    assert (bounds[0], bounds[-1]) == (1, 2049)
    assert 15 < len(bounds) <= 21
    assert (np.diff(bounds[10:]) / bounds[10:-1]).std() < 0.02, "of equal width in logs"
    assert rank_edges(1).tolist() == [1, 2]


def test_hats_interpolate_and_go_on_linearly():
    knots = np.array([1.0, 2.0, 4.0])
    x = np.array([-1.0, 1.0, 1.5, 3.0, 4.0, 8.0])
    np.testing.assert_allclose(hats(x, knots) @ (3 * knots - 1), 3 * x - 1)
    np.testing.assert_allclose(hats(x, knots)[2], [0.5, 0.5, 0])
    assert hats(x, np.array([7.0])).tolist() == [[1.0]] * 6


def test_depth_is_removed_beside_length_and_where_all_cells_are_as_long():
    rng = np.random.default_rng(3)
    for lengths in (LENGTHS, np.full(300, 200)):
        depths = 40 * lengths * np.exp(rng.normal(0, 0.3, len(lengths)))
        expectation = fit_to(moved_by_depth, lengths, depths)
        for length, depth in ((200, 3000.0), (200, 8000.0), (200, 20000.0)):
            found = at(expectation, length, depth)
            expected = moved_by_depth(np.arange(1, length + 1), length, depth)
            np.testing.assert_allclose(found, expected, atol=0.03)


def test_depths_that_are_all_one_leave_the_surface_of_length():
    expectation = fit_to(smooth, LENGTHS)
    assert expectation.nodes.shape[-1] == len(expectation.lengths) == 5
    with_depth = fit_to(smooth, LENGTHS, np.exp(np.random.default_rng(0).normal(8, 0.4, 300)))
    assert with_depth.nodes.shape[-1] == 9
    for length in (80, 160, 240):
        np.testing.assert_allclose(at(expectation, length), at(with_depth, length, 3e3), atol=0.02)


def test_depth_that_follows_length_alone_adds_nothing_and_breaks_nothing():
    """What the two do cannot be told apart; where they stay together, their sum is right."""
    depths = 30.0 * LENGTHS
    expectation = fit_to(moved_by_depth, LENGTHS, depths)
    for length in (80, 160, 240):
        found = at(expectation, length, 30.0 * length)
        expected = moved_by_depth(np.arange(1, length + 1), length, 30.0 * length)
        np.testing.assert_allclose(found, expected, atol=0.05)


def shares(world):
    """Return the share of genes at p < 0.05 in three simulated studies, by correction."""
    found = [p_of_genes(np.random.default_rng([7, s]), world, (6, 6)) for s in range(3)]
    return {name: np.mean([(one[name] < 0.05).mean() for one in found]) for name in found[0]}


@pytest.mark.slow
@pytest.mark.parametrize("world", SHIFTS)
def test_where_only_the_size_of_cells_differs_residuals_find_chance_alone(world):
    share = shares(world)
    assert share["length and depth"] <= 0.08, "chance, and a well's own noise"
    if world != "nothing":
        assert share["none"] > 0.3
        assert share["length"] > 0.1, "depth left out"
