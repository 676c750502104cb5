"""Pickles that are no plain dictionary: refused in a sentence, at once, and nothing is run."""

import builtins
import copyreg
import os
import pickle
import time
import tracemalloc
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from messages import assert_sentence

from keygenes.core.errors import InputError
from keygenes.tokens.pickled import read_pickled_dict

NUMBER_TYPES = (
    np.int8,
    np.uint16,
    np.int16,
    np.int64,
    np.float16,
    np.float32,
    np.float64,
    np.bool_,
)


def written(path, data):
    path.write_bytes(data)
    return path


def sentence_of(path):
    started = time.monotonic()
    tracemalloc.start()
    with pytest.raises(InputError) as caught:
        read_pickled_dict(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_sentence(caught, str(path), "a pickled dictionary of strings and numbers")
    assert peak < 10e6 + 20 * path.stat().st_size
    assert time.monotonic() - started < 10
    return str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_read(tmp_path, protocol):
    content = {"a": 1, "b": 2.5, "c": "x", "d": -(2**40), "ä": "a", 7: True, "last": 2**63}
    path = written(tmp_path / "d.pkl", pickle.dumps(content, protocol=protocol))
    assert read_pickled_dict(path) == content


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_numpy_values_are_read_with_their_types(tmp_path, protocol):
    content = {kind.__name__: kind(1.5) for kind in NUMBER_TYPES}
    content |= {"text": np.str_("MDM2"), "other order": np.array([300], ">i2")[0]}
    content["the same"] = content["float64"]
    path = written(tmp_path / "d.pkl", pickle.dumps(content, protocol=protocol))
    found = read_pickled_dict(path)
    assert found == content
    assert [type(found[kind.__name__]) for kind in NUMBER_TYPES] == list(NUMBER_TYPES)


def test_numpy_module_names_of_before_version_2_are_read(tmp_path):
    now = pickle.dumps({"a": np.float64(0.1)}, protocol=3)
    assert b"numpy._core.multiarray" in now
    old = now.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert read_pickled_dict(written(tmp_path / "old.pkl", old)) == {"a": 0.1}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("as_key", [False, True])
def test_a_pickle_that_calls_something_is_refused_by_name_and_not_run(tmp_path, protocol, as_key):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    content = {Trap(): 1} if as_key else {"a": Trap()}
    path = written(tmp_path / "trap.pkl", pickle.dumps(content, protocol=protocol))
    assert "'posix.mkdir'" in sentence_of(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name", ["builtins eval", "builtins getattr", "builtins dict", "numpy load", "numpy.core x"]
)
def test_allowed_modules_do_not_open_their_other_names(tmp_path, name):
    module, function = name.split()
    path = written(tmp_path / "trap.pkl", f"c{module}\n{function}\n.".encode())
    assert f"'{module}.{function}'" in sentence_of(path)


RUN = {  # hand-written: each would call print, or fetch it
    "GLOBAL and REDUCE": b"cbuiltins\nprint\n(S'ran'\ntR.",
    "INST": b"(S'ran'\nibuiltins\nprint\n.",
    "OBJ": b"(cbuiltins\nprint\nS'ran'\no.",
    "NEWOBJ": b"cbuiltins\nprint\n(S'ran'\nt\x81.",
    "NEWOBJ_EX": b"\x80\x04cbuiltins\nprint\n(S'ran'\nt}\x92.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x08builtins\x8c\x05print\x93\x8c\x03ran\x85R.",
    "a dotted STACK_GLOBAL": b"\x80\x04\x8c\x05numpy\x8c\x0ddtype.__class__\x93\x8c\x01x\x85R.",
    "EXT1": b"\x80\x02\x82\xf0.",
    "EXT2": b"\x80\x02\x83\xf0\x00.",
    "EXT4": b"\x80\x02\x84\xf0\x00\x00\x00.",
    "persistent id": b"Psecret\n.",
    "binary persistent id": b"S'secret'\nQ.",
    "BUILD on a dictionary": b"}(S'__class__'\nS'x'\nd}b.",
    "BUILD of a number type, as a tuple of another": b"cnumpy\ndtype\n(S'f8'\ntR(cos\nsystem\ntb.",
    "buffers": b"\x80\x05\x97.",
    "a list": pickle.dumps({"a": [1]}),
    "a set": pickle.dumps({"a": {1}}),
    "a dictionary in it": pickle.dumps({"a": {"b": 1}}),
    "bytes": pickle.dumps({"a": b"x"}, protocol=4),
    "nothing": pickle.dumps({"a": None}),
    "an ordered dictionary": pickle.dumps(OrderedDict(a=1)),
    "an array": pickle.dumps({"a": np.zeros(3)}),
    "an object of NumPy": b"cnumpy._core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O'\ntRS'x'\ntR.",
    "a void of NumPy": b"cnumpy._core.multiarray\nscalar\n(cnumpy\ndtype\n(S'V8'\ntRS'x'\ntR.",
    "a record of NumPy": pickle.dumps({"a": np.zeros(1, "i4,O")[0]}, protocol=4),
    "no dictionary": pickle.dumps(7),
    "two things": b"}}.",
    "a mark alone": b"(.",
    "an empty stack": b".",
    "an unknown memo": b"h\x07.",
    "pairs that do not match": b"}(S'a'\nu.",
    "a key that is a tuple of itself": b"}(S'a'\np0\ng0\n\x86p1\ng1\n\x86I1\nu.",
}


@pytest.mark.parametrize("case", RUN)
def test_no_instruction_runs_or_builds_anything_else(tmp_path, case, monkeypatch, capsys):
    copyreg.add_extension("builtins", "print", 0xF0)
    try:
        sentence_of(written(tmp_path / "d.pkl", RUN[case]))
    finally:
        copyreg.remove_extension("builtins", "print", 0xF0)
    assert capsys.readouterr().out == ""
    assert builtins.print is print


def doubled(n):
    """Return a pickle of 2**n references to one text, in n nested tuples, as a key."""
    pairs = b"".join(b"h%ch%c\x86q%c0" % (i, i, i + 1) for i in range(n))
    return b"\x80\x02}X\x01\x00\x00\x00aq\x000" + pairs + b"h%cK\x01s." % n


HUGE = {
    "bytes of 4 GB": b"\x80\x03}X\x01\x00\x00\x00aB\xff\xff\xff\xff.",
    "bytes of an exabyte": b"\x80\x04\x8e" + (2**60).to_bytes(8, "little") + b".",
    "a byte array of an exabyte": b"\x80\x05\x96" + (2**60).to_bytes(8, "little") + b".",
    "text of an exabyte": b"\x80\x04\x8d" + (2**60).to_bytes(8, "little") + b".",
    "a frame of an exabyte": b"\x80\x04\x95" + (2**60).to_bytes(8, "little") + b"[.",
    "a number of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n.",
    "a number of 8,000 bits": pickle.dumps({"a": 1 << 8000}),
    "a million references in a key": doubled(20),
    "2**60 references in a key": doubled(60),
    "a name of a million characters": pickle.dumps({"a" * 1_000_000: 1}),
    "a thousand nested tuples": b"\x80\x02(" + b"t(" * 1000 + b"t.",
    "ten thousand nested lists": b"]" * 10_000 + b"a" * 9_999 + b".",
    "a NumPy text of 4 GB": (
        b"cnumpy._core.multiarray\nscalar\n(cnumpy\ndtype\n(S'U1000000000'\ntRS'x'\ntR."
    ),
}


@pytest.mark.parametrize("case", HUGE)
def test_a_few_bytes_do_not_fill_the_memory(tmp_path, case):
    sentence_of(written(tmp_path / "d.pkl", HUGE[case]))


@pytest.mark.parametrize("far_out", [b"r\xff\xff\xff\x7f", b"p999999999999\n"])
def test_a_memo_far_out_is_only_a_number(tmp_path, far_out):
    # `pickle` itself makes room for all that could come before it: 32 GB
    data = b"\x80\x02}" + far_out + b"X\x01\x00\x00\x00aK\x01s."
    tracemalloc.start()
    assert read_pickled_dict(written(tmp_path / "d.pkl", data)) == {"a": 1}
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_a_file_larger_than_any_dictionary_is_not_read(tmp_path):
    with open(tmp_path / "d.pkl", "wb") as handle:
        handle.truncate(10**10)  # a hole: it takes no space
    assert "found 10,000,000,000 bytes" in sentence_of(tmp_path / "d.pkl")


def test_a_git_lfs_pointer_has_its_own_sentence(tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 788424\n"
    text = sentence_of(written(tmp_path / "lfs.pkl", pointer))
    assert "git lfs pull" in text


def test_truncated_empty_and_foreign_files_are_told_apart_from_pickles(tmp_path):
    whole = pickle.dumps({f"ENSG{i}": i for i in range(500)})
    path = tmp_path / "t.pkl"

    def found(content):
        return sentence_of(written(path, content)).split(": found ")[1]

    cut = {found(whole[:stop]) for stop in (0, 1, 10, len(whole) // 2, len(whole) - 1)}
    assert len(cut) == 1 and "truncated" in cut.pop()
    assert "truncated" not in found(b"<html>sign in</html>")
    assert "(EMPTY_LIST)" in sentence_of(written(path, pickle.dumps([1, 2])))


PLAIN = pickle.dumps({"a": 1, "b": np.float64(0.5), "c": "x", "d": np.int16(3)}, protocol=4)


@pytest.mark.slow
@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, len(PLAIN) - 1), st.integers(0, 255)), max_size=4),
    st.integers(0, len(PLAIN)),
)
def test_changed_bytes_are_a_plain_dictionary_still_or_a_sentence(tmp_path_factory, changes, stop):
    data = bytearray(PLAIN)
    for at, value in changes:
        data[at] = value
    path = written(tmp_path_factory.getbasetemp() / "changed.pkl", bytes(data[:stop]))
    try:
        content = read_pickled_dict(path)
    except InputError as error:
        assert_sentence(error, str(path))
    else:
        plain = (str, int, float, np.number, np.bool_)
        assert all(isinstance(part, plain) for pair in content.items() for part in pair)


@pytest.mark.slow
@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_a_dictionary(tmp_path_factory, data):
    path = written(tmp_path_factory.getbasetemp() / "any.pkl", data + b".")
    try:
        assert isinstance(read_pickled_dict(path), dict)
    except InputError as error:
        assert_sentence(error, str(path))
