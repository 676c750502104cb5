import anndata as ad
import numpy as np
import pandas as pd
import pytest
from messages import assert_sentence

from keygenes.core.config import read_yaml
from keygenes.core.errors import InputError
from keygenes.core.matrices import read_annotation, write_matrix
from keygenes.core.tables import read_table, write_table, write_tsv
from keygenes.evidence.gene_sets import (
    ABSENT,
    AGAIN,
    MATCHED,
    UNKNOWN,
    find_listed,
    is_partial,
    membership,
    read_gene_set,
    read_members,
    set_counts,
)
from keygenes.evidence.matched_sets import match_gene_set
from keygenes.inputs.gene_names import KnownGenes

GMT = {"format": "gmt", "set": "P53"}
TSV = {"format": "tsv"}


def names(listed):
    """Return the (ensembl_id, symbol) of the rows of a set."""
    return list(zip(listed["ensembl_id"], listed["symbol"], strict=True))


def test_one_line_of_a_gmt(tmp_path):
    path = tmp_path / "sets.gmt"
    path.write_text("MYC\thttp://a\tMYC\tNPM1\nP53\thttp://b\tMDM2\tCDKN1A\t\nP53X\t\tTP73\n")
    assert names(read_gene_set(path, GMT)) == [(None, "MDM2"), (None, "CDKN1A")]
    with pytest.raises(InputError) as error:
        read_gene_set(path, {**GMT, "set": "p53"})
    assert_sentence(error, str(path), "no line 'p53'")


def test_a_tsv_gives_ids_and_symbols_row_by_row(tmp_path):
    path = tmp_path / "set.tsv"
    path.write_text(
        "# a comment\nsymbol\tensembl_id\tnote\n MDM2\tENSG00000135679.27 \tx\n"
        "RP11-1.2\t\tENSG9\nNA\t-\ty\n"
    )
    assert names(read_gene_set(path, TSV)) == [("ENSG00000135679.27", "MDM2"), (None, "RP11-1.2")]
    path.write_text("\ufeffensembl_id\nENSG00000135679\nENSG00000135679\n", encoding="utf-8")
    assert names(read_gene_set(path, TSV)) == [("ENSG00000135679", None)]


def test_a_table_of_planted_genes(tmp_path):
    path = tmp_path / "truth.parquet"
    table = pd.DataFrame({"ensembl_id": ["ENSG1.2", None], "symbol": ["A", "B"], "log2fc": 1.0})
    table.to_parquet(path)
    assert names(read_gene_set(path, {"format": "parquet"})) == [("ENSG1.2", "A"), (None, "B")]
    path.write_bytes(b"no table")
    with pytest.raises(InputError) as error:
        read_gene_set(path, {"format": "parquet"})
    assert_sentence(error, str(path), "a parquet file")


@pytest.mark.parametrize(
    ("content", "entry", "part"),
    [
        ("gene\tscore\nMDM2\t1\n", TSV, "columns gene, score"),
        ("symbol\n", TSV, "columns symbol"),
        ("", TSV, "an unreadable file"),
        ("", GMT, "no line 'P53'"),
        (b"\xff\xfe\x00", GMT, "an unreadable file"),
        (b"\xff\xfe\x00", TSV, "an unreadable file"),
        (None, TSV, "an unreadable file"),
        (None, GMT, "an unreadable file"),
        ("P53\n", GMT, "no line 'P53'"),
        ("symbol\nA\tB\tC\n\tD\tE\tF\tG\n", TSV, "an unreadable file"),
    ],
)
def test_files_that_are_no_gene_set(tmp_path, content, entry, part):
    path = tmp_path / "set.txt"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        read_gene_set(path, entry)
    assert_sentence(error, str(path), part)


def test_membership_by_id_or_by_symbol():
    members = {"ENSG1", "MDM2"}
    flags = membership(["ENSG1", "ENSG2", "ENSG3"], ["A", "MDM2", None], members)
    assert flags.tolist() == [True, True, False]


def test_the_textbook_targets_that_ship_with_the_pipeline(repository):
    entry = read_yaml(repository / "config/gene_sets.yaml")["gene_sets"]["p53_textbook"]
    listed = names(read_gene_set(repository / entry["file"]["path"], entry))
    assert len(listed) == 25
    assert {("ENSG00000135679", "MDM2"), ("ENSG00000124762", "CDKN1A")} <= set(listed)


def test_the_hallmark_set(repository, data_root):
    path = data_root / "truth" / "h.all.v7.0.symbols.gmt"
    if not path.exists():
        pytest.skip(f"no {path}")
    entry = read_yaml(repository / "config/gene_sets.yaml")["gene_sets"]["hallmark_p53"]
    listed = read_gene_set(path, entry)
    assert len(listed) == 200
    assert {"MDM2", "CDKN1A"} <= set(listed["symbol"])


def test_the_targets_of_fischer_and_the_four_that_the_thesis_shows(data_root):
    folder = data_root / "truth"
    if not (folder / "fischer2017_p53_targets.tsv").exists():
        pytest.skip(f"no truth in {folder}")
    targets = read_gene_set(folder / "fischer2017_p53_targets.tsv", TSV)
    lines = (folder / "thesis_figure8.tsv").read_text().splitlines()
    shown = [line.split("\t")[0] for line in lines[1:]]
    assert len(shown) == 30
    flags = membership(shown, shown, targets)
    assert {g for g, flag in zip(shown, flags, strict=True) if flag} == {
        *("MDM2", "TP53I3", "MYOF", "ITGA3")
    }


IDS = ["ENSG00000135679", "ENSG00000124762", "ENSG00000168385", "ENSG00000173926", "GFP"]
OWN = ["MDM2", "CDKN1A", "SEPT2", "MARCHF3", "GFP"]
NAMES = pd.DataFrame(
    [
        ("MDM2", IDS[0], "symbol"),
        ("CDKN1A", IDS[1], "symbol"),
        ("SEPTIN2", IDS[2], "symbol"),
        ("TP53", "ENSG00000141510", "symbol"),
        ("P21", IDS[1], "alias"),
        ("ENSG00000999999", IDS[0], "alias"),
    ],
    columns=["name", "ensembl_id", "kind"],
)


def found(tmp_path, *lines, names=None):
    """Return what became of the genes of a TSV, as (status, Ensembl id, how)."""
    (tmp_path / "set.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = find_listed(read_gene_set(tmp_path / "set.tsv", TSV), KnownGenes(IDS, OWN, names))
    return list(zip(table["status"], table["ensembl_id"], table["how"], strict=True))


def test_genes_are_found_however_they_are_written(tmp_path):
    written = {"MDM2 ": IDS[0], "cdkn1a": IDS[1], "2-Sep": IDS[2], "MARCH3": IDS[3], "GFP": "GFP"}
    assert [(s, i) for s, i, _ in found(tmp_path, "symbol", *written)] == [
        (MATCHED, gene) for gene in written.values()
    ]
    of_ids = found(tmp_path, "ensembl_id", "ensg00000135679", "ENSG00000124762.13")
    assert of_ids == [(MATCHED, IDS[0], "id"), (MATCHED, IDS[1], "id")]


def test_a_dictionary_knows_other_names(tmp_path):
    assert found(tmp_path, "symbol", "P21", "SEPTIN2") == [
        (UNKNOWN, None, "unknown"),
        (MATCHED, IDS[2], "alias"),
    ]
    of_both = found(tmp_path, "symbol", "p21", "SEPTIN2", "TP53", "XYZ", names=NAMES)
    assert of_both == [
        *((MATCHED, IDS[1], "alias"), (MATCHED, IDS[2], "symbol")),
        *((ABSENT, "ENSG00000141510", "symbol"), (UNKNOWN, None, "unknown")),
    ]
    assert found(tmp_path, "ensembl_id", "ENSG00000999999", names=NAMES)[0][:2] == (MATCHED, IDS[0])


def test_a_row_is_found_by_its_symbol_where_the_data_have_no_such_id(tmp_path):
    rows = ["ensembl_id\tsymbol", "ENSG00000000099\tMDM2", f"{IDS[1]}\tP53", "NA\tGFP"]
    assert [gene for _, gene, _ in found(tmp_path, *rows)] == [IDS[0], IDS[1], "GFP"]


def test_a_gene_that_is_listed_twice_counts_once(tmp_path):
    rows = found(tmp_path, "symbol", "MDM2", "mdm2", "2-Sep", "SEPT2", "XYZ")
    assert [status for status, *_ in rows] == [MATCHED, AGAIN, MATCHED, AGAIN, UNKNOWN]
    table = find_listed(read_gene_set(tmp_path / "set.tsv", TSV), KnownGenes(IDS, OWN))
    counts = set_counts(table)
    assert (counts["listed"], counts["matched"], counts["other_name"]) == (3, 2, 1)
    assert counts["lost"] == ["XYZ"] and not is_partial(counts)


def test_what_a_date_may_be_without_a_dictionary(tmp_path):
    ids, symbols = ["ENSG00000145416"], ["MARCHF1"]
    (tmp_path / "set.tsv").write_text("symbol\n1-Mar\n")
    listed = read_gene_set(tmp_path / "set.tsv", TSV)
    assert find_listed(listed, KnownGenes(ids, symbols))["status"].tolist() == ["ambiguous"], (
        "MTARC1 is meant as well, whether or not it was measured"
    )


@pytest.fixture
def study(tmp_path):
    """Return a function that matches a set with a study's genes; it returns the table."""
    var = pd.DataFrame({"symbol": [*OWN[:4], IDS[4]]}, pd.Index(IDS, name="ensembl_id"))
    write_matrix(ad.AnnData(np.zeros((1, 5), "f4"), var=var), tmp_path / "matrix.h5ad")
    rows = {
        "token": range(3),
        "ensembl_id": ["<pad>", "GFP", IDS[0]],
        "symbol": ["<pad>", "GREEN", "X"],
    }
    write_table(
        pd.DataFrame({**rows, "median": 1.0}), tmp_path / "vocabulary.parquet", "vocabulary"
    )
    write_table(NAMES, tmp_path / "names.parquet", "gene_names")

    def match(*lines, names=True):
        (tmp_path / "set.tsv").write_text("\n".join(lines) + "\n")
        known = (read_table(tmp_path / f"{name}.parquet") for name in ("vocabulary", "names"))
        vocabulary, elsewhere = known
        table = match_gene_set(
            tmp_path / "set.tsv",
            TSV,
            "mine",
            read_annotation(tmp_path / "matrix.h5ad").var,
            vocabulary,
            elsewhere if names else None,
        )
        write_table(table, tmp_path / "out.parquet", "gene_set")
        write_tsv(table, tmp_path / "out.tsv")
        return read_table(tmp_path / "out.parquet")

    return match


def test_the_table_of_a_set(study, tmp_path, caplog):
    table = study("symbol", "MDM2", "GREEN", "P21", "XYZ")
    assert table["ensembl_id"].tolist() == [IDS[0], "GFP", IDS[1], None]
    assert table["symbol"].tolist() == ["MDM2", "GREEN", "CDKN1A", "XYZ"]
    assert read_members(tmp_path / "out.parquet") == {IDS[0], "GFP", IDS[1]}
    shown = pd.read_csv(tmp_path / "out.tsv", sep="\t")
    assert shown["status"].tolist() == [*["matched"] * 3, "unknown"]
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


def test_a_set_that_is_in_the_data_in_part_is_warned_of(study, caplog):
    study("symbol", "MDM2", "TP53", "XYZ", names=False)
    warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warned) == 1 and "mine: 1 of 3" in warned[0] and "(TP53, XYZ)" in warned[0]


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (("symbol", "Mdm2", "Cdkn1a"), "mouse symbols such as 'Mdm2', none of 2"),
        (("ensembl_id", "ENSMUSG00000020184"), "Ensembl ids of mouse"),
        (("symbol", "7157", "4193"), "Entrez"),
        (("symbol", "1-Mar", "9-Sep"), "dates such as '1-Mar'"),
    ],
)
def test_a_set_of_which_nothing_is_in_the_data_is_refused(study, tmp_path, lines, kind):
    with pytest.raises(InputError) as error:
        study(*lines)
    assert_sentence(
        error, str(tmp_path / "set.tsv"), "gene set 'mine'", kind, "'evidence.gene_sets'"
    )
    assert not (tmp_path / "out.parquet").exists()


def test_members_of_which_none_is_here_are_warned_of(caplog):
    assert not membership(IDS, OWN, {"Mdm2", "Trp53"}).any()
    assert "mouse symbols" in caplog.text and "none" in caplog.text
