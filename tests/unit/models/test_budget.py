"""How many tokens go through a model at once: by what a training step keeps of each."""

from typing import NamedTuple

import pytest
import torch
from tiny_study import random_cells, tiny_config

from keygenes.core.files import read_json
from keygenes.core.jobs import Compute
from keygenes.models.batches import padded
from keygenes.models.device import (
    MOST_TOKENS,
    TOKENS_ON_CPU,
    budget_within,
    bytes_per_token,
    token_budget,
)
from keygenes.models.encoder import small_config
from keygenes.models.families.geneformer import CellClassifier
from keygenes.models.head import cell_logits

V1 = small_config(vocabulary_size=25_426, max_length=2048, layers=6, heads=4, hidden=256)
LARGE = small_config(vocabulary_size=20_275, max_length=4096, layers=18, heads=14, hidden=896)
GB = 10**9


def kept_per_token(config):
    """Return the bytes that a training step keeps for its backward pass, per token, parameters not.

    Measured: each tensor that autograd saves counts once.
    """
    ids, mask = padded(random_cells(8, shortest=20, longest=20))
    config.classifier_pooling = "first"
    model, kept = CellClassifier(config).train(), {}
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        cell_logits(model, ids, mask).sum().backward()
    return sum(kept.values()) / ids.numel()


@pytest.mark.parametrize("hidden", [64, 256])
def test_the_estimate_is_near_what_autograd_keeps(hidden):
    config = tiny_config(layers=4, heads=4, hidden=hidden)
    config.attention_probs_dropout_prob = 0.0
    assert 0.8 < bytes_per_token(config) / kept_per_token(config) < 1.6


def test_half_of_the_memory_holds_a_step_and_the_budget_is_a_power_of_two():
    for memory in (8 * GB, 24 * GB, 80 * GB, 141 * GB):
        for config in (V1, LARGE):
            budget = budget_within(memory, config)
            assert TOKENS_ON_CPU <= budget <= MOST_TOKENS
            assert budget & (budget - 1) == 0
            assert budget == TOKENS_ON_CPU or budget * bytes_per_token(config) <= memory / 2
    assert budget_within(80 * GB, V1) == MOST_TOKENS
    assert budget_within(80 * GB, LARGE) < MOST_TOKENS


def test_cards_of_about_a_size_agree():
    assert budget_within(79.1 * GB, LARGE) == budget_within(85.0 * GB, LARGE)


def test_a_number_is_taken_as_it_is_and_a_cpu_has_its_own(monkeypatch):
    assert token_budget(Compute(200), V1) == 200
    assert token_budget(Compute("auto"), V1) == TOKENS_ON_CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert token_budget(Compute("auto", device="cpu"), LARGE) == TOKENS_ON_CPU


class Card(NamedTuple):
    """What torch says of a card."""

    total_memory: float
    name: str = "a card"


def test_what_auto_came_to_is_kept_for_reruns_on_another_card(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    card = Card(80 * GB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    compute = Compute("auto", device="auto", budgets=str(tmp_path / "budgets"))
    first = token_budget(compute, LARGE)
    assert first == budget_within(80 * GB, LARGE)
    card = Card(24 * GB)
    assert token_budget(compute._replace(budgets=None), LARGE) < first
    assert token_budget(compute, LARGE) == first
    (kept,) = (tmp_path / "budgets").iterdir()
    document = read_json(kept)
    assert document["batch_tokens"] == first
    assert document["card"] == "a card"
    # another size has its own, and jobs that share a card
    assert token_budget(compute, V1) == budget_within(24 * GB, V1)
    together = token_budget(compute._replace(jobs_per_gpu=4), V1)
    assert together == budget_within(6 * GB, V1) < budget_within(24 * GB, V1)
    assert len(list((tmp_path / "budgets").iterdir())) == 3
    assert token_budget(compute._replace(device="cpu"), LARGE) == TOKENS_ON_CPU
    assert token_budget(compute._replace(batch_tokens=300), LARGE) == 300
