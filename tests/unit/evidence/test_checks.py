import logging

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from keygenes.cells.label import label_cells
from keygenes.cells.split import split_cells
from keygenes.evidence.checks import FINE, LOOK, study_checks
from keygenes.evidence.gene_sets import find_listed
from keygenes.inputs.gene_names import KnownGenes

GENES = pd.DataFrame(
    {"symbol": [f"G{i}" for i in range(40)]}, index=[f"ENSG{i:011d}" for i in range(40)]
)
TASK = {"name": "state", "column": "treatment", "classes": {"no": ["dmso"], "yes": ["drug"]}}
PRIMARY = {"task": "state", "track": "attention_total", "gene_set": "mine", "regime": "full"}


def cells(**columns):
    """Return obs of 240 cells: two treatments in six wells each, over three replicates."""
    n = np.arange(240)
    obs = {
        "treatment": np.where(n % 2, "drug", "dmso"),
        "replicate": [f"r{i // 2 % 3}" for i in n],
        "well": [f"w{i % 12}" for i in n],
    }
    return pd.DataFrame(obs | columns, index=[f"c{i}" for i in n]).astype(
        {name: "category" for name, column in columns.items() if np.asarray(column).dtype == object}
    )


def checks_of(
    obs, *, members=20, primary=PRIMARY, permutations=20, vocabulary=40, by="replicate", selected=40
):
    """Return the table 'checks' of cells, indexed by check and about."""
    labels = label_cells(obs, [TASK])
    splits = split_cells(
        obs, labels["state"], folds=[1, 2], by=by, test_fraction=0.2, valid_fraction=0.2
    )
    symbols = [f"G{i}" for i in range(40 - members, 60 - members)]
    listed = pd.DataFrame({"ensembl_id": None, "symbol": symbols}, dtype=object)
    once = scipy.sparse.csr_matrix((np.ones(selected), (np.zeros(selected, int), range(selected))))
    once.resize(len(obs), selected)  # a count of every gene
    checks = study_checks(
        anndata.AnnData(once, obs, pd.DataFrame(index=GENES.index[:selected])),
        labels,
        splits,
        pd.DataFrame({"ensembl_id": [None, *GENES.index[:vocabulary]]}),
        columns={"state": "treatment"},
        sets={"mine": find_listed(listed, KnownGenes(GENES.index, GENES["symbol"]))},
        primary=primary,
        permutations=permutations,
        brought=False,
    )
    return checks.set_index(["check", "about"])


def mentions(text, *facts):
    """Return whether a text has all of some names and numbers."""
    return all(fact in text for fact in facts)


def test_a_sound_study_wants_no_look():
    checks = checks_of(cells())
    assert set(checks["outcome"]) == {FINE}
    assert (checks["advice"] == "").all()
    assert set(checks.index.get_level_values("check")) == {
        *("class", "split", "batch", "vocabulary", "gene set", "primary test"),
    }


def batch_check(column, name="donor", **options):
    return checks_of(cells(**{name: column}), **options).loc[("batch", f"state: {name}")]


N = np.arange(240)


@pytest.mark.parametrize("name", ["donor", "Batch_id", "orig.ident", "sequencing_run", "sampleID"])
def test_a_class_in_one_batch_of_its_own_is_named(name):
    found = batch_check(np.where(N % 2, "a", "b").astype(object), name)
    assert found["outcome"] == LOOK
    assert "100%" in found["found"] and name in found["advice"]


def test_batches_within_classes_want_to_be_held_out_whole():
    donors = np.array([f"d{i % 2}{i // 12 % 4}" for i in N], object)  # four a class, across wells
    found = batch_check(donors)
    assert found["outcome"] == LOOK and "donor" in found["advice"]


def test_batches_within_classes_that_are_held_out_whole_are_fine():
    obs = cells()
    wells = obs["well"].astype(str).to_numpy(object)
    assert batch_check(wells, "plate_well")["outcome"] == FINE
    assert batch_check(wells, "plate_well", by="random")["outcome"] == LOOK


def test_a_batch_that_gives_most_of_a_class_away_is_named():
    mostly = np.where(np.where(N % 24 < 2, N + 1, N) % 2, "a", "b").astype(object)
    found = batch_check(mostly)
    share = 11 / 12  # of each class in its batch; what is left to be told is the entropy of 1 in 12
    told = 1 + share * np.log2(share) + (1 - share) * np.log2(1 - share)
    assert found["outcome"] == LOOK and f"{told:.0%}" in found["found"]


@pytest.mark.parametrize("replicates", [True, False])
def test_a_class_in_one_batch_is_named_though_another_class_is_there_too(replicates):
    donors = np.where(N % 2, "a", np.array(["a", "b", "c"])[N // 2 % 3]).astype(object)
    obs = cells(donor=donors)
    obs = obs if replicates else obs.drop(columns=["replicate", "well"])
    found = checks_of(obs).loc[("batch", "state: donor")]
    assert found["outcome"] == LOOK
    assert mentions(found["found"], "yes", "'a'", "100%", "33%")


def test_a_batch_that_holds_most_of_every_class_gives_none_away():
    donors = np.where(N % 24 < 22, "a", "b").astype(object)
    assert batch_check(donors)["outcome"] == FINE


def test_cells_that_are_split_one_by_one_want_a_look():
    obs = cells().drop(columns=["well", "replicate"])
    found = checks_of(obs).loc["split"]
    assert (found["n"] == 240).all()
    assert found.index[found["outcome"] == LOOK].tolist() == ["state"]
    assert mentions(found.loc["state", "advice"], "replicate")


@pytest.mark.parametrize(
    "column",
    [
        np.array([f"d{i // 2 % 5}" for i in N], object),  # crossed with the classes
        np.array([f"barcode{i}" for i in N], object),  # names cells
        np.array(["one"] * 240, object),
    ],
)
def test_columns_that_give_nothing_away_want_no_look(column):
    checks = checks_of(cells(donor=column))
    assert set(checks["outcome"]) == {FINE}


def test_columns_that_are_no_batches_are_not_asked():
    checks = checks_of(cells(colour=np.where(N % 2, "a", "b").astype(object)))
    assert ("batch", "state: colour") not in checks.index


def test_cells_without_a_batch_are_left_out_of_its_check():
    donors = np.where(N < 40, None, np.where(N % 2, "a", "b")).astype(object)
    assert batch_check(donors)["n"] == 200


def test_a_set_whose_genes_were_not_selected_is_named():
    checks = checks_of(cells(), selected=30)  # the data have 20 of its genes, the study 10
    found = checks.loc[("gene set", "mine")]
    assert mentions(found["found"], "20 of 20", "10 of these") and found["outcome"] == FINE
    found = checks_of(cells(), selected=28).loc[("gene set", "mine")]
    assert found["outcome"] == LOOK and "select.highly_variable_genes" in found["advice"]


def test_a_vocabulary_of_other_genes_is_named():
    checks = checks_of(cells(), vocabulary=10)
    assert checks.loc[("vocabulary", "genes"), "outcome"] == LOOK


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"permutations": 18}, "18"),
        ({"members": 9}, "9"),
        ({"permutations": 0}, "0"),
    ],
)
def test_a_primary_test_that_cannot_be_supported_is_named(options, said):
    found = checks_of(cells(), **options).loc["primary test"].iloc[0]
    assert found["outcome"] == LOOK and said in found["advice"]


def test_cells_without_wells_support_nothing():
    obs = cells().drop(columns=["well", "replicate"])
    found = checks_of(obs).loc["primary test"].iloc[0]
    assert found["outcome"] == LOOK and mentions(found["advice"], "well")
    assert "replicate" not in found["advice"]


def test_cells_without_wells_are_relabelled_within_replicates():
    found = checks_of(cells().drop(columns="well")).loc["primary test"].iloc[0]
    assert found["outcome"] == LOOK and mentions(found["advice"], "well", "replicate")
    assert mentions(found["found"], "240", "1,000,000") and "inf" not in found["found"]


def test_a_design_of_few_wells_has_few_relabellings():
    obs = cells(well=[f"w{i % 4}" for i in N]).drop(columns="replicate")
    found = checks_of(obs).loc["primary test"].iloc[0]
    assert found["outcome"] == LOOK and found["n"] == 2


def test_without_a_primary_test_there_is_no_check_of_it():
    assert "primary test" not in checks_of(cells(), primary=None).index.get_level_values("check")


def test_a_class_that_no_fold_trains_is_named():
    obs = cells(replicate=np.where(N % 2, "r1", "r2").astype(object))
    found = checks_of(obs).loc["split"]
    assert (found["outcome"] == LOOK).all()
    assert {"yes", "no"} <= set(" ".join(found["found"]).split())


def test_what_wants_a_look_is_a_warning(caplog):
    caplog.set_level(logging.INFO, logger="keygenes")
    checks = checks_of(cells(), vocabulary=10, permutations=3)
    warned = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warned) == (checks["outcome"] == LOOK).sum() == 2
