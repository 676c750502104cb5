"""Upstream mode through the pipeline: from a user's ids to the token table."""

import logging
import pickle

import numpy as np
import pandas as pd
import pytest
from messages import assert_sentence
from scipy import sparse
from stated import logged, numbers_in

from keygenes.cells.select import select_cells
from keygenes.core.errors import InputError
from keygenes.core.matrices import read_matrix, write_matrix
from keygenes.core.tables import read_table, write_table
from keygenes.inputs.canonical import canonical_matrix
from keygenes.models.cells import task_cells
from keygenes.tokens.encode import Encoding, encode_cells
from keygenes.tokens.store import merge_tokens, read_tokens, write_tokens
from keygenes.tokens.vocabulary import read_mapping

GENES = [f"ENSG{i:011d}" for i in range(30)]
SPECIALS = {"v1": ["<pad>", "<mask>"], "v2": ["<pad>", "<mask>", "<cls>", "<eos>"]}
# A version, lower case, a gene that stands there twice, and one of whose ids one has a version.
GIVEN = [
    *GENES[:20],
    GENES[20] + ".3",
    GENES[21].lower(),
    GENES[5],
    GENES[7] + ".1",
    "ALIAS",
    "x.1",
]
MAPPING = {**{gene: gene for gene in GENES}, "ALIAS": GENES[9]}
SELECT = {
    "drug": None,
    "doses_um": None,
    "vehicle": {"column": "dose_um", "value": 0},
    "hash_filter": None,
    "min_counts": 0,
    "min_genes": 0,
    "max_percent_mito": None,
    "min_cells_per_gene": 1,
    "highly_variable_genes": None,
    "max_cells_per_dose": None,
    "seed": 1,
}


def vocabulary_of(version):
    ids = [*SPECIALS[version], *GENES]
    medians = np.random.default_rng(1).gamma(2, 1, len(GENES)) + 0.1
    specials = [np.nan] * len(SPECIALS[version])
    columns = {"token": np.arange(len(ids)), "ensembl_id": ids, "symbol": ids}
    return pd.DataFrame({**columns, "median": np.concatenate([specials, medians])})


def counts_of(n_cells=60, given=GIVEN):
    counts = np.random.default_rng(0).poisson(1.0, (n_cells, len(given))).astype(np.float32)
    counts[3] = 0
    counts[4] = 0
    counts[4, -1] = 6  # a gene that no vocabulary has
    return sparse.csr_matrix(counts)


def write_canonical(folder, counts, given=GIVEN, **obs):
    names = [f"cell{i}" for i in range(counts.shape[0])]
    frame = pd.DataFrame({"dose_um": np.resize([0.0, 1.0], len(names)), **obs}, index=names)
    adata = canonical_matrix(counts.copy(), frame, given, None, "x.h5ad").in_memory()
    write_matrix(adata, folder / "all.h5ad")
    return folder / "all.h5ad"


def tokens_written(folder, matrix, version, **settings):
    write_table(vocabulary_of(version), folder / "vocabulary.parquet", "vocabulary")
    (folder / "mapping.pkl").write_bytes(pickle.dumps(MAPPING))
    paths = folder / "tokens.parquet", folder / "report.parquet"
    mapping = read_mapping(folder / "mapping.pkl") if version == "v2" else None
    encoding = Encoding(100, version, mapping, settings.pop("upstream", True))
    write_tokens(matrix, folder / "vocabulary.parquet", *paths, encoding, **settings)
    return paths


def direct(counts, given, version, n_counts=None):
    """Return each cell's tokens, encoded from what the user gave."""
    n_counts = np.asarray(counts.sum(axis=1)).ravel() if n_counts is None else n_counts
    mapping = MAPPING if version == "v2" else None
    cells, _ = encode_cells(
        *(counts, n_counts, given, vocabulary_of(version)),
        Encoding(max_length=100, version=version, mapping=mapping, upstream=True),
    )
    return [cell.tolist() for cell in cells]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "given", "twice"),
    [
        ("v1", GIVEN, True),
        ("v2", GIVEN, False),  # ALIAS makes upstream sum every gene
        ("v2", [*GIVEN[:24], "y.1", "x.1"], True),
    ],
)
def test_the_pipeline_encodes_the_columns_as_they_were_given(tmp_path, version, given, twice):
    counts = counts_of()
    tokens, report = tokens_written(tmp_path, write_canonical(tmp_path, counts, given), version)
    table = read_table(tokens)
    assert table["cell"].tolist() == [f"cell{i}" for i in range(60)]
    expected = direct(counts, given, version)
    assert any(len(set(cell)) < len(cell) for cell in expected) == twice
    for ours, theirs in zip(table["input_ids"], expected, strict=True):
        assert ours.tolist() == theirs
    framed = {"v1": 0, "v2": 2}[version]
    assert table["length"].tolist()[3:5] == [framed, framed]
    assert read_table(report)["n_in_vocabulary"].tolist()[3:5] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_blocks_and_shards_are_encoded_as_given(tmp_path, version):
    counts = counts_of(n_cells=1030)  # more than a block
    matrix = write_canonical(tmp_path, counts)
    tokens, report = tokens_written(tmp_path, matrix, version)
    expected = direct(counts, GIVEN, version)
    assert [ids.tolist() for ids in read_table(tokens)["input_ids"]] == expected
    parts = []
    for shard in range(2):
        (tmp_path / f"{shard}").mkdir()
        parts.append(tokens_written(tmp_path / f"{shard}", matrix, version, shard=[shard, 2]))
    merged = tmp_path / "merged.parquet", tmp_path / "merged_report.parquet"
    options = {"max_length": 100, "upstream": True}
    merge_tokens(*zip(*parts, strict=True), *merged, where=matrix, **options)
    assert merged[0].read_bytes() == tokens.read_bytes()
    assert merged[1].read_bytes() == report.read_bytes()

    tokens, _ = tokens_written(tmp_path, matrix, version, upstream=False)
    assert len(read_table(tokens)) == 1028  # summed columns, and the cells without a gene left out


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_selected_cells_and_genes_are_encoded_as_given(tmp_path, version):
    counts = counts_of().tolil()
    lost = [5, 6, 22]  # genes 5 (its second column too) and 6 are seen in no cell
    counts[:, lost] = 0
    counts = counts.tocsr()
    passing = np.resize([1, 1, 0], 60)
    passing[3:5] = 0
    matrix = write_canonical(tmp_path, counts, filter_pass=passing)
    outputs = [tmp_path / name for name in ("counts.h5ad", "screen.h5ad", "selection.parquet")]
    select_cells(matrix, *outputs, where="x", options=SELECT)
    assert read_matrix(outputs[0]).n_vars < read_matrix(matrix).n_vars
    tokens, _ = tokens_written(tmp_path, outputs[0], version)
    table = read_table(tokens)
    assert table["cell"].tolist() == [f"cell{i}" for i in np.flatnonzero(passing)]
    for i, ours in zip(np.flatnonzero(passing), table["input_ids"], strict=True):
        assert ours.tolist() == direct(counts[[i]], GIVEN, version)[0]


def test_the_canonical_matrix_remembers_what_was_summed(tmp_path):
    counts = counts_of()
    adata = read_matrix(write_canonical(tmp_path, counts))
    assert adata.var["given_id"].astype(str).tolist() == [*GIVEN[:22], "ALIAS", "x.1"]
    assert adata.var_names.tolist() == [*GENES[:22], "ALIAS", "x.1"]
    apart = adata.uns["given_columns"]
    assert list(apart["given_id"]) == [GENES[5], GENES[7], GENES[5], GENES[7] + ".1"]
    assert list(apart["ensembl_id"]) == [GENES[5], GENES[7], GENES[5], GENES[7]]
    kept = adata.obsm["given_counts"].toarray()
    np.testing.assert_array_equal(kept, counts[:, [5, 7, 22, 23]].toarray())
    total = adata[:, GENES[7]].X.toarray().ravel()
    np.testing.assert_array_equal(total, kept[:, 1] + kept[:, 3])

    plain = read_matrix(write_canonical(tmp_path, counts[:, :20], GIVEN[:20]))
    assert "given_counts" not in plain.obsm
    assert "given_columns" not in plain.uns


def test_a_matrix_without_the_given_ids_is_encoded_only_in_the_default_mode(tmp_path):
    matrix = write_canonical(tmp_path, counts_of())
    adata = read_matrix(matrix)
    del adata.var["given_id"], adata.obsm["given_counts"], adata.uns["given_columns"]
    write_matrix(adata, matrix)
    tokens, _ = tokens_written(tmp_path, matrix, "v1", upstream=False)
    assert len(read_table(tokens)) == 58
    with pytest.raises(InputError) as error:
        tokens_written(tmp_path, matrix, "v1")
    assert_sentence(error, str(matrix), "given_id", "tokens.upstream")


def test_a_nearly_total_loss_is_warned_of_but_not_refused(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="keygenes")
    given = [gene + ".1" for gene in GENES[:29]] + [GENES[29]]
    counts = counts_of(given=given)
    tokens, _ = tokens_written(tmp_path, write_canonical(tmp_path, counts, given), "v1")
    assert set(np.concatenate(read_table(tokens)["input_ids"].to_list())) == {31}
    of_genes = [60, 1, 30, 1, 29]  # cells, genes, tokens, genes lost
    assert [numbers_in(text)[:5] for text in caplog.messages].count(of_genes) == 1
    assert [r for r in caplog.records if r.levelno == logging.WARNING]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_cells_without_a_gene_are_stored_but_not_learned_from(tmp_path, version, caplog):
    caplog.set_level(logging.INFO, logger="keygenes")
    tokens, _ = tokens_written(tmp_path, write_canonical(tmp_path, counts_of()), version)
    assert logged(caplog, 2, "cell3, cell4")
    cells, ids, offsets = read_tokens(tokens)
    assert logged(caplog, 2, str(tokens))
    filled = [f"cell{i}" for i in range(60) if i not in (3, 4)]
    assert cells == filled
    expected = direct(counts_of(), GIVEN, version)
    expected = expected[:3] + expected[5:]
    assert ids.tolist() == sum(expected, [])
    assert np.diff(offsets).tolist() == [len(cell) for cell in expected]

    names = [f"cell{i}" for i in range(60)]
    level = pd.Categorical(np.resize(["a", "b"], 60))
    write_table(pd.DataFrame({"cell": names, "level": level}), tmp_path / "labels.parquet")
    split = np.resize(["train", "train", "valid", "valid", "test", "test"], 60)
    splits = pd.DataFrame({"cell": names, "fold": 1, "split": split, "unit": "w"})
    write_table(splits, tmp_path / "splits.parquet", "splits")
    frame, tokens, _ = task_cells(
        tokens, tmp_path / "labels.parquet", tmp_path / "splits.parquet", "level", 1
    )
    assert frame["cell"].tolist() == filled
    assert [cell.tolist() for cell in tokens] == expected


@pytest.mark.slow
@pytest.mark.parametrize("upstream", [True, False])
def test_only_cells_that_pass_the_filter_are_encoded(tmp_path, upstream, caplog):
    caplog.set_level(logging.INFO, logger="keygenes")
    passing = np.resize([0, 1, 1], 60)
    matrix = write_canonical(tmp_path, counts_of(), filter_pass=passing)
    tokens, report = tokens_written(tmp_path, matrix, "v1", upstream=upstream)
    chosen = [f"cell{i}" for i in np.flatnonzero(passing)]
    assert read_table(report)["cell"].tolist() == chosen
    assert set(read_table(tokens)["cell"]) == set(chosen) - (set() if upstream else {"cell4"})
    assert logged(caplog, "filter_pass", 40, 60)
    matrix = write_canonical(tmp_path, counts_of(), filter_pass=0)
    with pytest.raises(InputError) as error:
        tokens_written(tmp_path, matrix, "v1", upstream=upstream)
    assert_sentence(error, str(matrix), "filter_pass")
