"""Files that are either whole or absent, and their checksums."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keygenes.core.errors import InputError, input_error

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
PathLike = str | os.PathLike[str]
NO_ROOM = 1 << 20  # bytes free, below which a failed write is put down to the disk


@contextlib.contextmanager
def written(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place when the block succeeds.

    The temporary name keeps the suffix (writers look at it) and starts with a dot. On any
    error it is removed, so that no half-written file ever stands under the final name.

    Raises
    ------
    InputError
        If the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    part = path.with_name(f".part-{os.getpid()}-{path.name}")
    try:
        with writable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(path)
            yield part
            os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove what a killed run left of a file: one job writes it at a time."""
    ours = re.compile(r"\.part-\d+-" + re.escape(path.name))
    for leftover in [p for p in path.parent.iterdir() if ours.fullmatch(p.name)]:
        leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def writable(path: PathLike) -> Iterator[None]:
    """Let a block that fails as the disk is full, or `path` not to be written, say so.

    Raises
    ------
    InputError
        In place of such an error. Writers wrap it in errors of their own, or drop its number, so
        that the disk is asked as well.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        folder = next(p for p in Path(path).absolute().parents if p.is_dir())
        free = shutil.disk_usage(folder).free
        numbers = {getattr(e, "errno", None) for e in _chain(error)}
        if free < NO_ROOM or numbers & set(FULL) or "No space left" in str(error):
            raise no_room(path, free) from error
        if numbers & set(FORBIDDEN) or not os.access(folder, os.W_OK):
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise input_error(
                str(path),
                found=f"a place that cannot be written ({reason})",
                expected="a folder that you may write to, on a disk that is not read-only",
                remedy="change its permissions, or run in another folder",
            ) from error
        raise


def check_room(folder: PathLike) -> None:
    """Raise an `InputError` where the disk of a folder is full: nothing could even be planned."""
    free = shutil.disk_usage(folder).free
    if free < NO_ROOM:
        raise no_room(Path(folder).absolute(), free)


def no_room(path: PathLike, free: int) -> InputError:
    """Return the `InputError` for a disk with `free` bytes left that `path` was written to."""
    return input_error(
        str(path),
        found=f"no space left to write ({free / 1e9:.3f} GB free)",
        expected="room on the disk",
        remedy="free some, or move the study to a larger disk, then run the same command",
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextlib.contextmanager
def intact(
    path: PathLike,
    expected: str = "the file that an earlier step wrote",
    remedy: str = "delete it and run again",
) -> Iterator[None]:
    """Let a block that cannot read `path` say which file is damaged, and what to do.

    Raises
    ------
    InputError
        In place of any error: readers raise many kinds for a file that is cut, altered or empty.
    """
    try:
        yield
    except (InputError, FileNotFoundError, MemoryError):
        raise
    except Exception as error:
        empty = Path(path).is_file() and not Path(path).stat().st_size
        reason = "it is empty" if empty else " ".join(str(error).split()) or type(error).__name__
        raise input_error(
            str(path),
            found=f"a file that does not open as {Path(path).suffix[1:]} ({reason})",
            expected=expected,
            remedy=remedy,
        ) from error


def files_in(folder: PathLike) -> list[Path]:
    """Return the paths of all files in a folder and its folders, in order."""
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


def checksum(path: PathLike, algorithm: str = "sha256") -> str:
    """Return the hex digest of a file, read in blocks of 1 MiB; of a folder, that of its files'."""
    digest = hashlib.new(algorithm)
    if Path(path).is_dir():
        for file in files_in(path):
            digest.update(f"{checksum(file, algorithm)}  {file.relative_to(path)}\n".encode())
        return digest.hexdigest()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_text(text: str, path: PathLike) -> None:
    """Write `text` to `path` in UTF-8, atomically."""
    with written(path) as part:
        part.write_text(text, encoding="utf-8")


def canonical_json(value: Any) -> str:
    """Return `value` as JSON with sorted keys: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def digest_of(value: Any) -> str:
    """Return the sha256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def write_json(value: Any, path: PathLike) -> None:
    """Write `value` to `path` as indented JSON with sorted keys, atomically."""
    write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", path)


def read_json(path: PathLike) -> Any:
    """Return the content of a JSON file that the pipeline wrote."""
    with intact(path):
        return json.loads(Path(path).read_text(encoding="utf-8"))
