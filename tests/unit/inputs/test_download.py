"""Fetching against a server that breaks off, refuses ranges, changes its mind or is not there."""

import contextlib
import hashlib
import http.server
import logging
import threading
import time

import pytest
from messages import assert_sentence

from keygenes.core import progress
from keygenes.core.errors import InputError
from keygenes.inputs import download
from keygenes.inputs.download import fetch

BODY = bytes(range(256)) * 2000  # 512,000 bytes
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()
NAME = "dataset 'x', file 'matrix'"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server():
    """A server on this machine whose behaviour a test sets; it records what was asked of it."""
    state = {"body": BODY, "ranges": True, "asked": [], "plan": [], "etag": '"v1"', "headers": {}}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            state["asked"].append((self.path, asked))
            plan = state["plan"].pop(0) if state["plan"] else {}
            body, start = state["body"], 0
            if plan.get("status"):
                self.send_response(plan["status"])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            fresh = self.headers.get("If-Range") in (None, state["etag"])
            if asked and state["ranges"] and fresh:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                if start >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(body)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(plan.get("length", len(body) - start)))
            if state["etag"]:
                self.send_header("ETag", state["etag"])
            for key, value in state["headers"].items():
                self.send_header(key, value)
            self.end_headers()
            sent = body[start : start + plan.get("stop_after", len(body))]
            for i in range(0, len(sent), plan.get("piece", len(body))):
                with contextlib.suppress(OSError):  # the other side has gone
                    self.wfile.write(sent[i : i + plan.get("piece", len(body))])
                    self.wfile.flush()
                time.sleep(plan.get("rest", 0))

        def log_message(self, *args):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state["url"] = f"http://127.0.0.1:{httpd.server_port}"
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def get(target, **options):
    return fetch(target, name=NAME, pause_s=0.01, **options)


def refused(target, match, **options):
    with pytest.raises(InputError, match=match) as caught:
        get(target, **options)
    message = str(caught.value)
    assert NAME in message and "\n" not in message and message.endswith(".")
    assert not target.exists()
    return message


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_url(server, tmp_path):
    target = tmp_path / "sub" / "file.h5ad"
    url = server["url"] + "/a/file.h5ad?download=1"
    assert get(target, url=url, sha256=SHA256, md5=MD5.upper(), size=len(BODY)) == url
    assert target.read_bytes() == BODY
    assert left(target.parent) == ["file.h5ad"]


def test_gzip_is_stored_as_it_is(server, tmp_path):
    server["headers"] = {"Content-Encoding": "gzip"}  # some servers say so of a .gz file
    get(tmp_path / "f.gz", url=server["url"])
    assert (tmp_path / "f.gz").read_bytes() == BODY


def test_broken_connection_is_resumed(server, tmp_path):
    server["plan"] = [{"stop_after": 100_000}, {"stop_after": 200_000}, {}]
    get(tmp_path / "f", url=server["url"], sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == BODY
    starts = [asked and int(asked[6:-1]) for _, asked in server["asked"]]
    assert starts == [None, 100_000, 300_000]


def test_part_of_a_killed_run_is_resumed(server, tmp_path):
    server["plan"] = [{"stop_after": 100_000}]
    refused(tmp_path / "f", "the connection broke off", url=server["url"], attempts=1)
    assert left(tmp_path) == [".f.part", ".f.part.json"]
    get(tmp_path / "f", url=server["url"])  # no checksum: the ETag vouches for the part
    assert server["asked"][-1][1] == "bytes=100000-"
    assert (tmp_path / "f").read_bytes() == BODY and left(tmp_path) == ["f"]


def test_part_of_another_version_is_not_resumed(server, tmp_path):
    server["plan"] = [{"stop_after": 100_000}]
    refused(tmp_path / "f", "broke off", url=server["url"], attempts=1)
    server.update(body=BODY[::-1], etag='"v2"')
    get(tmp_path / "f", url=server["url"])
    assert (tmp_path / "f").read_bytes() == BODY[::-1]


def test_part_without_voucher_is_not_resumed(server, tmp_path):
    (tmp_path / ".f.part").write_bytes(b"x" * 1000)
    get(tmp_path / "f", url=server["url"])
    assert (tmp_path / "f").read_bytes() == BODY and server["asked"] == [("/", None)]


def test_wrong_part_is_found_by_the_checksum_and_started_over(server, tmp_path):
    (tmp_path / ".f.part").write_bytes(b"x" * 1000)
    get(tmp_path / "f", url=server["url"], sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == BODY
    assert [asked for _, asked in server["asked"]] == ["bytes=1000-", None]


def test_server_without_ranges_starts_over(server, tmp_path):
    server.update(ranges=False, plan=[{"stop_after": 100_000}, {}])
    get(tmp_path / "f", url=server["url"], sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == BODY


@pytest.mark.parametrize("extra", [0, 5])
def test_part_as_long_as_the_file_or_longer(extra, server, tmp_path):
    (tmp_path / ".f.part").write_bytes(BODY + b"x" * extra)
    get(tmp_path / "f", url=server["url"], sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == BODY and left(tmp_path) == ["f"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_server_is_asked_again(status, server, tmp_path):
    server["plan"] = [{"status": status}, {"status": status}]
    get(tmp_path / "f", url=server["url"])
    assert len(server["asked"]) == 3


def test_absent_file_is_not_asked_for_again(server, tmp_path):
    server["plan"] = [{"status": 404}] * 4
    refused(tmp_path / "f", "HTTP status 404", url=server["url"])
    assert len(server["asked"]) == 1


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_wrong_checksum(algorithm, server, tmp_path):
    wrong = "0" * (64 if algorithm == "sha256" else 32)
    found = {"sha256": SHA256, "md5": MD5}[algorithm]
    match = f"found {algorithm} {found}, expected {algorithm} {wrong}; delete"
    refused(tmp_path / "f", match, url=server["url"], **{algorithm: wrong})
    assert left(tmp_path) == []


def test_wrong_size_is_known_before_the_download(server, tmp_path):
    match = "found a file of 512,000 bytes, expected 17 bytes"
    refused(tmp_path / "f", match, url=server["url"], size=17)
    assert left(tmp_path) == []


def test_no_network_and_no_mirror(tmp_path):
    message = refused(
        tmp_path / "f",
        "connection refused",
        url="http://127.0.0.1:9/file.h5ad",
        mirror_path="zenodo/file.h5ad",
        attempts=2,
    )
    assert "zenodo/file.h5ad" in message and "'mirror'" in message
    assert left(tmp_path) == []
    message = refused(
        tmp_path / "f",
        "the host is not known|timed out",
        url="http://no.invalid/x",
        attempts=1,
    )
    assert "http://no.invalid/x" in message


def test_file_that_the_user_must_supply(tmp_path):
    message = refused(tmp_path / "f", "no url, as it is not public", mirror_path="kaggle/f.h5ad")
    assert "kaggle/f.h5ad" in message and "'path'" in message and "no mirror" in message
    message = refused(
        tmp_path / "f", "no such file", mirror_path="kaggle/f.h5ad", mirror=tmp_path / "mirror"
    )
    assert "kaggle/f.h5ad" in message and str(tmp_path / "mirror") in message


@pytest.mark.parametrize("kind", ["folder", "file url", "http"])
def test_mirror_comes_before_the_url(kind, server, tmp_path):
    source = tmp_path / "mirror" / "a b" / "f.h5ad"
    source.parent.mkdir(parents=True)
    source.write_bytes(BODY)
    mirror = {
        "folder": str(tmp_path / "mirror"),
        "file url": (tmp_path / "mirror").as_uri() + "/",
        "http": server["url"] + "/mirror",
    }[kind]
    target = tmp_path / "f"
    get(target, mirror=mirror, mirror_path="a b/f.h5ad", url=server["url"] + "/url", sha256=SHA256)
    assert target.read_bytes() == BODY
    expected = [("/mirror/a%20b/f.h5ad", None)] if kind == "http" else []
    assert server["asked"] == expected


@pytest.mark.parametrize("kind", ["folder", "http"])
def test_url_where_the_mirror_lacks_the_file(kind, server, tmp_path):
    server["plan"] = [{"status": 404}] if kind == "http" else []
    mirror = server["url"] + "/mirror" if kind == "http" else tmp_path / "mirror"
    get(tmp_path / "f", mirror=mirror, mirror_path="f.h5ad", url=server["url"] + "/url")
    assert server["asked"][-1] == ("/url", None)


def test_local_path_comes_first(server, tmp_path):
    source = tmp_path / "mine.h5ad"
    source.write_bytes(BODY)
    assert get(tmp_path / "f", path=source, url=server["url"], sha256=SHA256) == str(source)
    assert server["asked"] == [] and (tmp_path / "f").read_bytes() == BODY
    refused(tmp_path / "g", "key 'path': found no file at", path=tmp_path / "no", url=server["url"])
    refused(tmp_path / "g", "expected sha256 000", path=source, sha256="000")
    assert source.read_bytes() == BODY and left(tmp_path) == ["f", "mine.h5ad"]


def test_lfs_pointer(tmp_path):
    source = tmp_path / "mine.pkl"
    source.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n")
    refused(tmp_path / "f", "git-LFS pointer", path=source, sha256=SHA256)


def test_progress_is_logged(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(progress, "FIRST_AFTER_S", 0.0)
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    with caplog.at_level(logging.INFO, logger="keygenes"):
        get(tmp_path / "f", url=server["url"])
    assert any("of 0.5 MB, " in line for line in caplog.messages)


def test_server_that_stops_talking_is_left_and_asked_for_the_rest(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (1, 0.2))
    server["plan"] = [{"stop_after": 100_000, "rest": 1.0}, {}]
    get(tmp_path / "f", url=server["url"], sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == BODY
    first, second = (asked for _, asked in server["asked"])
    assert first is None and second == "bytes=65536-", "a whole block of what had come is kept"


def test_server_that_is_silent_for_good_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (1, 0.2))
    server["plan"] = [{"stop_after": 1, "length": 10, "rest": 1.0}] * 3
    refused(tmp_path / "f", "timed out", url=server["url"], attempts=3)
    assert len(server["asked"]) == 3


def test_slow_server_is_waited_for_while_it_sends(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (1, 0.3))
    server["plan"] = [{"piece": 64_000, "rest": 0.1}]
    get(tmp_path / "f", url=server["url"], sha256=SHA256)
    assert len(server["asked"]) == 1, "longer than the time-out in all, but never silent for it"


def test_server_that_says_too_little_is_found_by_the_checksum(server, tmp_path):
    server["plan"] = [{"length": 1000}] * 9
    refused(tmp_path / "f", "found sha256", url=server["url"], sha256=SHA256)
    assert left(tmp_path) == []


def test_server_that_says_too_much_is_asked_whether_there_is_more(server, tmp_path):
    server["plan"] = [{"length": len(BODY) + 1000}]
    get(tmp_path / "f", url=server["url"], sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == BODY and left(tmp_path) == ["f"]


def test_full_disk_keeps_the_part_and_says_so(server, tmp_path, monkeypatch):
    def full(*args):
        (tmp_path / ".f.part").write_bytes(BODY[:1000])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(download, "_append", full)
        with pytest.raises(InputError) as error:
            get(tmp_path / "f", url=server["url"], sha256=SHA256)
    assert_sentence(error, str(tmp_path / "f"), "no space left")
    get(tmp_path / "f", url=server["url"], sha256=SHA256)
    assert server["asked"][-1][1] == "bytes=1000-"
    assert (tmp_path / "f").read_bytes() == BODY
