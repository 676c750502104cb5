import pandas as pd
from study_configs import made_study

from keygenes.report.study_counts import study_counts

TASKS = [{"name": "dose"}, {"name": "dosage", "type": "gene", "gene_classes": "mine"}]
STUDY = made_study({"tasks": TASKS})


def tables():
    selection = {
        "step": ["dataset", "hash filter", "detected genes"],
        "n_cells": [9, 5, 4],
        "n_genes": [30, 30, 20],
        "note": ["mine", "top_to_second_best_ratio > 10, hash_umis > 30", "seen in >= 3 cells"],
    }
    metrics = {
        "fold": pd.array([1, None, None, None], "Int64"),
        "seed": pd.array([1, None, None, None], "Int64"),
        "metric": ["accuracy", "accuracy", "accuracy", "macro_f1"],
        "design": ["grouped", "grouped", "random", "grouped"],
        "n_units": [2, 3, 9, 8],
        "ci_low": [0.1, 0.1, None, 0.1],
    }
    genes = {"track": ["pseudobulk", "rollout", "rollout"], "regime": [None, "full", "full"]}
    return {
        "selection": pd.DataFrame(selection),
        "splits": pd.DataFrame({"unit": ["well"]}),
        "tokens": pd.DataFrame({"length": [0, 5, 7, 8, 9], "n_truncated": [0, 0, 0, 1, 4]}),
        "vocabulary": pd.DataFrame({"ensembl_id": ["<pad>", "<mask>", "A", "B", "C"]}),
        "metrics": {"dose": pd.DataFrame(metrics)},
        "cosine": {"dose": pd.DataFrame({"layer": [1, 2], "head": [3, 1]})},
        "genes": {"dose": pd.DataFrame(genes)},
    }


def test_a_study_is_counted_from_its_tables():
    assert study_counts(tables(), STUDY) == {
        **{"n_cells": 4, "n_genes": 20, "hash_columns": ["top_to_second_best_ratio", "hash_umis"]},
        **{"filter_pass": False, "unit": "well", "n_units": {"dose": 3}, "has_wells": True},
        "has_intervals": True,
        **{"n_vocabulary": 3, "n_cut": 2, "median_length": 7.5},
        **{"n_layers": 2, "n_heads": 3, "tracks": ["rollout"]},
    }


def test_what_the_primary_test_relabels_is_counted():
    primary = pd.DataFrame({"permuted_unit": ["replicate"]})
    assert study_counts({**tables(), "primary": primary}, STUDY)["permuted_unit"] == "replicate"
    assert "permuted_unit" not in study_counts({**tables(), "primary": None}, STUDY)


def test_filters_that_the_cells_have_no_columns_for_count_as_none():
    found = tables()
    found["selection"]["step"] = ["dataset", "filter_pass", "hash filter"]
    found["selection"]["note"] = ["mine", "filter_pass = 1", "no hash columns: skipped"]
    found["genes"]["dose"] = found["genes"]["dose"].iloc[1:]
    del found["vocabulary"]
    counts = study_counts(found, STUDY)
    assert (counts["hash_columns"], counts["filter_pass"], counts["has_wells"]) == ([], True, False)
    assert "n_vocabulary" not in counts


def test_datasets_that_lack_a_column_are_no_test_of_the_hash_filter():
    found = tables()
    lacking = "no hash_umis in 'b' and 'c': all cells kept, no cell left of 'd'"
    found["selection"].loc[1, "note"] += f", {lacking}"
    counts = study_counts(found, STUDY)
    assert counts["hash_columns"] == ["top_to_second_best_ratio", "hash_umis"]
