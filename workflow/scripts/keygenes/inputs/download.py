"""Inputs fetched from where they lie: a local path, a mirror, the network.

A download is resumed where it broke off (HTTP Range), tried again on failures that pass, checked
against size and checksum, and renamed into place only when it is whole.
"""

import contextlib
import logging
import re
import shutil
import time
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import requests
import urllib3

from keygenes.core.errors import InputError, input_error
from keygenes.core.files import checksum, read_json, writable, write_json, written
from keygenes.core.places import located
from keygenes.core.progress import Progress

log = logging.getLogger("keygenes")

BLOCK = 1 << 20  # bytes
TIMEOUT = (15, 60)  # s, to connect and between two reads
LONGEST_PAUSE = 60.0  # s, whatever a server asks for
LFS_POINTER = b"version https://git-lfs"
PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses worth another attempt


def fetch(
    target,
    *,
    name,
    mirror_path=None,
    url=None,
    mirror=None,
    path=None,
    sha256=None,
    md5=None,
    size=None,
    attempts=4,
    pause_s=1.0,
):
    """Put an input file at `target`, from `path`, else the mirror, else `url`.

    Parameters
    ----------
    target : path-like
        Written only when whole and verified. Until then the bytes lie beside it as
        ``.<name of target>.part``, which survives a kill and is resumed.
    name : str
        What messages call the file, e.g. ``"dataset 'pbmc', file 'matrix'"``.
    mirror_path : str, optional
        Path of the file inside a mirror.
    url : str, optional
        http(s) or file.
    mirror : str, optional
        Folder, or http(s) or file URL; tried before `url`.
    path : path-like, optional
        A local file. If given, nothing else is tried.
    sha256, md5 : str, optional
        Hex digests; each is checked if given.
    size : int, optional
        Bytes.
    attempts : int
        Tries per source without progress.
    pause_s : float
        Pause before the second try; doubles each time.

    Returns
    -------
    str
        Where it came from.

    Raises
    ------
    InputError
        If the file is nowhere to be had, or is not the one that was meant.
    """
    target = Path(target)
    expected = {"sha256": sha256, "md5": md5, "size": size}
    if path is not None:
        local = Path(located(path)).expanduser()
        if not local.is_file():
            raise input_error(
                f"{name}, key 'path'",
                found=f"no file at {local}",
                expected="an existing file",
                remedy="correct the path, or remove it to use the mirror or the url",
            )
        return _copy(local, target, name, expected)

    sources = []
    if mirror and mirror_path:
        sources.append(_in_mirror(str(mirror), mirror_path))
    if url:
        sources.append(url)
    tried = []
    for source in sources:
        local = _local_path(source)
        if local is not None:
            if local.is_file():
                return _copy(local, target, name, expected)
            tried.append(f"{source} (no such file)")
            continue
        failure = _download(source, target, name, expected, attempts, pause_s)
        if failure is None:
            return source
        tried.append(f"{source} ({failure})")
    raise _nowhere(name, tried, mirror, mirror_path, url)


def verify(path, *, name, sha256=None, md5=None, size=None):
    """Raise `InputError` unless a file has the size and the checksums given.

    Parameters
    ----------
    path : path-like
    name : str
        What the message calls the file.
    sha256, md5 : str, optional
    size : int, optional
        Bytes.
    """
    path = Path(path)
    with open(path, "rb") as handle:
        start = handle.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise input_error(
            name,
            found="a git-LFS pointer instead of the file it stands for",
            expected="the file itself",
            remedy="fetch it with 'git lfs pull', or give another mirror",
        )
    remedy = "delete the copy at the source and get it again, or correct the registry entry"
    found = path.stat().st_size
    if size is not None and found != size:
        raise input_error(name, found=f"{found:,} bytes", expected=f"{size:,} bytes", remedy=remedy)
    for algorithm, digest in (("sha256", sha256), ("md5", md5)):
        if digest and (found := checksum(path, algorithm)) != digest.lower():
            raise input_error(
                name,
                found=f"{algorithm} {found}",
                expected=f"{algorithm} {digest.lower()}",
                remedy=remedy,
            )


def _in_mirror(mirror, mirror_path):
    """Return the address of a file in a mirror (a folder or a URL)."""
    if urlsplit(mirror).scheme in ("http", "https", "file"):
        return mirror.rstrip("/") + "/" + quote(mirror_path)
    return str(Path(mirror).expanduser() / mirror_path)


def _local_path(source):
    """Return the path behind a folder or file URL, None for http(s)."""
    parts = urlsplit(source)
    if parts.scheme in ("http", "https"):
        return None
    return Path(unquote(parts.path)) if parts.scheme == "file" else Path(source)


def _nowhere(name, tried, mirror, mirror_path, url):
    """Return the error for a file that no source has: one sentence with the way out."""
    place = mirror_path or "its mirror path"
    if mirror:
        remedy = f"put it at {place} below the mirror {mirror}"
    else:
        remedy = f"put it at {place} in a folder of yours and set the config key 'mirror' to it"
    if url:
        remedy = f"check the network, or fetch {url} on a machine that has one and {remedy}"
        found = "no copy of it: tried " + "; ".join(tried)
        expected = "the file in the mirror or on the network"
    else:
        found = "no url, as it is not public"
        found += "; tried " + "; ".join(tried) if tried else ", and no mirror"
        expected = "a file supplied by you"
        remedy += ", or give its 'path' in the registry entry"
    return input_error(name, found=found, expected=expected, remedy=remedy)


def _copy(source, target, name, expected):
    log.info("%s: copying %s", name, source)
    with written(target) as part:
        shutil.copyfile(source, part)
        verify(part, name=f"{name} ({source})", **expected)
    return str(source)


def _download(url, target, name, expected, attempts, pause_s):
    """Download a URL to `target`; return None, or why it could not be had.

    Raises
    ------
    InputError
        If what came is not the file that was meant.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    note = target.with_name(f".{target.name}.part.json")  # where the part came from
    known = bool(expected["sha256"] or expected["md5"])
    failures, failure, restarted = 0, None, False
    while failures < attempts:
        before = part.stat().st_size if part.exists() else 0
        try:
            with writable(target):
                resumed = _stream(url, part, note, name, expected["size"], trust_part=known)
        except _passing_errors() as error:
            failure = _reason(error)
        except requests.HTTPError as error:
            failure = _reason(error)
            if error.response.status_code not in PASSING:
                return failure
            pause = _retry_after(error.response)
            if pause:
                time.sleep(min(pause, LONGEST_PAUSE))
        except requests.RequestException as error:
            return _reason(error)  # not an address, too many redirects
        else:
            try:
                verify(part, name=f"{name} ({url})", **expected)
            except InputError:
                _discard(part, note)
                if resumed and not restarted:
                    # The part may have been of another version: once more from the start.
                    restarted = True
                    log.info("%s: the resumed file is not the expected one, starting over", name)
                    continue
                raise
            part.replace(target)
            _discard(note)
            return None
        after = part.stat().st_size if part.exists() else 0
        failures = 1 if after - before > BLOCK else failures + 1
        if failures < attempts:
            pause = min(pause_s * 2 ** (failures - 1), LONGEST_PAUSE)
            log.info("%s: %s; next try in %g s", name, failure, pause)
            time.sleep(pause)
    return failure


def _passing_errors():
    """Return the errors of a connection that another attempt may not meet."""
    return (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
        urllib3.exceptions.HTTPError,
        ConnectionError,
        TimeoutError,
        EOFError,
    )


def _reason(error):
    """Return an error in a few words: the innermost cause, without object addresses."""
    if isinstance(error, requests.HTTPError):
        return f"HTTP status {error.response.status_code}"
    text = str(error)
    for pattern, words in (
        (r"resolve|getaddrinfo|Name or service", "the host is not known: no network?"),
        (r"refused", "connection refused"),
        (r"timed out|Timeout", "timed out"),
        (r"CERTIFICATE|SSL", "the TLS certificate is not trusted"),
        (r"ended after|IncompleteRead|Connection broken", "the connection broke off"),
    ):
        if re.search(pattern, text, re.IGNORECASE):
            return words
    return type(error).__name__


def _retry_after(response):
    """Return the seconds a server asks to wait, 0 where it does not say."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0


def _discard(*paths):
    for path in paths:
        path.unlink(missing_ok=True)


def _stream(url, part, note, name, size, *, trust_part):
    """Append what is missing of `url` to `part`; return whether earlier bytes were kept.

    Parameters
    ----------
    size : int or None
        Expected bytes of the whole file.
    trust_part : bool
        Whether a checksum will tell if the part was of this file; if not, it is resumed only
        where the server can vouch for it (ETag or date of the first answer).
    """
    validator = None
    if note.exists():
        with contextlib.suppress(ValueError, AttributeError):
            written_for = read_json(note)
            validator = written_for.get("validator") if written_for.get("url") == url else None
    have = part.stat().st_size if part.exists() else 0
    if have and not (trust_part or validator):
        _discard(part)
        have = 0
    # Bytes as they are stored: a .gz must not be unpacked on the way.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:
            whole = re.fullmatch(r"bytes \*/(\d+)", answer.headers.get("Content-Range", ""))
            if whole and int(whole.group(1)) == have:
                return True
            _discard(part, note)
            raise EOFError("the part was longer than the file")
        answer.raise_for_status()
        total = None
        if answer.status_code == 206:
            span = re.match(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
            if not span or int(span.group(1)) != have:
                _discard(part, note)
                raise EOFError("the server sent another range than asked for")
            total = None if span.group(2) == "*" else int(span.group(2))
        else:
            have = 0  # a server without Range sends all of it
            length = answer.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else None
        if size is not None and total is not None and total != size:
            _discard(part, note)
            raise input_error(
                f"{name} ({url})",
                found=f"a file of {total:,} bytes",
                expected=f"{size:,} bytes",
                remedy="check that the address still holds this version (a login page is an "
                "answer, too), or correct the registry entry",
            )
        etag = answer.headers.get("ETag", "")
        strong = etag if etag and not etag.startswith("W/") else None
        write_json({"url": url, "validator": strong or answer.headers.get("Last-Modified")}, note)
        got = _append(answer, part, have, total, name)
    if total is not None and got != total:
        if got > total:
            _discard(part, note)
        raise EOFError(f"the connection ended after {got} of {total} bytes")
    return have > 0


def _append(answer, part, have, total, name):
    """Write the body of an answer behind the first `have` bytes of `part`; return its length."""
    whole = total / 1e6 if total else None
    progress = Progress(name, whole, "MB", done=have / 1e6)
    got = have
    with open(part, "ab" if have else "wb") as handle:
        for block in answer.raw.stream(1 << 16, decode_content=False):
            handle.write(block)
            got += len(block)
            progress.step(len(block) / 1e6)
    progress.end()
    return got
