"""The bundled digits, their checksums and the script that made them."""

import hashlib
import importlib
import shutil
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from mammocourse import datasets, resources
from mammocourse.datasets import DatasetError, load_mnist, load_mnist01

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def official():
    return load_mnist01()


@pytest.fixture(scope="module")
def stratified():
    return load_mnist01("stratified", seed=5)


# --- the official split


def test_official_split_has_the_published_counts(official):
    (x_train, y_train), (x_test, y_test) = official
    assert x_train.shape == (12_665, 28, 28)
    assert x_test.shape == (2_115, 28, 28)
    assert np.bincount(y_train).tolist() == [5_923, 6_742]
    assert np.bincount(y_test).tolist() == [980, 1_135]


def test_arrays_are_unsigned_bytes(official, stratified):
    for split in (official, stratified):
        assert {array.dtype for part in split for array in part} == {np.dtype(np.uint8)}


def test_labels_start_as_mnist_does(official):
    # MNIST's labels start 5041921314353617286940911 (training) and 721041495906901597 (test).
    (_, y_train), (_, y_test) = official
    assert y_train[:8].tolist() == [0, 1, 1, 1, 1, 0, 1, 1]
    assert y_test[:6].tolist() == [1, 0, 1, 0, 0, 1]


def test_pixels_and_labels_are_those_of_the_official_files(official):
    # SHA-256 of the images and labels that a loop over the bytes of the official idx files keeps
    (x_train, y_train), (x_test, y_test) = official
    images = hashlib.sha256(x_train.tobytes() + x_test.tobytes()).hexdigest()
    labels = hashlib.sha256(y_train.tobytes() + y_test.tobytes()).hexdigest()
    assert images == "c0099175e1ce2740b8f835100551b587b5aa8dca7426f11c368246cdfcf1b6a7"
    assert labels == "ae2bbff0052b17d0596be20417dbbe4da9194c8d46d9a993605162f86e0d7ae8"


def test_first_zero_is_the_coefficient_vector_of_the_thesis(official):
    # The Monte Carlo study's beta: the first 0 of the training part, its columns standardized.
    (x_train, y_train), _ = official
    x = StandardScaler().fit_transform(x_train.reshape(-1, 784).astype(float))
    beta = x[np.flatnonzero(y_train == 0)[0]]
    assert f"{beta.mean():.4f}" == "0.0483"
    assert f"{np.abs(beta).mean():.4f}" == "0.3531"
    assert f"{np.linalg.norm(beta):.2f}" == "16.67"


# --- the stratified split


def test_stratified_split_is_the_one_of_scikit_learn(official, stratified):
    (x_train, y_train), (x_test, y_test) = official
    x, y = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
    expected = train_test_split(x, y, test_size=0.15, stratify=y, random_state=5)
    (x_train, y_train), (x_test, y_test) = stratified
    for found, oracle in zip((x_train, x_test, y_train, y_test), expected, strict=True):
        np.testing.assert_array_equal(found, oracle)


def test_stratified_split_keeps_85_percent_and_the_class_balance(stratified):
    (_, y_train), (_, y_test) = stratified
    assert len(y_train) + len(y_test) == 14_780
    assert len(y_test) == round(0.15 * 14_780)
    # no whole number of ones in the test part would be closer to the overall share
    assert abs(y_test.sum() - len(y_test) * 7_877 / 14_780) <= 0.5


def test_stratified_split_follows_its_seed(stratified):
    again = load_mnist01("stratified", seed=5)
    other = load_mnist01("stratified", seed=6)
    np.testing.assert_array_equal(again[0][0], stratified[0][0])
    assert not np.array_equal(other[0][0], stratified[0][0])


# --- arguments and ownership


@pytest.mark.parametrize("split", ["official", "stratified"])
def test_arrays_belong_to_the_caller(split):
    first, second = load_mnist01(split), load_mnist01(split)
    for part in first:
        for array in part:
            array[:] = 255 - array
    for before, after in zip(first, second, strict=True):
        np.testing.assert_array_equal(255 - before[0], after[0])
        np.testing.assert_array_equal(255 - before[1], after[1])


def test_unknown_split_is_an_error_that_names_the_choices():
    with pytest.raises(ValueError, match=r"split is 'random'.*'official'.*'stratified'"):
        load_mnist01("random")


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, True, "0", None])
@pytest.mark.parametrize("split", ["official", "stratified"])
def test_what_is_no_seed_is_refused(split, seed):
    with pytest.raises(ValueError, match="seed is"):
        load_mnist01(split, seed=seed)


# --- missing and damaged files


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Use a copy of the bundled digits that a test may damage."""
    for name in ("mnist01.npz", "SHA256SUMS"):
        shutil.copy(ROOT / "data" / name, tmp_path)
    monkeypatch.setattr(resources, "data_folder", lambda: tmp_path)
    return tmp_path


def test_undamaged_copy_loads(data):
    load_mnist01()


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_damaged_file_is_an_error_with_both_checksums_and_the_remedy(data, damage):
    path = data / "mnist01.npz"
    content = path.read_bytes()
    middle = len(content) // 2
    if damage == "truncated":
        path.write_bytes(content[:middle])
    else:
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(ValueError, match="Install the course again") as caught:
        load_mnist01()
    message = str(caught.value)
    assert "mnist01.npz" in message
    assert hashlib.sha256(content).hexdigest() in message
    assert hashlib.sha256(path.read_bytes()).hexdigest() in message


def test_missing_file_is_an_error_that_names_it_and_the_remedy(data):
    (data / "mnist01.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"mnist01\.npz.*Install the course again"):
        load_mnist01()


def test_data_path_names_a_file_that_does_not_exist():
    with pytest.raises(FileNotFoundError, match=r"quizzes/99\.yml"):
        resources.data_path("quizzes/99.yml")


def test_text_without_a_checksum_is_read(data):
    (data / "notes.yml").write_text("[]", encoding="utf-8")
    assert resources.read_bytes("notes.yml") == b"[]"


# --- the whole of MNIST, through a stand-in for Keras (no network in tests)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty folder for downloads."""
    monkeypatch.setenv("MAMMOCOURSE_DATA", str(tmp_path))
    return tmp_path


def keras_that(load_data):
    return SimpleNamespace(datasets=SimpleNamespace(mnist=SimpleNamespace(load_data=load_data)))


def test_load_mnist_returns_what_keras_loads(monkeypatch, cache):
    arrays = ((np.zeros(2), np.ones(2)), (np.zeros(1), np.ones(1)))
    monkeypatch.setitem(sys.modules, "keras", keras_that(lambda: arrays))
    assert load_mnist() is arrays


def test_load_mnist_without_keras_says_how_to_install_it(monkeypatch, cache):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(RuntimeError, match=r'pip install "mammocourse\[cpu\]".*load_mnist01'):
        load_mnist()


def test_load_mnist_without_network_says_what_works(monkeypatch, cache):
    def fail():
        raise Exception("URL fetch failure")  # what keras.utils.get_file raises

    monkeypatch.setitem(sys.modules, "keras", keras_that(fail))
    with pytest.raises(RuntimeError, match=r"URL fetch failure.*network.*mnist.*load_mnist01"):
        load_mnist()


def test_load_mnist_reads_the_official_files_without_keras(monkeypatch, cache, idx_files):
    folder, arrays = idx_files
    (cache / "mnist").mkdir()
    for name in datasets.MNIST_FILES:
        content = (folder / name).read_bytes()
        (cache / "mnist" / name).write_bytes(content)
        monkeypatch.setitem(datasets.MNIST_FILES, name, hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(sys.modules, "keras", None)
    for found, part in zip(load_mnist(), ("train", "t10k"), strict=True):
        np.testing.assert_array_equal(found[0], arrays[part][0])
        np.testing.assert_array_equal(found[1], arrays[part][1])


@pytest.mark.parametrize(("content", "message"), [(b"x", "not the official"), (None, "missing")])
def test_load_mnist_refuses_other_files(cache, content, message):
    (cache / "mnist").mkdir()
    if content is not None:
        (cache / "mnist" / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"train-images-idx3-ubyte is {message}"):
        load_mnist()


# --- the script that made the file


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "_tools")
    return importlib.import_module("make_mnist01")


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.fixture
def idx_files(tmp_path):
    """Four small idx files; returns their folder and arrays."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 30), ("t10k", 12)):
        images = rng.integers(0, 256, size=(n, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 4, size=n, dtype=np.uint8)
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", labels)
        arrays[part] = images, labels
    return tmp_path, arrays


def test_script_reads_idx_files(script, idx_files):
    folder, arrays = idx_files
    images, labels = arrays["train"]
    np.testing.assert_array_equal(script.read_idx(folder / "train-images-idx3-ubyte"), images)
    np.testing.assert_array_equal(script.read_idx(folder / "train-labels-idx1-ubyte"), labels)


def test_script_keeps_zeros_and_ones_in_their_order(script, idx_files):
    folder, arrays = idx_files
    kept = [
        (image, label)
        for images, labels in arrays.values()
        for image, label in zip(images, labels, strict=True)
        if label in (0, 1)
    ]
    found = script.select_zeros_and_ones(folder)
    np.testing.assert_array_equal(found["images"], np.stack([image for image, _ in kept]))
    assert found["labels"].tolist() == [label for _, label in kept]
    assert found["n_train"] == sum(label in (0, 1) for label in arrays["train"][1])


def test_script_writes_the_same_bytes_twice_and_numpy_reads_them(script, tmp_path):
    arrays = {"a": np.arange(6, dtype=np.uint8).reshape(2, 3), "b": np.array(4)}
    for name in ("first.npz", "second.npz"):
        script.write_npz(tmp_path / name, arrays)
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    with np.load(tmp_path / "first.npz") as archive:
        assert set(archive) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(archive[name], array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8b\x08\x08", "gzipped"),
        (b"\x00\x00\x08\x02\x00\x00", "header"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x05abc", "3 bytes of data; its header says 5"),
    ],
)
def test_script_refuses_a_file_that_is_not_whole(script, tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        script.read_idx(tmp_path / "file")


def test_script_refuses_labels_that_do_not_fit(script, idx_files):
    folder, _ = idx_files
    write_idx(folder / "t10k-labels-idx1-ubyte", np.zeros(3, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"t10k.*\(12, 28, 28\).*\(3,\)"):
        script.select_zeros_and_ones(folder)


def test_script_refuses_files_that_are_not_the_official_ones(script, idx_files):
    folder, _ = idx_files
    with pytest.raises(SystemExit, match=r"train-images-idx3-ubyte: expected SHA-256"):
        script.main(folder, folder / "out.npz")
    assert not (folder / "out.npz").exists()
