"""Specification of mammocourse.models."""

import subprocess
import sys

import pytest

from mammocourse.models import build_mnist_cnn


def test_network_of_figure_5_has_the_thesiss_parameters():
    model = build_mnist_cnn()
    assert [layer.count_params() for layer in model.layers] == [544, 0, 0, 589_952, 258]
    assert model.count_params() == 590_754
    assert (model.input_shape, model.output_shape) == ((None, 28, 28, 1), (None, 2))
    assert model.layers[0].output.shape == (None, 25, 25, 32)
    assert model.layers[1].output.shape == (None, 12, 12, 32)


def test_network_for_all_digits_has_ten_outputs():
    assert build_mnist_cnn(classes=10).output_shape == (None, 10)


@pytest.mark.parametrize("classes", [1, 2.0, True, "2"])
def test_number_of_classes_is_checked(classes):
    with pytest.raises(ValueError, match="classes is"):
        build_mnist_cnn(classes)


def test_import_loads_no_keras():
    code = "import sys, mammocourse.models; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_missing_keras_is_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(RuntimeError, match="mammocourse\\[cpu\\]"):
        build_mnist_cnn()
