import logging
import math

import numpy as np
import pytest
import torch
from stated import logged
from tiny_study import N_GENES, random_cells, tiny_config, write_study

from keygenes.core.jobs import Compute
from keygenes.core.tables import read_table
from keygenes.models import pretrain as module
from keygenes.models.batches import padded
from keygenes.models.encoder import load_trunk, new_masked_model
from keygenes.models.pretrain import masked, masked_loss, pretrain

OPTIONS = {
    "layers": 2,
    "heads": 2,
    "hidden": 16,
    "max_cells": 50,
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 5e-3,
    "weight_decay": 0.001,
    "mask_fraction": 0.15,
    "valid_fraction": 0.2,
    "seed": 1,
}


def many(n=400, length=500, n_tokens=1000, first_gene=4, **options):
    """Mask many cells of <cls>, genes, <eos> and padding; return ids, mask, corrupted, targets."""
    rng = np.random.default_rng(0)
    ids = rng.integers(first_gene, n_tokens, (n, length))
    ids[:, 0], ids[:, -11], ids[:, -10:] = 2, 3, 0
    mask = (ids != 0).astype(np.int64)
    settings = {"fraction": 0.15, "first_gene": first_gene, "n_tokens": n_tokens, **options}
    return ids, mask, *masked(ids, mask, np.random.default_rng(1), **settings)


def test_special_tokens_and_padding_are_neither_masked_nor_predicted():
    ids, mask, corrupted, targets = many()
    special = ids < 4
    assert (targets[special] == -100).all()
    assert (corrupted[special] == ids[special]).all()
    assert (corrupted[:, 1:-11] != 0).all()


def test_shares_of_what_is_predicted_and_how_it_is_shown():
    ids, _, corrupted, targets = many()
    genes = ids >= 4
    at = targets != -100
    assert (targets[at] == ids[at]).all()
    assert (corrupted[~at] == ids[~at]).all(), "what is not predicted is shown"
    n = at.sum()

    def close(share, expected, of):
        assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / of))

    close(at.sum() / genes.sum(), 0.15, genes.sum())
    close((corrupted[at] == 1).sum() / n, 0.8, n)
    shown = (corrupted[at] == ids[at]).sum() / n
    close(shown, 0.1 + 0.1 / 996, n)
    other = at & (corrupted != 1) & (corrupted != ids)
    close(other.sum() / n, 0.1 * 995 / 996, n)
    assert corrupted[other].min() >= 4
    assert corrupted[other].max() == 999
    assert many(fraction=0.5)[3].max() == 999
    close((many(fraction=0.5)[3] != -100).sum() / genes.sum(), 0.5, genes.sum())


def test_the_loss_is_that_of_the_masked_positions_alone():
    cells = random_cells(6)
    model = new_masked_model(tiny_config(), 0).eval()
    look = {"fraction": 0.4, "first_gene": 2}
    with torch.no_grad():
        loss, n, hits = masked_loss(
            model, cells, np.random.default_rng(5), **look, device=torch.device("cpu")
        )
        ids, mask = (x.numpy() for x in padded(cells))
        corrupted, targets = masked(ids, mask, np.random.default_rng(5), n_tokens=32, **look)
        hidden = model.trunk(torch.from_numpy(corrupted), torch.from_numpy(mask))
        logits = model.gene_logits(hidden)
    targets = torch.from_numpy(targets)
    expected = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert n == (targets != -100).sum()
    assert hits == ((logits.argmax(-1) == targets) & (targets != -100)).sum()


def test_cells_of_which_nothing_was_drawn_cost_nothing():
    model = new_masked_model(tiny_config(), 0)
    loss, n, hits = masked_loss(
        model,
        random_cells(2),
        np.random.default_rng(0),
        **{"fraction": 1e-9, "first_gene": 2, "device": torch.device("cpu")},
    )
    assert (loss.item(), n, hits) == (0, 0, 0)
    loss.backward()


OUTPUTS = {
    "weights": "model.safetensors",
    "config": "config.json",
    "history": "history.parquet",
}


def pretrained(study, folder, max_length=24, **options):
    pretrain(
        study["tokens"],
        study["vocabulary"],
        {key: folder / name for key, name in OUTPUTS.items()},
        options={**OPTIONS, **options},
        max_length=max_length,
        compute=Compute(200),
    )
    return {name: (folder / name).read_bytes() for name in OUTPUTS.values()}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study"), n_cells=100)


@pytest.mark.slow
def test_pretraining_repeats_and_resumes_to_the_byte(study, tmp_path, monkeypatch, caplog):
    whole = pretrained(study, tmp_path / "whole")
    torch.rand(3)
    assert pretrained(study, tmp_path / "again") == whole
    assert pretrained(study, tmp_path / "other", seed=2) != whole

    calls, original = [], module.budget_batches

    def stops(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(module, "budget_batches", stops)
    with pytest.raises(KeyboardInterrupt):
        pretrained(study, tmp_path / "broken")
    assert [path.name for path in (tmp_path / "broken").iterdir()] == ["resume.pt"]
    monkeypatch.undo()
    with caplog.at_level(logging.INFO, "keygenes"):
        assert pretrained(study, tmp_path / "broken") == whole
    assert logged(caplog, "pretrain", "epoch", 1)
    assert not (tmp_path / "broken" / "resume.pt").exists()


@pytest.mark.slow
def test_a_stopped_run_of_another_length_starts_over(study, tmp_path, monkeypatch, caplog):
    original = module.write_table
    monkeypatch.setattr(module, "write_table", lambda *args: 1 / 0)  # after the last epoch
    with pytest.raises(ZeroDivisionError):
        pretrained(study, tmp_path)
    monkeypatch.setattr(module, "write_table", original)
    with caplog.at_level(logging.INFO, "keygenes"):
        pretrained(study, tmp_path, max_length=30)
    assert logged(caplog, str(tmp_path / "resume.pt"))


@pytest.mark.slow
def test_pretraining_learns_which_genes_there_are(study, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "keygenes"):
        pretrained(study, tmp_path, epochs=6, max_cells=1000, learning_rate=0.01)
    history = read_table(tmp_path / "history.parquet")
    uniform = math.log(N_GENES)
    assert logged(caplog, 80, 20, round(uniform, 3))
    # cells show no gene twice and often start with the same two: less than a blind guess
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    assert history["valid_loss"].min() < uniform + 0.1
    trunk = load_trunk(tmp_path / "model.safetensors", tmp_path / "config.json")
    assert trunk.config.vocab_size == N_GENES + 2
    assert trunk.config.max_position_embeddings == 24
