"""Exercises of chapter 4, how a CNN computes."""

from __future__ import annotations

import math

import numpy as np

from mammocourse.check import Exercise, Mistake, Parameters


def _map_size(p: Parameters) -> int:
    return (p["pixels"] - p["kernel"]) // p["stride"] + 1


def _pooled_size(p: Parameters) -> int:
    return _map_size(p) // 2


def _parameters(p: Parameters) -> int:
    return p["kernel"] ** 2 * p["channels"] * p["filters"] + p["filters"]


def _slide(image: np.ndarray, kernel: np.ndarray, stride: int = 1) -> np.ndarray:
    """Return the 2 x 2 map at the given stride (of a larger map, its first corner)."""
    height, width = kernel.shape
    result = np.zeros((2, 2))
    for i, k in np.ndindex(2, 2):
        top, left = i * stride, k * stride
        result[i, k] = np.sum(image[top : top + height, left : left + width] * kernel)
    return result


def _image_and_kernel(rng: np.random.Generator) -> Parameters:
    image = rng.integers(1, 10, size=(4, 4))
    image[0, 0], image[1, 1], image[3, 3] = 2, 7, 9  # no two readings of the task agree
    return {"image": image.tolist(), "kernel": [[1, int(rng.integers(2, 5))], [0, -1]]}


def _image_and_gradient(rng: np.random.Generator) -> Parameters:
    image = rng.integers(0, 8, size=(3, 3))
    image[0, 0], image[2, 2] = 1, 9
    gradient = [[int(rng.integers(2, 5)), 1], [0, -int(rng.integers(5, 8))]]
    return {"image": image.tolist(), "gradient": gradient}


def _arrays(p: Parameters, second: str) -> tuple[np.ndarray, np.ndarray]:
    return np.array(p["image"], dtype=float), np.array(p[second], dtype=float)


def _adam_step(p: Parameters, correct: bool = True) -> float:
    """Return the change of the parameter in the second step, delta neglected."""
    s = 0.9 * 0.1 * p["first"] + 0.1 * p["second"]
    r = 0.999 * 0.001 * p["first"] ** 2 + 0.001 * p["second"] ** 2
    if correct:
        s, r = s / (1 - 0.9**2), r / (1 - 0.999**2)
    return -p["learning_rate"] * s / math.sqrt(r)


def _glorot_variance(p: Parameters) -> float:
    receptive = p["kernel"] ** 2
    return 2 / (receptive * p["channels"] + receptive * p["filters"])


def _dropout_variance(p: Parameters) -> float:
    return p["units"] * p["value"] ** 2 * p["rate"] / (1 - p["rate"])


EXERCISES = [
    Exercise(
        id="04-size",
        parameters=lambda rng: {
            "pixels": int(4 * rng.integers(10, 30) + 2),  # a map of odd height
            "kernel": 5,
            "stride": 2,
        },
        solution=_pooled_size,
        hint="First the convolution, with the floor; then half of that, rounded down.",
        mistakes=[
            Mistake(
                _map_size,
                "That is the map before the pooling.",
            ),
            Mistake(
                lambda p: _map_size(p) / 2,
                "The pooling, too, leaves out pixels that do not fill a window: round down again.",
            ),
            Mistake(
                lambda p: ((p["pixels"] - p["kernel"]) / p["stride"] + 1) / 2,
                "A map has a whole number of rows: pixels that do not fill a window are left out.",
            ),
            Mistake(
                lambda p: _pooled_size(p) ** 2,
                "That is the number of entries of the map; the question is its height.",
            ),
        ],
    ),
    Exercise(
        id="04-parameters",
        parameters=lambda rng: {
            "kernel": int(rng.choice([3, 5, 7])),
            "channels": int(rng.choice([8, 16, 64])),
            "filters": int(rng.choice([24, 48, 96])),
        },
        solution=_parameters,
        hint="A kernel covers all channels of its input, and each has one bias.",
        mistakes=[
            Mistake(
                lambda p: _parameters(p) - p["filters"],
                "These are the weights. What else does each kernel have?",
            ),
            Mistake(
                lambda p: p["kernel"] ** 2 * p["filters"] + p["filters"],
                "A kernel has a depth: it covers all channels of its input.",
            ),
            Mistake(
                lambda p: p["kernel"] ** 2 * p["channels"] * p["filters"] + p["channels"],
                "One bias for each kernel, not for each channel of the input.",
            ),
        ],
    ),
    Exercise(
        id="04-map",
        parameters=_image_and_kernel,
        solution=lambda p: _slide(*_arrays(p, "kernel"), stride=2),
        atol=1e-6,
        hint="Lay the kernel on rows 1 and 2, columns 1 and 2; then move it two columns on.",
        mistakes=[
            Mistake(
                lambda p: _slide(*_arrays(p, "kernel"), stride=1),
                "That is stride 1: the windows here lie side by side.",
            ),
            Mistake(
                lambda p: _slide(
                    _arrays(p, "kernel")[0], _arrays(p, "kernel")[1][::-1, ::-1], stride=2
                ),
                "You turned the kernel, as convolution in mathematics does. Networks do not.",
            ),
            Mistake(
                lambda p: _slide(*_arrays(p, "kernel"), stride=2).T,
                "Rows and columns are exchanged.",
            ),
        ],
    ),
    Exercise(
        id="04-kernel-gradient",
        parameters=_image_and_gradient,
        solution=lambda p: _slide(*_arrays(p, "gradient")),
        atol=1e-6,
        hint=(
            "Each weight meets one pixel of every window: add up these pixels, each times the "
            "window's entry of G."
        ),
        mistakes=[
            Mistake(
                lambda p: _slide(*_arrays(p, "gradient")) / 4,
                "That is an average over the windows. The windows add up.",
            ),
            Mistake(
                lambda p: _slide(_arrays(p, "gradient")[0], _arrays(p, "gradient")[1][::-1, ::-1]),
                "G is turned by 180 degrees here. That happens in the gradient of the image.",
            ),
            Mistake(
                lambda p: -_slide(*_arrays(p, "gradient")),
                "The sign belongs to the step of gradient descent, not to the gradient.",
            ),
        ],
    ),
    Exercise(
        id="04-adam",
        parameters=lambda rng: {
            "learning_rate": 0.01,
            "first": round(float(rng.uniform(1.0, 2.0)), 1),
            "second": round(float(rng.uniform(-0.8, -0.3)), 1),
        },
        solution=_adam_step,
        rtol=5e-3,
        hint="Carry s and r through both steps, correct both with t = 2, and mind the sign.",
        mistakes=[
            Mistake(
                lambda p: _adam_step(p, correct=False),
                "The bias corrections are missing: s and r started at zero.",
            ),
            Mistake(
                lambda p: -_adam_step(p),
                "A step goes against the average gradient: check the sign.",
            ),
            Mistake(
                lambda p: p["learning_rate"],
                "That would be the step if the second gradient alone counted.",
            ),
        ],
    ),
    Exercise(
        id="04-glorot",
        parameters=lambda rng: {
            "pixels": 32,
            "kernel": 3,
            "channels": int(rng.choice([3, 16, 32])),
            "filters": int(rng.choice([24, 48, 64])),
        },
        solution=lambda p: math.sqrt(_glorot_variance(p)),
        rtol=5e-3,
        hint="fan_in and fan_out count height * width * channels of the kernel.",
        mistakes=[
            Mistake(
                _glorot_variance,
                "That is the variance. A standard deviation is asked for.",
            ),
            Mistake(
                lambda p: math.sqrt(2 / (p["channels"] + p["filters"])),
                "The fans of a convolution include the height and width of the kernel.",
            ),
            Mistake(
                lambda p: math.sqrt(2 / (p["pixels"] ** 2 * p["channels"] + 30**2 * p["filters"])),
                "That is Eq. 29 taken at its word, with output units. Use the fans.",
            ),
        ],
    ),
    Exercise(
        id="04-dropout",
        parameters=lambda rng: {
            "units": int(rng.integers(20, 200)),
            "value": 0.5,
            "rate": round(float(rng.uniform(0.2, 0.4)), 2),
        },
        solution=_dropout_variance,
        rtol=5e-3,
        hint="Find the variance of one unit, x * (0 or 1 / (1 - rate)); independent ones add.",
        mistakes=[
            Mistake(
                lambda p: p["units"] * p["value"] ** 2 * p["rate"] * (1 - p["rate"]),
                "That is the variance without the inflation of the units that are kept.",
            ),
            Mistake(
                lambda p: math.sqrt(_dropout_variance(p)),
                "That is the standard deviation.",
            ),
            Mistake(
                lambda p: p["units"] * _dropout_variance(p),
                "The units are dropped independently: their variances add, without covariances.",
            ),
        ],
    ),
]
