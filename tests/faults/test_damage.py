"""Files that were cut, altered or emptied after they were written: named, with what to do."""

import pickle
import random

import pytest
from messages import assert_sentence
from writers import WRITERS, kinds

from keygenes.attention.sums import merged_sums
from keygenes.core.errors import InputError
from keygenes.core.files import read_json
from keygenes.core.matrices import read_matrix
from keygenes.core.tables import read_table
from keygenes.evidence.gene_sets import read_gene_set
from keygenes.models.encoder import read_config, read_weights
from keygenes.models.gene_lists import read_listed
from keygenes.tokens.store import read_tokens
from keygenes.tokens.vocabulary import read_pickled_dict

FLIPS = 40  # altered bytes per kind of file, one at a time


def _table(path):
    return read_table(path).to_csv().encode()


def _counts(path):
    counts = read_matrix(path).X
    return counts.indptr.tobytes() + counts.indices.tobytes() + counts.data.tobytes()


def _weights(path):
    return b"".join(k.encode() + v.numpy().tobytes() for k, v in sorted(read_weights(path).items()))


def _sums(path):
    parts = merged_sums([path])
    arrays = [a for part in parts.values() for a in (*part.counts.values(), *part.totals.values())]
    return b"".join(a.tobytes() for a in arrays)


def _tokens(path):
    cells, ids, offsets = read_tokens(path)
    return "".join(cells).encode() + ids.tobytes() + offsets.tobytes()


def _gene_set(format):
    return lambda path: sorted(read_gene_set(path, {"format": format, "set": "p53"}))


READERS = {  # kind: (file of its writer, how it is read)
    "table": ("umap.parquet", _table),
    "matrix": ("counts.h5ad", _counts),
    "weights": ("model.safetensors", _weights),
    "sums": ("sums.safetensors", _sums),
    "tokens": ("tokens.parquet", _tokens),
    "json": ("states.json", read_json),
    "config": ("config.json", lambda path: read_config(path).to_dict()),
}
SUPPLIED = {  # name: (content, how it is read)
    "tokens.pkl": (pickle.dumps({f"ENSG{i}": i for i in range(500)}), read_pickled_dict),
    "set.tsv": (b"ensembl_id\n" + b"ENSG1\n" * 99, _gene_set("tsv")),
    "set.gmt": (b"p53\turl\t" + b"\t".join(b"TP%d" % i for i in range(99)), _gene_set("gmt")),
    "classes.csv": (b"symbol,class\n" + b"A,x\n" * 99, read_listed),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return {kind: (path, reader)} of files that are as they should be."""
    folder = tmp_path_factory.mktemp("whole") / "results"
    folder.mkdir()
    for kind in READERS:
        WRITERS["weights" if kind == "config" else kind](folder)
    return {kind: (folder / name, read) for kind, (name, read) in READERS.items()}


def refused(path, read):
    """Return the message with which a file is refused."""
    with pytest.raises(InputError) as error:
        read(path)
    assert_sentence(error, str(path))
    return str(error.value)


@pytest.mark.parametrize("kind", kinds(READERS))
def test_file_between_rules_that_is_empty_or_cut_is_named(kind, whole, tmp_path):
    source, read = whole[kind]
    content = source.read_bytes()
    path = tmp_path / source.name
    for left in (0, 1, len(content) // 3, len(content) - 2):
        path.write_bytes(content[:left])
        message = refused(path, read)
        assert_sentence(message, str(path))


@pytest.mark.parametrize("kind", kinds(["table", "matrix", "weights", "sums", "tokens"]))
def test_altered_byte_is_never_read_as_data(kind, whole, tmp_path):
    source, read = whole[kind]
    content, expected = source.read_bytes(), read(source)
    path, rng, found = tmp_path / source.name, random.Random(kind), 0
    for _ in range(FLIPS):
        altered = bytearray(content)
        altered[rng.randrange(len(altered))] ^= 1 << rng.randrange(8)
        path.write_bytes(altered)
        try:
            assert read(path) == expected, "an unused byte"
        except InputError as error:
            assert_sentence(error, str(path), "delete it and run again")
            found += 1
    assert found > FLIPS / 2


@pytest.mark.parametrize("name", SUPPLIED)
def test_file_of_the_user_that_is_empty_or_cut_is_named(name, tmp_path):
    content, read = SUPPLIED[name]
    path = tmp_path / name
    path.write_bytes(content)
    assert len(read(path))
    path.write_bytes(b"")
    refused(path, read)
    path.write_bytes(content[:4] if name == "tokens.pkl" else b"\x89HDF\xff" + content[:9])
    refused(path, read)
