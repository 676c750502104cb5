"""A download that is killed half-way goes on where it stopped."""

import hashlib
import http.server
import threading
import time

import pytest
import yaml
from running import edited_config, run_snakemake
from watching import Watched

BODY = bytes(range(256)) * 4000
TARGET = "resources/cells.h5ad"


@pytest.fixture
def slow_server():
    """Yield (address, what was asked of it) of a server of 64 kB every tenth of a second."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            span = self.headers.get("Range")
            asked.append(span)
            start = int(span[6:-1]) if span else 0
            self.send_response(206 if span else 200)
            self.send_header("ETag", '"v1"')
            self.send_header("Content-Length", str(len(BODY) - start))
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
            self.end_headers()
            for i in range(start, len(BODY), 64_000):
                try:
                    self.wfile.write(BODY[i : min(i + 64_000, len(BODY))])
                except OSError:
                    return
                time.sleep(0.1)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/cells.h5ad", asked
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.slow
def test_killed_download_goes_on_where_it_stopped(checkout, slow_server, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    url, asked = slow_server
    sha256 = hashlib.sha256(BODY).hexdigest()
    matrix = {"url": url, "mirror_path": "cells.h5ad", "sha256": sha256}
    entry = {
        **{"title": "a test", "layout": "h5ad", "columns": {"ensembl_id": "x"}},
        "files": {"matrix": matrix},
    }
    (tmp_path / "datasets.yaml").write_text(yaml.safe_dump({"datasets": {"remote": entry}}))
    changes = {
        "dataset": "remote",
        "registries.datasets": ["config/datasets.yaml", str(tmp_path / "datasets.yaml")],
    }
    config = edited_config(tmp_path / "config.yaml", changes)
    args = [TARGET, "--cores", 1, "--configfile", config]
    part = checkout / "resources/.cells.h5ad.part"
    run = Watched(checkout, *args)
    assert run.wait_until(lambda: part.exists() and part.stat().st_size > 100_000, timeout=300)
    assert run.kill() == ["download_dataset"]
    assert not (checkout / TARGET).exists()
    had = part.stat().st_size
    assert run_snakemake(checkout, "--unlock", "--configfile", config).returncode == 0
    again = run_snakemake(checkout, *args)
    assert again.returncode == 0, again.text
    assert (checkout / TARGET).read_bytes() == BODY
    assert asked == [None, f"bytes={had}-"]
    assert not part.exists()
