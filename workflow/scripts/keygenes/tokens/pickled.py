"""Pickled dictionaries of text and numbers, read without the machine that runs pickles.

`pickle` calls whatever a file names, and believes every size in it: a few bytes can fill memory.
Here the instructions are only looked at, and those that a dictionary is made of are followed;
anything else ends the reading. Nothing is called, and what is built is no larger than the file.
"""

import io
import pickletools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keygenes.core.errors import input_error
from keygenes.core.shown import LONGEST_ID

LFS_HEADER = b"version https://git-lfs"
MAX_BYTES = 1 << 28  # of a file; Geneformer's largest has 4 MB
TRUNCATED = re.compile(r"exhausted|not enough data|only \d+ remain|no newline found")
# NumPy 2 moved `numpy.core`, so that files written before and after it name different modules.
DTYPE = {"numpy dtype"}
SCALAR = {"numpy.core.multiarray scalar", "numpy._core.multiarray scalar"}
NUMBERS = {"b1", *(f"{kind}{size}" for kind in "iuf" for size in (1, 2, 4, 8))} - {"f1"}

VALUES = {  # instructions whose argument is the value
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
PUT, GET = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
MARK = object()


class _RefusedError(Exception):
    """A pickle that is more than a dictionary of text and numbers; says what it is."""


@dataclass
class _Name:
    text: str  # "module name"


@dataclass
class _NumberType:
    code: str  # as NumPy writes it: i2, f8, U15
    order: str = "<"


def _plain(value):
    """Return a value if it is text or a number of a sensible size."""
    if isinstance(value, str) and len(value) > LONGEST_ID:
        raise _RefusedError(f"a pickle with a text of {len(value):,} characters")
    if type(value) is int and not -(2**63) <= value < 2**64:
        raise _RefusedError("a pickle with a whole number of more than 64 bits")
    if isinstance(value, str | int | float | np.number | np.bool_):
        return value
    raise _RefusedError(f"a pickle with a {type(value).__name__} where text or a number should be")


def _number(kind, raw):
    """Return the NumPy scalar of a type and its bytes."""
    if not (isinstance(kind, _NumberType) and isinstance(raw, bytes)):
        raise _RefusedError("a pickle with a NumPy object that is no number")
    if re.fullmatch(r"U\d{1,4}", kind.code):
        return raw.decode("utf-32-be" if kind.order == ">" else "utf-32-le").rstrip("\0")
    return np.frombuffer(raw, kind.order + kind.code, count=1)[0]


def _called(name, arguments):
    """Return what one of the two allowed names stands for with its arguments."""
    if isinstance(name, _Name) and name.text in DTYPE:
        code = arguments[0]
        if isinstance(code, str) and (code in NUMBERS or re.fullmatch(r"U\d{1,4}", code)):
            return _NumberType(code)
        raise _RefusedError("a pickle with a NumPy type that is no number")
    if isinstance(name, _Name) and name.text in SCALAR:
        return _number(*arguments)
    raise _RefusedError("a pickle that calls something unnamed")


def _from_mark(stack):
    """Take what lies above the last mark off the stack, and the mark."""
    values = []
    while (value := stack.pop()) is not MARK:
        values.append(value)
    return values[::-1]


def _fill(target, pairs):
    if not isinstance(target, dict):
        raise _RefusedError("a pickle with a collection in it")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        target[_plain(key)] = _plain(value)


def _name(text):
    if text not in DTYPE | SCALAR:
        raise _RefusedError(f"a pickle that calls '{text.replace(' ', '.')}'")
    return _Name(text)


def _tuple(values):
    if any(isinstance(value, tuple | dict) for value in values):
        raise _RefusedError("a pickle with a collection in it")
    return tuple(values)


def _content(data):
    """Return what the pickle in some bytes builds: a dictionary, or a `_RefusedError`."""
    stack, memo = [], {}
    for instruction, argument, _ in pickletools.genops(io.BytesIO(data)):
        name = instruction.name
        if name in VALUES:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in PUT:
            memo[argument] = stack[-1]
        elif name in GET:
            stack.append(memo[argument])
        elif name == "MARK":
            stack.append(MARK)
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "DICT":
            pairs = _from_mark(stack)
            stack.append({})
            _fill(stack[-1], pairs)
        elif name == "SETITEMS":
            pairs = _from_mark(stack)
            _fill(stack[-1], pairs)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _fill(stack[-1], [key, value])
        elif name in ("GLOBAL", "INST"):
            stack.append(_name(argument))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_name(f"{module} {attribute}"))
        elif name == "TUPLE":
            stack.append(_tuple(_from_mark(stack)))
        elif name in TUPLES:
            values = [stack.pop() for _ in range(TUPLES[name])]
            stack.append(_tuple(values[::-1]))
        elif name == "REDUCE":
            arguments, called = stack.pop(), stack.pop()
            stack.append(_called(called, arguments))
        elif name == "BUILD":
            state = stack.pop()
            stack[-1].order = {">": ">"}.get(state[1], "<")  # all else of a number's type is known
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise _RefusedError(f"a pickle with more than text and numbers in it ({name})")
    (content,) = stack
    if not isinstance(content, dict):
        raise _RefusedError(f"a pickled {type(content).__name__}")
    return content


def read_pickled_dict(path):
    """Return the dictionary in a pickle file, without running code that the file names.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict
        From text or numbers to text or numbers, of Python or NumPy.

    Raises
    ------
    InputError
        If the file is a git-LFS pointer, is truncated, is no pickle, names anything beyond
        NumPy's numbers, or holds something other than a dictionary of text and numbers.
    """
    expected = "a pickled dictionary of strings and numbers"
    remedy = "download the file again from the address in the model registry"
    size = Path(path).stat().st_size
    if size > MAX_BYTES:
        raise input_error(
            path,
            found=f"{size:,} bytes",
            expected=f"{expected}, at most {MAX_BYTES:,} bytes",
            remedy=remedy,
        )
    data = Path(path).read_bytes()
    if data.startswith(LFS_HEADER):
        raise input_error(
            path,
            found="a git-LFS pointer instead of the file it stands for",
            expected=expected,
            remedy="run 'git lfs pull' in the folder it was copied from, or download the file",
        )
    try:
        return _content(data)
    except _RefusedError as error:
        found, remedy = str(error), f"do not use the file unless you trust it; {remedy}"
    except Exception as error:  # a damaged pickle can raise nearly anything
        truncated = TRUNCATED.search(str(error))
        found = "a truncated pickle" if truncated else "something that is not a whole pickle"
    raise input_error(path, found=found, expected=expected, remedy=remedy)
