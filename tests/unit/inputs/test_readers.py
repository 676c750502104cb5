"""The layouts of sci-Plex 2 read to one matrix, and what is refused, in a sentence."""

import gzip
import os
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from keygenes.core.errors import InputError
from keygenes.core.tables import write_table
from keygenes.inputs.canonical import dose_in_um, parse_oligo, replicate_of_well
from keygenes.inputs.genes import clean_ids, is_mitochondrial
from keygenes.inputs.readers import read_dataset

FACTORS = {"Nutlin": 2.5, "Dex": 0.5, "BMS": 10, "SAHA": 10}
DATA = Path(os.environ.get("KEYGENES_TEST_DATA", Path(__file__).parents[4] / "shared"))

OLIGOS = [
    "Nutlin_0_AA08",
    "Nutlin_0.1_AB11",
    "Nutlin_0.5_BA06",
    "Nutlin_1_BB09",
    "Nutlin_10_AB07",
    "Nutlin_100_AA01",
    "Dex_5_BD10",
    "SAHA_100_E09",
    "BMS_50_AH04",
    None,
]
DRUGS = ["Nutlin"] * 6 + ["Dex", "SAHA", "BMS", None]
TOKENS = ["0", "0.1", "0.5", "1", "10", "100", "5", "100", "50", None]
DOSES_UM = [0, 0.25, 1.25, 2.5, 25, 250, 2.5, 1000, 500, np.nan]
REPLICATES = ["rep2", "rep2", "rep3", "rep3", "rep1", "rep1", "rep1", "rep3", "rep1", None]
GENES = {
    "ENSG00000135679.24": "MDM2",
    "ENSG00000124762.13": "CDKN1A",
    "ENSG00000198888.2": "MT-ND1",
    "ENSG00000002586.18": "CD99",
    "ENSG00000002586.18_PAR_Y": "CD99",
    "ENSG00000141510.16": "TP53",
}
IDS = [
    "ENSG00000135679",
    "ENSG00000124762",
    "ENSG00000198888",
    "ENSG00000002586",
    "ENSG00000141510",
]


@pytest.fixture
def counts():
    return np.random.default_rng(0).poisson(2.0, (len(OLIGOS), len(GENES)))


@pytest.fixture
def expected(counts):
    """X of the canonical matrix: the two CD99 columns are one gene."""
    return np.column_stack([counts[:, :3], counts[:, 3] + counts[:, 4], counts[:, 5]])


CELLS = [f"cell_{i}" for i in range(len(OLIGOS))]
RATIO = np.linspace(3, 90, len(OLIGOS))


def scperturb(counts, path):
    obs = pd.DataFrame(
        {
            "perturbation": ["control" if drug is None else drug for drug in DRUGS],
            "dose_value": pd.Categorical(TOKENS),
            "top_oligo": pd.Categorical(OLIGOS),
            "ncounts": counts.sum(axis=1).astype(np.float32),
            "ngenes": 7,
            "hash_umis": 100.0,
            "top_to_second_best_ratio": RATIO,
            "qval_demultiplexing": 1e-9,
            "cell_line": "A549",
        },
        index=CELLS,
    )
    index = pd.Index(list(GENES.values()), name="gene_symbol")
    var = pd.DataFrame({"ensembl_id": [name.split(".")[0] for name in GENES]}, index=index)
    matrix = ad.AnnData(sp.csr_matrix(counts.astype(np.int32)), obs=obs, var=var)
    matrix.var_names_make_unique()
    matrix.write_h5ad(path)
    return {"layout": "scperturb", "dose_factor": FACTORS}, {"matrix": path}


def kaggle(counts, path, in_um=False):
    values = [f"{v:.2f}" for v in DOSES_UM] if in_um else [f"{float(t or 'nan')}" for t in TOKENS]
    obs = pd.DataFrame(
        {
            "i": np.arange(len(CELLS)),
            "n.umi": counts.sum(axis=1),
            "Size_Factor": 1.0,
            "drug": ["NAN" if drug is None else drug for drug in DRUGS],
            "dose": values,
            "count genes expressed": 7,
            "ratio mt2non_mt": 0.1,
        },
        index=CELLS,
    )
    var = pd.DataFrame({"Ensemble Id": list(GENES)}, index=list(GENES.values()))
    ad.AnnData(sp.csc_matrix(counts.astype(np.float64)), obs=obs, var=var).write_h5ad(path)
    return {"layout": "kaggle", "dose_factor": FACTORS}, {"matrix": path}


def geo(counts, folder, zipped=True, row_names=True):
    def write(name, text):
        path = folder / (name + ".gz" if zipped else name)
        path.write_bytes(gzip.compress(text.encode(), mtime=0) if zipped else text.encode())
        return path

    header = ["Cell", "sample", "Size_Factor", "n.umi", "top_oligo", "hash_umis", "pval", "qval"]
    header.append("top_to_second_best_ratio")
    lines = [" ".join(f'"{name}"' for name in header)]
    for i, cell in enumerate(CELLS):
        oligo = "NA" if OLIGOS[i] is None else f'"{OLIGOS[i]}"'
        fields = [f'"{cell}"', '"s"', "1.0", str(counts[i].sum()), oligo, "100", "1e-10", "1e-9"]
        fields.append(repr(float(RATIO[i])))
        lines.append(" ".join(([f'"{cell}"'] if row_names else []) + fields))
    triplets = [
        f"{gene + 1}\t{cell + 1}\t{counts[cell, gene]}"
        for cell in range(counts.shape[0])
        for gene in range(counts.shape[1])
        if counts[cell, gene]
    ]
    annotation = "".join(f"{name}\t{symbol}\n" for name, symbol in GENES.items())
    return {"layout": "geo", "dose_factor": FACTORS}, {
        "counts": write("UMI.count.matrix", "\n".join(triplets) + "\n"),
        "genes": write("gene.annotations.txt", annotation),
        "cells": write("pData.txt", "\n".join(lines) + "\n"),
    }


def generic(counts, path, **columns):
    obs = pd.DataFrame({"treatment": ["a", "b"] * 5, "total": counts.sum(axis=1)}, index=CELLS)
    var = pd.DataFrame({"id": list(GENES), "name": list(GENES.values())})
    matrix = ad.AnnData(sp.csr_matrix(counts.astype(np.float32)), obs=obs, var=var)
    matrix.write_h5ad(path)
    return {"layout": "h5ad", "columns": {"ensembl_id": "id", **columns}}, {"matrix": path}


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["scperturb", "kaggle", "kaggle_um", "geo", "geo_plain"])
def test_layouts_read_to_the_same_matrix(layout, counts, expected, tmp_path):
    write = {
        "scperturb": lambda: scperturb(counts, tmp_path / "m.h5ad"),
        "kaggle": lambda: kaggle(counts, tmp_path / "m.h5ad"),
        "kaggle_um": lambda: kaggle(counts, tmp_path / "m.h5ad", in_um=True),
        "geo": lambda: geo(counts, tmp_path),
        "geo_plain": lambda: geo(counts, tmp_path, zipped=False, row_names=False),
    }[layout]
    matrix = read_dataset(*write())
    np.testing.assert_array_equal(matrix.X.toarray(), expected)
    assert matrix.X.format == "csr" and matrix.X.dtype == np.float32
    assert matrix.X.has_sorted_indices
    assert list(matrix.obs_names) == CELLS
    assert list(matrix.var_names) == IDS
    assert list(matrix.var["symbol"])[:4] == ["MDM2", "CDKN1A", "MT-ND1", "CD99"]
    assert list(matrix.obs["drug"]) == [drug or "unassigned" for drug in DRUGS]
    assert matrix.obs["dose_um"].dtype == np.float64
    np.testing.assert_array_equal(matrix.obs["dose_um"], DOSES_UM)
    assert [None if pd.isna(t) else t for t in matrix.obs["dose_token"]] == TOKENS
    assert matrix.obs["n_counts"].dtype == np.float64
    np.testing.assert_array_equal(matrix.obs["n_counts"], expected.sum(axis=1))
    np.testing.assert_array_equal(matrix.obs["n_genes"], (expected > 0).sum(axis=1))
    np.testing.assert_allclose(
        matrix.obs["percent_mito"], 100 * expected[:, 2] / expected.sum(axis=1)
    )
    if layout.startswith("kaggle"):
        assert "well" not in matrix.obs and "replicate" not in matrix.obs
        assert "Size_Factor" in matrix.obs
    else:
        wells = [oligo and oligo.split("_")[2] for oligo in OLIGOS]
        assert [None if pd.isna(w) else w for w in matrix.obs["well"]] == wells
        assert [None if pd.isna(r) else r for r in matrix.obs["replicate"]] == REPLICATES
        np.testing.assert_allclose(matrix.obs["top_to_second_best_ratio"], RATIO)
        assert set(matrix.obs["qval_demultiplexing"]) == {1e-9}
    matrix.write_h5ad(tmp_path / "again.h5ad")
    again = ad.read_h5ad(tmp_path / "again.h5ad")
    pd.testing.assert_frame_equal(again.obs, matrix.obs)


def test_the_vehicle_is_not_the_unassigned_cell(counts, tmp_path):
    obs = read_dataset(*scperturb(counts, tmp_path / "m.h5ad")).obs
    vehicle = obs[(obs["drug"] == "Nutlin") & (obs["dose_um"] == 0)]
    assert list(vehicle.index) == ["cell_0"]
    assert obs.loc["cell_9", "drug"] == "unassigned" and np.isnan(obs.loc["cell_9", "dose_um"])


def test_oligos_are_parsed_by_pattern():
    parsed = parse_oligo(["Nutlin_0.1_AB11", "SAHA_100_E09", None, "x", "two_words_5_BC03"])
    assert parsed["drug"].tolist() == ["Nutlin", "SAHA", None, None, "two_words"]
    assert parsed["dose_token"].tolist() == ["0.1", "100", None, None, "5"]
    assert parsed["well"].tolist() == ["AB11", "E09", None, None, "BC03"]


def test_replicates_follow_the_plate_columns():
    wells = [f"AA{column:02d}" for column in range(1, 13)] + [None]
    assert replicate_of_well(wells).tolist() == ["rep1", "rep2", "rep3"] * 4 + [None]


def test_doses_are_exact():
    tokens = ["0", "0.1", "0.5", "1", "5", "10", "50", "100", None]
    doses = dose_in_um(["Nutlin"] * 9, tokens, FACTORS)
    np.testing.assert_array_equal(doses, [0, 0.25, 1.25, 2.5, 12.5, 25, 125, 250, np.nan])


def test_ids_are_cleaned():
    cleaned, known = clean_ids(["ENSG00000141510.16", "ensg00000141510", "TP53", "ENSMUSG0001.2"])
    assert list(cleaned) == ["ENSG00000141510", "ENSG00000141510", "TP53", "ENSMUSG0001"]
    assert list(known) == [True, True, False, True]
    found = is_mitochondrial(["ENSG00000198888", "x", "y"], ["ENSG00000198888", "mt-nd2", "MTOR"])
    assert list(found) == [True, True, False]


def test_generic_columns(counts, expected, tmp_path):
    entry, files = generic(counts, tmp_path / "m.h5ad", symbol="name", n_counts="total")
    matrix = read_dataset(entry, files)
    np.testing.assert_array_equal(matrix.X.toarray(), expected)
    assert list(matrix.var["symbol"])[0] == "MDM2"
    assert list(matrix.obs["treatment"])[:2] == ["a", "b"] and "total" not in matrix.obs
    np.testing.assert_array_equal(matrix.obs["n_counts"], expected.sum(axis=1))
    entry["columns"] = {"ensembl_id": "id", "drug": "treatment", "replicate": "treatment"}
    obs = read_dataset(entry, files).obs
    assert list(obs["drug"])[:2] == list(obs["replicate"])[:2] == ["a", "b"]


def test_generic_supplied_total_may_exceed_the_matrix(counts, tmp_path):
    entry, files = generic(counts, tmp_path / "m.h5ad", n_counts="total")
    with h5py.File(files["matrix"], "r+") as handle:
        handle["obs/total"][...] = 5000
    assert set(read_dataset(entry, files).obs["n_counts"]) == {5000.0}


@pytest.mark.parametrize("counts_in", ["raw", "umi"])
def test_counts_from_raw_or_a_layer(counts_in, counts, expected, tmp_path):
    entry, files = generic(counts, tmp_path / "m.h5ad")
    matrix = ad.read_h5ad(files["matrix"])
    if counts_in == "raw":
        matrix.raw = matrix.copy()
    else:
        matrix.layers["umi"] = matrix.X.copy()
    matrix.X = np.log1p(matrix.X.toarray())
    matrix.write_h5ad(files["matrix"])
    with pytest.raises(InputError, match=f"layer: {counts_in}"):
        read_dataset(entry, files)
    entry["columns"]["counts"] = counts_in
    np.testing.assert_array_equal(read_dataset(entry, files).X.toarray(), expected)
    entry["columns"]["counts"] = "spliced"
    with pytest.raises(InputError, match=f"matrices 'X', '{counts_in}', of whole .* '{counts_in}'"):
        read_dataset(entry, files)


def refused(entry, files, match):
    with pytest.raises(InputError, match=match) as caught:
        read_dataset(entry, files)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and "found" in message
    return message


def test_not_an_h5ad(tmp_path):
    path = tmp_path / "m.h5ad"
    entry = {"layout": "h5ad"}
    path.write_bytes(b"<html>log in</html>")
    assert str(path) in refused(entry, {"matrix": path}, "expected an h5ad file")
    path.write_bytes(b"")
    refused(entry, {"matrix": path}, "an empty file")
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    refused(entry, {"matrix": path}, "git-LFS pointer")
    with h5py.File(path, "w") as handle:
        handle["x"] = 1
    refused(entry, {"matrix": path}, "without AnnData's groups")
    refused(entry, {"matrix": tmp_path / "none.h5ad"}, "no such file")


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_truncated_h5ad(share, counts, tmp_path):
    entry, files = generic(counts, tmp_path / "m.h5ad")
    content = files["matrix"].read_bytes()
    files["matrix"].write_bytes(content[: int(len(content) * share)])
    refused(entry, files, "truncated or damaged HDF5 file")


def test_damaged_h5ad(counts, tmp_path):
    entry, files = generic(counts, tmp_path / "m.h5ad")
    with h5py.File(files["matrix"], "r+") as handle:
        del handle["X/indptr"]
    refused(entry, files, "truncated or damaged HDF5 file")


def test_links_out_of_the_file(counts, tmp_path):
    entry, files = generic(counts, tmp_path / "m.h5ad")
    with h5py.File(files["matrix"], "r+") as handle:
        del handle["X"]
        handle["X"] = h5py.ExternalLink("other.h5ad", "/X")
    refused(entry, files, "a reference to another file at /X")


@pytest.mark.parametrize("value", [0.5, -1, np.nan])
def test_normalised_values(value, counts, tmp_path):
    entry, files = generic(counts, tmp_path / "m.h5ad")
    with h5py.File(files["matrix"], "r+") as handle:
        handle["X/data"][3] = value
    refused(entry, files, "normalised values such as")


def test_id_column_missing(counts, tmp_path):
    entry, files = generic(counts, tmp_path / "m.h5ad", ensembl_id="gene_id")
    refused(entry, files, "found var columns 'id', 'name', expected a column 'gene_id'")
    refused({"layout": "scperturb"}, files, "expected a column 'ensembl_id'")
    refused({"layout": "kaggle"}, files, "expected a column 'Ensemble Id'")


def test_symbols_instead_of_ids(counts, tmp_path):
    entry, files = generic(counts, tmp_path / "m.h5ad", ensembl_id="name")
    refused(entry, files, "symbols or other names .'MDM2'; 0% of 6")


def with_var(files, **columns):
    """Give a stored matrix other columns in var; a list stands for the first genes."""
    matrix = ad.read_h5ad(files["matrix"])
    for name, first in columns.items():
        values = matrix.var[name].astype(object).to_numpy().copy()
        values[: len(first)] = first
        matrix.var[name] = pd.Categorical(values)
    matrix.write_h5ad(files["matrix"])
    return matrix.X.toarray()


def test_an_id_that_is_no_ensembl_id_stands_for_itself(counts, tmp_path):
    entry, files = generic(counts, tmp_path / "m.h5ad", symbol="name")
    with_var(files, id=["ERCC-00002", "GFP"])
    matrix = read_dataset(entry, files)
    assert {"ERCC-00002", "GFP"} <= set(matrix.var_names)
    how = matrix.uns["named_genes"]
    assert how["name"].tolist() == how["ensembl_id"].tolist() == ["ERCC-00002", "GFP"]
    assert matrix.var["given_id"].tolist()[:2] == ["ERCC-00002", "GFP"]


@pytest.mark.parametrize("missing", [None, "", "NA", "None", "nan", "-", "unknown", "<NA>", "null"])
def test_genes_without_an_id_are_left_out_and_counted_by_name(counts, tmp_path, missing, caplog):
    entry, files = generic(counts, tmp_path / "m.h5ad", symbol="name")
    values = with_var(files, id=[missing, missing])
    matrix = read_dataset(entry, files)
    assert matrix.var_names.tolist() == IDS[2:]
    np.testing.assert_array_equal(matrix.obs["n_counts"], values.sum(axis=1))
    left = matrix.uns["named_genes"]
    assert left["symbol"].tolist() == ["MDM2", "CDKN1A"]
    assert set(left["ensembl_id"]) == set(left["name"]) == {""} and set(left["how"]) == {"no id"}
    assert "2 without an id (MDM2, CDKN1A)" in caplog.text


def test_genes_without_id_and_symbol_are_counted(counts, tmp_path):
    entry, files = generic(counts, tmp_path / "m.h5ad")
    with_var(files, id=["NA", "NA"])
    matrix = read_dataset(entry, files)
    assert matrix.n_vars == 3 and len(matrix.uns["named_genes"]) == 2
    assert not set(matrix.var["symbol"]) & {"NA", "nan"}


def test_ids_that_are_none_are_never_summed(counts, tmp_path, caplog):
    entry, files = generic(counts, tmp_path / "m.h5ad", symbol="name")
    values = with_var(files, id=["Cas9", "Cas9"])
    matrix = read_dataset(entry, files)
    assert "Cas9" not in matrix.var_names
    np.testing.assert_array_equal(matrix.obs["n_counts"], values.sum(axis=1))
    assert set(matrix.uns["named_genes"]["how"]) == {"repeated id"}
    assert "(MDM2, CDKN1A)" in caplog.text


def test_mostly_missing_ids_are_refused(counts, tmp_path):
    entry, files = generic(counts, tmp_path / "m.h5ad", symbol="name")
    with_var(files, id=[None] * 5)
    refused(entry, files, "no id for 5 of 6 genes")


def test_mitochondrial_counts_are_known_without_an_id(counts, tmp_path):
    entry, files = generic(counts, tmp_path / "m.h5ad", symbol="name")
    values = with_var(files, id=[*list(GENES)[:2], None])
    obs = read_dataset(entry, files).obs
    np.testing.assert_allclose(obs["percent_mito"], 100 * values[:, 2] / values.sum(axis=1))


SYMBOLS = ["MDM2", "CDKN1A", "MT-ND1", "CD99", "CD99-1", "P53"]
NAMES = pd.DataFrame(
    [
        *dict.fromkeys((name, gene.split(".")[0], "symbol") for gene, name in GENES.items()),
        ("P53", "ENSG00000141510", "alias"),
    ],
    columns=["name", "ensembl_id", "kind"],
)


def names_in(folder):
    """Write the table of names; return it as a file of a dataset."""
    write_table(NAMES, folder / "gene_names.parquet", "gene_names")
    return {"gene_names": folder / "gene_names.parquet"}


@pytest.mark.parametrize(
    "columns", [{"ensembl_id": None, "symbol": "name"}, {"ensembl_id": None}, {"symbol": "index"}]
)
def test_symbols_alone_are_mapped_by_a_dictionary(counts, expected, tmp_path, columns):
    _, files = generic(counts, tmp_path / "m.h5ad")
    matrix = ad.read_h5ad(files["matrix"])
    matrix.var["name"] = matrix.var_names = SYMBOLS
    matrix.write_h5ad(files["matrix"])
    found = read_dataset({"layout": "h5ad", "columns": columns}, {**files, **names_in(tmp_path)})
    assert found.var_names.tolist() == IDS
    np.testing.assert_array_equal(found.X.toarray(), expected)
    assert found.var["symbol"].tolist() == ["MDM2", "CDKN1A", "MT-ND1", "CD99", "TP53"]
    assert found.var["given_id"].tolist() == IDS
    read = found.uns["named_genes"]
    assert read["name"].tolist() == SYMBOLS
    assert read["how"].tolist() == [*["symbol"] * 4, "suffix", "alias"]
    refused({"layout": "h5ad", "columns": columns}, files, "'MDM2'; 0% of 6")


def test_symbols_that_no_dictionary_knows_are_left_out_and_counted(counts, tmp_path, caplog):
    entry, files = generic(counts, tmp_path / "m.h5ad", ensembl_id=None, symbol="name")
    values = with_var(files, name=["GFP", "1-Mar"])
    files |= names_in(tmp_path)
    matrix = read_dataset(entry, files)
    assert matrix.var_names.tolist() == IDS[2:]
    np.testing.assert_array_equal(matrix.obs["n_counts"], values.sum(axis=1))
    assert "GFP, 1-Mar" in caplog.text
    with_var(files, name=["Mdm2", "Cdkn1a", "Mt1", "Cd99"])
    with pytest.raises(InputError, match="mouse symbols such as 'Mdm2'"):
        read_dataset(entry, files)


def test_ids_in_place_of_symbols_need_no_dictionary(counts, tmp_path):
    entry, files = generic(counts, tmp_path / "m.h5ad", ensembl_id=None, symbol="id")
    assert read_dataset(entry, files).var_names.tolist() == IDS


def test_layout_unknown_or_missing(tmp_path):
    refused({"layout": "h5"}, {}, "found 'h5', expected one of scperturb, kaggle, geo, h5ad")
    refused({}, {}, "key 'layout': found nothing")
    refused({"layout": "geo"}, {"matrix": tmp_path}, "expected the files counts, genes, cells")


def test_unknown_mapping_and_column(counts, tmp_path):
    entry, files = generic(counts, tmp_path / "m.h5ad", doses="treatment")
    refused(entry, files, "columns: doses.: found an unknown name")
    entry, files = generic(counts, tmp_path / "m.h5ad", dose_um="dose")
    refused(entry, files, "found obs columns 'treatment', 'total', expected a column 'dose'")
    entry, files = generic(counts, tmp_path / "m.h5ad", dose_um="treatment")
    refused(entry, files, "found 'a' in the column for 'dose_um', expected numbers")


def test_duplicate_cell_names(counts, tmp_path):
    entry, files = generic(counts, tmp_path / "m.h5ad")
    matrix = ad.read_h5ad(files["matrix"])
    matrix.obs_names = ["twice", "twice", *CELLS[2:]]
    matrix.write_h5ad(files["matrix"])
    refused(entry, files, "1 cell names more than once, such as 'twice'")


def test_factor_of_a_drug_missing(counts, tmp_path):
    entry, files = scperturb(counts, tmp_path / "m.h5ad")
    entry["dose_factor"] = {"Nutlin": 2.5}
    refused(entry, files, "found factors for Nutlin, .* BMS, Dex, SAHA")


def test_geo_files_that_do_not_fit(counts, tmp_path):
    entry, files = geo(counts, tmp_path)
    whole = files["counts"].read_bytes()
    files["counts"].write_bytes(whole[: len(whole) // 2])
    refused(entry, files, "a file that cannot be read")
    files["counts"].write_bytes(b"1\t2\n")
    refused(entry, files, "found 2 columns")
    files["counts"].write_bytes(b"9999\t1\t1\n")
    refused(entry, files, "found gene numbers from 9999 to 9999")
    files["counts"].write_bytes(b"gene\tcell\tcount\n")
    refused(entry, files, "a file that cannot be read")


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "data").is_dir(), reason="the real datasets are not here")
def test_real_files():
    folder = DATA / "data"
    entry = {"layout": "scperturb", "dose_factor": FACTORS}
    matrix = read_dataset(entry, {"matrix": folder / "sciplex2_semisynthetic.h5ad"})
    source = ad.read_h5ad(folder / "sciplex2_semisynthetic.h5ad", backed="r")
    np.testing.assert_array_equal(matrix.obs["n_counts"], source.obs["ncounts"])
    np.testing.assert_array_equal(matrix.obs["n_genes"], source.obs["ngenes"])
    np.testing.assert_allclose(matrix.obs["percent_mito"], source.obs["percent_mito"], rtol=1e-4)
    nutlin = matrix.obs[matrix.obs["drug"] == "Nutlin"]
    by_dose = nutlin["dose_um"].value_counts().sort_index()
    assert list(by_dose.index) == [0, 0.25, 1.25, 2.5, 12.5, 25, 125, 250]
    assert (nutlin.groupby(["dose_um", "well"], observed=True).size() > 0).sum() == 48
    assert (matrix.obs["drug"] == "unassigned").sum() == 81

    entry = {"layout": "h5ad", "columns": {"ensembl_id": "ensembl_id"}}
    matrix = read_dataset(entry, {"matrix": folder / "ngp_nutlin.h5ad"})
    assert matrix.shape == (83, 22078) and "MT-ND1" not in set(matrix.var["symbol"])
    assert matrix.obs["treatment"].value_counts().to_dict() == {"vehicle": 52, "nutlin": 31}
    assert matrix.obs["percent_mito"].between(3, 35).all()  # known by id where no symbol is given
    entry = {"layout": "h5ad", "columns": {"ensembl_id": "index", "symbol": "gene_symbol"}}
    assert read_dataset(entry, {"matrix": folder / "pbmc3k.h5ad"}).shape == (2700, 32738)
    entry = {"layout": "h5ad", "columns": {}}
    assert read_dataset(entry, {"matrix": folder / "mixology_5cl.h5ad"}).shape == (909, 16039)
