"""The pictures of training: what is drawn is what was given."""

import numpy as np
import pytest

from lib.show import training


def test_smooth_keeps_a_constant_and_the_first_value_and_lags_by_a_tenth():
    assert np.allclose(training.smooth([3.0] * 50), 3.0)
    ramp = training.smooth(np.arange(200.0))
    assert ramp[0] == 0.0
    assert ramp[199] == pytest.approx(np.arange(180, 200).mean())  # the last twenty of two hundred


def test_the_descent_shows_the_curve_the_floor_and_the_start():
    fig = training.draw_descent([(1, 7.0), (10, 4.0), (100, 1.0)], 0.5, start=6.9, notes={"bend": 10})
    curve, *dashed = fig.axes[0].lines
    assert np.allclose(curve.get_xydata(), [(1, 7.0), (10, 4.0), (100, 1.0)])
    assert {line.get_ydata()[0] for line in dashed[:2]} == {0.5, 6.9}
    assert "0.50" in fig.alt_text and len(fig.alt_text) > 20
