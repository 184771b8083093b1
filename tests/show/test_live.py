"""A training shows: one picture that changes, a text of the model's, and a still when all is done or stopped."""

import itertools
import re
from types import SimpleNamespace

import pytest

from lib.show import live


@pytest.fixture
def screens(monkeypatch):
    made = []

    class Screen:
        def __init__(self):
            self.shown, self.still = [], None
            made.append(self)

        def show(self, html):
            self.shown.append(html)

        def finish(self, still, text, live=None):
            self.still = (still, text, live)

    monkeypatch.setattr(live, "Screen", Screen)
    return made


def records(n):
    return [SimpleNamespace(step=i + 1, loss=7.0 / (i + 1)) for i in range(n)]


def test_every_record_comes_through_and_the_picture_changes_once_a_second(screens):
    clock = itertools.count(0.0, 0.25).__next__
    got = list(live.follow(iter(records(20)), 20, floor=0.3, clock=clock))
    assert [record.step for record in got] == list(range(1, 21))
    (screen,) = screens
    assert 3 <= len(screen.shown) <= 5 and "the floor, 0.30" in screen.shown[0]
    assert screen.still[1] == "20 of 20 steps; the loss went from 7.00 to 0.35 nats a token, the floor is 0.30."


def test_the_model_speaks_now_and_then_and_at_the_end(screens):
    words = iter(f"Story\n{i}." for i in range(99))
    clock = itertools.count(0.0, 1.0).__next__
    list(live.follow(iter(records(30)), 30, speak=lambda: next(words), speak_every=8, clock=clock))
    said = {text for html in screens[0].shown for text in re.findall(r"Story\n\d+", html)}
    assert len(said) >= 2 and re.search(r'The model says: "Story \d+\."', screens[0].still[1])


def test_a_stopped_training_leaves_what_there_is(screens):
    run = live.follow(iter(records(50)), 50)
    for _ in range(7):
        next(run)
    run.close()
    assert screens[0].still[1].startswith("7 of 50 steps;")


def test_the_line_falls_from_the_top_to_the_floor():
    html = live.picture([(1, 7.0), (10, 3.0), (100, 0.5)], 100, floor=0.5)
    points = [
        tuple(map(float, p.split(",")))
        for p in re.search(r'points="([^"]*)" fill="none" stroke="#0072B2"', html)[1].split()
    ]
    assert [x for x, _ in points] == sorted(x for x, _ in points) and [y for _, y in points] == sorted(
        y for _, y in points
    )
    floor = re.search(r'points="([^"]*)" fill="none" stroke="#2B2B2B"', html)[1]
    assert float(floor.split()[0].split(",")[1]) == points[-1][1]


def test_a_curve_of_one_point_and_a_long_one():
    assert "step 1 of 10" in live.picture([(1, 2.0)], 10)
    long = live.thinned([(i, 1.0) for i in range(1, 5001)])
    assert len(long) <= 200 and long[-1] == (5000, 1.0) and all(loss == pytest.approx(1.0) for _, loss in long)
