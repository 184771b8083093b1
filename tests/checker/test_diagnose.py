"""What a wrong answer looks like is told only where it fits what was seen."""

import torch

from lessons.checker.check import verdict_on
from lessons.checker.diagnose import ALONE, FLOAT32, LEAK, SMALL
from lessons.checker.exercise import Exercise
from lessons.checker.observe import CONTIGUOUS, IN_PLACE
from lessons.tools.all_exercises import find


def sums(x):
    """(B, T) -> (B, T): the sum so far."""
    return x.cumsum(1)


def exercise(*mistakes, reference=sums, cases=3, **options):
    made = Exercise("99.1", reference, time=(0, 1), batch=(0,), **options)
    for T in (7, 4, 1)[:cases]:
        made.case(f"{T} tokens", made.randn(3, T))
    for hint, wrong in mistakes:
        made.mistake(hint, wrong)
    return made


def in_place(x):
    total, rows = torch.zeros_like(x[:, 0]), []
    for t in range(x.shape[1]):
        total += x[:, t]
        rows.append(total.square().sqrt() * total.sign())  # its backward needs what is overwritten
    return torch.stack(rows, 1)


def test_in_place_in_backward_is_not_taken_for_a_batch_that_mixes():
    verdict = verdict_on(exercise(), in_place)
    assert "the numbers are right, but in backward it raises" in verdict.text and verdict.hint == IN_PLACE


def test_in_place_goes_before_a_batch_that_mixes():
    def wrong(x):
        x += x.sum(0, keepdim=True)
        return x.cumsum(1)

    assert verdict_on(exercise(), wrong).hint == IN_PLACE


def test_a_wrong_gradient_is_not_taken_for_a_batch_that_mixes():
    verdict = verdict_on(exercise(), lambda x: sums(x.detach() / 2 + x / 2))
    assert "the gradient of x: largest difference" in verdict.text and verdict.hint == ""


def test_a_gradient_that_is_zero_in_truth_may_be_rounding():
    """A number that is added to all scores cancels in their softmax: its gradient is zero, or what rounding leaves."""
    made = exercise(reference=lambda x, c: x.softmax(1) + 0 * c, cases=0, dtypes=())
    made.case("5 tokens", 3 * made.randn(3, 5), made.randn(1))
    assert verdict_on(made, lambda x, c: (x + c).softmax(1)).right
    wrong = verdict_on(made, lambda x, c: x.softmax(1) + 1e-4 * (c - c.detach()))
    assert "the gradient of" in wrong.text and not wrong.right


def test_a_batch_that_mixes_and_a_leak_are_told():
    assert verdict_on(exercise(), lambda x: sums(x) + x[:1] - x[-1:]).hint == ALONE
    assert verdict_on(exercise(), lambda x: sums(x) + x.sum(1, keepdim=True)).hint == LEAK


def test_rounding_is_no_known_mistake():
    made = exercise(("the first token is counted a little more.", lambda x: sums(x) + 3e-9))
    single = verdict_on(made, lambda x: sums(x.float()).to(x.dtype))
    assert "nearly" in single.text and single.hint == FLOAT32
    assert verdict_on(made, lambda x: sums(x) + 1e-7).hint == SMALL


def test_near_the_limit_a_mistake_explains_nothing():
    """2.4e-5, 2e-5 are allowed: the listed one, on the other side of the right one, lies less than twice that away."""
    made = exercise(("listed.", lambda x: x + 0.9e-5), reference=lambda x: x, cases=1, dtypes=())
    made.cases[0].inputs[0].clamp_(-0.9, 0.9)[0, 0] = 1.0
    assert verdict_on(made, lambda x: x + 2.4e-5).hint == ""
    assert verdict_on(made, lambda x: x + 1.2e-5).right
    made.mistake("twice as much.", lambda x: x + 2.5e-5)
    assert verdict_on(made, lambda x: x + 2.4e-5).hint == "twice as much."


def test_a_mistake_that_is_wrong_where_the_answer_is_right_is_not_named():
    made = exercise(("nothing is summed.", lambda x: x))
    assert verdict_on(made, lambda x: x if x.shape[1] == 7 else sums(x)).hint == ""
    assert verdict_on(made, lambda x: x).hint == "nothing is summed."


def test_of_two_that_explain_as_much_the_more_specific_is_named():
    def first_of_long(x):
        return x if x.shape[1] == 7 else sums(x)

    def also_nothing(x):
        return x if x.shape[1] == 7 else sums(x) * (2 if x.shape[1] == 4 else 1)

    def third(x):
        return x if x.shape[1] == 7 else sums(x) * (3 if x.shape[1] == 4 else 1)

    made = exercise(("double.", also_nothing), ("the first only.", first_of_long))
    assert verdict_on(made, third).hint == "the first only."


def test_an_error_fits_where_its_message_does():
    def fails(words):
        def wrong(x):
            raise ValueError(words)

        return wrong

    made = exercise(("the rows are empty.", fails("no row in 'x'")))
    assert verdict_on(made, fails("no row in 'y'")).hint == "the rows are empty."
    assert verdict_on(made, fails("too many rows")).hint == ""


def test_words_that_agree_once_in_many_cases_say_little():
    made = Exercise("99.2", lambda n: list(range(n)))
    for n in (1, 2, 3, 4, 5):
        made.case(f"{n} numbers", n)
    made.mistake("always one.", lambda n: [1])
    made.mistake("one too many.", lambda n: list(range(n + 1)))
    assert verdict_on(made, lambda n: [1] if n == 1 else list(range(n))[::-1]).hint == ""
    assert verdict_on(made, lambda n: list(range(n + 1))).hint == "one too many."


def test_a_cases_own_hint_is_told_where_it_alone_fails():
    made = exercise()
    made.case("no tokens", torch.zeros(3, 0), hint="nothing comes in.")
    alone = verdict_on(made, lambda x: sums(x) if x.shape[1] else torch.zeros(3, 5))
    assert alone.hint == "nothing comes in."
    assert verdict_on(made, lambda x: 2 * sums(x) if x.shape[1] else torch.zeros(3, 5)).hint == ""


def test_not_contiguous_has_its_hint():
    assert verdict_on(exercise(), lambda x: sums(x.view(-1).view(x.shape))).hint == CONTIGUOUS


def test_slips_of_lessons_that_had_a_misleading_hint():
    def shared_state(q, k, v, state=None):
        S = torch.zeros(*k.shape[:2], k.shape[-1], v.shape[-1], dtype=q.dtype) if state is None else state
        ys = []
        for t in range(q.shape[2]):
            S += k[:, :, t, :, None] * v[:, :, t, None, :]
            ys.append((q[:, :, t, None, :] @ S)[:, :, 0])
        return torch.stack(ys, 2), S

    def all_of_it(old, new, window):
        return new if old is None else torch.cat([old[:, :, -(window - 1) :], new], 2)

    def never_the_last_pair(symbols, ranks):
        symbols = list(symbols)
        while known := [pair for pair in list(zip(symbols, symbols[1:], strict=False))[:-1] if pair in ranks]:
            left, right = min(known, key=ranks.get)
            i = list(zip(symbols, symbols[1:], strict=False)).index((left, right))
            symbols[i : i + 2] = [left + right]
        return symbols

    assert "`+=`" in verdict_on(find("11.1"), shared_state).hint
    assert verdict_on(find("05.4"), all_of_it).hint != "nothing is thrown away."
    assert "first pair from the left" not in verdict_on(find("01.2"), never_the_last_pair).text


def test_a_result_of_another_shape_is_not_taken_for_a_leak():
    assert verdict_on(exercise(), lambda x: torch.stack([sums(x), sums(x)], 1)).hint == ""


def test_a_missing_attribute_is_known_by_its_name_and_by_what_lacks_it():
    made = exercise(("torch has no `.sums`.", lambda x: x.sums()))
    assert verdict_on(made, lambda y: y.sums()).hint == "torch has no `.sums`."
    assert verdict_on(made, lambda x: x.sum_so_far()).hint == ""
    assert verdict_on(made, lambda x: None.sums()).hint == ""


def test_an_input_without_gradient_may_not_be_used_at_all():
    made = Exercise("99.3", lambda x, c: x * c)
    made.case("3 numbers", made.randn(3), torch.ones(3))
    assert "not used at all" in verdict_on(made, lambda x, c: x * 1).hint
