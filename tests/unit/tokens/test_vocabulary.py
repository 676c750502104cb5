import os
import pickle
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from keygenes.core.errors import InputError
from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_table, write_table
from keygenes.tokens.vocabulary import (
    dataset_vocabulary,
    geneformer_vocabulary,
    is_special,
    read_mapping,
)

TOKENS = {"<pad>": 0, "<mask>": 1, "ENSG01": np.int16(2), "ENSG02": np.int16(3)}
MEDIANS = {"ENSG01": np.float64(2.5), "ENSG02": np.float64(0.5), "ENSG99": 1.0}
NAMES = {"ZETA": "ENSG01", "ALPHA": "ENSG01", "OTHER": "ENSG77"}
DATA = Path(os.environ.get("KEYGENES_TEST_DATA", Path(__file__).parents[4] / "shared"))


def pickled(folder, **contents):
    paths = {}
    for name, content in contents.items():
        paths[name] = folder / f"{name}.pkl"
        paths[name].write_bytes(pickle.dumps(content))
    return paths


def vocabulary_from(folder, tokens=TOKENS, medians=MEDIANS, names=NAMES, mapping=None):
    paths = pickled(folder, tokens=tokens, medians=medians, names=names, mapping=mapping)
    given = [paths["tokens"], paths["medians"], paths["names"]]
    return geneformer_vocabulary(*given, *([paths["mapping"]] if mapping else []))


def test_vocabulary_is_sorted_by_token_with_names_and_medians(tmp_path):
    shuffled = dict(sorted(TOKENS.items(), key=lambda item: -item[1]))
    vocabulary = vocabulary_from(tmp_path, tokens=shuffled)
    assert list(vocabulary.columns) == TABLES["vocabulary"].names
    assert vocabulary["token"].tolist() == [0, 1, 2, 3]
    assert vocabulary["ensembl_id"].tolist() == ["<pad>", "<mask>", "ENSG01", "ENSG02"]
    assert vocabulary["symbol"].tolist() == ["<pad>", "<mask>", "ALPHA", "ENSG02"]
    np.testing.assert_array_equal(vocabulary["median"], [np.nan, np.nan, 2.5, 0.5])
    assert is_special(vocabulary["ensembl_id"]).tolist() == [True, True, False, False]
    write_table(vocabulary, tmp_path / "v.parquet", "vocabulary")
    pd.testing.assert_frame_equal(read_table(tmp_path / "v.parquet"), vocabulary)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"medians": {"ENSG01": 2.5}}, "no positive median for 1 of the 2 genes"),
        ({"medians": {"ENSG01": 2.5, "ENSG02": 0.0}}, "the first being ENSG02"),
        ({"tokens": {**TOKENS, "ENSG03": 3}}, "repeat or leave gaps"),
        ({"tokens": {**TOKENS, "ENSG03": 9}}, "repeat or leave gaps"),
        ({"tokens": {**TOKENS, "ENSG03": "x"}}, "not whole numbers"),
        ({"tokens": {"ENSG01": 0}}, "no <pad> or no <mask>"),
        ({"mapping": {"ENSG02": "ENSG50"}}, "1 genes of the vocabulary that are mapped"),
    ],
)
def test_dictionaries_that_do_not_belong_together_are_refused(tmp_path, changed, found):
    with pytest.raises(InputError, match=found):
        vocabulary_from(tmp_path, **changed)


def test_mapping_that_fits_is_accepted(tmp_path):
    mapping = {"ENSG01": "ENSG01", "ALIAS": "ENSG02"}
    assert len(vocabulary_from(tmp_path, mapping=mapping)) == 4
    assert read_mapping(tmp_path / "mapping.pkl") == mapping


def small_cells(counts, n_counts):
    counts = sparse.csr_matrix(np.asarray(counts, dtype=np.float32))
    adata = anndata.AnnData(counts)
    adata.obs["n_counts"] = np.asarray(n_counts, dtype=np.float64)
    adata.var_names = ["ENSG03", "ENSG01", "ENSG02"]
    adata.var["symbol"] = ["C", "A", "B"]
    return adata


def test_dataset_vocabulary_has_medians_of_non_zero_counts_per_10000():
    adata = small_cells([[1, 0, 4], [3, 0, 0], [0, 0, 2], [8, 0, 0]], [100, 100, 50, 1000])
    vocabulary = dataset_vocabulary(adata)
    assert vocabulary["ensembl_id"].tolist() == ["<pad>", "<mask>", "ENSG02", "ENSG03"]
    assert vocabulary["symbol"].tolist() == ["<pad>", "<mask>", "B", "C"]
    assert vocabulary["token"].tolist() == [0, 1, 2, 3]
    # ENSG03: 100, 300 and 80 counts per 10,000; ENSG02: 400 and 400
    np.testing.assert_allclose(vocabulary["median"][2:], [400, 100])
    assert vocabulary["median"][:2].isna().all()


def test_dataset_vocabulary_refuses_cells_without_counts_or_totals():
    with pytest.raises(InputError, match="'dataset'.*'select'"):
        dataset_vocabulary(small_cells([[0, 0, 0]], [0]))
    with pytest.raises(InputError, match="n_counts"):
        dataset_vocabulary(small_cells([[1, 0, 0]], [0]))


@pytest.mark.slow
def test_the_real_dictionaries():
    found = sorted((DATA / "mirror").glob("ctheodoris/Geneformer/*/geneformer"))
    if not found:
        pytest.skip(f"no Geneformer dictionaries under {DATA / 'mirror'}")
    old, stem = found[0] / "gene_dictionaries_30m", "_dictionary_gc30M.pkl"
    v1 = geneformer_vocabulary(
        old / f"token{stem}", old / f"gene_median{stem}", old / "gene_name_id_dict_gc30M.pkl"
    )
    assert len(v1) == 25_426
    genes = v1[~is_special(v1["ensembl_id"])]
    assert (genes["symbol"] == genes["ensembl_id"]).sum() == 4_179
    row = v1.set_index("symbol").loc["MDM2"]
    assert row["ensembl_id"] == "ENSG00000135679"
    assert row["median"] == pytest.approx(2.58, abs=0.01)
    stem = "_dictionary_gc104M.pkl"
    v2 = geneformer_vocabulary(
        found[0] / f"token{stem}",
        found[0] / f"gene_median{stem}",
        found[0] / "gene_name_id_dict_gc104M.pkl",
        found[0] / "ensembl_mapping_dict_gc104M.pkl",
    )
    assert len(v2) == 20_275
    assert v2["ensembl_id"].tolist()[:4] == ["<pad>", "<mask>", "<cls>", "<eos>"]
    symbols = v2.set_index("ensembl_id")["symbol"]
    assert symbols["ENSG00000135679"] == "MDM2"
    genes = v2[~is_special(v2["ensembl_id"])]
    assert (genes["symbol"] == genes["ensembl_id"]).sum() == 825
