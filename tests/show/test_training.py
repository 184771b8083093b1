"""The pictures of training: what is drawn is what was given, and the README's figure comes from a record."""

import json
import math

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


def test_the_readme_figure_is_in_bits_a_byte(tmp_path, monkeypatch):
    drawn = []
    draw = training.draw_descent
    monkeypatch.setattr(training, "draw_descent", lambda *a, **k: drawn.append(a) or draw(*a, **k))
    record = {"curve": [[1, 2 * math.log(2)], [9, math.log(2)]], "bytes_per_token": 2.0}
    (tmp_path / "record.json").write_text(json.dumps(record), encoding="utf-8")
    training.save_descent(tmp_path, tmp_path / "floor.png", 0.2)
    assert np.allclose(drawn[0][0], [(1, 1.0), (9, 0.5)]) and drawn[0][1] == 0.2
    assert (tmp_path / "floor.png").read_bytes().startswith(b"\x89PNG")


def test_a_record_without_a_curve_is_named(tmp_path):
    (tmp_path / "record.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="bytes_per_token, curve"):
        training.save_descent(tmp_path, tmp_path / "floor.png", 0.2)
