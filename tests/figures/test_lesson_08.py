"""The figure of lesson 08 shows a descent, and one that flies off."""

import numpy as np

from lessons.figures import lesson_08 as figures


def test_the_valley_cuts_what_flies_off():
    fig = figures.draw_valley([(-4.0, 1.0), (1e30, -1e30)], alt="A path that leaves the picture at once.")
    assert np.isfinite(fig.axes[0].lines[0].get_xydata()).all()
