"""Specification of mammocourse.finetuning.

The networks here are toys with a hundred weights. What is killed is a process of its own.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from mammocourse.finetuning import (
    TABLE_4_GRID,
    discriminative_adam,
    fit_classifier,
    gradual_unfreezing,
    predict_scores,
    search,
)
from tolerances import FLOAT32

SETTINGS = {"epochs": 5, "batch_size": 16, "learning_rate": 3e-3}


def toy(dropout=0.3, normalize=True, seed=1):
    """Return a network with the names of a ResNet's stages, from (8, 8, 1) to two logits."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    images = keras.Input((8, 8, 1))
    x = layers.Conv2D(3, 3, activation="relu", name="conv4_block1_1_conv")(images)
    if normalize:
        x = layers.BatchNormalization(name="conv4_block1_1_bn")(x)
    x = layers.Conv2D(3, 3, activation="relu", name="conv5_block1_1_conv")(x)
    x = layers.Dropout(dropout, name="dropout")(layers.Flatten(name="flatten")(x))
    x = layers.Dense(2, name="logits", kernel_regularizer=keras.regularizers.L2(0.01))(x)
    return keras.Model(images, x)


def cases(n, seed):
    """Return images (n, 8, 8, 1) and labels; the malignant ones are brighter in the middle."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    images = rng.random((n, 8, 8, 1)).astype("float32")
    images[labels == 1, 2:5, 2:5] += 0.3
    return images, labels


TRAIN, VALIDATION = cases(72, 0), cases(31, 1)


def weights(model):
    return [weight.numpy() for weight in model.weights]


def assert_bitwise(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def another_process(function, *folders):
    """Call a function of this file in a process of its own."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import pathlib, test_finetuning\n"
        "getattr(test_finetuning, sys.argv[1])(*map(pathlib.Path, sys.argv[2:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, function.__name__, *map(str, folders)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def fit_and_be_killed(directory):
    """Train until the process kills itself in the middle of the third epoch."""
    import keras

    def on_train_batch_end(batch, logs):
        if (directory / "history.csv").is_file() and len(
            pd.read_csv(directory / "history.csv")
        ) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    killer = keras.callbacks.LambdaCallback(on_train_batch_end=on_train_batch_end)
    fit_classifier(toy(), TRAIN, VALIDATION, **SETTINGS, directory=directory, callbacks=[killer])


@pytest.fixture(scope="module")
def uninterrupted():
    import keras

    seen = []
    see = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: seen.append(logs["val_auc"]))
    model = toy()
    frame = fit_classifier(model, TRAIN, VALIDATION, **SETTINGS, callbacks=[see])
    assert seen == frame.val_auc.tolist()
    return model, frame


# Training


def test_killed_run_goes_on_to_the_very_same_result(uninterrupted, tmp_path):
    process = another_process(fit_and_be_killed, tmp_path)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    model = toy(seed=2)  # its first weights do not matter: those on disk count
    frame = fit_classifier(model, TRAIN, VALIDATION, **SETTINGS, directory=tmp_path)
    pd.testing.assert_frame_equal(frame, uninterrupted[1], check_exact=True)
    assert_bitwise(weights(model), weights(uninterrupted[0]))
    stored = pd.read_csv(tmp_path / "history.csv", index_col="epoch")
    pd.testing.assert_frame_equal(stored, frame, check_exact=False, rtol=1e-12)


def test_finished_run_is_read_and_not_repeated(uninterrupted, tmp_path):
    first = fit_classifier(toy(), TRAIN, VALIDATION, **SETTINGS, directory=tmp_path)
    state = (tmp_path / "state.npz").stat().st_mtime_ns
    model = toy(seed=2)
    again = fit_classifier(model, TRAIN, VALIDATION, **SETTINGS, directory=tmp_path)
    assert (tmp_path / "state.npz").stat().st_mtime_ns == state
    pd.testing.assert_frame_equal(again, first, check_exact=True)
    assert_bitwise(weights(model), weights(uninterrupted[0]))
    model = toy(seed=2)
    model.load_weights(tmp_path / "best.weights.h5")
    assert_bitwise(weights(model), weights(uninterrupted[0]))
    assert sorted(os.listdir(tmp_path)) == ["best.weights.h5", "history.csv", "state.npz"]


def test_more_epochs_continue_a_finished_run(uninterrupted, tmp_path):
    fit_classifier(toy(), TRAIN, VALIDATION, **SETTINGS | {"epochs": 2}, directory=tmp_path)
    frame = fit_classifier(toy(), TRAIN, VALIDATION, **SETTINGS, directory=tmp_path)
    pd.testing.assert_frame_equal(frame, uninterrupted[1], check_exact=True)


def test_directory_of_another_run_is_refused(tmp_path):
    arguments = {"train": TRAIN, "validation": VALIDATION, **SETTINGS, "epochs": 2}
    fit_classifier(toy(), **arguments, directory=tmp_path)
    for changed, named in [
        ({"learning_rate": 1e-3}, "other learning_rate"),
        ({"seed": 1}, "other seed"),
        ({"train": (TRAIN[0], 1 - TRAIN[1])}, "other train"),
        ({"validation": None}, "other validation"),
        ({"epochs": 1}, "epochs is 1.*a run of 2"),
    ]:
        with pytest.raises(ValueError, match=named):
            fit_classifier(toy(), **arguments | changed, directory=tmp_path)


def test_other_frozen_weights_are_refused(tmp_path):
    def frozen(seed):
        model = toy(seed=seed)
        model.get_layer("conv4_block1_1_conv").trainable = False
        return model

    fit_classifier(frozen(1), TRAIN, VALIDATION, epochs=1, directory=tmp_path)
    with pytest.raises(ValueError, match="other frozen weights"):
        fit_classifier(frozen(2), TRAIN, VALIDATION, epochs=1, directory=tmp_path)


def test_seed_decides_order_and_dropout():
    def losses(dropout, batch_size):
        settings = {"epochs": 1, "batch_size": batch_size}
        return [
            fit_classifier(toy(dropout), TRAIN, **settings, seed=seed).loss[1] for seed in (0, 0, 1)
        ]

    one, same, other = losses(dropout=0.0, batch_size=16)
    assert one == same != other
    one, same, other = losses(dropout=0.3, batch_size=72)  # one batch: its order does not matter
    assert one == same
    assert abs(one - other) > 100 * FLOAT32


def test_every_epoch_has_another_order_and_other_dropout():
    rate = SETTINGS | {"epochs": 3, "learning_rate": 1e-12, "batch_size": 72}
    frame = fit_classifier(toy(normalize=False), TRAIN, **rate)
    assert frame.loss.nunique() == 3


def test_measures_of_the_best_epoch_are_those_of_the_returned_model(uninterrupted):
    model, frame = uninterrupted
    best = frame.loc[frame.attrs["best_epoch"]]
    assert best.val_loss == frame.val_loss.min()
    images, labels = VALIDATION
    loss, accuracy = model.evaluate(images, labels, verbose=0)  # Keras adds the penalty too
    assert best.val_loss == pytest.approx(loss, rel=FLOAT32)
    assert best.val_accuracy == pytest.approx(accuracy, rel=FLOAT32)
    assert best.val_auc == roc_auc_score(labels, predict_scores(model, images))
    assert list(frame) == ["loss", "accuracy", "val_loss", "val_accuracy", "val_auc"]


def test_stops_where_keras_would_and_restores_the_best_weights():
    from keras.callbacks import EarlyStopping

    settings = {"epochs": 14, "batch_size": 72, "learning_rate": 0.1}
    series = fit_classifier(toy(), TRAIN, VALIDATION, **settings, patience=14).val_loss
    oracle = EarlyStopping("val_loss", patience=3)
    oracle.set_model(toy())
    oracle.on_train_begin()
    for epoch, loss in enumerate(series):
        oracle.model.stop_training = False
        oracle.on_epoch_end(epoch, {"val_loss": loss})
        if oracle.model.stop_training:
            break
    assert epoch < 13
    model = toy()
    frame = fit_classifier(model, TRAIN, VALIDATION, **settings, patience=3)
    assert len(frame) == epoch + 1
    assert frame.attrs["best_epoch"] == oracle.best_epoch + 1
    assert model.evaluate(*VALIDATION, verbose=0)[0] == pytest.approx(oracle.best, rel=FLOAT32)


def test_last_weights_are_kept_on_request():
    settings = {"epochs": 6, "batch_size": 72, "learning_rate": 0.1}
    model = toy()
    frame = fit_classifier(model, TRAIN, VALIDATION, **settings, restore_best=False)
    loss = model.evaluate(*VALIDATION, verbose=0)[0]
    assert frame.val_loss.iloc[-1] == pytest.approx(loss, rel=FLOAT32)


def test_frozen_weights_and_statistics_stay_bit_identical():
    model = toy()
    for name in ("conv4_block1_1_conv", "conv4_block1_1_bn"):
        model.get_layer(name).trainable = False
    before = weights(model)
    fit_classifier(model, TRAIN, VALIDATION, **SETTINGS)
    after = weights(model)
    assert_bitwise(before[:6], after[:6])
    assert all((one != other).any() for one, other in zip(before[6:], after[6:], strict=True))


def test_class_weights_weigh_the_loss():
    model = toy(dropout=0.0, normalize=False)
    images, labels = TRAIN
    scores = predict_scores(model, images)
    entropy = np.logaddexp(0, np.where(labels == 1, -scores, scores))
    expected = (entropy * np.where(labels == 1, 3.0, 0.5)).mean() + float(sum(model.losses))
    rate = {"epochs": 1, "batch_size": 72, "learning_rate": 1e-12}
    frame = fit_classifier(model, TRAIN, **rate, class_weight={0: 0.5, 1: 3.0})
    assert frame.loss[1] == pytest.approx(expected, rel=FLOAT32)


def test_data_sets_train_like_arrays():
    import tensorflow as tf

    settings = SETTINGS | {"epochs": 2, "batch_size": 72}
    arrays, data_set = toy(0.0, normalize=False), toy(0.0, normalize=False)
    first = fit_classifier(arrays, TRAIN, VALIDATION, **settings)
    batches = [tf.data.Dataset.from_tensor_slices(part) for part in (TRAIN, VALIDATION)]
    second = fit_classifier(data_set, batches[0].batch(72), batches[1].batch(10), **settings)
    pd.testing.assert_frame_equal(first, second, rtol=10 * FLOAT32)  # sums in another order


def test_loss_that_is_not_finite_is_an_error_and_leaves_the_epoch_before(uninterrupted, tmp_path):
    import keras

    model = toy()

    def spoil(epoch, logs):
        if epoch == 2:
            model.get_layer("logits").bias.assign([np.nan, 0])

    broken = keras.callbacks.LambdaCallback(on_epoch_begin=spoil)
    settings = {**SETTINGS, "directory": tmp_path}
    with pytest.raises(FloatingPointError, match=r"epoch 3: the loss is not finite.*learning rate"):
        fit_classifier(model, TRAIN, VALIDATION, **settings, callbacks=[broken])
    frame = fit_classifier(toy(), TRAIN, VALIDATION, **settings)
    pd.testing.assert_frame_equal(frame, uninterrupted[1], check_exact=True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": (TRAIN[0][:5], TRAIN[1])}, r"train: the labels have the shape \(72,\)"),
        ({"train": (TRAIN[0][..., 0], TRAIN[1])}, r"train: the images.*\(None, 8, 8, 1\)"),
        ({"train": (TRAIN[0].astype("uint8"), TRAIN[1])}, "floating point"),
        ({"train": (TRAIN[0], TRAIN[1] + 1)}, "must be 0 or 1"),
        ({"train": (TRAIN[0], TRAIN[1] * 0)}, "train: every label is 0; both classes"),
        ({"train": (*TRAIN, None)}, "train has 3 parts"),
        ({"validation": (TRAIN[0], TRAIN[1] * 0 + 1)}, "validation: every label is 1"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"patience": True}, "patience is True"),
        ({"seed": -1}, "seed is -1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"multipliers": {"conv3": 0.1}}, r"multipliers\['conv3'\] fits no layer"),
        ({"multipliers": {"conv4": -0.1}}, "must be at least 0"),
    ],
)
def test_errors_name_the_argument(changed, message):
    with pytest.raises(ValueError, match=message):
        fit_classifier(toy(), **{"train": TRAIN, "validation": VALIDATION} | changed)


def test_models_that_cannot_be_trained_so_are_refused():
    import keras

    images = keras.Input((8, 8, 1))
    one_logit = keras.Model(images, keras.layers.Dense(1)(keras.layers.Flatten()(images)))
    with pytest.raises(ValueError, match="must return logits"):
        fit_classifier(one_logit, TRAIN)
    with pytest.raises(ValueError, match="must return logits"):
        predict_scores(one_logit, TRAIN[0])
    model = toy()
    model.trainable = False
    with pytest.raises(ValueError, match="no trainable weights"):
        fit_classifier(model, TRAIN)


def train_on_two_devices():
    """Print how far two replicas end from one, and the epochs of a resumed run of both."""
    import tensorflow as tf

    device = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(device, two)
    settings = SETTINGS | {"epochs": 2, "multipliers": {"conv4": 0.5}}
    one = toy(dropout=0.0, normalize=False)
    first = fit_classifier(one, TRAIN, VALIDATION, **settings)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        both = toy(dropout=0.0, normalize=False)
    second = fit_classifier(both, TRAIN, VALIDATION, **settings)
    differences = [abs(a - b).max() for a, b in zip(weights(one), weights(both), strict=True)]
    try:
        fit_classifier(both, TRAIN, batch_size=15)
    except ValueError as error:
        message = str(error)
    odd = fit_classifier(both, cases(33, 2), cases(33, 3), batch_size=16, epochs=1)
    print(
        json.dumps(
            {
                "replicas": both.distribute_strategy.num_replicas_in_sync,
                "weights": float(max(differences)),
                "measures": float(np.abs(first - second).to_numpy().max()),
                "message": message,
                "odd": bool(np.isfinite(odd.to_numpy()).all()),
            }
        )
    )


def test_two_devices_train_like_one():
    output, errors = another_process(train_on_two_devices).communicate()
    assert output, errors
    found = json.loads(output.splitlines()[-1])
    assert found["replicas"] == 2
    assert max(found["weights"], found["measures"]) < FLOAT32
    assert "2 devices must be able to share it" in found["message"]
    assert found["odd"]


# Learning rates by layer


def steps(optimizer, start, gradients):
    """Return two variables after some steps of an optimizer."""
    import keras

    layers = [keras.layers.Dense(3, use_bias=False, name=name) for name in ("conv4_a", "conv5_a")]
    for layer in layers:
        layer.build((None, 4))
        layer.kernel.assign(start)
    variables = [layer.kernel for layer in layers]
    for gradient in gradients:
        optimizer.apply([gradient, gradient], variables)
    return [variable.numpy() for variable in variables]


def test_step_is_the_multiple_of_adams():
    import keras

    rng = np.random.default_rng(0)
    start = rng.normal(size=(4, 3)).astype("float32")
    gradients = rng.normal(size=(3, 4, 3)).astype("float32")
    adam = steps(keras.optimizers.Adam(0.01), start, gradients)[0]
    still, slow = steps(discriminative_adam(0.01, {"conv4": 0, "conv": 0.3}), start, gradients)
    np.testing.assert_array_equal(still, start)  # the longer of two prefixes counts
    np.testing.assert_allclose(slow - start, 0.3 * (adam - start), rtol=1e-4)  # of differences
    plain = steps(discriminative_adam(0.01, {"head": 0.5}), start, gradients)
    assert_bitwise(plain, [adam, adam])


def test_optimizer_can_be_saved_with_its_model(tmp_path):
    import keras

    model = toy()
    multipliers = {"conv4": 0.0, "conv5": 0.1}
    fit_classifier(model, TRAIN, epochs=1, multipliers=multipliers)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.multipliers == multipliers
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(model.optimizer))
    assert copy.get_config() == model.optimizer.get_config()


def test_multiplier_of_zero_leaves_a_layer_bit_identical():
    model = toy(normalize=False)
    before = weights(model)
    fit_classifier(model, TRAIN, **SETTINGS | {"epochs": 1}, multipliers={"conv4": 0})
    after = weights(model)
    assert_bitwise(before[:2], after[:2])
    assert all((one != other).any() for one, other in zip(before[2:], after[2:], strict=True))


# Scores


def test_score_is_the_difference_of_the_logits():
    model = toy()
    images = VALIDATION[0]
    logits = model(images, training=False).numpy()
    scores = predict_scores(model, images, batch_size=7)
    assert (scores.shape, scores.dtype) == ((31,), np.float64)
    np.testing.assert_allclose(scores, logits[:, 1] - logits[:, 0], rtol=FLOAT32, atol=FLOAT32)
    turned = [predict_scores(model, np.rot90(images, k, axes=(1, 2))) for k in range(4)]
    average = predict_scores(model, images, rotations=True)
    np.testing.assert_allclose(average, np.mean(turned, axis=0), rtol=FLOAT32, atol=FLOAT32)


# Unfreezing in stages


def test_stages_are_unfrozen_one_after_the_other(tmp_path):
    from mammocourse.models import build_resnet_classifier

    def network():
        import keras

        keras.utils.set_random_seed(3)
        shape = (64, 64, 1)
        return build_resnet_classifier(shape, architecture="course", weights=None)

    rng = np.random.default_rng(0)
    train = rng.random((8, 64, 64, 1)).astype("float32"), np.arange(8) % 2
    settings = {"epochs_per_stage": 1, "learning_rate": 1e-3, "directory": tmp_path}
    model = network()
    before = {weight.path: weight.numpy() for weight in model.weights}
    frame = gradual_unfreezing(model, train, train, stages=("head", "conv5"), **settings)
    assert frame.stage.tolist() == ["head", "conv5"]
    assert frame.index.tolist() == [1, 2]
    moved = {path for w in model.weights if (w.numpy() != before[(path := w.path)]).any()}
    kernels = {path for path in before if path.startswith("conv5") and "_conv/" in path}
    assert {"logits/kernel", "logits/bias"} <= moved <= kernels | {"logits/kernel", "logits/bias"}
    assert any(path.startswith("conv5") for path in moved)  # and no BatchNormalization, no conv4

    again = network()
    stored = gradual_unfreezing(again, train, train, stages=("head", "conv5"), **settings)
    pd.testing.assert_frame_equal(stored, frame)
    assert_bitwise(weights(again), weights(model))


def test_head_of_a_cached_trunk_is_trained_from_its_memory_map(tmp_path):
    from mammocourse.models import build_resnet_classifier, cache_trunk

    model = build_resnet_classifier((64, 64, 1), architecture="course", weights=None)
    rng = np.random.default_rng(0)
    images, labels = rng.random((8, 64, 64, 1)).astype("float32"), np.arange(8) % 2
    trunk = cache_trunk(model, images, directory=tmp_path, dtype="float16")
    before = weights(model)
    frame = fit_classifier(trunk.head, (trunk.features, labels), epochs=1, learning_rate=1e-3)
    assert np.isfinite(frame.loss[1])
    assert any((one != other).any() for one, other in zip(before, weights(model), strict=True))


# Searches

GRID = {"rate": (1e-3, 1e-1), "dropout": (0.4, 0.5, 0.6)}


def value(point):
    return point["rate"] - point["dropout"]


def noted(log, objective=value):
    """Return an objective that notes in a file what it is called with."""

    def note(point):
        with Path(log).open("a") as file:
            file.write(json.dumps(point) + "\n")
        return objective(point)

    return note


def calls(log):
    return [json.loads(line) for line in Path(log).read_text().splitlines()]


def search_and_be_killed(folder):
    def objective(point):
        if len(calls(folder / "log")) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return value(point)

    search(noted(folder / "log", objective), GRID, storage=folder / "study.db")


def search_in_full(folder):
    search(noted(folder / "log"), GRID, storage=folder / "study.db")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return search(value, GRID, storage=tmp_path_factory.mktemp("whole") / "study.db", seed=5)


def test_table_has_every_combination_in_the_order_of_the_grid(whole):
    expected = [{"rate": rate, "dropout": d} for rate in GRID["rate"] for d in GRID["dropout"]]
    assert whole[["rate", "dropout"]].to_dict("records") == expected
    assert whole.value.tolist() == [value(point) for point in expected]
    assert whole.error.eq("").all()


def test_killed_search_goes_on_to_the_same_table(whole, tmp_path):
    process = another_process(search_and_be_killed, tmp_path)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    table = search(noted(tmp_path / "log"), GRID, storage=tmp_path / "study.db")
    pd.testing.assert_frame_equal(table, whole)
    done = calls(tmp_path / "log")
    assert len(done) == 7  # the third, which was killed, twice; no other
    assert done.count(done[2]) == 2


def test_finished_search_runs_nothing(whole, tmp_path):
    search(value, GRID, storage=tmp_path / "study.db")
    table = search(lambda point: pytest.fail("run again"), GRID, storage=tmp_path / "study.db")
    pd.testing.assert_frame_equal(table, whole)


def test_two_processes_share_one_search(whole, tmp_path):
    processes = [
        another_process(search_in_full, tmp_path) for _ in range(2)
    ]  # both make the file at once
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert len(calls(tmp_path / "log")) <= 7  # at the end one may run what the other has begun
    table = search(value, GRID, storage=tmp_path / "study.db")
    pd.testing.assert_frame_equal(table, whole)


def test_interrupted_combination_is_run_again(whole, tmp_path):
    def interrupted(point):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(interrupted, GRID, storage=tmp_path / "study.db")
    pd.testing.assert_frame_equal(search(value, GRID, storage=tmp_path / "study.db"), whole)


def test_failures_are_recorded_reported_and_run_again_on_request(whole, tmp_path):
    def failing(point):
        if point["dropout"] == 0.5:
            return {"value": np.nan} if point["rate"] == 1e-3 else 1 / 0
        return {"value": value(point), "epochs": 7}

    with pytest.warns(UserWarning, match="2 of 6 combinations failed"):
        table = search(failing, GRID, storage=tmp_path / "study.db")
    assert table.error[1] == "ValueError: the objective returned nan"
    assert table.error[4] == "ZeroDivisionError: division by zero"
    assert table.value.isna().tolist() == [False, True, False] * 2
    assert table.epochs.dropna().tolist() == [7] * 4
    with pytest.warns(UserWarning, match="retry_failed=True"):
        search(noted(tmp_path / "log"), GRID, storage=tmp_path / "study.db")
    assert not (tmp_path / "log").exists()
    options = {"storage": tmp_path / "study.db", "retry_failed": True}
    table = search(noted(tmp_path / "log"), GRID, **options)
    assert len(calls(tmp_path / "log")) == 2
    pd.testing.assert_frame_equal(table[whole.columns], whole)


def test_part_of_a_grid_is_drawn_and_may_be_extended(whole, tmp_path):
    some = search(noted(tmp_path / "log"), GRID, storage=tmp_path / "study.db", n_trials=2)
    pd.testing.assert_frame_equal(some, whole.loc[some.index])
    assert len(some) == len(calls(tmp_path / "log")) == 2
    rest = search(noted(tmp_path / "log"), GRID, storage=tmp_path / "study.db")
    assert len(calls(tmp_path / "log")) == 6
    pd.testing.assert_frame_equal(rest, whole)


def test_study_of_another_grid_is_refused(tmp_path):
    search(value, GRID, storage=tmp_path / "study.db", n_trials=1)
    with pytest.raises(ValueError, match=r"another grid.*Name another file"):
        search(value, GRID | {"rate": (1e-3,)}, storage=tmp_path / "study.db")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"grid": {}}, "grid is empty"),
        ({"grid": {"rate": ()}}, "grid is empty"),
        ({"n_trials": 0}, "n_trials is 0"),
    ],
)
def test_arguments_of_a_search_are_checked(changed, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        search(value, **{"grid": GRID, "storage": tmp_path / "study.db"} | changed)


def test_table_4_has_144_combinations():
    assert np.prod([len(values) for values in TABLE_4_GRID.values()]) == 144


def test_import_loads_neither_keras_nor_optuna():
    code = "import sys, mammocourse.finetuning; print({'keras', 'optuna'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
