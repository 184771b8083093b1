"""What the checks of lesson 07 refuse in words of their own: no listed mistake shows these."""

import torch

from lessons.checker.check import verdict_on
from lessons.exercises.lesson_07 import SMALL, checks, count
from lessons.exercises.lesson_07_wrong import assemble, wrong_model
from lib.models.llama import Llama
from lib.models.skeleton import State


def words(id, answer):
    """Return what a check says to a wrong answer, as one line."""
    verdict = verdict_on(checks.find(id), answer)
    assert not verdict.right
    return " ".join(verdict.text.split())


def written_into(model, tokens, state=None):
    """Right logits, but the list of the state that came in is overwritten."""
    logits, new = assemble(model, tokens, state)
    if state:
        state.layers[:] = new.layers
    return logits, new


def test_a_state_that_is_overwritten_is_refused():
    assert "writes into the state that came in" in words("07.2", wrong_model(written_into))
    assert "writes into the state that came in" in words("07.5", written_into)


def test_logits_alone_and_a_state_of_another_kind_are_refused():
    assert "must return two things" in words("07.2", wrong_model(lambda *given: assemble(*given)[0]))
    assert "must be the new state" in words("07.2", wrong_model(lambda *given: (assemble(*given)[0], None)))
    pair = wrong_model(lambda *given: (assemble(*given)[0], tuple(assemble(*given)[1])))
    assert "must be the new state" in words("07.2", pair)


def test_a_count_by_building_the_model_is_stopped_before_it_fills_the_memory():
    said = words("07.4", lambda config: sum(weight.numel() for weight in Llama(config).parameters()))
    assert "it builds a tensor of" in said


def test_a_count_that_is_a_float_is_refused():
    assert "it is a float" in words("07.4", lambda config: float(count(config)))


def test_a_state_is_what_the_watch_takes_it_for():
    logits, state = Llama(SMALL)(torch.zeros(1, 3, dtype=torch.long))
    assert isinstance(state, State) and len(state.layers) == SMALL.n_layers
