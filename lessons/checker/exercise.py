"""What is known about one exercise: its reference, the calls to compare, and the mistakes that have a name."""

import torch

from lessons.checker.observe import Case, copies


class Exercise:
    """What is known about one exercise. The decorated function gets it as `e` and adds to it.

    call(answer, *inputs): how a case is run, where it is not answer(*inputs). tolerance: share of the largest number;
    None takes the dtype's. dtypes: in which the first case is run again. gradients: compare them too, where the
    reference has any. time = (input, axis): where tokens lie, for the hint on looking ahead. batch: which inputs have
    rows. limit: seconds for all of the learner's runs. seed: of the cases' random numbers; grading takes a secret one.
    """

    def __init__(self, id, reference, points=1, kind=None, call=None, tolerance=None, dtypes=(torch.float64,),
                 gradients=True, time=None, batch=(), limit=10.0, seed=0):  # fmt: skip
        self.id, self.reference, self.points = id, reference, points
        self.kind = kind or ("implement" if callable(reference) else "predict")
        self.call, self.tolerance, self.dtypes, self.gradients = call, tolerance, dtypes, gradients
        self.time, self.batch, self.limit = time, batch, limit
        self.cases, self.mistakes, self.choices, self.range = [], [], (), None
        self.memory = {}  # what the reference and the mistakes showed
        self._generator = torch.Generator().manual_seed(seed)

    def randn(self, *shape, dtype=torch.float32):
        """Random normal numbers, the same in every run."""
        return torch.randn(*shape, generator=self._generator, dtype=torch.float64).to(dtype)

    def randint(self, high, *shape):
        """Random whole numbers from 0 to high - 1, the same in every run."""
        return torch.randint(high, shape, generator=self._generator)

    def size(self, low, high):
        """A random whole number from low to high, for cases whose inputs are plain numbers."""
        return int(torch.randint(low, high + 1, (), generator=self._generator))

    def case(self, name, *inputs, build=None, call=None, hint="", **keywords):
        """Add a call to compare. build: the arguments that a class is built with. hint: what failing here means."""
        self.cases.append(Case(name, copies(inputs), keywords, build, call, hint))

    def mistake(self, hint, wrong):
        """Add a wrong answer and the hint for whoever gives the same: a function, a class, or a number."""
        self.mistakes.append((hint, wrong))

    def between(self, low, high):
        """Accept every measured number from low to high."""
        self.range = (low, high)

    def choose(self, *choices):
        """Accept one of these words only."""
        self.choices = choices
