"""A process that has torch in memory and starts training runs that die: a fork costs milliseconds, a start seconds.

Called by test_survival: `python -m tests.run.mortal FOLDER`. It prints one JSON object, what it saw.
"""

import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

import torch

from lib.run.checkpoint import Keep
from lib.run.train import Recipe, train
from lib.weights import sealed
from lib.weights.sealed import read_sealed
from tests.run.tiny import counting, tiny_llama

RECIPE = Recipe(steps=40, warmup=5, learning_rate=0.01)
KILLS = 50


def live(folder, aim=None):
    """Train to the end with a checkpoint a step, and append each step's numbers to a file. `aim`: see `Aimed`."""
    if aim is not None:
        Aimed(aim).lie_in_wait()
    model = tiny_llama(seed=random.SystemRandom().randrange(1000) if (folder / "run.pt").exists() else 0)
    lines = os.open(folder / "lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for record in train(
        model, counting(), RECIPE, dtype="float32", device="cpu", checkpoint=Keep(folder / "run.pt", None, 1)
    ):
        values = [record.loss, record.grad_norm, record.learning_rate]
        os.write(lines, f"{record.step} {' '.join(value.hex() for value in values)} {record.tokens}\n".encode())
    return model


class Aimed:
    """Kills its own process just before file operation number `at` of the saves: writes, flushes, moves."""

    def __init__(self, at):
        self.left = at

    def lie_in_wait(self):
        """Put itself before everything by which a checkpoint reaches the disk."""
        os.fsync, os.replace = self.before(os.fsync), self.before(os.replace)
        sealed._Through.write = self.before(sealed._Through.write)

    def before(self, operation):
        """Return the operation with death before it, when its time has come."""

        def shot(*arguments):
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*arguments)

        return shot


def spend(folder, seconds=None, aim=None):
    """Fork one life and kill it after so many seconds; return whether it was killed, else it came to its end."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ready)
        os.write(tell, b".")
        try:
            live(folder, aim)
            os._exit(0)
        except BaseException as error:  # a child must never go on as a second server
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
    os.close(tell)
    os.read(ready, 1)
    if seconds is not None:
        select.select([ready], [], [], seconds)  # the pipe closes when the child ends
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(ready)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        raise RuntimeError(f"a life ended with exit code {os.WEXITSTATUS(status)}")
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def result(folder):
    """Return what a finished run left: the numbers of each step (all that were ever written), and the checkpoint."""
    steps = {}
    for line in (folder / "lines").read_text().splitlines():
        step, values = line.split(" ", 1)
        steps[int(step)] = steps.get(int(step), frozenset()) | {values}  # a step may be done again: one value, or two
    kept = read_sealed(folder / "run.pt")
    return steps, kept["model"], kept["optimizer"]["parts"][0]["state"]


def same(ours, theirs):
    """Say whether two results are equal to the bit, every number that was ever written among them."""
    steps, model, moments = ours
    return (
        steps.items() <= theirs[0].items()  # one that died between its save and its line never says it
        and all(torch.equal(model[name], theirs[1][name]) for name in theirs[1])
        and all(torch.equal(moments[i][name], theirs[2][i][name]) for i in theirs[2] for name in theirs[2][i])
    )


def main(folder):
    """Kill at random moments until 50 lives are gone, then before file operations of a save; print what was seen."""
    torch.set_num_threads(1)
    torch.optim.AdamW([torch.zeros(1)])  # the first one imports for seconds; a child shall find it done
    begun, dice = time.monotonic(), random.Random(0)
    spend(new(folder / "whole"))
    whole, length = result(folder / "whole"), time.monotonic() - begun  # of a life that nobody ends
    kills = runs = equal = 0
    while kills < KILLS:
        run, runs = new(folder / f"run-{runs}"), runs + 1
        while killed := spend(run, dice.uniform(0, length / 2) if kills < KILLS else None):
            kills += killed
        equal += same(result(run), whole)
    run = new(folder / "aimed")
    n = operations_of_a_save(run)
    aims = [2 * n, *range(0, n - 8, max(1, n // 16)), *range(n - 8, n + 3)]  # among the last ones are the moves
    aimed = sum(spend(run, aim=aim) for aim in aims)
    spend(run)
    seen = {"kills": kills, "runs": runs, "equal": equal, "aims": len(aims), "aimed": aimed}
    seen["equal_aimed"] = same(result(run), whole)
    print(json.dumps(seen | {"seconds": time.monotonic() - begun, "one_life": length, "steps": len(whole[0])}))


def operations_of_a_save(folder):
    """Return how many file operations one save takes."""
    counter = Aimed(10**9)
    kept = (os.fsync, os.replace, sealed._Through.write)
    counter.lie_in_wait()
    next(
        train(
            tiny_llama(), counting(), RECIPE, dtype="float32", device="cpu", checkpoint=Keep(folder / "run.pt", None, 1)
        )
    )
    os.fsync, os.replace, sealed._Through.write = kept
    return 10**9 - counter.left


def new(folder):
    """Make a folder and return it."""
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    main(Path(sys.argv[1]))
