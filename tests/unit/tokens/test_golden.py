"""Upstream mode against upstream's own tokens, and against its algorithm in a few lines."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from golden import agreement, compare_folder
from messages import assert_sentence
from scipy import sparse

from keygenes.core.errors import InputError

GENES = [f"ENSG{i:011d}" for i in range(80)]
MEDIANS = dict(zip(GENES, np.random.default_rng(5).gamma(2, 1, 80) + 0.1, strict=True))
SPECIALS = {"v1": ["<pad>", "<mask>"], "v2": ["<pad>", "<mask>", "<cls>", "<eos>"]}
CORPUS = {"v1": "gc30M", "v2": "gc104M"}
ALIASES = {"OLD1": GENES[1], "AC01.1": GENES[2], "GONE": "ENSG99999999999"}

# What upstream makes of each: found, lost in silence, or (v2) found by the mapping.
ODD = [GENES[3] + ".7", GENES[4].lower(), "old1", "AC01.1", "GONE", "MDM2", GENES[5], GENES[5]]


def tokens_of(version):
    names = SPECIALS[version] + GENES
    return dict(zip(names, range(len(names)), strict=True))


def mapping_of():
    return {**{gene: gene for gene in GENES}, **ALIASES}


def upstream_encoding(counts, n_counts, genes, version):
    """Return each cell's tokens as upstream's tokenizer makes them, but with a stable sort."""
    tokens = tokens_of(version)
    if version == "v1":
        columns = [(gene, counts[:, j]) for j, gene in enumerate(genes) if gene in MEDIANS]
    else:
        mapping = {key: gene for key, gene in mapping_of().items() if gene in tokens}
        listed = {gene for gene in genes if gene in mapping}
        found = [mapping.get(gene.upper()) for gene in genes]
        columns = [(gene, counts[:, j]) for j, gene in enumerate(found) if gene is not None]
        if len(listed) != len({mapping[gene] for gene in listed}):
            distinct = dict.fromkeys(gene for gene, _ in columns)
            columns = [(one, sum(x for gene, x in columns if gene == one)) for one in distinct]
    cells = []
    for i, total in enumerate(n_counts):
        scored = [
            (-(x[i] * (1 / total) * 10_000) * (1 / MEDIANS[gene]), tokens[gene])
            for gene, x in columns
            if x[i]
        ]
        ranked = [token for _, token in sorted(scored, key=lambda pair: pair[0])]
        if version == "v2":
            ranked = [tokens["<cls>"], *ranked[:4094], tokens["<eos>"]]
        cells.append(ranked[:2048] if version == "v1" else ranked)
    return cells


def write_dictionaries(folder, version):
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "token_dictionary": tokens_of(version),
        "gene_median_dictionary": {**MEDIANS, "ENSG00000009999": 1.0},
        "gene_name_id_dict": {"FIRST": GENES[0]},
        "ensembl_mapping_dict": mapping_of(),
    }
    for name, content in contents.items():
        (folder / f"{name}_{CORPUS[version]}.pkl").write_bytes(pickle.dumps(content))


def write_folder(folder, version, genes, *, change=None, layout=sparse.csr_matrix, **obs):
    """Write cells and what upstream makes of them; `change` tampers with the latter."""
    rng = np.random.default_rng(2)
    counts = rng.poisson(1.5, (40, len(genes))).astype(np.float64)
    counts[4] = 0  # an empty cell
    n_counts = counts.sum(axis=1) + rng.integers(1, 500, 40)
    names = [f"cell{i}" for i in range(40)]
    frame = pd.DataFrame({"n_counts": n_counts, **obs}, index=names)
    adata = anndata.AnnData(layout(counts.astype(np.float32)), obs=frame)
    adata.var["ensembl_id"] = list(genes)
    adata.write_h5ad(folder / "cells.h5ad")
    cells = upstream_encoding(counts, n_counts, genes, version)
    table = pd.DataFrame({"cell": names, "input_ids": cells})
    if "filter_pass" in obs:
        table = table[frame["filter_pass"].to_numpy() == 1]
    (table if change is None else change(table)).to_parquet(folder / "upstream_tokens.parquet")


def compared(folder, version, genes, **more):
    write_dictionaries(folder / "dictionaries", version)
    write_folder(folder, version, genes, **more)
    return compare_folder(folder, version, folder / "dictionaries")


@pytest.mark.slow
@pytest.mark.parametrize("upstream", [True, False])
@pytest.mark.parametrize(("version", "n"), [("v1", 283), ("v2", 196)])
def test_upstream_tokens_of_the_golden_cells(version, n, upstream, data_root, mirror_root):
    folder = data_root / "golden" / version
    if not folder.is_dir():
        pytest.skip(f"no golden cells at {folder}")
    result = compare_folder(folder, version, mirror_root, upstream=upstream)
    numbers = [result[key] for key in ("cells", "identical_after_grouping_ties", "same_sets")]
    assert numbers == [n, n, n]
    assert result["mismatched"] == []


@pytest.mark.slow
@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize(
    ("version", "genes"),
    [
        ("v1", GENES),
        ("v1", [*GENES[10:], *ODD]),
        ("v1", [*GENES[10:], GENES[11], GENES[11], GENES[12]]),
        ("v2", GENES),
        ("v2", [*GENES[10:], *ODD]),  # nothing is summed: GENES[5] gives two tokens
        ("v2", [*GENES, *ODD]),  # AC01.1 and its gene, as written: every gene is summed
        ("v2", [*GENES, "old1"]),  # found only in upper case: not summed
    ],
)
def test_upstream_mode_follows_upstream_on_odd_ids(tmp_path, version, genes, layout):
    result = compared(tmp_path, version, genes, layout=layout)
    assert result == {
        "version": version,
        "cells": 40,
        "identical": 40,
        "identical_after_grouping_ties": 40,
        "same_sets": 40,
        "mismatched": [],
    }


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_default_mode_differs_where_upstream_loses_or_doubles_genes(tmp_path, version):
    compared(tmp_path, version, [*GENES[10:], *ODD])
    result = compare_folder(tmp_path, version, tmp_path / "dictionaries", upstream=False)
    assert result["same_sets"] < 5


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_only_cells_that_pass_are_compared(tmp_path, version):
    passing = np.resize([1, 1, 0], 40)
    result = compared(tmp_path, version, GENES, filter_pass=passing)
    assert (result["cells"], result["same_sets"]) == (passing.sum(), passing.sum())


def test_a_cell_that_upstream_left_out_agrees_only_if_it_is_empty(tmp_path):
    for name, agree in (("cell4", True), ("cell5", False)):
        result = compared(
            tmp_path, "v2", GENES, change=lambda table, name=name: table[table["cell"] != name]
        )
        assert (result["cells"], result["same_sets"]) == (40, 40 if agree else 39)
        assert result["mismatched"] == ([] if agree else [name])


def test_a_cell_that_only_upstream_has_disagrees(tmp_path):
    def more(table):
        return pd.concat([table, pd.DataFrame({"cell": ["other"], "input_ids": [[]]})])

    assert compared(tmp_path, "v1", GENES, change=more)["mismatched"] == ["other"]


def test_number_types_are_followed_as_upstream_computes_with_them(tmp_path):
    # Scores that rounding alone tells apart: counts proportional to medians. NumPy's own types
    # give the reference.
    write_dictionaries(tmp_path / "dictionaries", "v1")
    tokens = tokens_of("v1")
    counts = np.arange(1, 81, dtype=np.float32)[None]
    medians = counts[0].astype(np.float64) * 0.3
    path = tmp_path / "dictionaries" / "gene_median_dictionary_gc30M.pkl"
    path.write_bytes(pickle.dumps(dict(zip(GENES, medians, strict=True))))
    orders = set()
    for layout, total in (
        (sparse.csr_matrix, np.float64(737)),
        (sparse.csr_matrix, np.float32(737)),
        (np.asarray, np.float64(737)),
    ):
        if layout is np.asarray:
            scores = counts[0] / total * 10_000 / medians
        else:
            scores = counts[0] * (1 / total) * 10_000 * (1 / medians)
        order = [tokens[GENES[j]] for j in np.argsort(-scores, kind="stable")]
        orders.add(tuple(order))
        obs = pd.DataFrame({"n_counts": np.array([total])}, index=["c"])
        adata = anndata.AnnData(layout(counts), obs=obs)
        adata.var["ensembl_id"] = GENES
        adata.write_h5ad(tmp_path / "cells.h5ad")
        table = pd.DataFrame({"cell": ["c"], "input_ids": [order]})
        table.to_parquet(tmp_path / "upstream_tokens.parquet")
        assert compare_folder(tmp_path, "v1", tmp_path / "dictionaries")["identical"] == 1
    assert len(orders) == 3


def test_stored_zeros_are_tokens_upstream(tmp_path):
    def with_zeros(table):
        # Gene 0 is stored as zero in the first cell: it ranks last, where upstream keeps it.
        cells = [list(ids) for ids in table["input_ids"]]
        cells[0] = [t for t in cells[0] if t != 2] + [2]
        return table.assign(input_ids=cells)

    def layout(counts):
        stored = sparse.csr_matrix(counts)
        stored[0, 0] = 0
        return stored

    assert compared(tmp_path, "v1", GENES, change=with_zeros, layout=layout)["identical"] == 40
    result = compare_folder(tmp_path, "v1", tmp_path / "dictionaries", upstream=False)
    assert result["mismatched"] == ["cell0"]


def test_agreement_tells_ties_from_order_and_counts_tokens_twice():
    scores = [3, 2, 2, 1]  # of genes 10, 11, 12, 13
    assert agreement([10, 11, 12, 13], [10, 11, 12, 13], scores) == (True, True, True)
    assert agreement([10, 11, 12, 13], [10, 12, 11, 13], scores) == (False, True, True)
    assert agreement([10, 11, 12, 13], [11, 10, 12, 13], scores) == (False, False, True)
    assert agreement([10, 11, 12, 13], [10, 11, 12], scores) == (False, False, False)
    assert agreement([10, 11, 11], [10, 10, 11], scores) == (False, False, False)
    # Cut within a tie: the kept set must be the same.
    assert agreement([10, 11], [10, 12], scores) == (False, False, False)
    assert agreement([2, 10, 11, 3], [2, 10, 11, 3], scores, 1, 1) == (True, True, True)
    assert agreement([2, 11, 12, 3], [2, 12, 11, 3], [5, 5], 1, 1) == (False, True, True)
    assert agreement([2, 11, 12, 3], [11, 2, 12, 3], [5, 5], 1, 1) == (False, False, True)
    assert agreement([2, 3], [2, 3], [], 1, 1) == (True, True, True)
    assert agreement([], [], []) == (True, True, True)


def run_cli(folder, version, dictionaries, cwd):
    script = Path(__file__).parents[2] / "golden.py"
    command = [sys.executable, str(script), str(folder), "--version", version]
    command += ["--dictionaries", str(dictionaries)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def swapped(table):
    """Exchange the first and the last token of one cell."""
    cells = [list(ids) for ids in table["input_ids"]]
    cells[7][0], cells[7][-1] = cells[7][-1], cells[7][0]
    return table.assign(input_ids=cells)


def tampered(table):
    cells = [list(ids) for ids in table["input_ids"]]
    cells[8].append(cells[8][0])
    return table.assign(input_ids=cells)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "status", "grouped", "same", "mismatched"),
    [
        (None, 0, 40, 40, []),
        (swapped, 1, 39, 40, ["cell7"]),
        (tampered, 1, 39, 39, ["cell8"]),
    ],
)
def test_the_command_prints_one_line_and_its_status_tells(
    tmp_path, change, status, grouped, same, mismatched
):
    folder = tmp_path / "a folder"
    folder.mkdir()
    # Dictionaries of both versions lie below one folder, as in upstream's repository.
    write_dictionaries(folder / "geneformer", "v2")
    write_dictionaries(folder / "geneformer" / "gene_dictionaries_30m", "v1")
    write_folder(folder, "v1", [*GENES[10:], *ODD], change=change)
    done = run_cli("a folder", "v1", folder, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert done.stdout.count("\n") == 1
    result = json.loads(done.stdout)
    assert result["cells"] == 40
    assert result["identical_after_grouping_ties"] == grouped
    assert result["same_sets"] == same
    assert result["mismatched"] == mismatched


@pytest.mark.slow
def test_the_command_answers_bad_input_in_a_sentence(tmp_path):
    write_dictionaries(tmp_path / "dictionaries", "v1")
    write_folder(tmp_path, "v1", GENES)
    done = run_cli(tmp_path, "v2", tmp_path, cwd="/")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "token_dictionary*104M*.pkl" in done.stderr


def test_what_cannot_be_compared_is_refused(tmp_path):
    dictionaries = tmp_path / "dictionaries"

    def refused(*parts):
        with pytest.raises(InputError) as error:
            compare_folder(tmp_path, "v1", dictionaries)
        assert_sentence(error, *parts)

    compared(tmp_path, "v1", GENES)
    (tmp_path / "upstream_tokens.parquet").write_bytes(b"no table")
    refused(str(tmp_path / "upstream_tokens.parquet"), "no Parquet table")
    pd.DataFrame({"cell": ["a", "a"], "input_ids": [[2], [2]]}).to_parquet(
        tmp_path / "upstream_tokens.parquet"
    )
    refused(str(tmp_path / "upstream_tokens.parquet"), "'a' more than once")
    pd.DataFrame({"cell": ["a"]}).to_parquet(tmp_path / "upstream_tokens.parquet")
    refused(str(tmp_path / "upstream_tokens.parquet"), "'input_ids'")
    (tmp_path / "upstream_tokens.parquet").unlink()
    refused(str(tmp_path / "upstream_tokens.parquet"), "no such file")
    adata = anndata.read_h5ad(tmp_path / "cells.h5ad")
    adata.obs["n_counts"] = "many"
    adata.write_h5ad(tmp_path / "cells.h5ad")
    refused(str(tmp_path / "cells.h5ad"), "n_counts")
    del adata.obs["n_counts"]
    adata.write_h5ad(tmp_path / "cells.h5ad")
    refused(str(tmp_path / "cells.h5ad"), "'n_counts'")
    (tmp_path / "cells.h5ad").write_bytes(b"no cells")
    refused(str(tmp_path / "cells.h5ad"))
    other = tmp_path / "dictionaries" / "other" / "token_dictionary_gc30M.pkl"
    other.parent.mkdir()
    other.write_bytes(pickle.dumps({"<pad>": 0}))
    refused(str(dictionaries), "different files")
