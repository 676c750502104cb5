"""Whether values are raw counts, how far off they are, and counts rounded to whole numbers."""

import logging

import numpy as np

from keygenes.core.errors import input_error

log = logging.getLogger("keygenes")

LARGEST_COUNT = 1 << 24  # float32 holds every whole number up to here
HAIR = 0.05  # what lies closer to a whole number was one before it was scaled or stored


def are_counts(data):
    """Return whether all values are whole numbers that a cell can have."""
    if not np.issubdtype(data.dtype, np.number) or np.iscomplexobj(data):
        return False
    return bool(((data == np.rint(data)) & (data >= 0) & (data <= LARGEST_COUNT)).all())


def far_from_counts(data):
    """Return whether values are no counts, nor within a hair of them."""
    if are_counts(data):
        return False
    if not np.issubdtype(data.dtype, np.number) or np.iscomplexobj(data):
        return True
    with np.errstate(invalid="ignore"):
        return not (np.abs(data - np.rint(data)) <= HAIR).all() or bool((data < -HAIR).any())


def require_counts(counts, path):
    """Raise an `InputError` unless a sparse matrix holds raw counts."""
    data = counts.data
    remedy = "give raw counts, or name the matrix that holds them under 'layer:' in the registry "
    remedy += "entry"
    if are_counts(data):
        return
    if not np.issubdtype(data.dtype, np.number) or np.iscomplexobj(data):
        found = f"values of type {data.dtype}"
    elif (bad := ~np.isfinite(data)).any() or (bad := data < -HAIR).any():
        found = f"normalised values such as {float(data[bad][0]):g}"
    elif (data > LARGEST_COUNT).any():
        found = f"a count of {float(data.max()):g}"
    else:
        off = np.abs(data - np.rint(data))
        worst, share = int(off.argmax()), np.count_nonzero(off) / len(off)
        kind = "values near whole numbers" if off[worst] <= HAIR else "normalised values"
        found = (
            f"{kind} such as {float(data[worst]):.9g} ({share:.2%} of the values above 0 are no "
        )
        found += f"whole numbers, and up to {float(off[worst]):.2g} off)"
        remedy += (
            "; if they are counts that were corrected or estimated, set 'counts: {round: true}'"
        )
    raise input_error(
        str(path),
        found=found,
        expected=f"raw counts (whole numbers from 0 to {LARGEST_COUNT:,})",
        remedy=remedy,
    )


def rounded(counts, path):
    """Return a sparse matrix of numbers rounded to whole ones; the log says what that changed."""
    data = counts.data
    if not np.issubdtype(data.dtype, np.number) or np.iscomplexobj(data) or are_counts(data):
        return counts
    whole = np.rint(data)
    off = np.abs(data - whole)
    log.warning(
        "%s: %s of %s values rounded to whole numbers, by up to %.3g; the total goes from %.6g to "
        "%.6g",
        path,
        f"{np.count_nonzero(off):,}",
        f"{len(off):,}",
        off.max(),
        data.sum(dtype=np.float64),
        whole.sum(dtype=np.float64),
    )
    counts = counts.copy()
    counts.data = whole + 0.0  # no negative zeros
    return counts
