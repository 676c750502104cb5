import numpy as np
import pytest
import torch
from captum.attr import LayerIntegratedGradients
from planted import GENE, MASK, classifier, planted_cells, planted_classifier
from tiny_study import random_cells

from keygenes.attention.stream import attention_statistics
from keygenes.evidence.attribution import (
    attattr,
    attattr_layers,
    attention_gradient,
    attention_received,
    contrast,
    contrasts,
    deletion,
    integrated_gradients,
    mean_beside,
    occlusion,
    relative_error,
)
from keygenes.models.batches import padded
from keygenes.models.head import cell_logits
from keygenes.models.softmax import scaling_of

TOKENS = {"mask_token": MASK, "specials": (0, MASK)}
BUDGET = {"batch_tokens": 64}  # several parts per cell


@pytest.fixture(scope="module", params=["first", "mean"])
def model(request):
    return classifier(n_classes=3, layers=3, pooling=request.param)


@pytest.fixture(scope="module")
def trained():
    return planted_classifier()


def value(model, cell):
    ids, mask = padded([np.asarray(cell)])
    return contrast(model_logits(model, ids, mask)).item()


def model_logits(model, ids, mask):
    with torch.no_grad():
        return cell_logits(model, ids, mask)


def test_the_contrast_is_the_last_class_against_the_others():
    logits = torch.tensor([[1.0, 4.0, 9.0], [0.0, 0.0, -3.0]])
    assert contrast(logits).tolist() == [6.5, -3.0]
    assert contrast(torch.tensor([[1.0, 4.0]])).tolist() == [3.0]


def dense_attention(model, ids, index, a):
    """Return attention A [heads, L, L] of one layer and dF/d(aA), written out; and F."""
    mask = torch.ones_like(ids)
    kept = {}

    hidden = model.trunk.embeddings(ids)
    for number, layer in enumerate(model.trunk.layers):
        query, key, values = layer.heads(hidden)
        attention = torch.softmax(query @ key.transpose(-1, -2) * scaling_of(query), -1)
        if number == index:
            kept["attention"] = attention.detach()
            attention = kept["scaled"] = (a * attention.detach()).requires_grad_()
        hidden = layer.after(hidden, layer.mixed(attention @ values))
    f = contrast(cell_logits(model, ids, mask, hidden, model.config.num_hidden_layers))
    (gradient,) = torch.autograd.grad(f.sum(), kept["scaled"])
    return kept["attention"][0], gradient[0], f.item()


def test_one_pass_of_attention_times_gradient_is_that_of_the_whole_matrices(model):
    cells = random_cells(4, seed=1)
    ids, mask = padded(cells)
    found = attention_gradient(model, ids, mask)
    assert not mask.all()
    for row, cell in enumerate(cells):
        own = torch.from_numpy(cell.astype(np.int64))[None]
        expected = 0
        for index in range(3):
            attention, gradient, _ = dense_attention(model, own, index, 1.0)
            expected = expected + (attention * gradient).sum((0, 1))
        np.testing.assert_allclose(found[row, : len(cell)], expected, atol=1e-5)
        assert np.abs(expected).max() > 1e-2
        assert (found[row, len(cell) :] == 0).all()


@pytest.mark.slow
def test_attattr_is_that_of_the_whole_matrices(model):
    ids = torch.from_numpy(random_cells(1, seed=5)[0].astype(np.int64))[None]
    (found,), (changes,) = attattr_layers(model, ids, None, n_steps=12, batch_tokens=50)
    points, weights = np.polynomial.legendre.leggauss(12)
    for index in range(3):
        gradient = 0
        for a, w in zip((points + 1) / 2, weights / 2, strict=True):
            attention, at_a, _ = dense_attention(model, ids, index, float(a))
            gradient = gradient + w * at_a
        rows = attention * gradient
        np.testing.assert_allclose(found[index], rows.sum((0, 1)), atol=1e-5)
        whole, without = (dense_attention(model, ids, index, a)[2] for a in (1.0, 0.0))
        np.testing.assert_allclose(changes[index], whole - without, atol=1e-5)
        if index == 2 and model.config.classifier_pooling == "first":
            assert (rows[:, 1:] == 0).all(), "only the first row of the last layer is read"
            assert (rows[:, 0] != 0).all()


@pytest.mark.slow
def test_attattr_adds_up_per_layer_and_better_with_more_steps(model):
    cells = random_cells(3, seed=5)
    ids, mask = padded(cells)
    errors = [attattr(model, ids, mask, n_steps=n, **BUDGET)[1] for n in (2, 60)]
    assert errors[1].max() < 0.01
    assert errors[1].max() < errors[0].max()
    for row, cell in enumerate(cells):
        (layers,), (changes,) = attattr_layers(
            model, ids[row : row + 1, : len(cell)], None, n_steps=100, **BUDGET
        )
        np.testing.assert_allclose(layers.sum(1), changes, atol=3e-3 * np.abs(changes).sum())


def test_integrated_gradients_are_those_of_captum(model):
    cells = random_cells(3, seed=6)
    ids, mask = padded(cells)
    found, _ = integrated_gradients(model, ids, mask, **TOKENS, n_steps=20, **BUDGET)

    def answer(some):
        return contrast(cell_logits(model, some, torch.ones_like(some)))

    theirs = LayerIntegratedGradients(answer, model.trunk.embeddings.word_embeddings)
    for row, cell in enumerate(cells):
        own = torch.from_numpy(cell.astype(np.int64))[None]
        expected = theirs.attribute(own, torch.full_like(own, MASK), n_steps=20)[0].sum(-1)
        np.testing.assert_allclose(found[row, : len(cell)], expected.detach(), atol=1e-5)
        assert np.abs(found[row]).max() > 0.01


@pytest.mark.slow
def test_integrated_gradients_add_up_to_the_change_from_the_masked_cell(model):
    cells = random_cells(3, seed=6)
    ids, mask = padded(cells)
    found, errors = integrated_gradients(model, ids, mask, **TOKENS, n_steps=200, **BUDGET)
    for row, cell in enumerate(cells):
        change = value(model, cell) - value(model, np.full(len(cell), MASK))
        np.testing.assert_allclose(found[row].sum(), change, atol=0.02 * abs(change))
        assert errors[row] == pytest.approx(abs(found[row].sum() / change - 1), abs=1e-3)
        assert (found[row, len(cell) :] == 0).all()
    assert integrated_gradients(model, ids, mask, **TOKENS, n_steps=2, **BUDGET)[1].max() > 0.05


def test_special_tokens_are_part_of_the_baseline_and_are_never_left_out(model):
    cell = np.array([2, 10, 11, 12, 13, 3])
    ids, mask = padded([cell])
    tokens = {"mask_token": MASK, "specials": (0, 1, 2, 3)}
    found, _ = integrated_gradients(model, ids, mask, **tokens, n_steps=50, **BUDGET)
    change = value(model, cell) - value(model, [2, MASK, MASK, MASK, MASK, 3])
    np.testing.assert_allclose(found[0].sum(), change, atol=0.05 * abs(change))
    assert found[0, 0] == found[0, 5] == 0
    masked = occlusion(model, ids, mask, **tokens, **BUDGET)
    deleted = deletion(model, ids, mask, specials=(0, 1, 2, 3), **BUDGET)
    for effects in (masked, deleted):
        assert np.isnan(effects[0, [0, 5]]).all()
        assert np.isfinite(effects[0, 1:5]).all()


def test_occlusion_is_the_change_when_one_gene_is_masked(model):
    cells = random_cells(3, seed=7)
    ids, mask = padded(cells)
    found = occlusion(model, ids, mask, **TOKENS, **BUDGET)
    for row, cell in enumerate(cells):
        for at in (0, 2, len(cell) - 1):
            other = cell.copy()
            other[at] = MASK
            expected = value(model, cell) - value(model, other)
            assert found[row, at] == pytest.approx(expected, abs=1e-5)
        assert np.isnan(found[row, len(cell) :]).all()


def test_deletion_is_held_against_deletions_of_like_rank(model):
    cell = random_cells(1, seed=8, shortest=20)[0]
    ids, mask = padded([cell])
    found = deletion(model, ids, mask, specials=(0, MASK), **BUDGET)[0]
    effects = np.array(
        [value(model, cell) - value(model, np.delete(cell, i)) for i in range(len(cell))]
    )
    np.testing.assert_allclose(found[9], effects[9] - np.delete(effects, 9).mean(), atol=1e-5)
    np.testing.assert_allclose(found[0], effects[0] - effects[1:11].mean(), atol=1e-5)
    np.testing.assert_allclose(found[19], effects[19] - effects[9:19].mean(), atol=1e-5)


def test_a_cell_of_one_gene_has_nothing_to_hold_its_deletion_against(model):
    ids, mask = padded([np.array([5]), np.array([5, 6])])
    assert np.isnan(deletion(model, ids, mask, specials=(0, 1), **BUDGET)[0]).all()
    assert np.isfinite(occlusion(model, ids, mask, **TOKENS, **BUDGET)[0, 0])


@pytest.mark.parametrize(
    "of",
    [
        lambda *args: attattr(*args, n_steps=4, **BUDGET),
        lambda *args: integrated_gradients(*args, **TOKENS, n_steps=4, **BUDGET),
        lambda *args: (occlusion(*args, **TOKENS, **BUDGET), None),
        lambda *args: (deletion(*args, specials=(0, 1), **BUDGET), None),
    ],
    ids=["attattr", "integrated_gradients", "occlusion", "deletion"],
)
def test_cells_that_go_together_get_what_each_gets_alone(model, of):
    cells = [*random_cells(4, seed=12), np.array([7])]
    ids, mask = (torch.nn.functional.pad(x, (0, 3)) for x in padded(cells))
    found, errors = of(model, ids, mask)
    for row, cell in enumerate(cells):
        alone, error = of(model, ids[row : row + 1, : len(cell)], None)
        np.testing.assert_allclose(found[row, : len(cell)], alone[0], atol=2e-5)
        assert not np.nan_to_num(found[row, len(cell) :]).any()
        if errors is not None:
            np.testing.assert_allclose(errors[row], error[0], atol=1e-3)
    assert np.nanstd(found) > 1e-2


def test_mean_beside_leaves_out_the_place_itself():
    assert mean_beside(np.array([1.0, 2.0, 6.0]), 1).tolist() == [2.0, 3.5, 2.0]
    assert mean_beside(np.arange(5.0), 9).tolist() == [2.5, 2.25, 2.0, 1.75, 1.5]


def test_an_error_without_a_change_to_hold_it_against_is_infinite():
    assert relative_error(0.0, 0.0) == 0
    assert relative_error(0.1, 0.0) == np.inf
    assert relative_error(-0.1, -2.0) == 0.05


@pytest.mark.parametrize("batch_tokens", [1, 25, 4096])
def test_values_are_those_of_the_whole_model_whatever_goes_through_it_at_once(model, batch_tokens):
    ids = torch.randint(2, 30, (7, 12), generator=torch.Generator().manual_seed(0))
    expected = contrast(model_logits(model, ids, torch.ones_like(ids)))
    np.testing.assert_allclose(contrasts(model, ids, batch_tokens), expected, atol=1e-5)
    assert len(contrasts(model, ids[:0], batch_tokens)) == 0


def test_attention_received_is_the_mean_over_layers_and_heads(model):
    ids, mask = padded(random_cells(3, seed=9))
    with torch.no_grad():
        layers = attention_statistics(model.trunk, ids, mask)
    expected = torch.stack([layer.received.mean(1) for layer in layers]).mean(0)
    np.testing.assert_allclose(attention_received(model, ids, mask), expected, rtol=1e-5)


def test_no_gradient_is_left_on_the_model(model):
    ids, mask = padded(random_cells(2, seed=9))
    attention_gradient(model, ids, mask)
    attattr(model, ids, mask, n_steps=3, **BUDGET)
    integrated_gradients(model, ids, mask, **TOKENS, n_steps=3, **BUDGET)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.slow
def test_a_planted_gene_is_found(trained):
    cells, labels = planted_cells(20, seed=11)
    ids, mask = padded(cells)
    right = (model_logits(trained, ids, mask).argmax(1).numpy() == labels).mean()
    assert right == 1, "or nothing was learnt that could be found"
    scores = {
        "occlusion": occlusion(trained, ids, mask, **TOKENS, **BUDGET),
        "deletion": deletion(trained, ids, mask, specials=(0, 1), **BUDGET),
        "attattr": attattr(trained, ids, mask, n_steps=20, **BUDGET)[0],
        "integrated_gradients": integrated_gradients(
            trained, ids, mask, **TOKENS, n_steps=50, **BUDGET
        )[0],
    }  # one gradient alone is not enough: where the logit is flat it points anywhere
    for name, found in scores.items():
        with_gene = np.flatnonzero(labels)
        top = [np.nanargmax(found[i, : len(cells[i])]) for i in with_gene]
        hits = np.mean([cells[i][t] == GENE for i, t in zip(with_gene, top, strict=True)])
        assert hits >= 0.9, f"{name}: the gene is on top in {hits:.0%} of the cells that have it"
