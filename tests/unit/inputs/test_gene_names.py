"""Which gene a name means, on its own and as a column among others."""

import pickle

import pandas as pd
import pytest

from keygenes.inputs.gene_names import (
    ALIAS,
    AMBIGUOUS,
    CASE,
    DATE,
    ID,
    NO_NAME,
    SUFFIX,
    SYMBOL,
    UNKNOWN,
    KnownGenes,
    dates_of,
    find_genes,
    kind_of_names,
    one_name_per_gene,
)
from keygenes.tokens.vocabulary import gene_names

GENES = {
    "TP53": "ENSG00000141510",
    "MDM2": "ENSG00000135679",
    "TBCE": "ENSG00000284770",
    "NKX2-1": "ENSG00000136352",
    "C9orf72": "ENSG00000147894",
    "ERBB2": "ENSG00000141736",
    "MARCHF1": "ENSG00000145416",
    "MARCHF3": "ENSG00000173926",
    "MTARC1": "ENSG00000186205",
    "SEPTIN2": "ENSG00000168385",
    "SELENOF": "ENSG00000183291",
    "DELEC1": "ENSG00000173077",
}
ALIASES = {"HER2": "ERBB2", "P53": "TP53", "SEP15": "SELENOF", "1-MAR": "MARCHF1"}
OTHER_ID = "ENSG00000277488"


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Return table 'gene_names' of dictionaries such as Geneformer's."""
    folder = tmp_path_factory.mktemp("dictionaries")
    mapping = {symbol.upper(): gene for symbol, gene in GENES.items()}
    mapping |= {gene: gene for gene in GENES.values()} | {OTHER_ID: GENES["TP53"]}
    mapping |= {alias: GENES[symbol] for alias, symbol in ALIASES.items()}
    for name, content in (("names", GENES), ("mapping", mapping)):
        (folder / name).write_bytes(pickle.dumps(content))
    return gene_names([folder / "names"], [folder / "mapping"])


def found(given, names):
    table = find_genes(given, KnownGenes(names=names))
    return list(zip(table["ensembl_id"], table["how"], strict=True))


def test_the_dictionaries_as_one_table(names):
    assert not names.duplicated(["name", "kind"]).any()
    of_kind = names.groupby("kind")["name"].agg(set)
    assert of_kind[SYMBOL] == set(GENES)
    assert of_kind[ALIAS] == {"HER2", "P53", "SEP15", OTHER_ID}, "no date, no symbol again"


def test_the_first_dictionary_has_the_word(tmp_path):
    for i, gene in enumerate(("ENSG00000000001", "ENSG00000000002")):
        (tmp_path / str(i)).write_bytes(pickle.dumps({"A": gene, f"B{i}": gene}))
    table = gene_names([tmp_path / "1", tmp_path / "0"], []).set_index("name")["ensembl_id"]
    assert table.to_dict() == {
        **{"A": "ENSG00000000002", "B1": "ENSG00000000002"},
        "B0": "ENSG00000000001",
    }


@pytest.mark.parametrize(
    ("given", "symbol", "how"),
    [
        ("TP53", "TP53", SYMBOL),
        ("  TP53 ", "TP53", SYMBOL),
        ("tp53", "TP53", CASE),
        ("C9ORF72", "C9orf72", CASE),
        ("HER2", "ERBB2", ALIAS),
        ("her2", "ERBB2", ALIAS),
        ("MARCH1", "MARCHF1", ALIAS),
        ("SEPT2", "SEPTIN2", ALIAS),
        ("DEC1", "DELEC1", ALIAS),
        ("NKX2-1", "NKX2-1", SYMBOL),
        ("3-Mar", "MARCHF3", DATE),
        ("03-Mar", "MARCHF3", DATE),
        ("Mar-03", "MARCHF3", DATE),
        ("3. Mrz", "MARCHF3", DATE),
        ("2023-03-03", "MARCHF3", DATE),
        ("2023-03-03 00:00:00", "MARCHF3", DATE),
        ("2-Sep", "SEPTIN2", DATE),
        ("Sep-02", "SEPTIN2", DATE),
        ("15-Sep", "SELENOF", DATE),
        ("1-Dec", "DELEC1", DATE),
        ("ENSG00000141510.16", "TP53", ID),
        ("ensg00000141510", "TP53", ID),
    ],
)
def test_a_name_means_a_gene(names, given, symbol, how):
    assert found([given], names) == [(GENES[symbol], how)]


@pytest.mark.parametrize(
    ("given", "how"),
    [
        ("1-Mar", AMBIGUOUS),  # MARCHF1 or MTARC1
        ("2-Mar", UNKNOWN),  # MARCHF2 or MTARC2, neither of which is known
        ("9-Sep", UNKNOWN),
        ("31-Mar", UNKNOWN),
        ("1-Jan", UNKNOWN),
        ("GFP", UNKNOWN),
        ("TBCE-1", UNKNOWN),  # as no TBCE stands beside it
        ("x" * 10_000, UNKNOWN),
        *((missing, NO_NAME) for missing in (None, float("nan"), pd.NA, "", " ", "NA", "nan")),
        *((missing, NO_NAME) for missing in ("None", "-", "unknown", "<NA>", "null", "#N/A")),
    ],
)
def test_a_name_means_none(names, given, how):
    assert found([given], names) == [(None, how)]


def test_a_date_is_what_is_not_named_beside_it(names):
    assert found(["1-Mar", "MTARC1"], names)[0] == (GENES["MARCHF1"], DATE)
    assert found(["1-Mar", "MARCH1"], names)[0] == (GENES["MTARC1"], DATE)
    assert found(["1-Mar", "MARCH1", "MTARC1"], names)[0] == (None, AMBIGUOUS)


def test_a_day_and_a_month_may_stand_either_way():
    assert dates_of("3/1/2023") == [(3, 1)], "no gene is taken for a day of January"
    assert dates_of("3/9/2023") == [(3, 9), (9, 3)]
    assert dates_of("SEPT2") == dates_of("MARCH1") == dates_of("Mark3") == []


def test_a_suffix_counts_beside_its_base_alone(names):
    of_all = found(["TBCE", "TBCE-1", "TBCE.2", "NKX2-1", "NKX2"], names)
    assert [how for _, how in of_all] == [SYMBOL, SUFFIX, SUFFIX, SYMBOL, UNKNOWN]
    assert {gene for gene, _ in of_all[:3]} == {GENES["TBCE"]}


def test_names_as_mice_have_them_are_no_human_genes(names):
    assert [gene for gene, _ in found(["Tp53", "Mdm2", "Cdkn1a"], names)] == [None] * 3
    assert found(["Mdm2", "TP53", "ERBB2"], names)[0] == (GENES["MDM2"], CASE)


def test_a_symbol_of_two_genes_is_that_of_the_dictionary_or_none(names):
    two = ["ENSG00000000001", GENES["TBCE"]]
    of_data = find_genes(["TBCE"], KnownGenes(two, ["TBCE", "TBCE"]))
    assert of_data.loc[0, ["ensembl_id", "how"]].tolist() == [None, AMBIGUOUS]
    of_both = find_genes(["TBCE"], KnownGenes(two, ["TBCE", "TBCE"], names))
    assert of_both.loc[0, "ensembl_id"] == GENES["TBCE"]


def test_of_two_columns_one_is_a_gene(names):
    given = ["ERBB2", "HER2", "P53", "SEPT2", "2-Sep", "MDM2", "MDM2", "TBCE", "TBCE-1", "3-Mar"]
    table = one_name_per_gene(find_genes([*given, "3-Mar"], KnownGenes(names=names)))
    how = list(zip(table["name"], table["how"], strict=True))
    assert how == [
        *(("ERBB2", SYMBOL), ("HER2", AMBIGUOUS), ("P53", ALIAS)),
        *(("SEPT2", AMBIGUOUS), ("2-Sep", AMBIGUOUS)),
        *(("MDM2", SYMBOL), ("MDM2", SYMBOL), ("TBCE", SYMBOL), ("TBCE-1", SUFFIX)),
        *(("3-Mar", AMBIGUOUS), ("3-Mar", AMBIGUOUS)),
    ]
    assert (table["ensembl_id"].isna() == (table["how"] == AMBIGUOUS)).all()


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (["Mdm2", "Cdkn1a", "TP53"], "mouse symbols such as 'Mdm2'"),
        (["mt-Nd1"], "mouse symbols"),
        (["ENSMUSG00000020184"], "Ensembl ids of mouse"),
        (["ENST00000258149.10"], "transcripts"),
        (["7157", "4193"], "Entrez"),
        (["1-Mar", "2-Sep"], "dates"),
        (["C9orf72", "MDM2"], "names such as 'C9orf72'"),
        ([None], "no names"),
    ],
)
def test_what_names_look_like(given, kind):
    assert kind in kind_of_names(given)
