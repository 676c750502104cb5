import numpy as np
import pytest
from messages import assert_sentence
from scipy import sparse
from token_cells import GENES, V2, in_shards, random_cells, tokens_written, vocabulary_of

from keygenes.core.errors import InputError
from keygenes.core.tables import read_table
from keygenes.tokens.draws import cell_generator, thinned_counts
from keygenes.tokens.encode import Encoding, encode_cells
from keygenes.tokens.store import read_tokens


def encoded(n_cells=200, rows=None, names=None, **draws):
    """Return the tokens of random cells (some rows of them) as lists, and the report."""
    counts, genes, vocabulary = random_cells(n_cells)
    rows = np.arange(n_cells) if rows is None else rows
    counts = counts[rows]
    cells, report = encode_cells(
        *(counts, np.asarray(counts.sum(axis=1)).ravel(), genes, vocabulary),
        Encoding(max_length=400, version="v1", draws={"seed": 1, **draws} if draws else None),
        cells=np.array([f"cell{i}" for i in rows]),
    )
    return [cell.tolist() for cell in cells], report


def test_every_cell_has_as_many_genes_as_it_can_and_they_keep_their_order():
    whole, _ = encoded()
    lengths = {len(cell) for cell in whole}
    n = sorted(lengths)[len(lengths) // 3]  # some cells have fewer
    drawn, report = encoded(length={"subsample": n})
    assert [len(cell) for cell in drawn] == [min(n, len(cell)) for cell in whole]
    assert report["length"].tolist() == [len(cell) for cell in drawn]
    assert not report["n_truncated"].any()
    for cell, all_genes in zip(drawn, whole, strict=True):
        places = [all_genes.index(gene) for gene in cell]
        assert places == sorted(places)
        assert (cell == all_genes) == (len(all_genes) <= n)


def test_genes_are_drawn_evenly_from_the_whole_cell():
    whole, _ = encoded(2000)
    drawn, _ = encoded(2000, length={"subsample": 20})
    shares = [
        (np.array([all_genes.index(gene) for gene in cell]) + 0.5) / len(all_genes)
        for cell, all_genes in zip(drawn, whole, strict=True)
    ]
    shares = np.concatenate(shares)  # uniform on 0 to 1: 40,000 of them
    assert abs(shares.mean() - 0.5) < 4 * np.sqrt(1 / 12 / len(shares))
    assert np.abs(np.histogram(shares, 10, (0, 1))[0] / len(shares) - 0.1).max() < 0.01


def test_the_genes_are_drawn_before_the_cell_is_cut():
    counts = np.arange(1.0, 301.0)[None]
    cells, report = encode_cells(
        *(sparse.csr_matrix(counts), [1e6], *random_cells(1)[1:]),
        Encoding(max_length=100, version="v1", draws={"length": {"subsample": 50}, "seed": 3}),
        cells=["a"],
    )
    top = encode_cells(
        *(sparse.csr_matrix(counts), [1e6], *random_cells(1)[1:]),
        Encoding(max_length=100, version="v1"),
    )[0][0]
    assert len(cells[0]) == 50
    assert not set(cells[0].tolist()) <= set(top.tolist())
    assert report["n_truncated"].tolist() == [0]


def test_shuffled_cells_hold_the_same_genes_in_any_order():
    whole, report = encoded(2000)
    shuffled, again = encoded(2000, order="shuffled")
    assert [sorted(cell) for cell in shuffled] == [sorted(cell) for cell in whole]
    assert report.equals(again)
    top = np.array(
        [cell.index(all_genes[0]) for cell, all_genes in zip(shuffled, whole, strict=True)]
    )
    share = (top + 0.5) / np.array([len(cell) for cell in whole])
    assert abs(share.mean() - 0.5) < 4 * np.sqrt(1 / 12 / 2000)


def test_a_thinned_cell_has_the_asked_counts_and_none_that_it_did_not_have():
    counts, _, _ = random_cells(300)
    names = [f"cell{i}" for i in range(300)]
    totals = np.asarray(counts.sum(axis=1)).ravel()
    depth = int(np.median(totals))
    thinned, deep = thinned_counts(counts, depth, names, 1)
    assert np.asarray(thinned.sum(axis=1)).ravel().tolist() == np.minimum(totals, depth).tolist()
    assert (deep == (totals > depth)).all()
    assert (thinned.toarray() <= counts.toarray()).all()
    assert (thinned.data > 0).all()
    kept = thinned[deep].sum(axis=0) / depth / deep.sum()
    expected = (counts[deep].multiply(1 / totals[deep][:, None])).mean(axis=0)
    assert np.corrcoef(np.asarray(kept).ravel(), np.asarray(expected).ravel())[0, 1] > 0.9


def test_draws_without_replacement_are_hypergeometric():
    counts = sparse.csr_matrix(np.tile([[6.0, 14.0, 20.0]], (4000, 1)))
    thinned, _ = thinned_counts(counts, 10, np.arange(4000), 5)
    found = thinned.toarray()[:, 0]
    # 10 drawn of 40, 6 of them of the first gene
    assert found.mean() == pytest.approx(1.5, abs=4 * np.sqrt(0.98 / 4000))
    assert found.var() == pytest.approx(10 * 0.15 * 0.85 * 30 / 39, rel=0.1)


def test_cells_are_ranked_by_the_counts_that_are_left():
    counts, genes, vocabulary = random_cells(50)
    names = np.array([f"cell{i}" for i in range(50)])
    thinned, _ = thinned_counts(counts, 60, names, 1)
    again, _ = encode_cells(
        *(thinned, np.full(50, 60.0), genes, vocabulary), Encoding(max_length=400, version="v1")
    )
    drawn, report = encoded(50, depth=60)
    assert drawn == [cell.tolist() for cell in again]
    assert set(report["n_counts"]) == {60.0}


@pytest.mark.parametrize(
    "draws", [{"length": {"subsample": 40}}, {"depth": 60}, {"order": "shuffled"}]
)
def test_a_cell_s_draw_depends_on_its_name_and_the_seed_alone(draws):
    together, _ = encoded(**draws)
    rows = np.random.default_rng(0).permutation(200)[:90]
    assert encoded(rows=rows, **draws)[0] == [together[i] for i in rows]
    other, _ = encoded(**draws, seed=2)
    assert sum(a != b for a, b in zip(together, other, strict=True)) > 190


def test_purposes_and_cells_have_streams_of_their_own():
    firsts = {
        cell_generator(seed, purpose, cell).integers(2**62)
        for seed in (1, 2)
        for purpose in ("depth", "length", "order")
        for cell in ("a", "b")
    }
    assert len(firsts) == 12
    assert cell_generator(1, "depth", "a").integers(2**62) in firsts


def test_special_tokens_stay_where_they_are():
    cells, report = encode_cells(
        *(sparse.csr_matrix([[5.0, 1.0, 4.0, 2.0, 3.0, 6.0]]), [21.0], GENES, V2),
        Encoding(
            max_length=8,
            version="v2",
            draws={"length": {"subsample": 4}, "order": "shuffled", "seed": 1},
        ),
        cells=["a"],
    )
    assert (cells[0][0], cells[0][-1], len(cells[0])) == (2, 3, 6)
    assert report["length"].tolist() == [6]


ALL = {"length": {"subsample": 30}, "depth": 80, "order": "shuffled", "seed": 4}


@pytest.mark.slow
def test_shards_draw_what_one_job_draws(tmp_path):
    cells = random_cells()
    whole = tokens_written(tmp_path, *cells, draws=ALL)
    merged = in_shards(tmp_path, 3, cells, draws=ALL)
    for ours, theirs in zip(merged, whole, strict=True):
        assert ours.read_bytes() == theirs.read_bytes()
    assert read_table(whole[0])["length"].max() == 30
    assert len(read_tokens(whole[0])[0]) == 2500


def test_more_genes_than_fit_are_refused(tmp_path):
    counts, genes, _ = random_cells(20)
    vocabulary = vocabulary_of(list(genes), specials=("<pad>", "<mask>", "<cls>", "<eos>"))
    with pytest.raises(InputError) as error:
        tokens_written(
            *(tmp_path, counts, genes, vocabulary),
            version="v2",
            draws={"length": {"subsample": 89}, "seed": 1},
        )
    assert_sentence(error, "'tokens.length.subsample'", "found 89", "at most 88")
