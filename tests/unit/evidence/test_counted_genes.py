import numpy as np
import pandas as pd
import pytest

from keygenes.core.tables import read_table, write_table
from keygenes.evidence.counted_genes import count_genes
from keygenes.evidence.profiles import gene_ranks
from keygenes.evidence.score import read_totals

GENES = [f"ENSG{i}" for i in range(5)]
VOCABULARY = pd.DataFrame({"token": range(7), "ensembl_id": ["<pad>", "<cls>", *GENES]})
TOKENS = {  # with a <cls> in front, as the second model has it
    "c1": [1, 2, 3, 4],
    "c2": [1, 3, 2],
    "c3": [1, 6, 2],
    "trained": [1, 5],
    "unlabelled": [1, 5],
}


@pytest.fixture
def tables(tmp_path):
    tokens = tmp_path / "tokens.parquet"
    frame = pd.DataFrame({"cell": list(TOKENS), "input_ids": list(TOKENS.values())})
    frame["length"] = frame["input_ids"].map(len)
    write_table(frame, tokens, "tokens")
    splits = ["test", "test", "test", "train", "test"]
    labels = pd.Series(
        pd.Categorical(["low", "high", "high", "low", None], ["low", "high"], ordered=True),
        list(TOKENS),
    )
    obs = pd.DataFrame({"well": list("ABBAA")}, list(TOKENS))
    vocabulary = VOCABULARY.assign(symbol="s", median=1.0)
    splits = pd.DataFrame({"cell": list(TOKENS), "split": splits})
    by_gene, by_well = count_genes(tokens, vocabulary, labels, splits, obs)
    paths = tmp_path / "by_gene.parquet", tmp_path / "by_well.parquet"
    write_table(by_gene, paths[0], "by_gene")
    write_table(by_well, paths[1], "by_well")
    return paths


def test_ranks_count_from_the_first_gene_in_the_test_cells_with_a_class(tables):
    everything, places, totals = read_totals({(1, 1): tables[0]})[:3]
    found = totals[None].sort_index()
    assert found["n_cells"].to_dict() == {"ENSG0": 3, "ENSG1": 2, "ENSG2": 1, "ENSG4": 1}
    assert found.loc["ENSG0", "rank_mean"] == pytest.approx((1 + 2 + 2) / 3)
    assert found.loc["ENSG0", "rank_sd"] == pytest.approx(np.std([1, 2, 2], ddof=1))
    assert len(everything) == 6


def test_ranks_of_each_class_have_its_cells(tables):
    ranks = gene_ranks({(1, 1): tables[0]}).set_index(["ensembl_id", "class"])
    assert ranks.loc[("ENSG0", "high"), ["n_cells", "rank_mean"]].tolist() == [2, 2.0]
    assert ranks.loc[("ENSG0", "low"), ["n_cells", "rank_mean"]].tolist() == [1, 1.0]


def test_wells_count_the_cells_that_have_a_gene(tables):
    counts = read_table(tables[1]).set_index(["well", "ensembl_id"])["n_cells"]
    assert counts.to_dict() == {
        ("A", "ENSG0"): 1,
        ("A", "ENSG1"): 1,
        ("A", "ENSG2"): 1,
        ("B", "ENSG0"): 2,
        ("B", "ENSG1"): 1,
        ("B", "ENSG4"): 1,
    }
