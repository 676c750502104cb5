import hashlib
import os

import pytest

from keygenes.core.files import (
    canonical_json,
    checksum,
    digest_of,
    read_json,
    write_json,
    write_text,
    written,
)


def test_written_renames_into_place_and_makes_the_folder(tmp_path):
    path = tmp_path / "a" / "b" / "table.parquet"
    with written(path) as part:
        assert part.parent == path.parent
        assert part.suffix == ".parquet"
        assert part.name.startswith(".")
        part.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert os.listdir(path.parent) == ["table.parquet"]


def test_written_leaves_nothing_behind_on_an_error(tmp_path):
    path = tmp_path / "table.tsv"
    with pytest.raises(RuntimeError, match="stop"), written(path) as part:
        part.write_text("half")
        raise RuntimeError("stop")
    assert os.listdir(tmp_path) == []


def test_written_keeps_the_old_file_on_an_error(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("old")
    with pytest.raises(RuntimeError), written(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.tsv"]


def test_written_removes_what_a_killed_run_left_but_no_part_of_another_file(tmp_path):
    leftover = tmp_path / ".part-4242-atlas.h5ad"
    of_others = [tmp_path / ".part-4242-my-atlas.h5ad", tmp_path / ".part-4242-other.h5ad"]
    for path in (leftover, *of_others):
        path.write_text("half")
    with written(tmp_path / "atlas.h5ad") as part:
        assert not leftover.exists()
        part.write_text("whole")
    assert all(path.exists() for path in of_others)


def test_written_takes_names_with_brackets_literally(tmp_path):
    path = tmp_path / "genes[1].tsv"
    (tmp_path / ".part-7-genes[1].tsv").write_text("half")
    with written(path) as part:
        part.write_text("whole")
    assert os.listdir(tmp_path) == ["genes[1].tsv"]


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_checksum_of_a_file_longer_than_a_block(tmp_path, algorithm):
    content = os.urandom((1 << 20) + 17)
    (tmp_path / "file").write_bytes(content)
    assert checksum(tmp_path / "file", algorithm) == hashlib.new(algorithm, content).hexdigest()


def test_checksum_of_the_standard_vector(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checksum(tmp_path / "abc") == expected


def test_digests_ignore_the_order_of_keys_and_nothing_else():
    assert canonical_json({"b": 1, "a": "µM"}) == '{"a": "µM", "b": 1}'
    assert digest_of({"b": 1, "a": [1, 2]}) == digest_of({"a": [1, 2], "b": 1})
    assert digest_of({"a": [1, 2]}) != digest_of({"a": [2, 1]})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


def test_text_and_json_round_trip(tmp_path):
    write_text("µM\n", tmp_path / "unit.txt")
    assert (tmp_path / "unit.txt").read_bytes() == "µM\n".encode()
    write_json({"b": [1.5, None], "a": "µ"}, tmp_path / "x.json")
    assert read_json(tmp_path / "x.json") == {"a": "µ", "b": [1.5, None]}
    assert (tmp_path / "x.json").read_text(encoding="utf-8").startswith('{\n  "a": "µ"')


def test_the_checksum_of_a_folder_is_that_of_names_and_contents(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "x").write_text("1")
        (tmp_path / name / "y").write_text("2")
    first = checksum(tmp_path / "a")
    assert first == checksum(tmp_path / "b") and len(first) == 64
    (tmp_path / "b" / "deep" / "x").write_text("3")
    assert checksum(tmp_path / "b") != first
    (tmp_path / "a" / "y").rename(tmp_path / "a" / "z")
    assert checksum(tmp_path / "a") != first
