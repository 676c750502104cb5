import pandas as pd
import pytest
from messages import assert_sentence

from keygenes.core.config import read_yaml
from keygenes.core.errors import InputError
from keygenes.evidence.gene_sets import membership, read_gene_set

GMT = {"format": "gmt", "set": "P53"}
TSV = {"format": "tsv"}


def test_one_line_of_a_gmt(tmp_path):
    path = tmp_path / "sets.gmt"
    path.write_text("MYC\thttp://a\tMYC\tNPM1\nP53\thttp://b\tMDM2\tCDKN1A\t\nP53X\t\tTP73\n")
    assert read_gene_set(path, GMT) == {"MDM2", "CDKN1A"}
    with pytest.raises(InputError) as error:
        read_gene_set(path, {**GMT, "set": "p53"})
    assert_sentence(error, str(path), "no line 'p53'")


def test_a_tsv_gives_ids_without_version_and_symbols(tmp_path):
    path = tmp_path / "set.tsv"
    path.write_text(
        "# a comment\nsymbol\tensembl_id\tnote\nMDM2\tENSG00000135679.27\tx\nRP11-1.2\t\tENSG9\n"
    )
    assert read_gene_set(path, TSV) == {"MDM2", "ENSG00000135679", "RP11-1.2"}
    path.write_text("ensembl_id\nENSG00000135679\n")
    assert read_gene_set(path, TSV) == {"ENSG00000135679"}


def test_a_table_of_planted_genes(tmp_path):
    path = tmp_path / "truth.parquet"
    table = pd.DataFrame({"ensembl_id": ["ENSG1.2", None], "symbol": ["A", "B"], "log2fc": 1.0})
    table.to_parquet(path)
    assert read_gene_set(path, {"format": "parquet"}) == {"ENSG1", "A", "B"}
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
    members = read_gene_set(repository / entry["file"]["path"], entry)
    ids = {m for m in members if m.startswith("ENSG")}
    assert len(ids) == len(members - ids) == 25
    assert {"MDM2", "ENSG00000135679", "CDKN1A", "ENSG00000124762"} <= members


def test_the_hallmark_set(repository, data_root):
    path = data_root / "truth" / "h.all.v7.0.symbols.gmt"
    if not path.exists():
        pytest.skip(f"no {path}")
    entry = read_yaml(repository / "config/gene_sets.yaml")["gene_sets"]["hallmark_p53"]
    members = read_gene_set(path, entry)
    assert len(members) == 200
    assert {"MDM2", "CDKN1A"} <= members


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
