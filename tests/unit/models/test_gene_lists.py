import logging

import numpy as np
import pandas as pd
import pytest
from messages import assert_sentence
from stated import logged, numbers_in
from tiny_study import write_study

from keygenes.core.errors import InputError
from keygenes.core.tables import read_table
from keygenes.models.gene_lists import classes_of, find_tokens, label_genes, read_listed

CLASSES = {"dull": {"dull": ["Yes"]}, "keen": {"keen": ["Yes", "Very"]}}


def gene(j):
    return f"ENSG{j:011d}"


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path / "study")


def written_list(path, rows, delimiter=",", columns=("ensembl_id", "dull", "keen")):
    lines = [delimiter.join(columns), *(delimiter.join(row) for row in rows)]
    path.write_text("\n".join(["# where it is from", *lines, ""]), encoding="utf-8")
    return path


def labelled(study, path, out, classes=CLASSES):
    label_genes(
        genes=path,
        tokens=study["tokens"],
        vocabulary=study["vocabulary"],
        out_genes=out,
        classes=classes,
    )
    return read_table(out)


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_genes_are_found_by_id_without_version_and_the_others_keep_their_row(
    study, tmp_path, delimiter, caplog
):
    rows = [(f"{gene(3)}.12", "Yes", ""), (gene(0), "", "Very"), (gene(999), "Yes", "")]
    path = written_list(tmp_path / "list", [*rows, (gene(5), "", "No")], delimiter)
    with caplog.at_level(logging.INFO, "keygenes"):
        table = labelled(study, path, tmp_path / "out.parquet")
    assert table["ensembl_id"].tolist() == [gene(3), gene(0), gene(999)]  # gene 5 has no class
    assert table["class"].tolist() == ["dull", "keen", "dull"]
    assert list(table["class"].cat.categories) == ["dull", "keen"]
    assert table["token"].fillna(-1).tolist() == [5, 2, -1]  # after <pad> and <mask>
    cells = read_table(study["tokens"])["input_ids"]
    seen = [sum(token in cell for cell in cells) for token in (5, 2)]
    assert table["n_cells"].tolist() == [*seen, 0]
    assert table["symbol"].tolist() == ["S003", "S000", ""]
    (said,) = logged(caplog, "dull", 2, 1)
    assert numbers_in(said) == [2, 1, 1], "listed, in the vocabulary, expressed"


def test_symbols_are_found_through_the_vocabulary(study, tmp_path):
    rows = [("S003", "Yes", ""), ("S000", "", "Yes"), ("NOSUCH", "", "Yes")]
    path = written_list(tmp_path / "l.csv", rows, columns=("symbol", "dull", "keen"))
    table = labelled(study, path, tmp_path / "out.parquet")
    assert table["ensembl_id"].tolist() == [gene(3), gene(0), ""]
    assert table["token"].fillna(-1).tolist() == [5, 2, -1]


def test_a_class_of_two_columns_needs_both():
    table = pd.DataFrame(
        {"ensembl_id": ["a", "b", "c"], "x": ["1", "1", "2"], "y": ["p", "q", "p"]}
    )
    classes = classes_of(table, {"both": {"x": [1], "y": ["p"]}, "rest": {"x": [2]}}, "l.csv")
    assert pd.Series(classes).astype(object).where(classes.codes >= 0, None).tolist() == [
        *("both", None, "rest")
    ]


TWO = (gene(1), "", "Yes")
WRONG = {
    "two classes": (
        [(gene(3), "Yes", "Yes"), TWO, (gene(4), "Yes", "")],
        ["l.csv", gene(3), "'dull' and 'keen'", "every gene in one class"],
    ),
    "twice": (
        [(gene(3), "Yes", ""), (f"{gene(3)}.7", "Yes", ""), TWO],
        ["l.csv, column 'ensembl_id'", gene(3), "twice", "a row per gene"],
    ),
    "empty class": (
        [(gene(3), "Yes", "")],
        ["l.csv, class 'keen'", "no gene", "gene-set registry"],
    ),
    "none known": (
        [(gene(800), "Yes", ""), (gene(801), "", "Yes")],
        ["l.csv, column 'ensembl_id'", "no gene of the vocabulary among 2", gene(800)],
    ),
    "a short row": ([(gene(3), "Yes")], ["l.csv", "2 values in row 1", "expected 3"]),
    "no row": ([], ["l.csv", "0 rows with the columns ensembl_id", "ensembl_id or symbol"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_list_is_refused_in_one_sentence(study, tmp_path, case):
    rows, parts = WRONG[case]
    path = written_list(tmp_path / "l.csv", rows)
    with pytest.raises(InputError) as error:
        labelled(study, path, tmp_path / "out.parquet")
    assert_sentence(error, f"{tmp_path}/{parts[0]}", *parts[1:])
    assert not (tmp_path / "out.parquet").exists()


def test_an_unknown_column_is_refused(study, tmp_path):
    path = written_list(tmp_path / "l.csv", [(gene(3), "Yes", ""), TWO])
    with pytest.raises(InputError) as error:
        labelled(study, path, tmp_path / "o", {"dull": {"dul": ["Yes"]}, "keen": {"keen": ["Yes"]}})
    assert_sentence(error, f"{path}, class 'dull'", "no column 'dul'", "ensembl_id, dull, keen")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"gene,dull\nS1,Yes\n", b""])
def test_a_file_that_is_no_list_is_refused(tmp_path, content):
    (tmp_path / "l.csv").write_bytes(content)
    with pytest.raises(InputError) as error:
        read_listed(tmp_path / "l.csv")
    assert_sentence(error, str(tmp_path / "l.csv"))


def test_a_symbol_of_two_genes_is_refused():
    vocabulary = pd.DataFrame(
        {"token": [2, 3], "ensembl_id": [gene(1), gene(2)], "symbol": ["TWIN", "TWIN"]}
    )
    with pytest.raises(InputError) as error:
        find_tokens(pd.DataFrame({"symbol": ["TWIN"]}), vocabulary, "l.csv")
    assert_sentence(error, "l.csv, column 'symbol'", "'TWIN', which names 2 genes", "ensembl_id")


@pytest.mark.slow
def test_the_list_of_the_trial_is_all_in_the_vocabulary_of_geneformer(data_root, mirror_root):
    """The published classes of dosage sensitivity: 122 sensitive, 368 insensitive."""
    from keygenes.tokens.vocabulary import geneformer_vocabulary

    [folder] = mirror_root.glob("ctheodoris/Geneformer/*/geneformer/gene_dictionaries_30m")
    names = ("token_dictionary", "gene_median_dictionary", "gene_name_id_dict")
    vocabulary = geneformer_vocabulary(*(folder / f"{name}_gc30M.pkl" for name in names))
    path = data_root / "truth/dosage_sens_tf_labels.csv"
    table = read_listed(path)
    classes = {
        "insensitive": {"dosage_insensitive": ["Yes"]},
        "sensitive": {"dosage_sensitive": ["Yes"]},
    }
    codes = classes_of(table, classes, path).codes
    assert np.bincount(codes[codes >= 0]).tolist() == [368, 122]
    assert find_tokens(table, vocabulary, path)["token"].notna().all()
