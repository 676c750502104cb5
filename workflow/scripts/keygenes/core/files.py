"""Files that are either whole or absent, and their checksums."""

import contextlib
import hashlib
import json
import os
import re
from pathlib import Path


@contextlib.contextmanager
def written(path):
    """Yield a temporary path beside `path`; rename it into place when the block succeeds.

    The temporary name keeps the suffix (writers look at it) and starts with a dot. On any
    error it is removed, so that no half-written file ever stands under the final name.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ours = re.compile(r"\.part-\d+-" + re.escape(path.name))
    for leftover in [p for p in path.parent.iterdir() if ours.fullmatch(p.name)]:
        leftover.unlink(missing_ok=True)  # of a killed run: one job writes a file at a time
    part = path.with_name(f".part-{os.getpid()}-{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def checksum(path, algorithm="sha256"):
    """Return the hex digest of a file, read in blocks of 1 MiB."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_text(text, path):
    """Write `text` to `path` in UTF-8, atomically."""
    with written(path) as part:
        part.write_text(text, encoding="utf-8")


def canonical_json(value):
    """Return `value` as JSON with sorted keys: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def digest_of(value):
    """Return the sha256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def write_json(value, path):
    """Write `value` to `path` as indented JSON with sorted keys, atomically."""
    write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", path)


def read_json(path):
    """Return the content of a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
