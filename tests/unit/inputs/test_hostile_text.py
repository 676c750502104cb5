"""Text files made to harm, in place of the three of GEO: read, or refused in a sentence, soon."""

import gzip
import io
import resource
import tarfile
import time
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from messages import assert_sentence

from keygenes.core.errors import InputError
from keygenes.inputs.readers import read_dataset

GENES = "".join(f"ENSG{i:011d}\tG{i}\n" for i in range(4))
CELLS = 'cell top_oligo n.umi\n"1" "c0" "Nutlin_0_AA08" 9\n"2" "c1" "Nutlin_1_AB04" 7\n'
COUNTS = "1\t1\t5\n2\t1\t4\n4\t2\t7\n"
TEXTS = {"genes": GENES, "cells": CELLS, "counts": COUNTS}


def write(folder, **contents):
    """Write the three files, some of them with other bytes; return {part: path}."""
    files = {part: folder / f"{part}.gz" for part in TEXTS}
    for part, path in files.items():
        path.write_bytes(contents.get(part, gzip.compress(TEXTS[part].encode(), mtime=0)))
    return files


def read(files):
    return read_dataset({"layout": "geo", "dose_factor": {"Nutlin": 2.5}}, files)


def refused(files, part, *parts):
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as error:
        read(files)
    assert_sentence(error, str(files[part]), *parts)
    assert time.monotonic() - started < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # kB


def packed(block, n):
    """Return n times a block, gzipped, without ever holding it whole."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(block) for _ in range(n)) + packer.flush()


@pytest.fixture(scope="module")
def bombs():
    """Return gzips of half a GB: of zeros, of empty lines, of one line of a table."""
    kinds = {"zeros": b"\0", "empty lines": b"\n", "one line": b"1\t1\t1\n", "no end": b"1\t1 "}
    n = 32
    return {name: packed(text * ((1 << 24) // len(text)), n) for name, text in kinds.items()}


def test_the_files_as_they_are(tmp_path):
    assert read(write(tmp_path)).X.toarray().tolist() == [[5, 4, 0, 0], [0, 0, 0, 7]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zeros", "empty lines", "one line", "no end"])
@pytest.mark.parametrize("part", TEXTS)
def test_half_a_gigabyte_in_half_a_megabyte(tmp_path, bombs, part, kind):
    assert len(bombs[kind]) < 2_000_000
    refused(write(tmp_path, **{part: bombs[kind]}), part, "cannot be read")


def archive(kind):
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
            target.writestr("counts.txt", COUNTS)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz" if kind == "tar.gz" else "w") as target:
            entry = tarfile.TarInfo("../../counts.txt")
            entry.size = len(COUNTS)
            target.addfile(entry, io.BytesIO(COUNTS.encode()))
    return buffer.getvalue()


@pytest.mark.parametrize("part", TEXTS)
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_by_another_name(tmp_path, kind, part):
    with pytest.raises(InputError) as error:
        read(write(tmp_path, **{part: archive(kind)}))
    assert_sentence(error, str(tmp_path))


def test_several_members_are_one_text(tmp_path):
    halves = [gzip.compress(text.encode()) for text in (COUNTS[:11], COUNTS[11:])]
    files = write(tmp_path, counts=b"".join(halves) + bytes(512))  # padding is allowed for
    assert read(files).X.sum() == 16


@pytest.mark.parametrize("part", TEXTS)
@pytest.mark.parametrize(
    "trailing", [b"rubbish", b"\x1f\x8b\x08\x00", b"\x1f\x8b\x09" + bytes(20), b"PK\x03\x04"]
)
def test_bytes_behind_the_end(tmp_path, part, trailing):
    whole = gzip.compress(TEXTS[part].encode())
    refused(write(tmp_path, **{part: whole + trailing}), part, "cannot be read")


@pytest.mark.parametrize("part", TEXTS)
def test_a_wrong_checksum(tmp_path, part):
    whole = bytearray(gzip.compress(TEXTS[part].encode()))
    whole[-6] ^= 1
    refused(write(tmp_path, **{part: bytes(whole)}), part, "cannot be read")


@pytest.mark.parametrize(
    "counts",
    ["1\t1\tnan\n", "1\t1\tinf\n", "1\t1\t-1\n", "1\t1\t1e30\n", "1e400\t1\t1\n", "nan\t1\t1\n"]
    + ["0\t1\t1\n", "1.5\t1\t1\n", "-1\t1\t1\n", "1\t99999999999\t1\n", '"1\t1\t1\n', "=1\t1\t1\n"],
)
def test_counts_that_are_none(tmp_path, counts):
    refused(write(tmp_path, counts=counts.encode()), "counts")


def test_an_oligo_that_a_pattern_takes_ages_for(tmp_path):
    cells = CELLS.replace("Nutlin_1_AB04", "1_" * 100_000)
    started = time.monotonic()
    matrix = read(write(tmp_path, cells=cells.encode()))
    assert matrix.obs["drug"].tolist() == ["Nutlin", "unassigned"]
    assert time.monotonic() - started < 10


def whole_or_a_sentence(files):
    try:
        matrix = read(files)
    except InputError as error:
        assert_sentence(error)
        return
    values = matrix.X.data
    assert np.isfinite(values).all() and (values > 0).all()
    matrix.X.check_format(full_check=True)


CHANGES = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=5)


@pytest.mark.slow
@settings(max_examples=100)
@given(st.sampled_from(sorted(TEXTS)), CHANGES, st.booleans())
def test_changed_bytes(tmp_path_factory, part, changes, zipped):
    data = TEXTS[part].encode()
    data = bytearray(gzip.compress(data, mtime=0) if zipped else data)
    for at, value in changes:
        data[at % len(data)] = value
    whole_or_a_sentence(write(tmp_path_factory.getbasetemp(), **{part: bytes(data)}))


FIELDS = st.sampled_from(
    ["1", "0", "-3", "1.5", "", "x", "nan", "1e9", "ENSG00000000001", '"', "a b", "Nutlin_0_AA08"]
)


@pytest.mark.slow
@settings(max_examples=150)
@given(
    st.sampled_from(sorted(TEXTS)),
    st.lists(st.lists(FIELDS, max_size=4), max_size=5),
    st.sampled_from(["\t", " ", ","]),
)
def test_changed_structure(tmp_path_factory, part, rows, separator):
    header = "cell top_oligo n.umi\n" if part == "cells" and len(rows) % 2 else ""
    text = header + "\n".join(separator.join(row) for row in rows)
    whole_or_a_sentence(write(tmp_path_factory.getbasetemp(), **{part: text.encode()}))
