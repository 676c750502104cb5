"""Files of a layout that are not sci-Plex 2: other studies of scPerturb, tables of other hands."""

import gzip
import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from messages import assert_sentence

from keygenes.core.errors import InputError
from keygenes.core.matrices import read_matrix, write_matrix
from keygenes.inputs.readers import read_dataset

N, G = 8, 6
COUNTS = np.random.default_rng(0).poisson(2.0, (N, G)) + np.eye(N, G, dtype=int)
IDS = [f"ENSG{i:011d}" for i in range(G)]


def scperturb(path, **obs):
    obs = pd.DataFrame({"ncounts": COUNTS.sum(1), **obs}, index=[f"c{i}" for i in range(N)])
    var = pd.DataFrame({"ensembl_id": IDS}, index=[f"G{i}" for i in range(G)])
    ad.AnnData(sp.csr_matrix(COUNTS.astype("f4")), obs=obs, var=var).write_h5ad(path / "m.h5ad")
    return {"matrix": path / "m.h5ad"}


def test_controls_of_a_crispr_screen_are_controls(tmp_path):
    files = scperturb(tmp_path, perturbation=["control", "TP53"] * 4, nperts=[0, 1] * 4)
    obs = read_dataset({"layout": "scperturb"}, files).obs
    assert list(obs["drug"]) == ["control", "TP53"] * 4 and list(obs["nperts"]) == [0, 1] * 4
    assert "dose_um" not in obs and "perturbation" not in obs


def test_controls_of_hashed_cells_are_those_without_a_hash(tmp_path):
    oligos = [None, "Nutlin_0_AA08", "plate1_A01", None] * 2
    drugs = ["control", "Nutlin", "control", "Nutlin"] * 2
    files = scperturb(tmp_path, perturbation=drugs, dose_value=["0"] * N, top_oligo=oligos)
    obs = read_dataset({"layout": "scperturb"}, files).obs
    assert list(obs["drug"])[:4] == ["unassigned", "Nutlin", "control", "Nutlin"]
    assert list(obs["dose_um"])[1:4] == [0, 0, 0]


@pytest.mark.parametrize(
    ("unit", "per"),
    [("uM", 1), ("\u00b5M", 1), ("\u03bcM", 1), ("nM", 1e-3), ("mM", 1e3), ("M", 1e6)],
)
def test_doses_with_a_unit_need_no_factor(tmp_path, unit, per):
    doses = [0.0, 0.1, 10.0, np.nan] * 2
    units = [None, unit, unit, None] * 2
    drugs = ["control", "a", "b", "control"] * 2
    files = scperturb(tmp_path, perturbation=drugs, dose_value=doses, dose_unit=units)
    obs = read_dataset({"layout": "scperturb"}, files).obs
    np.testing.assert_array_equal(
        obs["dose_um"][:4], [0, float(f"{0.1 * per:.10g}"), 10 * per, np.nan]
    )
    assert list(obs["drug"][:2]) == ["control", "a"] and "dose_value" in obs


@pytest.mark.parametrize("units", [None, ["ng/ml"] * N])
def test_doses_that_are_no_concentrations_stay_as_they_are(tmp_path, caplog, units):
    more = {} if units is None else {"dose_unit": units}
    doses = [0.0, 0.1, 10.0, np.nan] * 2
    files = scperturb(tmp_path, perturbation=["a"] * N, dose_value=doses, **more)
    with caplog.at_level(logging.WARNING, "keygenes"):
        obs = read_dataset({"layout": "scperturb"}, files).obs
    assert "dose_um" not in obs and list(obs["dose_value"])[:3] == [0, 0.1, 10]
    assert "dose_factor" in caplog.text and ("ng/ml" in caplog.text) == bool(units)
    obs = read_dataset({"layout": "scperturb", "dose_factor": {"a": 2}}, files).obs
    assert list(obs["dose_um"])[:3] == [0, 0.2, 20]


def test_a_drug_with_no_dose_but_zero_needs_no_factor(tmp_path):
    drugs, tokens = ["control", "a"] * 4, ["0", "5"] * 4
    files = scperturb(tmp_path, perturbation=drugs, dose_value=tokens)
    obs = read_dataset({"layout": "scperturb", "dose_factor": {"a": 2}}, files).obs
    assert list(obs["dose_um"])[:2] == [0, 10]
    with pytest.raises(InputError) as error:
        read_dataset({"layout": "scperturb", "dose_factor": {"b": 2}}, files, "mine")
    assert_sentence(error, "dataset 'mine'", "'dose_factor'", "also for a")


def test_columns_of_scperturb_can_be_mapped(tmp_path):
    files = scperturb(tmp_path, perturbation=["a", "b"] * 4, batch=["x", "y"] * 4)
    obs = read_dataset({"layout": "scperturb", "columns": {"replicate": "batch"}}, files).obs
    assert list(obs["replicate"])[:2] == ["x", "y"] and list(obs["drug"])[:2] == ["a", "b"]


OLIGOS = ["Nutlin_0_AA08", "Nutlin_1_AB04"] * 4
TRIPLETS = [(g + 1, c + 1, COUNTS[c, g]) for c in range(N) for g in range(G) if COUNTS[c, g]]
ENTRY = {"layout": "geo", "dose_factor": {"Nutlin": 2.5}}


def table(rows, separator="\t", header=None, quoted=False):
    rows = [*([header] if header else []), *rows]
    mark = '"' if quoted else ""
    return "".join(separator.join(f"{mark}{field}{mark}" for field in row) + "\n" for row in rows)


def geo(folder, separator="\t", zipped=False, **texts):
    cells = [(f"c{i}", oligo, COUNTS[i].sum()) for i, oligo in enumerate(OLIGOS)]
    whole = {
        "genes": table([(id_, f"G{i}") for i, id_ in enumerate(IDS)], separator),
        "cells": table(cells, separator, ("cell", "top_oligo", "n.umi")),
        "counts": table(TRIPLETS, separator),
        **texts,
    }
    files = {part: folder / part for part in whole}
    for part, text in whole.items():
        files[part].write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    return files


def read(files):
    matrix = read_dataset(ENTRY, files)
    np.testing.assert_array_equal(matrix.X.toarray(), COUNTS)
    assert list(matrix.var_names) == IDS and list(matrix.var["symbol"])[:2] == ["G0", "G1"]
    assert list(matrix.obs_names) == [f"c{i}" for i in range(N)]
    assert list(matrix.obs["well"])[:2] == ["AA08", "AB04"]
    return matrix


def refused(files, part, *parts):
    with pytest.raises(InputError) as error:
        read_dataset(ENTRY, files)
    assert_sentence(error, str(files[part]), *parts)
    assert "download" not in str(error.value)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("separator", ["\t", " ", ",", ";"])
def test_separators_are_found(tmp_path, separator, zipped):
    read(geo(tmp_path, separator, zipped))


@pytest.mark.parametrize(
    "genes",
    [
        table([(i, f"G{k}") for k, i in enumerate(IDS)], header=("id", "gene_short_name")),
        table([(i, f"G{k}") for k, i in enumerate(IDS)], ",", ("Gene_ID", "Symbol"), quoted=True),
        table([(k, i, f"G{k}") for k, i in enumerate(IDS)], ",", ("", "id", "name"), quoted=True),
        table([(f"G{k}", i) for k, i in enumerate(IDS)], header=("gene_name", "gene_id")),
        # as R writes row names, which have no name
        "id symbol\n" + table([(k + 1, i, f"G{k}") for k, i in enumerate(IDS)], " "),
        "\ufeff" + table([(i, f"G{k}") for k, i in enumerate(IDS)], header=("id", "symbol")),
        table([(i, f"G{k}") for k, i in enumerate(IDS)]).replace("\n", "\r\n"),
        table([(i, f"G{k}", "x y, z") for k, i in enumerate(IDS)]),
    ],
)
def test_tables_of_genes(tmp_path, genes):
    read(geo(tmp_path, genes=genes))


def test_a_first_line_that_may_be_a_header_or_a_gene(tmp_path):
    genes = table([("feature_label", "shown"), *((i, f"G{k}") for k, i in enumerate(IDS))])
    refused(geo(tmp_path, genes=genes), "genes", "'feature_label shown'", "header")


def test_a_first_gene_of_another_kind_is_no_header(tmp_path):
    genes = table([("ERCC-00002", "spike"), *((i, f"G{k}") for k, i in enumerate(IDS))])
    counts = table([(g + 1, c, n) for g, c, n in TRIPLETS])
    matrix = read_dataset(ENTRY, geo(tmp_path, genes=genes, counts=counts))
    assert matrix.shape == (N, G + 1) and matrix.X[:, 0].sum() == 0


CELLS = [(f"c{i}", oligo) for i, oligo in enumerate(OLIGOS)]


def test_tables_of_cells(tmp_path):
    numbered = [(i + 1, *row) for i, row in enumerate(CELLS)]
    for cells in (
        table(CELLS, " ", ("cell", "top_oligo"), quoted=True),
        '"Cell" "top_oligo"\n' + table(numbered, " ", quoted=True),
        table(numbered, ",", ("", "cell", "top_oligo")),
    ):
        read(geo(tmp_path, cells=cells))


def test_a_table_of_cells_without_its_header_or_with_two(tmp_path):
    refused(geo(tmp_path, cells=table(CELLS)), "cells", "'top_oligo'")
    twice = table([CELLS[0], ("cell", "top_oligo"), *CELLS[1:]], header=("cell", "top_oligo"))
    refused(geo(tmp_path, cells=twice), "cells", "header")
    refused(
        geo(tmp_path, cells=table(CELLS[:-1], header=("cell", "top_oligo"))), "counts", "1 to 7"
    )


SIZES = (G, N, len(TRIPLETS))


def market(sizes=SIZES, kind="integer general", triplets=TRIPLETS):
    head = f"%%MatrixMarket matrix coordinate {kind}\n%a remark\n{' '.join(map(str, sizes))}\n"
    return head + table(triplets, " ")


def test_counts_with_a_header_or_a_head(tmp_path):
    read(geo(tmp_path, counts=table(TRIPLETS, header=("gene", "cell", "count"))))
    read(geo(tmp_path, counts=market()))
    read(geo(tmp_path, counts=market(kind="real general")))


MARKETS = {
    "a gene more": (market((G + 1, N, len(TRIPLETS))), f"{G + 1} x {N}"),
    "a cell fewer": (market((G, N - 1, len(TRIPLETS))), f"{G} x {N - 1}"),
    "turned round": (market((N, G, len(TRIPLETS))), "turned round"),
    "a count fewer": (market(triplets=TRIPLETS[:-1]), f"{len(TRIPLETS) - 1}"),
    "no counts": (market(kind="pattern general"), "pattern"),
    "half of it": (market(kind="integer symmetric"), "symmetric"),
    "no sizes": ("%%MatrixMarket matrix coordinate integer general\n1 2\n", "sizes"),
    "two columns": (table([row[:2] for row in TRIPLETS]), "2 columns"),
    "nothing": ("", "no line"),
}


@pytest.mark.parametrize("case", MARKETS)
def test_counts_that_do_not_fit_their_tables(tmp_path, case):
    text, found = MARKETS[case]
    refused(geo(tmp_path, counts=text), "counts", found)


def test_a_last_cell_without_counts_is_one_all_the_same(tmp_path, caplog):
    triplets = [row for row in TRIPLETS if row[1] < N]
    with caplog.at_level(logging.WARNING, "keygenes"):
        matrix = read_dataset(ENTRY, geo(tmp_path, counts=table(triplets)))
    assert matrix.n_obs == N and f"{N - 1} of {N}" in caplog.text


def test_columns_of_cells_that_cannot_be_kept(tmp_path, caplog):
    header = ("cell", "top_oligo", "G1/S", "_index", "x" * 230, "kept")
    cells = table([(*row, 1, 2, 3, 4) for row in CELLS], header=header)
    with caplog.at_level(logging.WARNING, "keygenes"):
        matrix = read(geo(tmp_path, cells=cells))
    assert {"kept"} <= set(matrix.obs) and not {"G1/S", "_index"} & set(matrix.obs)
    assert "'G1/S'" in caplog.text
    write_matrix(matrix, tmp_path / "out.h5ad")
    assert list(read_matrix(tmp_path / "out.h5ad").obs["kept"]) == [4] * N
