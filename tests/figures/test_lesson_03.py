"""What hidden units make of two channels: the maps are what their titles say, and none gives exercise 03.4 away."""

import numpy as np

from lessons.figures import lesson_03 as figures


def test_two_gated_units_make_the_product_and_no_title_says_how(monkeypatch):
    shown = []
    monkeypatch.setattr(figures.theme, "show", lambda fig, alt: shown.append((fig, alt)))
    figures.hidden_units()
    ((fig, alt),) = shown
    a = np.linspace(-3, 3, 61, dtype=np.float32)
    maps = [np.asarray(ax.images[0].get_array()) for ax in fig.axes]
    assert np.allclose(maps[2], np.outer(a, a), atol=1e-5)
    assert np.allclose(maps[0], np.maximum(a[:, None] + a, 0), atol=1e-6)
    assert (maps[1][:, 0] ** 2 < 0.25).all() and maps[1][0, -1] < 0 < maps[1][-1, -1]
    assert not any("silu(\u2212a)" in ax.get_title() or "silu(-a)" in ax.get_title() for ax in fig.axes)
    assert alt.startswith("Three maps")
