import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from messages import assert_sentence
from running import whole_config
from stated import states

from keygenes.cells import select
from keygenes.cells.normalise import counts_per_10k
from keygenes.cells.variable_genes import variable_genes
from keygenes.core import blocks, matrix_file
from keygenes.core.errors import InputError
from keygenes.core.matrices import read_matrix, write_matrix
from keygenes.core.tables import read_table

HASH = {"top_to_second_best_ratio": 10, "qval_demultiplexing": 0.01, "hash_umis": 30}
OPTIONS = whole_config()["select"] | {  # few cells pass all limits
    "drug": "Nutlin",
    "doses_um": [0, 2.5],
    "vehicle": {"column": "dose_um", "value": 0},
    "hash_filter": HASH,
    "min_counts": 0,
    "min_genes": 0,
    "max_percent_mito": None,
    "min_cells_per_gene": 1,
    "highly_variable_genes": None,
    "max_cells_per_dose": None,
    "seed": 1,
}


def obs_of(n=12):
    """Return cells of Nutlin 0, 2.5 and 25 uM in turn; the last cell is of another drug."""
    return pd.DataFrame(
        {
            "drug": ["Nutlin"] * (n - 1) + ["Dex"],
            "dose_um": np.resize([0.0, 2.5, 25.0], n),
            "top_to_second_best_ratio": 20.0,
            "qval_demultiplexing": 0.001,
            "hash_umis": 100,
            "n_counts": 1000.0,
            "n_genes": 300,
            "percent_mito": 5.0,
        },
        index=[f"cell{i}" for i in range(n)],
    )


def matrix_of(obs, n_genes=40, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(1, 2, n_genes), (len(obs), n_genes)).astype(np.float32)
    counts[:, 0] = 0  # never seen
    counts[:, 1] = 0
    counts[:2, 1] = 1  # seen in two cells
    counts[:, 2] = 1  # seen in all
    var = pd.DataFrame({"symbol": [f"S{j}" for j in range(n_genes)]})
    var.index = pd.Index([f"ENSG{j:011d}" for j in range(n_genes)], name="ensembl_id")
    return anndata.AnnData(scipy.sparse.csr_matrix(counts), obs.copy(), var)


def selected(tmp_path, adata, **options):
    write_matrix(adata, tmp_path / "dataset.h5ad")
    paths = [tmp_path / name for name in ("counts.h5ad", "screen.h5ad", "selection.parquet")]
    select.select_cells(
        tmp_path / "dataset.h5ad", *paths, where="mine", options={**OPTIONS, **options}
    )
    return read_matrix(paths[0]), read_matrix(paths[1]), read_table(paths[2])


def test_the_directions_and_limits_of_the_hash_filter():
    obs = obs_of(8)
    obs.loc["cell0", "top_to_second_best_ratio"] = 10.0  # the limit itself fails: > 10
    obs.loc["cell1", "top_to_second_best_ratio"] = 10.1
    obs.loc["cell2", "qval_demultiplexing"] = 0.01  # < 0.01
    obs.loc["cell3", "qval_demultiplexing"] = 0.0099
    obs.loc["cell4", "hash_umis"] = 30  # > 30
    obs.loc["cell5", "hash_umis"] = 31
    obs.loc["cell6", "qval_demultiplexing"] = np.nan
    expected = [False, True, False, True, False, True, False, True]
    assert select.hash_mask(obs, HASH).tolist() == expected


def test_the_hash_filter_skips_columns_that_are_absent():
    obs = obs_of(3).drop(columns=["hash_umis", "qval_demultiplexing"])
    obs["top_to_second_best_ratio"] = [5, 50, 5]
    assert select.hash_mask(obs, HASH).tolist() == [False, True, False]
    assert select.hash_mask(obs.iloc[:, :2], HASH).all()


def test_quality_limits_include_their_value():
    obs = obs_of(6)
    obs["n_counts"] = [499, 500, 500, 500, 500, 501]
    obs["n_genes"] = [200, 199, 200, 200, 200, 200]
    obs["percent_mito"] = [5, 5, 10.1, 10, np.nan, 0]
    limits = {"min_counts": 500, "min_genes": 200}
    mask = select.quality_mask(obs, **limits, max_percent_mito=10)
    assert mask.tolist() == [False, False, False, True, False, True]
    mask = select.quality_mask(obs, **limits, max_percent_mito=None)
    assert mask.tolist() == [False, False, True, True, True, True]
    with pytest.raises(InputError) as error:
        select.quality_mask(obs.drop(columns="percent_mito"), **limits, max_percent_mito=10)
    assert_sentence(error, "config key 'select.max_percent_mito'", "percent_mito")


def test_a_drug_that_is_not_there():
    assert select.drug_mask(obs_of(4), "Dex").tolist() == [False, False, False, True]
    with pytest.raises(InputError) as error:
        select.drug_mask(obs_of(4), "nutlin")
    assert_sentence(error, "config key 'select.drug'", "nutlin", "one of Dex, Nutlin")
    with pytest.raises(InputError) as error:
        select.drug_mask(obs_of(4).drop(columns="drug"), "Nutlin")
    assert_sentence(error, "config key 'select.drug'", "the column 'drug'")


def test_a_dose_that_no_cell_has():
    assert select.dose_mask(obs_of(4), [0, 25.0]).tolist() == [True, False, True, True]
    with pytest.raises(InputError) as error:
        select.dose_mask(obs_of(4), [0, 1.25])
    assert_sentence(error, "config key 'select.doses_um'", "1.25", "one of 0, 2.5, 25")


@pytest.mark.slow
def test_without_doses_the_subsample_is_of_each_value_of_the_vehicle_s_column(tmp_path):
    obs = obs_of(30).drop(columns="dose_um")
    obs["line"] = np.repeat(["A549", "H838", "H1975"], [16, 10, 4])
    options = {"drug": None, "doses_um": None, "max_cells_per_dose": 6}
    options["vehicle"] = {"column": "line", "value": "A549"}
    counts, _, selection = selected(tmp_path, matrix_of(obs), **options)
    assert counts.obs["line"].value_counts().to_dict() == {"A549": 6, "H838": 6, "H1975": 4}
    (note,) = (note for note in selection["note"] if "line" in str(note))
    assert states(note, 6)


def test_a_subsample_keeps_at_most_n_of_each_group():
    groups = np.repeat([0.0, 2.5, 25.0], [10, 3, 7])
    mask = select.subsample_mask(groups, 5, seed=1)
    assert [mask[groups == g].sum() for g in (0, 2.5, 25)] == [5, 3, 5]
    assert (mask == select.subsample_mask(groups, 5, seed=1)).all()
    drawn = [tuple(np.flatnonzero(select.subsample_mask(groups, 5, s))) for s in range(10)]
    assert len(set(drawn)) > 5


def test_genes_are_counted_in_cells_not_in_counts(tmp_path, monkeypatch):
    adata = matrix_of(obs_of())
    adata.X[0, 1] = 50  # many counts, still two cells
    write_matrix(adata, tmp_path / "m.h5ad")
    groups = np.array([np.ones(12, bool), np.arange(12) % 2 == 0, np.zeros(12, bool)])
    for values in (1, 100, 10**6):
        monkeypatch.setattr(blocks, "VALUES", values)
        n = select.cells_per_gene(tmp_path / "m.h5ad", groups)
        assert n[:, :3].tolist() == [[0, 2, 12], [0, 1, 6], [0, 0, 0]]
        assert (n[1] == (adata.X[::2] > 0).sum(0)).all()


def plainly_selected(adata, options):
    """Return counts and screen as the whole matrix in memory gives them, step by step."""
    adata = adata[select.drug_mask(adata.obs, options["drug"])].copy()
    adata = adata[select.hash_mask(adata.obs, options["hash_filter"])].copy()
    quality = {k: options[k] for k in ("min_counts", "min_genes", "max_percent_mito")}
    adata = adata[select.quality_mask(adata.obs, **quality)].copy()
    n = options["min_cells_per_gene"]
    screen = adata[:, np.asarray((adata.X > 0).sum(axis=0)).ravel() >= n].copy()
    adata = adata[select.dose_mask(adata.obs, options["doses_um"])].copy()
    chosen = select.subsample_mask(
        adata.obs["dose_um"], options["max_cells_per_dose"], options["seed"]
    )
    adata = adata[chosen].copy()
    adata = adata[:, np.asarray((adata.X > 0).sum(axis=0)).ravel() >= n].copy()
    scaled = counts_per_10k(adata.X, adata.obs["n_counts"])
    return adata[:, variable_genes([scaled], options["highly_variable_genes"])].copy(), screen


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_reading_in_blocks_selects_what_the_whole_matrix_does(tmp_path, monkeypatch, seed):
    rng = np.random.default_rng(seed)
    obs = obs_of(90).sample(frac=1, random_state=seed)
    obs["hash_umis"] = rng.integers(20, 100, 90)
    obs["n_counts"] = rng.integers(300, 2000, 90).astype(float)
    obs["well"] = pd.Categorical(rng.choice([f"A{i:02d}" for i in range(40)], 90))
    adata = matrix_of(obs, n_genes=70, seed=seed)
    adata.obsm["given_counts"] = scipy.sparse.random(
        90, 8, 0.4, "csr", np.float32, random_state=seed
    )
    adata.uns["given_columns"] = {"given_id": np.array(list("abcdefgh")), "ensembl_id": ["x"] * 8}
    options = {"min_counts": 500, "min_cells_per_gene": 20, "max_cells_per_dose": 9}
    options["highly_variable_genes"] = 25
    write_matrix(adata, tmp_path / "dataset.h5ad")
    whole = anndata.read_h5ad(tmp_path / "dataset.h5ad")
    expected = plainly_selected(whole, {**OPTIONS, **options})
    found = {}
    monkeypatch.setattr(matrix_file, "CHUNK", 100)
    for values in (1, 300, 10**6):
        monkeypatch.setattr(blocks, "VALUES", values)
        both = selected(tmp_path, adata.copy(), **options)[:2]
        for one, other in zip(both, expected, strict=True):
            pd.testing.assert_frame_equal(one.obs, other.obs)
            pd.testing.assert_frame_equal(one.var, other.var)
            for own, kept in (
                (one.X, other.X),
                (one.obsm["given_counts"], other.obsm["given_counts"]),
            ):
                assert own.has_sorted_indices
                assert own.dtype == kept.dtype
                assert own.nnz == kept.nnz
                assert (own != kept).nnz == 0
            assert one.uns["given_columns"]["given_id"].tolist() == list("abcdefgh")
        found[values] = [(tmp_path / name).read_bytes() for name in ("counts.h5ad", "screen.h5ad")]
    assert found[1] == found[300] == found[10**6], "the same bytes however the matrix is cut"


def test_as_many_variable_genes_as_asked_and_the_planted_ones_among_them(tmp_path):
    adata = matrix_of(obs_of(120), n_genes=200)
    dense = adata.X.toarray()
    usual = dense.mean(0)[3:].mean()  # as high as other genes: variability is relative to the mean
    dense[::2, 50:60] = 0
    dense[1::2, 50:60] = round(2 * usual)
    adata.X = scipy.sparse.csr_matrix(dense)
    adata.obs["n_counts"] = np.asarray(adata.X.sum(axis=1), float).ravel()
    write_matrix(adata, tmp_path / "dataset.h5ad")
    cells, genes = np.ones(120, bool), np.arange(200) != 55
    chosen = select.most_variable(tmp_path / "dataset.h5ad", cells, genes, 30)
    assert chosen.sum() == 30
    assert chosen[50:60].sum() >= 8
    assert not chosen[55], "only those that are looked at"
    for n in (199, 5000):
        found = select.most_variable(tmp_path / "dataset.h5ad", cells, genes, n)
        assert found.tolist() == genes.tolist()


def test_each_step_and_what_it_kept(tmp_path):
    obs = obs_of(31)
    obs.loc["cell0", "hash_umis"] = 1
    obs.loc["cell1", "n_counts"] = 10.0
    adata = matrix_of(obs)
    counts, screen, table = selected(
        *(tmp_path, adata), min_counts=500, min_cells_per_gene=3, max_cells_per_dose=4
    )
    # 31 cells, 30 of Nutlin (10 per dose), cell0 (0 uM) and cell1 (2.5 uM) fail, 25 uM left out
    assert list(zip(table["step"], table["n_cells"], strict=True)) == [
        *(("dataset", 31), ("drug", 30), ("hash filter", 29), ("quality", 28)),
        *(("doses", 18), ("subsample", 8), ("detected genes", 8)),
    ]
    assert counts.obs["dose_um"].value_counts().to_dict() == {0.0: 4, 2.5: 4}
    assert set(counts.obs["drug"]) == {"Nutlin"}
    assert "ENSG00000000000" not in counts.var_names
    assert "ENSG00000000001" not in counts.var_names
    assert table["n_genes"].tolist() == [40] * 6 + [counts.n_vars]
    # the screen keeps every dose of the drug, and every gene seen in 3 cells of it
    assert screen.obs["dose_um"].value_counts().to_dict() == {25.0: 10, 0.0: 9, 2.5: 9}
    assert screen.n_vars >= counts.n_vars
    kept = adata[counts.obs_names, counts.var_names].X
    assert abs(counts.X - kept).nnz == 0, "raw counts of the same cells and genes"
    # totals stay those over all measured genes
    assert counts.obs["n_counts"].eq(1000).all()
    notes = table.set_index("step")["note"]
    assert notes["drug"] == "drug = Nutlin"
    assert "qval_demultiplexing < 0.01" in notes["hash filter"]
    assert "hash_umis > 30" in notes["hash filter"]
    assert notes["subsample"] == "at most 4 per dose"


@pytest.mark.slow
def test_a_dataset_without_drugs_doses_and_hashes(tmp_path):
    obs = obs_of(12)[["n_counts", "n_genes"]].assign(treatment=["vehicle", "nutlin"] * 6)
    options = {"drug": None, "doses_um": None, "vehicle": {"column": "treatment"}}
    options["vehicle"]["value"] = "vehicle"
    counts, screen, table = selected(tmp_path, matrix_of(obs), **options)
    assert counts.n_obs == screen.n_obs == 12
    assert table["step"].tolist() == ["dataset", "hash filter", "quality", "detected genes"]
    assert "hash" in table["note"][1]
    counts, _, table = selected(tmp_path, matrix_of(obs), **options, max_cells_per_dose=2)
    assert counts.obs["treatment"].value_counts().to_dict() == {"nutlin": 2, "vehicle": 2}


def test_the_most_variable_genes_are_the_last_step(tmp_path):
    counts, screen, table = selected(tmp_path, matrix_of(obs_of(60)), highly_variable_genes=15)
    assert counts.n_vars == 15
    assert screen.n_vars > 15
    assert table.iloc[-1][["step", "n_genes"]].tolist() == ["variable genes", 15]


@pytest.mark.parametrize(
    ("step", "options"),
    [
        ("quality", {"min_counts": 5000}),
        ("hash filter", {"hash_filter": {"hash_umis": 1000}}),
    ],
)
def test_no_cell_left_names_the_step_and_writes_nothing(tmp_path, step, options):
    with pytest.raises(InputError) as error:
        selected(tmp_path, matrix_of(obs_of()), **options)
    assert_sentence(error, "dataset 'mine'", f"no cell left after the step '{step}'", "loosen")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.h5ad"]


def test_the_vehicle_must_be_among_the_selected_doses(tmp_path):
    with pytest.raises(InputError) as error:
        selected(tmp_path, matrix_of(obs_of()), doses_um=[2.5, 25])
    assert_sentence(error, "config key 'select.vehicle.value'", "one of 2.5, 25")
    assert not (tmp_path / "counts.h5ad").exists()


@pytest.mark.slow
def test_equal_options_give_equal_bytes(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        selected(tmp_path / name, matrix_of(obs_of(60)), max_cells_per_dose=7)
    for name in ("counts.h5ad", "screen.h5ad", "selection.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [int, float, bool, "category"])
def test_cells_that_did_not_pass_the_users_filter_go_first(tmp_path, dtype):
    obs = obs_of(12).assign(filter_pass=pd.Series(np.resize([1, 1, 1, 0], 12)).to_numpy())
    obs["filter_pass"] = obs["filter_pass"].astype(dtype)
    counts, screen, steps = selected(tmp_path, matrix_of(obs))
    assert steps["step"].tolist()[:3] == ["dataset", "filter_pass", "drug"]
    assert steps["n_cells"].tolist()[:3] == [12, 9, 9]
    failed = {"cell3", "cell7", "cell11"}
    assert not failed & (set(counts.obs_names) | set(screen.obs_names))


def test_missing_filter_values_do_not_pass():
    values = pd.array([1, 0, None, 2], dtype="Int64")
    assert select.passing_cells(pd.DataFrame({"filter_pass": values})).tolist() == [
        *(True, False, False, False)
    ]
    text = pd.DataFrame({"filter_pass": ["1", None, "", "nan"]})
    assert select.passing_cells(text).tolist() == [True, False, False, False]


def two_datasets(n=24):
    """Return cells of two datasets: the hash columns, filter and share are those of 'a' alone."""
    obs = obs_of(n).assign(dataset=np.repeat(["a", "b"], n // 2), drug="Nutlin", filter_pass=1.0)
    obs.loc[["cell0", "cell1"], "filter_pass"] = [0, np.nan]
    obs.loc[["cell2", "cell3"], "hash_umis"] = [1, np.nan]
    columns = ["filter_pass", *HASH, "percent_mito"]
    obs.loc[obs["dataset"] == "b", columns] = np.nan
    return obs


def test_what_a_dataset_has_not_measured_it_does_not_fail(tmp_path, caplog):
    counts, _, table = selected(
        tmp_path, matrix_of(two_datasets()), max_percent_mito=10, doses_um=None
    )
    kept = set(counts.obs_names)
    assert {f"cell{i}" for i in range(12, 24)} <= kept
    assert not {f"cell{i}" for i in range(4)} & kept and len(kept) == 20
    notes = table.set_index("step")["note"]
    for step, column in (
        ("filter_pass", "filter_pass"),
        ("hash filter", "hash_umis"),
        ("quality", "percent_mito"),
    ):
        assert f"no {column} in 'b'" in notes[step]
        assert f"no {column} in 'b'" in caplog.text
    assert "hash_umis > 30" in notes["hash filter"]


def test_measured_is_asked_of_all_cells_not_of_those_that_earlier_steps_left(tmp_path):
    obs = two_datasets().drop(columns="filter_pass")
    obs.loc[obs["dataset"] == "b", list(HASH)] = [20.0, 0.001, 100.0]
    none = obs["dataset"].eq("b") & obs["drug"].eq("Nutlin") & (np.arange(24) % 2 == 0)
    obs.loc[none, "hash_umis"] = np.nan  # measured in 'b', though in no cell with the drug
    obs.loc[obs["dataset"].eq("b") & ~none, "drug"] = "Dex"
    counts, _, _ = selected(tmp_path, matrix_of(obs), doses_um=None)
    assert set(counts.obs["dataset"]) == {"a"}


def test_a_step_that_takes_all_cells_of_a_dataset_names_it(tmp_path, caplog):
    obs = two_datasets().drop(columns="filter_pass")
    obs.loc[obs["dataset"] == "b", "dose_um"] = np.nan
    _, _, table = selected(tmp_path, matrix_of(obs))
    notes = table.set_index("step")["note"]
    assert "'b'" in notes["doses"] and "doses: no cell is left of 'b'" in caplog.text
    assert "'a'" not in "".join(notes)


def test_words_for_nothing_can_be_drugs_and_vehicles():
    for word in ("none", "None", "NA"):
        obs = pd.DataFrame({"drug": pd.Categorical([word, "DrugA", None])})
        assert select.drug_mask(obs, word).tolist() == [True, False, False]
        assert select.vehicle_cells(obs, {"column": "drug", "value": word}).sum() == 1


def test_genes_that_were_left_out_are_a_row_with_their_names(tmp_path):
    adata = matrix_of(obs_of())
    lost = {"name": ["", "", "GFP"], "ensembl_id": ["", "", "GFP"], "symbol": ["G3", "G8", "GFP"]}
    adata.uns["named_genes"] = pd.DataFrame({**lost, "how": ["no id", "no id", "other id"]})
    counts, screen, table = selected(tmp_path, adata)
    assert table["step"].tolist()[:2] == ["dataset", "genes without an id"]
    assert table["n_genes"].tolist()[:2] == [42, 40]
    assert "2 without an id (G3, G8)" in table["note"][1]
    assert "named_genes" not in {*counts.uns, *screen.uns}


def test_where_no_gene_was_left_out_there_is_no_such_row(tmp_path):
    table = selected(tmp_path, matrix_of(obs_of()))[2]
    assert "genes without an id" not in set(table["step"])
