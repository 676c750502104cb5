"""Whether two finished studies hold the same values: tables, weights, figures' numbers.

    python tests/compare_runs.py OLD NEW        # folders of results, such as results/demo

Tables (parquet) are equal if columns, types and values are; weights if every tensor is; h5ad and
JSON if all is but stamps; other files if their bytes are. Stamps (versions, digests, commits,
times) and the page, which holds them, are told apart and do not count. The exit code is 1 where
values differ or a table is missing.
"""

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file

# What says when and with which code a study ran, by folder, name or key.
TIMED = ("benchmarks", "logs", "report", "token_budgets")
STAMPED = {"provenance.json", "ro-crate-metadata.json"}
STAMPS = {"version", "versions", "commit", "digest", "sha256", "code", "scripts", "software"}
STAMPS |= {"config_sha256"}


def without_stamps(value):
    """Return a JSON value without the keys of stamps."""
    if isinstance(value, dict):
        return {k: without_stamps(v) for k, v in value.items() if k not in STAMPS}
    return [without_stamps(v) for v in value] if isinstance(value, list) else value


def same_table(old, new):
    """Return whether two files hold tables of equal columns, types and values."""
    a, b = pq.read_table(old), pq.read_table(new)
    if a.schema.remove_metadata() != b.schema.remove_metadata():
        return False
    return all(same_column(x, y) for x, y in zip(a.columns, b.columns, strict=True))


def same_column(old, new):
    """Return whether two columns are equal; what is missing in both is."""
    if old.equals(new) or not pa.types.is_floating(old.type):
        return old.equals(new)
    return old.to_pandas().equals(new.to_pandas())  # NaN is NaN


def same_tensors(old, new):
    """Return whether two files hold the same tensors."""
    a, b = load_file(old), load_file(new)
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=True) for k in a)


def same_h5ad(old, new):
    """Return whether two files hold the same arrays at the same places."""
    found = []
    for path in (old, new):
        arrays = {}
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item, arrays=arrays: (
                    arrays.update({name: np.asarray(item[()])})
                    if isinstance(item, h5py.Dataset)
                    else None
                )
            )
        found.append({k: v for k, v in arrays.items() if k.split("/")[-1] not in STAMPS})
    a, b = found
    return a.keys() == b.keys() and all(
        np.array_equal(a[k], b[k], equal_nan=a[k].dtype.kind == "f") for k in a
    )


def same_values(old, new):
    """Return whether two files hold the same values."""
    if old.read_bytes() == new.read_bytes():
        return True
    if old.suffix == ".parquet":
        return same_table(old, new)
    if old.suffix == ".safetensors":
        return same_tensors(old, new)
    if old.suffix == ".h5ad":
        return same_h5ad(old, new)
    if old.suffix == ".json":
        a, b = (without_stamps(json.loads(path.read_text(encoding="utf-8"))) for path in (old, new))
        return a == b
    return False


def files_of(folder):
    """Return {path within a folder: file} of what counts and of what is stamped."""
    files = {p.relative_to(folder): p for p in sorted(folder.rglob("*")) if p.is_file()}
    timed = {name for name in files if name.parts[0] in TIMED or name.name in STAMPED}
    return {n: p for n, p in files.items() if n not in timed}, {n: files[n] for n in timed}


def compared(old, new):
    """Return {verdict: names of files} of two folders."""
    (a, stamped), (b, others) = files_of(old), files_of(new)
    both = [name for name in a if name in b]
    equal = {name for name in both if same_values(a[name], b[name])}
    return {
        "equal": sorted(equal),
        "different": sorted(set(both) - equal),
        "only in the first": sorted(set(a) - set(b)),
        "only in the second": sorted(set(b) - set(a)),
        "stamped or timed, not compared": sorted(set(stamped) | set(others)),
    }


def main(old, new):
    """Print what is equal and what is not; return the exit code."""
    found = compared(Path(old), Path(new))
    for verdict, names in found.items():
        print(f"{len(names)} files {verdict}")
        if verdict not in ("equal", "stamped or timed, not compared"):
            print("".join(f"  {name}\n" for name in names), end="")
    return int(bool(found["different"] or found["only in the first"]))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    raise SystemExit(main(*sys.argv[1:]))
