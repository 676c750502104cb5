"""Safetensors that know their own checksum: the format has none."""

import hashlib
import json
from typing import Any

from keygenes.core.files import PathLike, written


def write_tensors(serialised: bytes, path: PathLike) -> None:
    """Write tensors, atomically, with a checksum of header and bytes in the header.

    Parameters
    ----------
    serialised : bytes
        Of ``safetensors.*.save``.
    path : path-like
    """
    header, body = _parts(serialised)
    sealed = {"sha256": _digest(header, body), **header.pop("__metadata__", {})}
    # Sorted here: safetensors itself writes metadata in an order that changes from run to run.
    text = json.dumps({"__metadata__": dict(sorted(sealed.items())), **header}).encode()
    text += b" " * (-len(text) % 8)
    with written(path) as part, open(part, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.write(body)


def check_tensors(path: PathLike) -> None:
    """Raise a `ValueError` where a file is not as `write_tensors` wrote it.

    A file of others carries no checksum, and passes.
    """
    with open(path, "rb") as file:
        header, body = _parts(file.read())
    expected = header.get("__metadata__", {}).pop("sha256", None)
    if expected and _digest(header, body) != expected:
        raise ValueError("its bytes are not those that were written")


def _parts(serialised: bytes) -> tuple[dict[str, Any], memoryview]:
    """Return the header, a dict, and the bytes of the tensors."""
    end = 8 + int.from_bytes(serialised[:8], "little")
    return json.loads(serialised[8:end]), memoryview(serialised)[end:]


def _digest(header: dict[str, Any], body: memoryview) -> str:
    header = {"__metadata__": {}, **header}
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    digest.update(body)
    return digest.hexdigest()
