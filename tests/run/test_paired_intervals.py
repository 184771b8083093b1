"""Student's t against the printed table (Abramowitz and Stegun, table 26.10), and intervals by hand."""

import math

import pytest

from lib.run.paired import p_value, t_interval, t_value, within

# degrees of freedom -> the t that |T| stays below in 95 % and in 99 % of all cases
TABLE = {1: (12.706, 63.657), 2: (4.303, 9.925), 3: (3.182, 5.841), 4: (2.776, 4.604), 7: (2.365, 3.499),
         10: (2.228, 3.169), 29: (2.045, 2.756), 120: (1.980, 2.617)}  # fmt: skip


@pytest.mark.parametrize("df", TABLE)
def test_the_printed_table(df):
    assert [round(t_value(df, share), 3) for share in (0.95, 0.99)] == list(TABLE[df])


def test_many_degrees_of_freedom_are_the_normal_distribution():
    assert within(1.0, 4000) == pytest.approx(math.erf(1 / math.sqrt(2)), abs=1e-4)


def test_an_interval_by_hand():
    mean, half = t_interval([1.0, 2.0, 3.0])
    assert mean == 2 and half == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)
    assert not t_interval([-1.0, 1.0, 0.5]).clear and t_interval([1.0, 1.1, 0.9]).clear


def test_the_interval_and_the_test_agree():
    values = [0.3, 0.1, 0.5, 0.2]
    share = 1 - p_value(values)
    assert t_interval(values, share).half == pytest.approx(t_interval(values).mean, rel=1e-6)


def test_what_has_no_spread_is_refused():
    with pytest.raises(ValueError, match="1 numbers"):
        t_interval([1.0])
    with pytest.raises(ValueError, match="whole number"):
        t_value(0)
    with pytest.raises(ValueError, match="at most 0.99"):
        t_value(3, 1.0)
