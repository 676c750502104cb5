import numpy as np
import pytest
from scipy import stats

from keygenes.attention.expected import (
    expected_by_gene,
    expected_by_rank,
    fitted,
    hats,
    length_bins,
    length_edges,
    rank_edges,
)

MAX_LENGTH = 400


def sums_of(mu, lengths, edges, max_length=MAX_LENGTH):
    """Return the sums of an exact effect mu(ranks, length) over cells, for one layer and head."""
    sums = np.zeros((1, 1, len(edges) + 1, max_length))
    for length, of_bin in zip(lengths, length_bins(lengths, edges), strict=True):
        sums[0, 0, of_bin, :length] += mu(np.arange(1, length + 1), length)
    return sums


def fit_to(mu, lengths):
    edges = length_edges(lengths)
    return fitted(sums_of(mu, lengths, edges), lengths, edges)


def at(expectation, length):
    """Return the expectation along one cell, from a gene of its own at each position."""
    cell = np.arange(length)
    return expected_by_gene(expectation, [cell], [0], 1, length)[0]


def bilinear(ranks, length):
    return 1 - 0.4 * np.log2(ranks) - 0.7 * np.log2(length) + 0.2 * np.log2(ranks) * np.log2(length)


LENGTHS = np.random.default_rng(0).integers(60, 250, 300)


@pytest.mark.parametrize("length", [3, 30, 60, 155, 249, 400], ids="cell of {} genes".format)
def test_an_effect_linear_in_log_rank_and_log_length_is_removed_exactly(length):
    """Also where cells are shorter or longer than any that the expectation comes from."""
    found = at(fit_to(bilinear, LENGTHS), length)
    expected = bilinear(np.arange(1, length + 1), length)
    np.testing.assert_allclose(found, expected, atol=0.01)


def smooth(ranks, length):
    every = np.arange(1, MAX_LENGTH + 1)

    def weight(r):
        return 2 ** (-0.5 * np.log2(r) + 0.4 * np.sin(np.log2(r)))

    return np.log2(weight(ranks) / weight(every[:length]).mean())


def test_a_smooth_effect_is_removed_and_more_of_it_than_by_a_step_per_bin():
    expectation = fit_to(smooth, LENGTHS)
    edges, bounds = length_edges(LENGTHS), rank_edges(MAX_LENGTH)
    sums = sums_of(smooth, LENGTHS, edges)[0, 0]
    reached = sums_of(lambda r, n: np.ones(len(r)), LENGTHS, edges)[0, 0]
    n = np.add.reduceat(reached, bounds[:-1] - 1, 1)
    steps = np.add.reduceat(sums, bounds[:-1] - 1, 1) / np.where(n > 0, n, np.nan)
    ours, step = [], []
    for length in (65, 100, 150, 200, 240):
        true = smooth(np.arange(1, length + 1), length)
        of_rank = np.searchsorted(bounds, np.arange(1, length + 1), side="right") - 1
        ours.append(np.abs(at(expectation, length) - true).mean())
        step.append(np.abs(steps[length_bins([length], edges)[0], of_rank] - true).mean())
    assert max(ours) < 0.02
    assert np.mean(ours) < np.mean(step) / 4


def test_means_by_rank_are_those_of_the_cells_that_reach_it():
    expectation = fit_to(smooth, LENGTHS)
    others = np.array([20, 90, 90, 300])
    found = expected_by_rank(expectation, others, MAX_LENGTH)[0, 0]
    lines = np.full((len(others), MAX_LENGTH), np.nan)
    for line, length in zip(lines, others, strict=True):
        line[:length] = at(expectation, length)
    np.testing.assert_allclose(found[:300], np.nanmean(lines[:, :300], 0))


def test_sums_by_gene_and_group_are_those_of_each_cell():
    expectation = fit_to(smooth, LENGTHS)
    cells = [np.array([4, 2, 0]), np.array([2, 3]), np.array([0, 1, 2, 4])]
    found = expected_by_gene(expectation, cells, [1, 0, 1], 2, 5)
    expected = np.zeros((2, 5))
    for cell, group in zip(cells, [1, 0, 1], strict=True):
        expected[group, cell] += at(expectation, len(cell))
    np.testing.assert_allclose(found, expected)


def test_layers_and_heads_have_their_own_expectation_and_genes_the_mean_of_them():
    edges = length_edges(LENGTHS)
    one = sums_of(smooth, LENGTHS, edges)
    two = np.concatenate([np.concatenate([one, 3 * one], 1), np.concatenate([-one, one], 1)])
    expectation = fitted(two, LENGTHS, edges)
    by_rank = expected_by_rank(expectation, LENGTHS, MAX_LENGTH)
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
    assert length_edges(np.arange(1, 101)).tolist() == [20, 40, 60, 80]
    assert length_bins([1, 20, 21, 80, 81, 5000], [20, 40, 60, 80]).tolist() == [0, 0, 1, 3, 4, 4]
    assert length_edges(np.array([7, 7, 7, 7, 7, 7, 7, 9])).tolist() == [7]
    assert length_edges(np.full(9, 7)).tolist() == []
    assert length_edges(np.zeros(0, int)).tolist() == []
    assert fitted(np.zeros((1, 1, 1, 9)), np.zeros(0, int), []) is None
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


def p_of_genes(rng, corrected, n_genes=600, wells=18, cells=50, treated_from=6, shift=-0.3):
    """Return p per gene, treated against vehicle wells, where only cell length differs."""
    expression, effect = rng.normal(0, 1.3, n_genes), rng.normal(0, 0.4, n_genes)

    def cells_of(n, location):
        """Return tokens and log2 c of some cells: by rank, length and gene, and noise."""
        made = []
        for length in np.exp(rng.normal(np.log(150) + location, 0.35, n)).astype(int):
            length = min(max(length, 20), MAX_LENGTH)
            cell = np.argsort(-(expression + rng.gumbel(0, 0.9, n_genes)))[:length]
            log2 = smooth(np.arange(1, length + 1), length) + 0.5 * np.log2(length / 150)
            made.append((cell, log2 + effect[cell] + rng.normal(0, 0.3, length)))
        return made

    train = cells_of(treated_from * cells, 0)
    looked_at = [cells_of(cells, shift if w >= treated_from else 0) for w in range(wells)]
    total, n = np.zeros((2, wells, n_genes))
    for well, of_well in enumerate(looked_at):
        for cell, log2 in of_well:
            total[well, cell] += log2
            n[well, cell] += 1
    if corrected:
        lengths = np.array([len(cell) for cell, _ in train])
        edges = length_edges(lengths)
        sums = np.zeros((1, 1, len(edges) + 1, MAX_LENGTH))
        for (cell, log2), of_bin in zip(train, length_bins(lengths, edges), strict=True):
            sums[0, 0, of_bin, : len(cell)] += log2
        tokens = [cell for of_well in looked_at for cell, _ in of_well]
        of_cell = np.repeat(np.arange(wells), cells)
        total -= expected_by_gene(fitted(sums, lengths, edges), tokens, of_cell, wells, n_genes)
    seen = (n >= 10).all(0)
    means = total[:, seen] / n[:, seen]
    return stats.ttest_ind(means[treated_from:], means[:treated_from], equal_var=False).pvalue


def test_where_only_length_differs_corrected_attention_finds_chance_alone():
    rates = {
        corrected: [(p_of_genes(np.random.default_rng(s), corrected) < 0.05).mean() for s in (1, 2)]
        for corrected in (True, False)
    }
    assert np.mean(rates[True]) <= 0.06, "chance, and a well's own noise"
    assert min(rates[False]) > 0.4
