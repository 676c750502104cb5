import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from messages import assert_sentence
from stated import numbers_in

from keygenes.core.errors import InputError
from keygenes.core.matrices import read_matrix, write_matrix
from keygenes.inputs.combine import combine


def part(cells, genes, counts, symbols=None, **obs):
    obs = pd.DataFrame({"n_counts": np.sum(counts, 1) + 5.0, **obs}, index=cells)
    obs.index.name = "cell"
    var = pd.DataFrame({"symbol": symbols or genes}, index=pd.Index(genes, name="ensembl_id"))
    return ad.AnnData(X=sp.csr_matrix(np.array(counts, np.float32)), obs=obs, var=var)


@pytest.fixture
def two():
    return {
        "blood": part(["a", "b"], ["G1", "G2", "G3"], [[1, 2, 0], [0, 3, 4]], ["ONE", "TWO", "G3"]),
        "lines": part(["c"], ["G3", "G4"], [[7, 8]], line=["A549"]),
    }


def test_genes_are_the_union_and_absent_ones_count_zero(two):
    both = combine(two)
    assert both.var_names.tolist() == ["G1", "G2", "G3", "G4"]
    assert both.X.toarray().tolist() == [[1, 2, 0, 0], [0, 3, 4, 0], [0, 0, 7, 8]]
    assert both.X.has_sorted_indices
    assert both.X.nnz == 6
    assert both.X.dtype == np.float32
    assert both.obs["n_counts"].tolist() == [8, 12, 20]  # as supplied, five above the sums
    assert both.obs["dataset"].tolist() == ["blood", "blood", "lines"]


def test_a_symbol_is_taken_from_whichever_dataset_names_the_gene(two):
    two["lines"].var["symbol"] = ["THREE", "G4"]
    assert combine(two).var["symbol"].tolist() == ["ONE", "TWO", "THREE", "G4"]


def test_cell_names_stay_unless_they_clash(two):
    assert combine(two).obs_names.tolist() == ["a", "b", "c"]
    two["lines"].obs_names = ["b"]
    assert combine(two).obs_names.tolist() == ["blood_a", "blood_b", "lines_b"]


def test_wells_of_two_datasets_are_two_wells(two):
    two["blood"].obs["well"] = pd.Categorical(["A01", None])
    two["lines"].obs["well"] = pd.Categorical(["A02"])
    assert combine(two).obs["well"].astype(object).where(lambda w: w.notna(), None).tolist() == [
        *("A01", None, "A02")
    ]
    two["lines"].obs["well"] = pd.Categorical(["A01"])
    wells = combine(two).obs["well"].astype(object)
    assert wells.where(wells.notna(), None).tolist() == ["blood_A01", None, "lines_A01"]


def test_a_column_of_one_dataset_is_missing_in_the_other_and_survives_a_file(two, tmp_path):
    two["blood"].obs["drug"] = pd.Categorical(["Nutlin", "unassigned"])
    two["blood"].obs["dose_um"] = [2.5, np.nan]
    write_matrix(combine(two), tmp_path / "both.h5ad")
    obs = read_matrix(tmp_path / "both.h5ad").obs
    assert obs["drug"].tolist() == ["Nutlin", "unassigned", "unassigned"]
    assert obs["line"].isna().tolist() == [True, True, False]
    assert obs["dose_um"].dtype == np.float64
    assert obs["dose_um"].isna().tolist() == [False, True, True]
    assert obs.index.name == "cell"


def test_a_dataset_with_a_column_of_that_name_is_refused(two):
    two["lines"].obs["dataset"] = "x"
    with pytest.raises(InputError) as error:
        combine(two)
    assert_sentence(error, "dataset 'lines'", "a column 'dataset'", "rename it")


def test_three_datasets_share_what_all_of_them_measure(two, caplog):
    two["more"] = part(["d"], ["G3"], [[2]])
    with caplog.at_level("INFO", "keygenes"):
        assert combine(two).n_obs == 4
    assert [4, 4, 1] in map(numbers_in, caplog.messages), "cells, genes, genes of every dataset"
