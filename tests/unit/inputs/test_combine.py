import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from messages import assert_sentence
from stated import numbers_in

from keygenes.cells.columns import known_values, values_in
from keygenes.core import blocks, matrix_file
from keygenes.core.errors import InputError
from keygenes.core.matrices import read_matrix, write_matrix
from keygenes.inputs.combine import combine, write_combined


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


def written(parts, folder):
    for name, one in parts.items():
        write_matrix(one, folder / f"{name}.h5ad")
    write_combined({name: folder / f"{name}.h5ad" for name in parts}, folder / "both.h5ad")
    return read_matrix(folder / "both.h5ad")


def stored(annotation, path):
    """Return what `combine` says of the cells, as a file gives it back."""
    annotation.X = sp.csr_matrix(annotation.shape, dtype=np.float32)
    write_matrix(annotation, path)
    return read_matrix(path)


def test_genes_are_the_union_and_absent_ones_count_zero(two, tmp_path):
    both = written(two, tmp_path)
    assert both.var_names.tolist() == ["G1", "G2", "G3", "G4"]
    assert both.X.toarray().tolist() == [[1, 2, 0, 0], [0, 3, 4, 0], [0, 0, 7, 8]]
    assert both.X.has_sorted_indices
    assert both.X.nnz == 6
    assert both.X.dtype == np.float32
    assert both.obs["n_counts"].tolist() == [8, 12, 20]  # as supplied, five above the sums
    assert both.obs["dataset"].tolist() == ["blood", "blood", "lines"]


def test_the_same_bytes_however_the_datasets_are_cut(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    genes = np.array([f"G{i}" for i in range(30)])
    names = [rng.permutation(genes)[:20].tolist() for _ in range(3)]
    parts = {
        f"set{i}": part([f"{i}.{j}" for j in range(25)], of, rng.poisson(0.5, (25, 20)))
        for i, of in enumerate(names)
    }
    ids = pd.unique(np.concatenate(names))
    frames = [pd.DataFrame(one.X.toarray(), one.obs_names, one.var_names) for one in parts.values()]
    expected = pd.concat(frames)[list(ids)].fillna(0)
    monkeypatch.setattr(matrix_file, "CHUNK", 32)
    found = set()
    for values in (1, 50, 10**6):
        monkeypatch.setattr(blocks, "VALUES", values)
        both = written(parts, tmp_path)
        assert both.X.has_sorted_indices
        pd.testing.assert_frame_equal(both.to_df(), expected, check_names=False)
        found.add((tmp_path / "both.h5ad").read_bytes())
    assert len(found) == 1


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
    obs = written(two, tmp_path).obs
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


SAME = {
    "whole and float": ([1, 2], [1.0]),
    "number and text": ([1, 2], ["1"]),
    "text of floats and number": (["1.0", "2.0"], [1]),
    "categories of numbers and text": (pd.Categorical([1, 2]), ["1.0"]),
    "ordered and plain": (pd.Categorical(["1", "2"], ["2", "1"], ordered=True), ["1"]),
    "nullable and float": (pd.array([1, 2], dtype="Int64"), [1.0]),
    "string and whole": (pd.array(["1", "2"], dtype="string"), [1]),
    "float32 and float": (np.array([1, 2], "f4"), [1.0]),
    "object and categories": (np.array([1, "2"], object), pd.Categorical([1.0])),
}


@pytest.mark.parametrize(("blood", "lines"), SAME.values(), ids=SAME)
def test_a_value_of_two_datasets_is_one(two, tmp_path, blood, lines):
    two["blood"].obs["cluster"] = blood
    two["lines"].obs["cluster"] = lines
    column = stored(combine(two), tmp_path / "both.h5ad").obs["cluster"]
    assert known_values(column) == "1, 2"
    for value in (1, 1.0, "1", "1.0"):
        assert values_in(column, [value]).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("blood", "lines"),
    [
        ([True, False], [1]),
        ([True, False], ["TRUE"]),
        (["TRUE", "FALSE"], [1.0]),
        ([1, 0], pd.array([True], dtype="boolean")),
        (pd.Categorical(["True", "False"]), [True]),
    ],
)
def test_logicals_of_two_datasets_are_one(two, blood, lines):
    two["blood"].obs["responds"] = blood
    two["lines"].obs["responds"] = lines
    column = combine(two).obs["responds"]
    for value in (True, "TRUE", "True", 1, "1"):
        assert values_in(column, [value]).tolist() == [True, False, True]


def test_doses_of_two_datasets_are_the_same_number(two):
    two["blood"].obs["dose"] = np.array([0.1, 10 / 3], "f4")
    two["lines"].obs["dose"] = [10 / 3]
    column = combine(two).obs["dose"]
    assert known_values(column) == "0.1, 3.333333"
    assert values_in(column, [0.1]).tolist() == [True, False, False]
    assert values_in(column, [10 / 3]).tolist() == [False, True, True]


def test_text_beside_numbers_of_another_dataset_is_numbers_and_else_names(two):
    two["blood"].obs["dose"] = ["2.50", "10"]
    two["lines"].obs["dose"] = [2.5]
    assert known_values(combine(two).obs["dose"]) == "2.5, 10"
    two["blood"].obs["dose"] = ["1.1", "1.2"]
    two["lines"].obs["dose"] = ["1.10"]
    assert known_values(combine(two).obs["dose"]) == "1.1, 1.10, 1.2"


ABSENT = {
    "logical": ([True, False], ["True", "False", None]),
    "whole": ([1, 2], [1, 2, None]),
    "large": ([2**60 + 1, 2], [str(2**60 + 1), "2", None]),
    "ordered": (pd.Categorical(["b", "a"], ["b", "a"], ordered=True), ["b", "a", None]),
    "numbers": (pd.Categorical([2.5, 0.0]), ["2.5", "0", None]),
    "nullable": (pd.array([1, None], dtype="Int64"), [1, None, None]),
    "nullable logical": (pd.array([True, None], dtype="boolean"), ["True", None, None]),
    "string": (pd.array(["x", None], dtype="string"), ["x", None, None]),
    "dates": (pd.to_datetime(["2024-01-02", None]), ["2024-01-02", None, None]),
    "nothing": ([None, None], [None, None, None]),
}


@pytest.mark.parametrize(("blood", "expected"), ABSENT.values(), ids=ABSENT)
@pytest.mark.parametrize("lines", [None, [None]], ids=["absent", "empty"])
def test_any_column_combines_with_none(two, tmp_path, blood, expected, lines):
    two["blood"].obs["column"] = blood
    if lines:
        two["lines"].obs["column"] = lines
    column = stored(combine(two), tmp_path / "both.h5ad").obs["column"].astype(object)
    assert column.where(column.notna(), None).tolist() == expected


def test_wells_that_are_numbers_clash_as_the_same_number(two):
    two["blood"].obs["well"] = [1, 2]
    two["lines"].obs["well"] = [1.0]
    assert combine(two).obs["well"].tolist() == ["blood_1", "blood_2", "lines_1"]


def test_genes_that_were_left_out_are_remembered(two, tmp_path):
    lost = {"name": "", "ensembl_id": "", "how": "no id"}
    for name, symbols in (("blood", ["X", "Y"]), ("lines", ["X"])):
        two[name].uns["named_genes"] = pd.DataFrame({"symbol": symbols, **lost})
    genes = written(two, tmp_path).uns["named_genes"]
    assert genes["symbol"].tolist() == list("XYX")
