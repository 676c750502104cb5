"""Genes that only treated cells express: a trained model looks at them, an untrained one does not.

Chance is measured, not taken to be one half: where untrained models put the planted genes.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from world_study import CHEAP, EVERY, accuracy, run_world
from worlds import PLANTED, gene_ids

FOUND = 0.9
LOOKED_AT = ["attention_received", "integrated_gradients"]
PLANTED_IDS = gene_ids()[PLANTED]


def auroc(frame):
    """Return the AUROC of the planted genes by track; NaN where a track scores too few of them."""
    frame = frame.assign(planted=frame["ensembl_id"].isin(PLANTED_IDS))
    return pd.Series(
        {
            str(name): roc_auc_score(rows["planted"], rows["score"])
            if rows["planted"].sum() >= len(PLANTED) / 2
            else np.nan
            for name, rows in frame.groupby("track", observed=True)
        }
    )


def found_by(folder, seeds, **options):
    """Return AUROC by track and seed, and the accuracies [n_seeds]."""
    runs = {
        seed: run_world(folder / f"world{seed}", "planted", n_replicates=6, seed=seed, **options)
        for seed in seeds
    }
    found = pd.DataFrame({seed: auroc(frame) for seed, (frame, _, _) in runs.items()})
    return found, np.array([accuracy(predictions) for _, predictions, _ in runs.values()])


def test_training_is_what_finds_planted_genes(tmp_path):
    options = {"n_folds": 2, "tracks": LOOKED_AT, "costly_cells": 24}
    trained, right = found_by(tmp_path / "trained", [0], **options)
    untrained, guessed = found_by(tmp_path / "untrained", range(4), trained=False, **options)
    assert right.min() > 0.9
    assert guessed.mean() < 0.6
    for track in LOOKED_AT:
        chance = untrained.loc[track]
        assert trained.loc[track].min() >= FOUND, track
        assert chance.max() < trained.loc[track].min(), track
        assert 0.2 < chance.mean() < 0.8, track


@pytest.mark.slow
def test_every_track_in_the_planted_world(tmp_path, capsys):
    options = {"n_folds": 2, "costly_cells": 24}
    trained, right = found_by(tmp_path / "trained", range(3), tracks=EVERY, **options)
    untrained, guessed = found_by(
        tmp_path / "untrained", range(10), tracks=EVERY, trained=False, **options
    )
    with capsys.disabled():
        table = pd.DataFrame(
            {
                "trained": trained.mean(axis=1),
                "least": trained.min(axis=1),
                "untrained": untrained.mean(axis=1),
                "most": untrained.max(axis=1),
            }
        )
        print(f"\nAUROC of planted genes, {len(right)} trained and {len(guessed)} untrained models")
        print(table.sort_values("trained", ascending=False).round(2).to_string())
    assert right.min() > 0.9
    assert abs(guessed.mean() - 0.5) < 0.1
    for track in [*LOOKED_AT, "attention_residual"]:
        assert trained.loc[track].min() >= FOUND, track
        assert trained.loc[track].min() > untrained.loc[track].mean() + untrained.loc[track].std()
    # One of four planted genes masked leaves a saturated model as sure as before: no FOUND here.
    for track in ("occlusion", "attention_readout", "rollout"):
        assert trained.loc[track].mean() > untrained.loc[track].mean(), track
    for track in CHEAP:
        assert trained.loc[track].notna().all(), track
