"""The count of written numbers is the sum of the sizes of what operations return, views left out."""

import torch

from lib.teach.written import numbers_written


def test_results_count_and_views_do_not():
    x = torch.randn(5, 4)
    assert numbers_written(lambda: x + 1) == 20
    assert numbers_written(lambda: (x + 1) @ x.T) == 20 + 25
    assert numbers_written(lambda: x.T[1:].reshape(3, 5, 1)[0]) == 0
    assert numbers_written(lambda: x.unbind(0)) == 0
    assert numbers_written(lambda: torch.stack(x.unbind(0))) == 20


def test_a_loop_that_indexes_writes_the_square_on_its_way_back():
    def back(take, T):
        x = torch.randn(T, 3, requires_grad=True)
        total = sum(take(x))
        return numbers_written(total.sum().backward)

    for take, low, high in ((lambda x: x.unbind(0), 1.9, 2.1), (lambda x: [x[t] for t in range(len(x))], 3.8, 4.1)):
        assert low < back(take, 200) / back(take, 100) < high
