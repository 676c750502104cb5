"""Values of obs, from a file as others store it to the cells that a config asks for."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from keygenes.cells.columns import known_values, vehicle_cells
from keygenes.cells.label import task_labels
from keygenes.cells.select import dose_mask, drug_mask
from keygenes.core.errors import InputError
from keygenes.core.matrices import read_matrix, write_matrix
from keygenes.inputs.combine import write_combined
from keygenes.inputs.readers import read_dataset

N = 40


def read(path, columns=(), **obs):
    """Return the canonical matrix of a file with some columns of obs, mapped under `columns`."""
    obs = pd.DataFrame(obs, index=[f"c{i}" for i in range(N)])
    ids = pd.Index([f"ENSG{j:011d}" for j in range(20)])
    counts = np.random.default_rng(0).poisson(2.0, (N, 20)).astype(np.float32)
    cells = ad.AnnData(sp.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=ids))
    ad.settings.allow_write_nullable_strings = True
    cells.write_h5ad(path)
    return read_dataset({"layout": "h5ad", "columns": dict(columns)}, {"matrix": path})


STORED = {
    "float32": np.array([0, 0.1], "f4"),
    "float16": np.array([0, 0.1], "f2"),
    "float64": np.array([0, 0.1]),
    "categories": pd.Categorical([0.0, 0.1]),
    "categories of float32": pd.Categorical(np.array([0, 0.1], "f4")),
    "text": np.array(["0", "0.1"], object),
    "text of floats": pd.Categorical(["0.0", "0.1"]),
    "text of a table": np.array(["0.00", "0.10"], object),
    "string": pd.array(["0", "0.1"], dtype="string"),
}


@pytest.mark.parametrize("column", STORED.values(), ids=STORED)
def test_doses_are_found_as_classes_vehicle_and_doses(column, tmp_path):
    column = pd.Series(column).take(np.resize([0, 1], N)).array
    cells = read(tmp_path / "m.h5ad", {"dose_um": "dose"}, dose=column, level=column)
    for name in ("dose_um", "level"):
        assert known_values(cells.obs[name]) == "0, 0.1"
        classes = {"no": [0], "yes": [0.1]}
        labels = task_labels(cells.obs, {"name": "t", "column": name, "classes": classes})
        assert labels.codes.tolist() == [0, 1] * (N // 2)
        assert vehicle_cells(cells.obs, {"column": name, "value": "0.0"}).sum() == N // 2
    assert cells.obs["dose_um"].tolist() == [0, 0.1] * (N // 2)
    assert dose_mask(cells.obs, [0.1]).sum() == N // 2


def test_computed_doses_are_the_ones_that_are_meant(tmp_path):
    doses = np.resize([0, 0.1 * 3, 10 / 3], N)
    obs = read(tmp_path / "m.h5ad", {"dose_um": "dose"}, dose=doses).obs
    assert sorted(set(obs["dose_um"])) == [0, 0.3, 3.333333]
    assert dose_mask(obs, [0, 0.3, 10 / 3]).all()


@pytest.mark.parametrize("word", ["none", "None", "NA", "N/A"])
def test_words_for_nothing_are_words_in_text_and_missing_among_numbers(word, tmp_path):
    drug = pd.Categorical([word, "DrugA", None, ""] * (N // 4))
    dose = np.array(["0", "2.5", word, word] * (N // 4), object)
    obs = read(tmp_path / "m.h5ad", {"dose_um": "dose"}, drug=drug, dose=dose).obs
    assert obs["drug"].tolist() == [word, "DrugA", "unassigned", "unassigned"] * (N // 4)
    assert obs["dose_um"].isna().tolist() == [False, False, True, True] * (N // 4)
    assert drug_mask(obs, word).sum() == N // 4


@pytest.mark.parametrize("absent", [None, "", "nan", "NaN", "NAN", "<NA>"])
def test_cells_without_a_value_are_in_no_class(absent, tmp_path):
    state = pd.Categorical(["x", absent] * (N // 2))
    obs = read(tmp_path / "m.h5ad", state=state).obs
    assert obs["state"].isna().sum() == N // 2
    for value in ("nan", "None", "<NA>"):
        task = {"name": "t", "column": "state", "classes": {"x": ["x"], "rest": [value]}}
        with pytest.raises(InputError, match="one of x"):
            task_labels(obs, task)


@pytest.mark.parametrize("word", ["NA", "none"])
def test_wells_that_are_called_nothing_are_told(word, tmp_path, caplog):
    obs = read(tmp_path / "m.h5ad", well=["A01", word] * (N // 2), drug=word).obs
    assert set(obs["well"]) == {"A01", word}
    assert [r.levelname for r in caplog.records if f"'{word}'" in r.message] == ["WARNING"]


def test_wells_and_replicates_have_one_spelling(tmp_path):
    wells, replicates = np.resize([1.0, 2.0], N), pd.array(np.resize([3, None], N), dtype="Int64")
    obs = read(tmp_path / "m.h5ad", well=wells, replicate=replicates).obs
    assert list(obs["well"].cat.categories) == ["1", "2"]
    assert list(obs["replicate"].cat.categories) == ["3"]
    names = read(tmp_path / "m.h5ad", well=np.resize(["1E05", "01"], N)).obs["well"]
    assert list(names.cat.categories) == ["01", "1E05"]


def test_clusters_of_clusters_stay_two(tmp_path):
    obs = read(tmp_path / "m.h5ad", cluster=pd.Categorical(["1.1", "1.10"] * (N // 2))).obs
    classes = {"a": ["1.1"], "b": ["1.10"]}
    labels = task_labels(obs, {"name": "t", "column": "cluster", "classes": classes})
    assert labels.codes.tolist() == [0, 1] * (N // 2)


@pytest.mark.parametrize(
    ("a", "b"), [(1, 1.0), ("1", 1), ("1.0", 1), (True, 1), ("TRUE", True), (np.float32(1), "1.0")]
)
def test_what_two_files_mean_alike_is_alike_where_they_are_combined(a, b, tmp_path):
    parts = {}
    for name, value in (("a", a), ("b", b)):
        other = False if isinstance(value, bool) else type(value)(0)
        other = {"TRUE": "FALSE", "1": "0", "1.0": "0.0"}.get(value, other)
        parts[name] = tmp_path / f"{name}.matrix.h5ad"
        cells = read(tmp_path / f"{name}.h5ad", state=[value, other] * (N // 2))
        write_matrix(cells, parts[name])
    write_combined(parts, tmp_path / "both.h5ad")
    obs = read_matrix(tmp_path / "both.h5ad").obs
    labels = task_labels(obs, {"name": "t", "column": "state", "classes": {"no": [0], "yes": [1]}})
    assert labels.codes.tolist() == [1, 0] * N
