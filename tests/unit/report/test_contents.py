import numpy as np
import pandas as pd
import pytest
import report_tables as tables
from stated import names_in, states
from study_configs import made_study

from keygenes.core.figures import FIGURES
from keygenes.report.contents import figure_title, shown_metrics
from keygenes.report.headline import headline_numbers
from keygenes.report.summaries import metric_summary, partial_sets, pooled, set_table


def metrics():
    names = ("full", "length_only", "token0", "rank_lr", "hvg_lr", "majority")
    return tables.with_differences(tables.metrics_table(names, designs=("grouped", "random")))


def test_metrics_are_summed_up_in_a_row_per_regime_and_design():
    table = metric_summary(metrics()).set_index(["regime", "design"])
    assert len(table) == 12
    assert table.loc[("hvg_lr", "grouped"), "accuracy"] == 0.45 + 0.02 * 4
    assert table.loc[("hvg_lr", "grouped"), "p (accuracy_gain)"] == 0.01
    assert np.isnan(table.loc[("full", "grouped"), "accuracy_gain"])
    assert table.loc[("full", "grouped"), "learnt"] == "yes"
    assert table.loc[("hvg_lr", "grouped"), ["covers", "learnt"]].tolist() == ["wells", None]
    lost = metric_summary(tables.metrics_table(unlearnt=["frozen"])).set_index("regime")
    assert lost.loc["frozen", "learnt"].startswith("no: ")
    assert table["leak"].notna().tolist() == [d == "random" for _, d in table.index]
    assert table["n_cells"].eq(1440).all()
    without = metric_summary(tables.metrics_table())
    assert not {"leak", "accuracy_gain"} & set(without.columns)


def test_metrics_on_the_page_have_short_heads_and_intervals_in_words():
    table = shown_metrics(metric_summary(metrics()))
    row = table[(table["regime"] == "hvg_lr") & (table["design"] == "grouped")].iloc[0]
    assert (row["accuracy"], row["95 % interval"]) == (0.53, "0.480 to 0.580")
    without = metrics().assign(ci_low=np.nan, ci_high=np.nan)
    assert shown_metrics(metric_summary(without))["95 % interval"].isna().all()


def test_figures_of_the_thesis_keep_their_number_and_all_have_a_name():
    assert figure_title("figure4_cosine").startswith("Figure 4")
    assert not figure_title("training_curves").startswith("Figure")
    titles = [figure_title(stem) for stem in FIGURES]
    assert len(set(titles)) == len(titles)
    assert not [title for title in titles if "_" in title]


def test_a_pooled_row_is_of_the_grouped_design():
    assert pooled(metrics().iloc[::-1], "majority")["design"] == "grouped"
    assert pooled(metrics(), "nothing") is None


@pytest.mark.slow
def test_the_headline_names_the_floors_and_the_best_baseline():
    study = {
        "selection": pd.DataFrame({"n_cells": [1440], "n_genes": [900]}),
        "checks": pd.DataFrame({"check": ["class"], "about": ["level: low"], "outcome": ["fine"]}),
        "splits": pd.DataFrame({"cell": ["a"], "fold": 1, "split": "test", "unit": "well"}),
        "primary": tables.primary_tables()[2],
        "metrics": {"level": metrics()},
        "cosine": {"level": tables.cosine_table()},
        "comparison_bounds": {"level": tables.bounds_table()},
        "key_genes": {},
        "gene_sets": {},
        "gene_metrics": {},
    }
    config = {
        "tasks": [{"name": "level", "column": "x", "classes": {}}],
        "evidence": {"regime": "full", "gene_sets": [], "n_key_genes": 30},
        "attention": {"pairs": [["full", "frozen"]]},
    }
    (test, outcome, numbers), _, (_, _, models), (_, _, attention) = headline_numbers(
        study, made_study(config)
    )
    named = {"attattr", "full", "p53", "level"}
    assert names_in(test, named) == named and outcome == "supported"
    assert states(numbers, 20, 0.048, 0.05)
    assert states(models, 18, 1440, 0.53, 0.48)
    for said in ("length only 0.47", "token0 0.49", "hvg lr"):
        assert said in models
    assert states(attention, 1440, 0.97) and "full" in attention


def test_gene_sets_are_counted_and_those_in_the_data_in_part_are_known():
    whole = tables.gene_set_table("A", "B", lost=("X", "B", "y\u202e"))
    study = {"gene_sets": {"whole": whole, "part": tables.gene_set_table("A", lost=("X", "Z"))}}
    found = set_table(study).set_index("gene_set")
    assert found.loc["whole", ["listed", "matched", "unknown", "lost"]].tolist() == [
        4,
        2,
        2,
        "X, y",
    ]
    assert list(partial_sets(study)) == ["part"]
    assert set_table({"gene_sets": {}}).empty
