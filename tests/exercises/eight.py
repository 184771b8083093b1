"""Which exercises the engine of the checks is tried on each time; all others have their turn at night."""

import pytest

# One of each kind: a function of tensors, of texts, of whole sequences, of a table of weights; a class with a state
# that is called in a way of its own; a training step; a recurrence; plain numbers.
EIGHT = ("00.1", "01.2", "02.1", "04.5", "05.2", "08.5", "12.2", "16.4")


def mostly_at_night(ids):
    """Return parameters of a test: those that are not of the eight carry the mark `nightly`."""
    return [pytest.param(id, marks=[] if id in EIGHT else [pytest.mark.nightly]) for id in ids]
