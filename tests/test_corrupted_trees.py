"""Corrupted trees and tables: a clear error, no hang, nothing written, nothing followed.

Each example takes a sound tree, spoils it with a seeded mutator and reads it.
"""

from __future__ import annotations

import functools
import os
import random
import resource
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mammocourse.datasets import (
    DatasetError,
    audit_cbis_ddsm,
    load_image,
    read_cbis_ddsm,
    read_inbreast,
)
from trees import LESIONS, write_inbreast, write_kaggle, write_tcia

EXAMPLES = 57
"""Examples of each kind of tree and of corruption: 3 x 3 x 57 = 513."""

SECONDS = 120
"""A reader that takes longer hangs (an example takes some milliseconds)."""

MEGABYTES = 400
"""Memory that all examples together may add; the sizes that they declare are larger."""

TREES = {
    "kaggle": lambda root: write_kaggle(root, LESIONS[1::3]),
    "tcia": lambda root: write_tcia(root, LESIONS[1::3]),
    "inbreast": write_inbreast,
}
TABLES, IMAGES = (".csv",), (".jpg", ".dcm")


# ------------------------------------------------------------------------- mutators


def truncated(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def flipped(data: bytes, rng: random.Random) -> bytes:
    spoiled = bytearray(data)
    for _ in range(rng.choice([1, 5, 100])):
        spoiled[rng.randrange(min(len(data), rng.choice([400, 10**6])))] = rng.randrange(256)
    return bytes(spoiled)


def emptied(data: bytes, rng: random.Random) -> bytes:
    return b""


def noise(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.choice([0, 4, 140])] + rng.randbytes(300)


def cut_out(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randrange(1, 60) :]


def doubled(data: bytes, rng: random.Random) -> bytes:
    return data * 2


def huge_jpeg(data: bytes, rng: random.Random) -> bytes:
    at = data.find(b"\xff\xc0") + 5
    return data[:at] + b"\xfd\xe8\xfd\xe8" + data[at + 4 :] if at > 4 else data[:99]


def huge_dicom(data: bytes, rng: random.Random) -> bytes:
    for tag in (b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"):
        at = data.find(tag) + len(tag)
        data = data[:at] + b"\xff\xff" + data[at + 2 :]
    return data


def long_element(data: bytes, rng: random.Random) -> bytes:
    """Give the pixels, or a text, a declared length near 4 GB or of 64 kB."""
    at = data.find(b"\xe0\x7f\x10\x00OW\0\0")
    if at < 0 or rng.random() < 0.5:
        at = data.find(b"\x08\x00\x3e\x10LO")
        return data[: at + 6] + b"\xff\xff" + data[at + 8 :]
    return data[: at + 8] + rng.choice([b"\xfe\xff\xff\xff", b"\xff" * 4]) + data[at + 12 :]


def records(data: bytes) -> list[str]:
    return data.decode("utf-8").replace("\r\n", "\n").replace('\n"\n', '\\n"\n').split("\n")


def rejoined(lines: list[str]) -> bytes:
    return "\n".join(lines).replace('\\n"', '\n"').encode("utf-8", "surrogateescape")


def row_missing(data: bytes, rng: random.Random) -> bytes:
    lines = records(data)
    del lines[rng.randrange(len(lines))]
    return rejoined(lines)


def row_twice(data: bytes, rng: random.Random) -> bytes:
    lines = records(data)
    lines.insert(rng.randrange(len(lines)), rng.choice(lines))
    return rejoined(lines)


def column_changed(data: bytes, rng: random.Random) -> bytes:
    """Drop, double or exchange columns by exchanging the fields of every line."""
    lines = records(data)
    separator = max(",;", key=lines[0].count)
    width = lines[0].count(separator) + 1
    order = list(range(width))
    one, other = rng.randrange(width), rng.randrange(width)
    how = rng.choice(["drop", "double", "exchange"])
    if how == "drop":
        order.remove(one)
    elif how == "double":
        order.insert(other, one)
    else:
        order[one], order[other] = order[other], order[one]
    header_only = rng.random() < 0.3
    for number, line in enumerate(lines[: 1 if header_only else None]):
        cells = line.split(separator)
        if len(cells) == width:
            lines[number] = separator.join(cells[index] for index in order)
    return rejoined(lines)


def cell_changed(data: bytes, rng: random.Random) -> bytes:
    lines = records(data)
    number = rng.randrange(1, len(lines))
    separator = max(",;", key=lines[0].count)
    cells = lines[number].split(separator)
    evil = ["../../../etc/passwd", "/etc/passwd", "C:\\x\\y\\z", "a/../../b/c", "", "\u0000", "nan"]
    evil += ["-1", "1e9", "9" * 400, "=1+1", '"', "\u202e", "x" * 200_000, "..", "a/b/c/d", "~"]
    cells[rng.randrange(len(cells))] = rng.choice(evil)
    lines[number] = separator.join(cells)
    return rejoined(lines)


def recoded(data: bytes, rng: random.Random) -> bytes:
    encoding = rng.choice(["utf-16", "utf-16-le", "utf-32", "utf-7", "cp500"])
    return data.decode("utf-8").encode(encoding)


def other_separator(data: bytes, rng: random.Random) -> bytes:
    return data.replace(rng.choice([b",", b";"]), rng.choice([b";", b"\t", b"|", b","]))


def quoted(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + b'"' + data[at:]


CONTENT: dict[str, list[Callable[[bytes, random.Random], bytes]]] = {
    "images": [
        *(truncated, truncated, flipped, flipped, emptied, noise, cut_out, doubled),
        *(huge_jpeg, huge_dicom, long_element),
    ],
    "tables": [
        *(truncated, flipped, emptied, noise, cut_out, doubled, row_missing, row_twice),
        *(column_changed, column_changed, cell_changed, cell_changed, cell_changed, recoded),
        *(other_separator, quoted),
    ],
}


def spoil_place(path: Path, root: Path, outside: Path, rng: random.Random) -> None:
    """Take a file or folder away, or put something else in its place."""
    folder = path.parent if path.parent != root else path
    target = rng.choice([path, path, path, folder])
    how = rng.choice(["gone", "link", "loop", "dangling", "pipe", "folder", "moved", "renamed"])
    kept = outside / "kept"
    if how == "renamed":
        target.rename(target.with_name(rng.choice(["1.3.6", "x" * 200, " ", "00" + target.name])))
        return
    shutil.move(target, kept)
    if how == "link":
        target.symlink_to(kept)
    elif how == "loop":
        target.symlink_to(target.parent if rng.random() < 0.5 else target)
    elif how == "dangling":
        target.symlink_to(outside / "nowhere")
    elif how == "pipe":
        os.mkfifo(target)
    elif how == "folder":
        target.mkdir()
    elif how == "moved":
        shutil.move(kept, target.with_name("moved" + target.suffix))


def spoil(root: Path, outside: Path, what: str, rng: random.Random) -> str:
    suffixes = {"tables": TABLES, "images": IMAGES}.get(what, TABLES + IMAGES)
    path = rng.choice([path for path in sorted(root.rglob("*")) if path.suffix in suffixes])
    if what == "places":
        spoil_place(path, root, outside, rng)
        return f"{path.relative_to(root)} replaced"
    mutate = rng.choice(CONTENT[what])
    path.write_bytes(mutate(path.read_bytes(), rng))
    return f"{path.relative_to(root)} {mutate.__name__}"


# --------------------------------------------------------------------------- reading


def state(*folders: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for folder in folders:
        for parent, names, files in os.walk(folder):
            for name in [*names, *files, "."]:
                status = os.lstat(os.path.join(parent, name))
                found[f"{parent}/{name}"] = status.st_mode, status.st_size, status.st_mtime_ns
    return found


def clear(error: DatasetError, root: Path) -> bool:
    """Whether a message names a file or folder of the tree, and does not end there."""
    named = root.name in str(error) or any(problem.file for problem in error.problems)
    return named and len(str(error).split()) > 6


def attempt(action: Callable[[], Any], root: Path) -> Any:
    """Return what the reader returns, or None where it refuses clearly; nothing else passes."""
    try:
        return action()
    except DatasetError as caught:
        refused = caught
    assert clear(refused, root), str(refused)
    return None


def read_everything(kind: str, root: Path, example: int) -> None:
    image = "full" if example % 3 == 0 else "crop"
    if kind == "inbreast":
        read: Callable[..., pd.DataFrame] = functools.partial(read_inbreast, root)
    else:
        read = functools.partial(read_cbis_ddsm, root, image=image)
    frame = attempt(lambda: read(strict=False), root)
    sound = frame is not None and not frame.attrs["report"].problems
    if not sound:  # what strict=False leaves out, strict=True refuses
        assert attempt(lambda: read(strict=True), root) is None
    if kind != "inbreast" and example % 3 == 1:
        attempt(lambda: str(audit_cbis_ddsm(root)), root)
    if frame is not None:
        check_frame(frame, root)


def check_frame(frame: pd.DataFrame, root: Path) -> None:
    assert set(frame["label"].dropna()) <= {0, 1}
    for column in {"image_path", "mask_path"} & set(frame.columns):
        for name in frame[column].dropna():
            path = Path(name)
            assert path.is_file()
            assert path.resolve() == root.resolve() / path.relative_to(root)  # no link inside
            attempt(functools.partial(load_image, path), root)


@pytest.fixture
def no_hang() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"a reader did not return within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("no_hang")
@pytest.mark.parametrize("what", ["images", "tables", "places"])
@pytest.mark.parametrize("kind", TREES)
def test_corrupted_trees_are_refused_clearly_and_left_alone(
    tmp_path: Path, kind: str, what: str
) -> None:
    sound = TREES[kind](tmp_path / "sound")
    for example in range(3):
        read_everything(kind, sound, example)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for example in range(EXAMPLES):
        rng = random.Random(f"{kind} {what} {example}")
        root, outside = tmp_path / f"tree-{example}", tmp_path / f"outside-{example}"
        shutil.copytree(sound, root)
        outside.mkdir()
        spoiled = spoil(root, outside, what, rng)
        before = state(root, outside)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read_everything(kind, root, example)
        except Exception as error:
            error.add_note(f"example {example}: {spoiled}")
            raise
        assert state(root, outside) == before, f"example {example}: {spoiled}"
        shutil.rmtree(root)
        shutil.rmtree(outside)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    assert grown < MEGABYTES * 1024  # kilobytes


def test_at_least_500_examples_are_read() -> None:
    assert len(TREES) * 3 * EXAMPLES >= 500
