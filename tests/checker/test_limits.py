"""Time is the learner's own: a busy machine takes none of it, imports cost none, and a stop leaves the kernel whole."""

import importlib
import subprocess
import sys
import threading
import time

import pytest
import torch

from lessons.checker import limits
from lessons.checker.check import verdict_on
from lessons.checker.limits import Limit, TooLong
from lessons.tools.all_exercises import find
from lib.layers.norm import rms_norm
from tests.exercises.rights import rights

BURN = "import time\nend = time.thread_time() + {}\nwhile time.thread_time() < end:\n    pass\n"


def busy(seconds, clock=time.thread_time):
    end = clock() + seconds
    while clock() < end:
        pass
    return "done"


@pytest.fixture
def spinning():
    """Four processes that want all of the machine."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    yield
    for other in others:
        other.kill()
        other.wait()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A function that writes a package of three modules, of which the last runs a text when it is imported."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "late_package").mkdir()
    for name, text in (("__init__", "from late_package import first, last\n"), ("first", "number = 3\n")):
        (tmp_path / "late_package" / f"{name}.py").write_text(text)

    def write(text):
        (tmp_path / "late_package/last.py").write_text(text)
        importlib.invalidate_caches()

    yield write
    for name in ("late_package", "late_package.first", "late_package.last"):
        sys.modules.pop(name, None)


def test_code_within_its_time_is_done():
    outcome = Limit(5).run(lambda: busy(0.2))
    assert outcome.value == "done" and outcome.error is None


def test_code_beyond_its_time_is_stopped_and_says_so():
    limit = Limit(0.2)
    start = time.thread_time()
    assert "ran for more than 0.2 s" in str(limit.run(lambda: busy(60)).error)
    assert time.thread_time() - start < 0.2  # to watch costs little
    assert limit.left < 0 and isinstance(limit.run(lambda: busy(60)).error, TooLong)


def test_a_loop_that_a_busy_machine_slows_is_not_said_to_wait(monkeypatch):
    monkeypatch.setattr(limits, "WAITS", 0)
    monkeypatch.setattr(limits, "PATIENCE", 0.5)
    assert "loop that never ends, or is the machine busy?" in str(Limit(30).run(lambda: busy(60)).error)
    assert "wait for something" in str(Limit(30).run(lambda: time.sleep(3)).error)


def test_several_runs_share_one_budget():
    limit = Limit(0.5)
    assert limit.run(lambda: busy(0.35)).error is None
    assert isinstance(limit.run(lambda: busy(0.35)).error, TooLong)


def test_where_threads_have_no_clock_the_process_has(monkeypatch):
    monkeypatch.delattr(time, "pthread_getcpuclockid", raising=False)
    assert Limit(5).run(lambda: busy(0.2)).value == "done"
    assert "ran for more than 0.2 s" in str(Limit(0.2).run(lambda: busy(60)).error)
    monkeypatch.setattr(limits, "PATIENCE", 1.0)
    assert "busy?" in str(Limit(0.2).run(lambda: time.sleep(3)).error)


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="threads have no clock of their own here")
def test_another_thread_takes_no_time():
    over = threading.Event()
    other = threading.Thread(target=lambda: [None for _ in iter(over.is_set, True)])
    other.start()
    try:
        assert Limit(0.5).run(lambda: busy(0.3)).value == "done"
    finally:
        over.set()
        other.join()


def test_an_import_costs_no_time(package):
    package(BURN.format(0.6))
    outcome = Limit(0.2).run(lambda: importlib.import_module("late_package").first.number)
    assert outcome.value == 3 and "late_package.last" in sys.modules


def test_a_stop_in_the_middle_of_an_import_leaves_the_kernel_whole(package, monkeypatch):
    monkeypatch.setattr(limits, "PATIENCE", 0.5)
    package("while True: pass\n")
    outcome = Limit(0.1).run(lambda: importlib.import_module("late_package"))
    assert isinstance(outcome.error, TooLong)
    assert not [name for name in sys.modules if name.startswith("late_package")]
    package("number = 4\n")  # and the next try finds all of it
    again = importlib.import_module("late_package")
    assert (again.first.number, again.last.number) == (3, 4)


def test_a_stop_leaves_no_thread_and_torch_works():
    before = threading.active_count()

    def answer():
        x = torch.ones(3, requires_grad=True)
        while True:
            x.square().sum().backward()

    assert isinstance(Limit(0.2).run(answer).error, TooLong)
    assert threading.active_count() == before
    x = torch.ones(3, requires_grad=True)
    (grad,) = torch.autograd.grad(x.square().sum(), x, create_graph=True)
    assert torch.equal(grad, 2 * torch.ones(3))


@pytest.mark.slow
def test_a_busy_machine_takes_nothing_from_an_answer(spinning):
    def slow(x, weight, eps=1e-5):
        busy(0.02)
        return rms_norm(x, weight, eps)

    found = find("02.1")
    found.limit = 1.2  # the answer takes 0.02 s, twenty times, and on the clock more than twice as much
    start = time.perf_counter()
    assert verdict_on(found, slow).right
    print(f"{time.perf_counter() - start:.1f} s on the clock")


@pytest.mark.slow
@pytest.mark.parametrize("id", ["01.4", "02.5", "04.1", "05.2", "07.4", "11.2", "12.2", "13.4"])
def test_right_answers_are_accepted_on_a_busy_machine(id, spinning):
    found = find(id)
    assert {verdict_on(found, other).status for other in rights(found.id)[:1]} == {"right"}
