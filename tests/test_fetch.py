"""Downloads against a server on this machine that cuts, lies and refuses."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import re
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from mammocourse import fetching
from mammocourse.datasets import DatasetError, fetch
from mammocourse.fetching import cache_folder, download

CONTENT = bytes(range(256)) * 8000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves CONTENT; ``cuts`` lists after how many bytes the next answers end."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.cuts: list[int] = []
        self.ranges = True
        self.lengths = True
        self.status = 200
        self.requests: list[str | None] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/file.csv"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.requests.append(asked)
        if self.status != 200:
            handler.send_error(self.status)
            return
        start = int(re.findall(r"\d+", asked)[0]) if asked and self.ranges else 0
        if start >= len(self.content):
            handler.send_error(416)
            return
        handler.send_response(206 if asked and self.ranges else 200)
        if asked and self.ranges:
            last = len(self.content) - 1
            handler.send_header("Content-Range", f"bytes {start}-{last}/{len(self.content)}")
        if self.lengths:
            handler.send_header("Content-Length", str(len(self.content) - start))
        handler.end_headers()
        body = self.content[start:]
        with contextlib.suppress(OSError):  # the client may hang up first
            handler.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)
        handler.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.server.shutdown()
    started.server.server_close()


def test_a_file_arrives_whole(server: Server, tmp_path: Path) -> None:
    path = download(server.url, tmp_path / "new" / "a.csv", SHA256, size=len(CONTENT))
    assert path.read_bytes() == CONTENT
    assert [item.name for item in path.parent.iterdir()] == ["a.csv"]


def test_a_file_that_is_there_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(CONTENT)
    download(server.url, tmp_path / "a.csv", SHA256)
    assert server.requests == []


def test_a_damaged_file_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(CONTENT[:-1])
    assert download(server.url, tmp_path / "a.csv", SHA256).read_bytes() == CONTENT


def test_a_cut_connection_is_resumed_where_it_was_cut(server: Server, tmp_path: Path) -> None:
    server.cuts = [1_100_000, 300_000]
    assert download(server.url, tmp_path / "a.csv", SHA256).read_bytes() == CONTENT
    assert server.requests[0] is None
    starts = [int(re.findall(r"\d+", asked or "")[0]) for asked in server.requests[1:]]
    assert len(starts) == 2
    assert 0 < starts[0] < starts[1] < len(CONTENT)


def test_what_arrived_serves_the_next_call(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "ATTEMPTS", 1)
    server.cuts = [1_500_000]
    with pytest.raises(DatasetError, match="goes on where it stopped"):
        download(server.url, tmp_path / "a.csv", SHA256)
    assert not (tmp_path / "a.csv").exists()
    arrived = (tmp_path / "a.csv.part").stat().st_size
    assert arrived > 0
    download(server.url, tmp_path / "a.csv", SHA256)
    assert server.requests[-1] == f"bytes={arrived}-"


@pytest.mark.parametrize("ranges", [True, False])
def test_two_downloads_of_one_file_wait_for_each_other(
    server: Server, tmp_path: Path, ranges: bool
) -> None:
    pytest.importorskip("fcntl", reason="folders cannot be locked here")
    server.ranges = ranges
    server.cuts = [700_000, 900_000]
    with ThreadPoolExecutor(4) as pool:
        get = functools.partial(download, server.url, tmp_path / "a.csv", SHA256)
        paths = [job.result() for job in [pool.submit(get) for _ in range(4)]]
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(server.requests) == 3  # two were cut, one came through; three calls only waited


def test_without_range_support_it_begins_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [1_500_000]
    assert download(server.url, tmp_path / "a.csv", SHA256).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_without_a_length_the_checksum_decides(server: Server, tmp_path: Path) -> None:
    server.lengths = False
    assert download(server.url, tmp_path / "a.csv", SHA256).read_bytes() == CONTENT


def test_an_overlong_part_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.csv.part").write_bytes(CONTENT + b"more")
    assert download(server.url, tmp_path / "a.csv", SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"", b"the beginning of another file"])
def test_a_wrong_checksum_is_refused_and_the_file_removed(
    server: Server, tmp_path: Path, part: bytes
) -> None:
    server.content = CONTENT[::-1]
    if part:
        (tmp_path / "a.csv.part").write_bytes(part)
    with pytest.raises(DatasetError, match="SHA-256"):
        download(server.url, tmp_path / "a.csv", SHA256)
    assert list(tmp_path.iterdir()) == []


def test_more_bytes_than_the_file_has_are_refused(server: Server, tmp_path: Path) -> None:
    for server.lengths in (True, False):
        with pytest.raises(DatasetError, match="changed at its source"):
            download(server.url, tmp_path / "a.csv", SHA256, size=1000)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_error_of_the_server_is_reported_once(
    server: Server, tmp_path: Path, status: int
) -> None:
    server.status = status
    with pytest.raises(DatasetError, match=str(status)):
        download(server.url, tmp_path / "a.csv", SHA256)
    assert len(server.requests) == 1


def test_a_full_disk_is_foreseen(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DatasetError, match=r"free in .*MAMMOCOURSE_DATA"):
        download(server.url, tmp_path / "a.csv", SHA256)


def closed_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"


def test_without_a_network_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TABLES_AT", closed_port())
    monkeypatch.setenv("MAMMOCOURSE_DATA", str(tmp_path))
    with pytest.raises(DatasetError) as caught:
        fetch("cbis-ddsm-tables")
    text = str(caught.value)
    assert "could not be downloaded" in text
    assert "By hand" in text
    assert "mammocourse.phantom" in text


def test_the_tables_are_fetched_into_the_cache(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = [fetching.Source(f"{name}.csv", len(CONTENT), SHA256) for name in "ab"]
    monkeypatch.setattr(fetching, "TABLES", tables)
    monkeypatch.setattr(fetching, "TABLES_AT", server.url.removesuffix("file.csv"))
    monkeypatch.setenv("MAMMOCOURSE_DATA", str(tmp_path))
    folder = fetch("cbis-ddsm-tables")
    assert folder == cache_folder() / "cbis-ddsm-tables"
    assert sorted(path.name for path in folder.iterdir()) == ["a.csv", "b.csv"]


def test_the_official_tables_have_the_checksums_of_the_registry() -> None:
    import os

    named = os.environ.get("MAMMOCOURSE_TEST_DATA")
    if not named:
        pytest.skip("MAMMOCOURSE_TEST_DATA is not set: the official tables are not here")
    for source in fetching.TABLES:
        content = (Path(named) / "cbis-ddsm-csv" / source.name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (source.size, source.sha256)


def test_the_kaggle_copy_comes_through_kagglehub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def dataset_download(name: str) -> str:
        asked.append(name)
        return str(tmp_path)

    stand_in = SimpleNamespace(dataset_download=dataset_download)
    monkeypatch.setitem(sys.modules, "kagglehub", stand_in)  # type: ignore[arg-type]
    assert fetch("cbis-ddsm") == tmp_path
    assert asked == [fetching.KAGGLE]


@pytest.mark.parametrize("missing", [True, False])
def test_a_failing_kagglehub_is_explained(monkeypatch: pytest.MonkeyPatch, missing: bool) -> None:
    def dataset_download(name: str) -> str:
        raise OSError("no route to host")

    stand_in = None if missing else SimpleNamespace(dataset_download=dataset_download)
    monkeypatch.setitem(sys.modules, "kagglehub", stand_in)  # type: ignore[arg-type]
    with pytest.raises(DatasetError) as caught:
        fetch("cbis-ddsm")
    text = str(caught.value)
    assert ("pip install" if missing else "no route to host") in text
    assert f"https://www.kaggle.com/datasets/{fetching.KAGGLE}" in text
    assert "write_cbis_ddsm" in text


def test_inbreast_is_explained() -> None:
    with pytest.raises(DatasetError, match=r"on request.*read_inbreast"):
        fetch("inbreast")


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'cbis-ddsm', 'cbis-ddsm-tables', 'inbreast'"):
        fetch("ddsm")
