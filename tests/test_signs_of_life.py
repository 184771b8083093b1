"""A cell that trains for more than a moment shows that it does: a bar, or the live picture."""

import ast
from pathlib import Path

import jupytext
import pytest

SOURCES = sorted((Path(__file__).resolve().parents[1] / "lessons" / "source").glob("[0-9][0-9]_*.py"))
SIGNS = ("tqdm", "trange", "follow")
MOMENT = 100  # steps of a few small matrices
SHORT = {"03_swiglu": "one run takes a second or two, and the many runs have a bar"}


def blind(code):
    """Return the loops of a cell that compute gradients again and again, and show nothing while they do."""
    found = []

    def visit(node, shown):
        if isinstance(node, ast.For | ast.comprehension):
            shown = shown or any(sign in ast.unparse(node.iter) for sign in SIGNS)
        if isinstance(node, ast.For) and not shown and ast.unparse(node.iter).startswith("range(") and trains(node):
            last = node.iter.args[-1]
            if not (isinstance(last, ast.Constant) and last.value <= MOMENT):
                found.append(ast.unparse(node.iter))
        for child in ast.iter_child_nodes(node):
            visit(child, shown)

    visit(ast.parse(code), False)
    return found + bare(code)


def trains(loop):
    """Say whether a loop computes gradients."""
    return any(isinstance(node, ast.Attribute) and node.attr in ("backward", "grad") for node in ast.walk(loop))


def bare(code):
    """Return what takes all records of lib's `train` at once, and shows none."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    taken = [ast.unparse(call) for call in calls if ast.unparse(call.func) == "list" and call.args]
    return [words for words in taken if words.startswith("list(train(")]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_no_cell_trains_in_silence(source):
    cells = jupytext.read(source, fmt="py:percent").cells
    found = [loop for cell in cells if cell.cell_type == "code" for loop in blind(cell.source)]
    assert found == [] or source.stem in SHORT, found


@pytest.mark.parametrize(
    ("code", "n"),
    [
        ("for step in range(steps):\n    loss.backward()", 1),
        ("for _ in range(300):\n    g = torch.autograd.grad(f(x), x)", 1),
        ("for step in trange(steps, leave=False):\n    loss.backward()", 0),
        ("for one in tqdm(runs):\n    for step in range(300):\n        loss.backward()", 0),
        ("for _ in range(100):\n    loss.backward()", 0),
        ("for i in range(n):\n    print(i)", 0),
        ("records = list(train(model, batches, plan))", 1),
        ("records = list(follow(train(model, batches, plan), plan.steps))", 0),
    ],
)
def test_a_blind_loop_is_seen(code, n):
    assert len(blind(code)) == n
