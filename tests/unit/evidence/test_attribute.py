import logging

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_study import N_GENES, model_files, obs_of, task_fold, tiny_config, write_study

from keygenes.core.jobs import Compute
from keygenes.core.tables import read_table, write_table
from keygenes.evidence import cell_scores
from keygenes.evidence.attribute import Asked, OrderFiles, attribute_genes
from keygenes.evidence.attribution import contrasts
from keygenes.evidence.drawn_cells import evenly_drawn
from keygenes.evidence.orders import attention_orders, gene_orders, orders_of
from keygenes.models import batches
from keygenes.models.encoder import load_classifier, save_model
from keygenes.models.families.geneformer import CellClassifier
from keygenes.models.head import set_pooling
from keygenes.tokens.store import read_tokens

ALL = [
    *("attention_readout", "rollout", "attention_gradient"),
    *("attattr", "integrated_gradients", "occlusion", "deletion"),
]
NAMES = ("well_scores", "cells", "faithfulness", "randomisation")
V2 = ("<pad>", "<mask>", "<cls>", "<eos>")


def attention_by_well(ids):
    """Return attention to all tokens but the first in two wells of test cells; no pair norm."""
    frame = pd.DataFrame({"ensembl_id": list(ids[1:]) * 2, "subset": "test"})
    n = len(frame) // 2
    frame["well"] = np.repeat(["A1", "B1"], n)
    frame["n_cells"] = np.tile(np.arange(n) % 3 + 1, 2)
    frame["sum"] = frame["n_cells"] * np.repeat([1.0, 3.0], n)
    frame["sum_residual"] = -np.arange(2.0 * n)
    frame[["sum_log2", "sum_pair"]] = [0.0, np.nan]
    other = frame.assign(subset="vehicle_train", sum_residual=99.0)
    return pd.concat([frame, other], ignore_index=True)


def study(folder, *, specials=("<pad>", "<mask>"), pooling=None):
    """Write a study with a classifier of random weights and tests of every other gene."""
    paths = write_study(folder, specials=specials)
    vocabulary = read_table(paths["vocabulary"])
    config = tiny_config(n_tokens=len(specials) + N_GENES)
    config.num_labels = 2
    set_pooling(config, pooling, vocabulary)
    torch.manual_seed(0)
    model = CellClassifier(config)
    paths |= {"weights": folder / "m.safetensors", "config": folder / "config.json"}
    save_model(model, paths["weights"], paths["config"])
    ids = vocabulary["ensembl_id"][len(specials) :: 2]
    tests = pd.DataFrame({"ensembl_id": ids, "symbol": ids, "statistic": np.arange(len(ids)) - 7.0})
    tests = tests.assign(task="level", group="high", reference="rest")
    numbers = ("log2fc", "auc", "p", "p_adj", "mean", "mean_reference")
    tests[[*numbers, "detection", "detection_reference"]] = 0.5
    tests[["n_cells", "n_reference"]] = 1
    paths["by_well"] = folder / "by_well.parquet"
    write_table(attention_by_well(vocabulary["ensembl_id"]), paths["by_well"], "by_well")
    paths["wilcoxon"] = folder / "wilcoxon.parquet"
    write_table(tests, paths["wilcoxon"], "wilcoxon")
    return paths


def attribute(folder, paths, obs=None, names=NAMES, **changes):
    options = {
        "fold": 1,
        "tracks": ["attention_total", "attention_received", *ALL],
        "attribution": {
            "max_cells": None,
            "costly_cells": 6,
            "n_steps": 30,
            "attattr_steps": 30,
            "max_completeness_error": 0.05,
        },
        "faithfulness": {"fractions": [0.1, 0.3], "n_random": 2, "randomised_cells": 3},
    }
    for name, value in changes.items():
        options[name] = {**options[name], **value} if isinstance(value, dict) else value
    folder.mkdir(exist_ok=True)
    out = {name: folder / f"{name}.parquet" for name in names}
    attribute_genes(
        task_fold(paths, options.pop("fold")),
        model_files(paths),
        obs_of() if obs is None else obs,
        Asked(**options),
        out,
        Compute(100),
        OrderFiles(paths["wilcoxon"], paths["by_well"]) if "wilcoxon" in paths else None,
    )
    return {name: read_table(path) for name, path in out.items()}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def found(paths, tmp_path_factory):
    return attribute(tmp_path_factory.mktemp("out"), paths)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", [None, "mean"])
def test_a_gpu_s_batches_change_no_table(tmp_path, monkeypatch, pooling):
    """Lengths are rounded up, and cells of many passes go together."""
    paths = study(tmp_path / "study", pooling=pooling)
    expected = attribute(tmp_path / "alone", paths)
    groups, alone = [], cell_scores.groups_of
    monkeypatch.setattr(batches, "padded_length", lambda lengths, _: 8 * -(-lengths.max() // 8))

    def as_on_gpu(*options):
        own = alone(*options[:3], 20_000, torch.device("cuda"))
        groups.extend(own)
        return own

    monkeypatch.setattr(cell_scores, "groups_of", as_on_gpu)
    found = attribute(tmp_path / "together", paths)
    assert max(len(group) for group in groups) > 1
    for name, table in expected.items():
        pd.testing.assert_frame_equal(found[name], table, atol=1e-4, rtol=1e-3)


def cells_of(paths):
    names, ids, offsets = read_tokens(paths["tokens"])
    return {n: ids[offsets[i] : offsets[i + 1]] for i, n in enumerate(names)}


@pytest.mark.slow
def test_every_test_cell_has_one_pass_tracks_and_some_have_all(paths, found):
    cells = found["cells"]
    splits = read_table(paths["splits"])
    test = splits.query("fold == 1 and split == 'test'")["cell"]
    for track in ALL[:3]:
        assert sorted(cells.loc[cells.track == track, "cell"]) == sorted(test)
    for track in ALL[3:]:
        of_track = cells[cells.track == track]
        assert len(of_track) == 6
        assert set(of_track["cell"]) <= set(test)
    has_error = cells.groupby("track", observed=True)["completeness_error"].count()
    assert has_error[has_error > 0].to_dict() == {"attattr": 6, "integrated_gradients": 6}
    assert (cells.groupby("cell")["contrast"].nunique() == 1).all()


@pytest.mark.slow
def test_wells_hold_the_sums_of_their_cells(paths, found):
    scores, cells = found["well_scores"], cells_of(paths)
    attributed = found["cells"].query("track == 'rollout'")
    genes = read_table(paths["vocabulary"]).set_index("token")["ensembl_id"]
    expected = pd.concat(
        pd.DataFrame({"well": well, "ensembl_id": genes[cells[cell]].to_numpy()})
        for cell, well in zip(attributed["cell"], attributed["well"].astype(str), strict=True)
    )
    expected = expected.value_counts().sort_index()
    rollout = scores[scores.track == "rollout"].astype({"well": str, "ensembl_id": str})
    counted = rollout.set_index(["well", "ensembl_id"])["n_cells"].sort_index()
    pd.testing.assert_series_equal(counted, expected, check_names=False)
    # multiples of uniform attention: over all genes of a cell they average to 1
    for track in ("rollout", "attention_readout"):
        total = scores.loc[scores.track == track, "sum"].sum()
        assert total == pytest.approx(attributed["length"].sum(), rel=1e-4)
    assert (scores["sum_absolute"] >= scores["sum"].abs() - 1e-9).all()
    signed = scores[scores.track == "occlusion"]
    assert (signed["sum"] < 0).any()


@pytest.mark.slow
def test_equal_runs_write_equal_bytes(paths, tmp_path):
    for run in "ab":
        attribute(tmp_path / run, paths)
    for name in NAMES:
        a, b = ((tmp_path / run / f"{name}.parquet").read_bytes() for run in "ab")
        assert a == b


@pytest.mark.slow
def test_every_track_and_every_control_is_an_order(found):
    table = found["faithfulness"]
    controls = {"expression", "wilcoxon", "detection", "random", "integrated_gradients_reversed"}
    rejected = found["cells"].query("rejected").groupby("track", observed=True)["cell"].nunique()
    of_attention = {"attention_total", "attention_received"}
    assert set(table["order"]) == {*of_attention, *ALL, *controls}
    n = table.groupby("order", observed=True)["cell"].nunique()
    for order in ("occlusion", "attention_received", "random", "expression"):
        assert n[order] == 6
    assert n["integrated_gradients"] == 6 - rejected.get("integrated_gradients", 0)
    assert sorted(table["fraction"].dropna().unique()) == [0.1, 0.3]
    assert set(table["metric"]) == {"comprehensiveness", "sufficiency"}
    without = table[table["matched"].isna()]
    assert set(without["order"]) == {"random", "expression"}


@pytest.mark.slow
def test_cells_that_do_not_add_up_are_counted_and_left_out(paths, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "keygenes"):
        few = {"n_steps": 2, "attattr_steps": 2, "max_completeness_error": 1e-6}
        found = attribute(tmp_path, paths, attribution=few)
    cells = found["cells"]
    assert cells.query("track == 'integrated_gradients'")["rejected"].all()
    assert not cells.query("track == 'occlusion'")["rejected"].any()
    lost = {"integrated_gradients", "attattr"}
    assert not lost & set(found["well_scores"]["track"])
    assert not lost & set(found["faithfulness"]["order"])
    assert "occlusion_reversed" in set(found["faithfulness"]["order"])
    assert "6 of 6 cells rejected" in caplog.text


@pytest.mark.slow
def test_every_training_of_a_fold_is_looked_at_in_the_same_cells(paths, found, tmp_path):
    """Other weights, as of another seed or of dealt labels, and another fold."""
    other = study(tmp_path / "study", pooling="mean")
    weights = {name: other[name] for name in ("weights", "config")}
    few = ["rollout", "occlusion"]
    again = attribute(tmp_path / "a", paths | weights, tracks=few)
    for name in ("faithfulness", "randomisation"):
        assert set(again[name]["cell"]) == set(found[name]["cell"])
    first = found["cells"][found["cells"]["track"].isin(few)].reset_index(drop=True)
    names = ["cell", "length"]
    pd.testing.assert_frame_equal(again["cells"][names], first[names])
    assert (again["cells"]["contrast"] != first["contrast"]).all()
    of_fold = attribute(tmp_path / "b", paths, fold=2, tracks=few)
    assert not set(of_fold["cells"]["cell"]) & set(first["cell"])


@pytest.mark.slow
def test_a_model_of_dealt_labels_has_tracks_alone(paths, found, tmp_path):
    bare = {name: path for name, path in paths.items() if name not in ("wilcoxon", "by_well")}
    only = attribute(tmp_path, bare, names=("well_scores", "cells"), faithfulness=None)
    for name in ("well_scores", "cells"):
        pd.testing.assert_frame_equal(only[name], found[name])


@pytest.mark.slow
def test_tracks_that_are_switched_off_are_nowhere(paths, tmp_path):
    found = attribute(
        tmp_path / "a",
        paths,
        tracks=["rollout", "attention_total"],
        faithfulness={"randomised_cells": 0},
    )
    assert set(found["well_scores"]["track"]) == {"rollout"}
    assert found["randomisation"].empty
    controls = {"expression", "wilcoxon", "detection", "random"}
    orders = {"attention_total", "rollout", "rollout_reversed", *controls}
    assert set(found["faithfulness"]["order"]) == orders
    found = attribute(tmp_path / "b", paths, tracks=["attention_total"])
    assert found["well_scores"].empty
    assert found["cells"].empty
    assert found["randomisation"].empty
    assert set(found["faithfulness"]["order"]) == orders - {"rollout", "rollout_reversed"}


@pytest.mark.slow
def test_cells_without_wells_are_one_well(paths, tmp_path):
    found = attribute(tmp_path, paths, obs_of().drop(columns="well"), tracks=["rollout"])
    assert set(found["well_scores"]["well"]) == {"all"}
    assert set(found["faithfulness"]["well"]) == {"all"}


@pytest.mark.slow
@pytest.mark.parametrize("pooling", [None, "mean"])
def test_special_tokens_have_no_score(tmp_path, pooling):
    paths = study(tmp_path / "study", specials=V2, pooling=pooling)
    found = attribute(tmp_path / "out", paths)
    genes = set(found["well_scores"]["ensembl_id"])
    assert genes
    assert all(gene.startswith("ENSG") for gene in genes)
    scored = found["cells"].query("not rejected")["track"].unique()
    assert set(found["well_scores"]["track"]) == set(scored)


@pytest.mark.slow
def test_what_the_classifier_reads_is_in_no_order(tmp_path, caplog):
    """A share of 1.0 masks every gene that may be masked."""
    everything = {"fractions": [1.0], "n_random": 1, "randomised_cells": 0}
    for pooling in ("first", "mean"):
        paths = study(tmp_path / pooling, pooling=pooling)
        caplog.clear()
        with caplog.at_level(logging.INFO, "keygenes"):
            found = attribute(
                tmp_path / f"{pooling}_out", paths, tracks=[], faithfulness=everything
            )
        assert ("reads position 0" in caplog.text) == (pooling == "first")
        model, _ = load_classifier(paths["weights"], paths["config"])
        cells = cells_of(paths)
        table = found["faithfulness"].query("order == 'expression' and fraction == 1")
        assert len(table) == 12
        for row in table.itertuples():
            whole = cells[row.cell]
            masked = np.full_like(whole, 1)
            if pooling == "first":
                masked[0] = whole[0]
            f, f_masked = contrasts(
                model, torch.from_numpy(np.array([whole, masked], np.int64)), 100
            )
            drop = abs(f) - np.sign(f) * f_masked
            expected = drop if row.metric == "comprehensiveness" else 0
            assert row.value == pytest.approx(expected, abs=1e-5)


def test_cells_are_drawn_evenly_and_larger_draws_contain_smaller_ones():
    labels = np.repeat([0, 0, 1], 40)
    wells = np.concatenate([np.zeros(75), np.ones(5), np.full(40, 2)]).astype(int)
    drawn = evenly_drawn(labels, wells, 12, fold=3)
    assert np.bincount(wells[drawn]).tolist() == [3, 3, 6], "classes first, then their wells"
    assert (np.diff(drawn) > 0).all()
    assert set(drawn) < set(evenly_drawn(labels, wells, 50, fold=3))
    assert np.bincount(wells[evenly_drawn(labels, wells, 50, fold=3)])[1] == 5
    assert evenly_drawn(labels, wells, None, fold=3).tolist() == list(range(120))
    assert set(drawn) != set(evenly_drawn(labels, wells, 12, fold=4))


def test_orders_follow_the_answer_and_signs_do_not_matter_to_attention():
    cell, genes = np.array([9, 5, 6, 7]), np.array([1, 2, 3])
    of_cell = {
        "rollout": np.array([9.0, 1.0, 3.0, 2.0]),
        "occlusion": np.array([9.0, -1.0, 3.0, 0.0]),
    }
    of_genes = {"detection": np.array([0, 0, 0, 0, 0, 1.0, 2.0, 3.0, 0, 9.0])}
    down = orders_of(cell, genes, of_cell, of_genes, sign=-1.0, turned="occlusion")
    assert down["rollout"].tolist() == [1, 2, 0]
    assert down["occlusion"].tolist() == [0, 2, 1]
    assert down["occlusion_reversed"].tolist() == [1, 2, 0]
    assert down["expression"].tolist() == [0, 1, 2]
    assert down["detection"].tolist() == [2, 1, 0]


def test_orders_by_attention_are_those_of_the_tracks():
    ids = np.array(["<pad>", "A", "B", "C"])
    found = attention_orders(
        attention_by_well(ids),
        ids,
        ["attention_total", "attention_received", "attention_residual", "norm_pair"],
    )
    assert set(found) == {"attention_total", "attention_residual"}, "no pair norm was measured"
    assert all(np.isnan(scores[0]) for scores in found.values())
    np.testing.assert_allclose(found["attention_total"][1:], [4, 8, 12])
    np.testing.assert_allclose(found["attention_residual"][1:], [-3 / 2, -5 / 4, -7 / 6])
    assert not attention_orders(attention_by_well(ids), ids, ["rollout"])


def test_orders_of_genes_come_from_the_tests_of_the_task_and_the_cells():
    tests = pd.DataFrame(
        {
            "task": ["level", "level", "dose", "level"],
            "reference": ["rest", "rest", "rest", "vehicle"],
            "ensembl_id": ["A", "A", "B", "B"],
            "statistic": [2.0, -3.0, 9.0, 9.0],
        }
    )
    found = gene_orders(tests, "level", np.array(["<pad>", "A", "B"]), [np.array([1, 2]), [2]])
    assert found["wilcoxon"][1] == 3
    assert np.isnan(found["wilcoxon"][[0, 2]]).all()
    assert found["detection"].tolist() == [0, 1, 2]
