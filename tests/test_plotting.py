"""What the figure helpers promise: scales, shapes and cues besides color."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from mammocourse.plotting import (
    plot_classes,
    plot_coefficients,
    plot_images,
    plot_intervals,
    plot_numbers,
    plot_shapes,
    use_course_style,
)
from tolerances import FLOAT64


@pytest.fixture(autouse=True)
def _course_style():
    with mpl.rc_context():
        use_course_style()
        yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.subplots()[1]


def test_all_text_is_at_least_ten_points():
    sizes = [
        plt.rcParams[key]
        for key in ("font.size", "axes.titlesize", "axes.labelsize", "legend.fontsize")
    ]
    sizes += [plt.rcParams["xtick.labelsize"], plt.rcParams["ytick.labelsize"]]
    assert min(sizes) >= 10


def test_lines_differ_in_style_as_well_as_in_color(ax):
    lines = [ax.plot([0, 1], [k, k])[0] for k in range(6)]
    assert len({str(line.get_color()) for line in lines}) == 6
    styles = {str(entry["linestyle"]) for entry in plt.rcParams["axes.prop_cycle"]}
    assert len(styles) == 6


def test_images_share_one_gray_scale():
    figure = plot_images(np.stack([np.full((4, 4), 10), np.full((4, 4), 250)]))
    assert {image.get_clim() for axes in figure.axes for image in axes.images} == {(10, 250)}


def test_images_fill_rows_of_the_given_length():
    figure = plot_images(np.zeros((7, 4, 4)), titles=list("abcdefg"), columns=3)
    assert len(figure.axes) == 9
    assert [axes.get_title() for axes in figure.axes if axes.images] == list("abcdefg")


@pytest.mark.parametrize("shape", [(28, 28), (0, 28, 28), (2, 28, 28, 1)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="images has shape"):
        plot_images(np.zeros(shape))


def test_every_image_needs_its_title():
    with pytest.raises(ValueError, match="titles has 1 entries for 2 images"):
        plot_images(np.zeros((2, 4, 4)), titles=["one"])


def test_zero_is_the_middle_of_the_coefficient_scale(ax):
    image = plot_coefficients(np.array([-1.0, 0.0, 2.0, 3.0]), (2, 2), ax=ax)
    assert image.get_clim() == (-3.0, 3.0)
    red, green, blue, _ = image.cmap(image.norm(0.0))
    assert min(red, green, blue) > 0.95


def test_coefficients_of_zero_keep_a_scale(ax):
    assert plot_coefficients(np.zeros(4), (2, 2), ax=ax).get_clim() == (-1.0, 1.0)


def test_regions_of_either_sign_have_outlines_of_their_own(ax):
    grid = np.zeros((5, 5))
    grid[1, 1], grid[3, 3] = -5.0, 4.0
    plot_coefficients(grid, (5, 5), ax=ax, outline=0.5)
    levels = {float(lines.levels[0]): lines.get_linestyle()[0] for lines in ax.collections}
    assert set(levels) == {2.5, -2.5}
    (_, solid), (_, dashed) = levels[2.5], levels[-2.5]
    assert solid is None
    assert dashed is not None


def test_without_outlines_there_are_none(ax):
    plot_coefficients(np.array([1.0, -1.0, 0.0, 0.0]), (2, 2), ax=ax, outline=1)
    assert len(ax.collections) == 0


def test_an_outline_is_a_share(ax):
    with pytest.raises(ValueError, match="outline is 30"):
        plot_coefficients(np.zeros(4), (2, 2), ax=ax, outline=30)


def test_coefficients_with_the_intercept_are_refused(ax):
    with pytest.raises(ValueError, match="Leave out the intercept"):
        plot_coefficients(np.zeros(785), ax=ax)


def test_infinite_coefficients_are_refused(ax):
    with pytest.raises(ValueError, match="not finite"):
        plot_coefficients(np.array([1.0, np.inf, 0.0, 0.0]), (2, 2), ax=ax)


def test_classes_differ_in_shape_as_well_as_in_color(ax):
    plot_classes(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0, 1]), ax=ax, names=("no", "yes"))
    zeros, ones = ax.lines
    assert zeros.get_color() != ones.get_color()
    assert zeros.get_marker() != ones.get_marker()
    assert [text.get_text() for text in ax.legend().get_texts()] == ["no", "yes"]


def test_a_third_class_is_refused(ax):
    with pytest.raises(ValueError, match="0 and 1 only"):
        plot_classes(np.zeros((2, 2)), np.array([1, 2]), ax=ax)


def test_intervals_reach_from_low_to_high_with_the_first_on_top(ax):
    plot_intervals(["a", "b"], [0.5, 0.7], [0.4, 0.6], [0.8, 0.9], xlabel="accuracy", ax=ax)
    segments = ax.collections[0].get_segments()
    np.testing.assert_allclose(segments, [[[0.4, 1], [0.8, 1]], [[0.6, 0], [0.9, 0]]], rtol=FLOAT64)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b"]


def test_an_estimate_outside_its_interval_is_refused(ax):
    with pytest.raises(ValueError, match="'b' lies outside"):
        plot_intervals(["a", "b"], [0.5, 0.7], [0.4, 0.8], [0.8, 0.9], xlabel="accuracy", ax=ax)


def test_a_table_of_numbers_leaves_nan_empty_and_outlines_the_window(ax):
    plot_numbers(np.array([[1.0, np.nan], [-2.5, 0.125]]), window=(1, 0, 1, 2), ax=ax)
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written == {(0, 0): "1", (0, 1): "\N{MINUS SIGN}2.5", (1, 1): "0.125"}
    (frame,) = ax.patches
    assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((-0.5, 0.5), 2, 1)


def test_a_table_needs_two_dimensions(ax):
    with pytest.raises(ValueError, match=r"\(rows, columns\)"):
        plot_numbers(np.zeros(3), ax=ax)


def test_shapes_are_boxes_of_their_height():
    figure = plot_shapes([(28, 28, 1), (14, 14, 8), (10,)], ["image", "map", "vector"])
    heights = [box.get_height() for box in figure.axes[0].patches if hasattr(box, "get_height")]
    assert heights[:2] == [1.0, 0.5]
    assert {"28 \N{MULTIPLICATION SIGN} 28 \N{MULTIPLICATION SIGN} 1", "10"} <= {
        text.get_text() for text in figure.axes[0].texts
    }
    plt.close(figure)


def test_every_shape_has_a_name():
    with pytest.raises(ValueError, match="1 entries for 2 shapes"):
        plot_shapes([(2,), (3,)], ["a"])
