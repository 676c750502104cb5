import numpy as np
import pytest

from keygenes.models.batches import (
    budget_batches,
    length_grouped_batches,
    padded,
    padding_waste,
    parts_of,
)

RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(1, 400, 733)


def test_cells_are_padded_right_to_the_longest():
    ids, mask = padded([np.array([5, 6], np.int32), np.array([7, 8, 9], np.int32)])
    assert ids.tolist() == [[5, 6, 0], [7, 8, 9]]
    assert mask.tolist() == [[1, 1, 0], [1, 1, 1]]


@pytest.mark.parametrize("batch_size", [1, 7, 12, 733, 1000])
def test_grouped_batches_hold_every_cell_once(batch_size):
    batches = length_grouped_batches(LENGTHS, batch_size, np.random.default_rng(1))
    assert sorted(np.concatenate(batches)) == list(range(733))
    assert len(batches) == -(-733 // batch_size)
    assert max(map(len, batches)) <= batch_size


def test_grouped_batches_waste_little_padding_and_come_in_random_order():
    batches = length_grouped_batches(LENGTHS, 12, np.random.default_rng(1))

    def padding(batches):
        return sum(len(b) * LENGTHS[b].max() - LENGTHS[b].sum() for b in batches)

    plain = np.array_split(np.random.default_rng(1).permutation(733), 62)
    assert padding(batches) < 0.15 * padding(plain)
    longest = np.array([LENGTHS[b].max() for b in batches])
    assert abs(np.corrcoef(longest, np.arange(len(batches)))[0, 1]) < 0.4
    again = length_grouped_batches(LENGTHS, 12, np.random.default_rng(1))
    assert all((a == b).all() for a, b in zip(batches, again, strict=True))
    other = length_grouped_batches(LENGTHS, 12, np.random.default_rng(2))
    assert any((a[0] != b[0]) for a, b in zip(batches, other, strict=True))


@pytest.mark.parametrize("budget", [1, 399, 400, 1000, 4096, 10**6])
def test_budget_batches_hold_every_cell_once_within_the_budget(budget):
    batches = budget_batches(LENGTHS, budget)
    assert sorted(np.concatenate(batches)) == list(range(733))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * LENGTHS[batch].max() <= budget
    tops = [LENGTHS[batch].max() for batch in batches]
    assert tops == sorted(tops, reverse=True), "longest first: memory runs out at once or never"


def test_a_budget_is_used_up():
    assert [len(b) for b in budget_batches(np.full(10, 100), 400)] == [4, 4, 2]
    assert [len(b) for b in budget_batches(np.array([500, 100, 100]), 400)] == [1, 2]


def test_a_batch_in_parts_holds_every_cell_once():
    batch = np.array([700, 3, 50, 8, 9])
    assert [p.tolist() for p in parts_of(batch, LENGTHS, None)] == [batch.tolist()]
    parts = parts_of(batch, LENGTHS, 500)
    assert len(parts) > 1
    assert sorted(np.concatenate(parts)) == sorted(batch)
    assert all(len(p) == 1 or len(p) * LENGTHS[p].max() <= 500 for p in parts)
    assert parts_of(batch[:0], LENGTHS, 500) == parts_of(batch[:0], LENGTHS, None) == []


def test_little_of_a_study_s_batches_is_padding():
    assert padding_waste(np.array([4, 2, 3]), [np.array([0, 1]), np.array([2])]) == (
        pytest.approx(2 / 11)
    )
    assert padding_waste(LENGTHS, []) == 1
    lengths = np.clip(RNG.lognormal(np.log(683), 0.35, 3800), 100, 2048).astype(int)
    batches = length_grouped_batches(lengths, 12, np.random.default_rng(1))
    assert padding_waste(lengths, batches) < 0.05
    parts = [part for batch in batches for part in parts_of(batch, lengths, 4096)]
    assert padding_waste(lengths, parts) < padding_waste(lengths, batches)
