"""Run code that nobody has read before: within a time, with its prints held back, its errors told in words."""

import contextlib
import ctypes
import functools
import io
import linecache
import random
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lessons.checker.kernel import put_modules_back, unfinished_imports

LOOKS = 0.02  # seconds between two looks at code that runs
WAITS, PATIENCE = 6, 60.0  # on the clock code may take so many times its processor time, and so many seconds at least

ENDLESS = "ran for more than {:g} s and was stopped: is there a loop that never ends?"
WAITING = (
    "was not done after {:g} s on the clock and was stopped: does it wait for something, or is the machine busy? "
    "If it is busy, run this cell again."
)
SLOW = (
    "was not done after {:g} s on the clock and was stopped: is there a loop that never ends, or is the machine busy? "
    "If it is busy, run this cell again."
)


class TooLong(BaseException):
    """Raised inside code that ran past its time. Not an Exception, so that `except Exception` lets it through."""


class InWords(Exception):
    """An error of ours whose message is already a sentence for the learner."""


class Outcome(NamedTuple):
    """What a run gave: a value, or the error that ended it."""

    value: object
    error: BaseException | None


class Sink(io.TextIOBase):
    """Keeps the first characters of what is printed, and counts the lines of the rest."""

    def __init__(self, room=2000):
        super().__init__()
        self.room, self.kept, self.lines = room, "", 0

    def write(self, text):
        """Take text as sys.stdout would."""
        text = str(text)
        self.kept += text[: max(0, self.room - len(self.kept))]
        self.lines += text.count("\n")
        return len(text)


class Limit:
    """A budget for code that may never end: seconds of processor time, whatever else the machine does meanwhile.

    Time spent in imports is free: what torch imports late costs seconds, once. On the clock far more is allowed, a
    minute at least: code may wait, and the machine be busy. `.printed` says in words what was printed meanwhile.
    """

    def __init__(self, seconds=10.0):
        self.seconds, self.left, self.sink = seconds, seconds, Sink()

    def run(self, function):
        """Call function() in a thread of its own and return its Outcome; whatever happens, the caller goes on.

        A Python loop is stopped by an exception set from here; it works on every platform. A single long call into C
        can't be stopped: its thread is left behind, as a daemon. Modules are put back, and what a stop cut is dropped.
        """
        result, clocks, done = [], [], threading.Event()

        def work():
            with contextlib.suppress(TooLong):  # a second one may come when the first has done its work
                try:
                    clocks.append(own_clock())
                    result.append(outcome_of(function))
                finally:
                    done.set()

        thread = threading.Thread(target=work, daemon=True)
        modules, cut = sys.modules.copy(), set()
        with contextlib.redirect_stdout(self.sink), contextlib.redirect_stderr(self.sink):
            thread.start()
            try:
                too_long = self.watch(thread, clocks, done)
            finally:
                if not done.is_set():
                    cut = stop(thread, done)
                    thread.join(0.2)
                put_modules_back(modules, cut)
        if too_long or not result:  # without a result it was stopped from elsewhere
            return Outcome(None, too_long or TooLong("was stopped."))
        return result[0]

    def watch(self, thread, clocks, done):
        """Wait until a thread is done: return None; or until its time is over: return TooLong, in words."""
        self.left, last, start = max(0.05, self.left), None, time.perf_counter()
        whole = self.left
        while not done.wait(LOOKS):
            now, busy = time_of(clocks, last), not importing(thread)
            if busy and last is not None:
                self.left -= now - last
            last = now
            if busy and self.left < 0:
                return TooLong(ENDLESS.format(self.seconds))
            allowed = max(self.seconds * WAITS, PATIENCE)
            if time.perf_counter() - start > (allowed if busy else 2 * allowed):  # an import is cut only if it hangs
                at_work = whole - self.left > allowed / 100
                return TooLong((SLOW if at_work else WAITING).format(allowed))
        return None

    @property
    def printed(self):
        """A sentence about what was printed, or an empty string."""
        first = self.sink.kept.strip().split("\n")[0]
        if not first:
            return ""
        more = f" and {self.sink.lines - 1:,} more lines" if self.sink.lines > 1 else ""
        return f'Meanwhile your code printed "{shorten(first, 80)}"{more}.'


def outcome_of(function):
    """Call function() and return its Outcome. Only TooLong goes through."""
    for seed in (torch.default_generator.manual_seed, np.random.seed, random.seed):
        seed(0)  # code that draws random numbers draws the same ones in every run
    try:
        return Outcome(function(), None)
    except TooLong:
        raise
    except BaseException as error:  # also SystemExit and KeyboardInterrupt: they are the learner's here
        return Outcome(None, error)


def own_clock():
    """Return a function that any thread may call: the processor time, in seconds, of the thread that asked for it.

    macOS and Windows can't tell threads apart this way: there it is the time of the whole process.
    """
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.process_time
    return functools.partial(time.clock_gettime, time.pthread_getcpuclockid(threading.get_ident()))


def time_of(clocks, otherwise):
    """Return what the clock says, or `otherwise` where a thread has none yet or none any more."""
    try:
        return clocks[0]() if clocks else otherwise
    except OSError:  # the thread has just ended
        return otherwise


def importing(thread):
    """Say whether a thread is in the middle of an import."""
    frame = sys._current_frames().get(thread.ident)
    while frame is not None and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None


def stop(thread, done, patience=2.0):
    """Raise TooLong inside a running thread, again and again, since a bare `except:` may swallow one.

    Returns the packages whose import this cut.
    """
    end, cut = time.perf_counter() + patience, set()
    while not done.is_set() and time.perf_counter() < end:
        cut |= unfinished_imports() if importing(thread) else set()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(TooLong))
        done.wait(0.02)
    return cut


def shorten(text, length=200):
    """Return text cut to `length` characters, in one line."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 3] + "..."


def error_in_words(error):
    """Return one sentence on an error: its type, its message, and the learner's own line where there is one."""
    if isinstance(error, InWords):
        return str(error)
    if told := getattr(error, "told", None):  # one from another process, where its lines are known
        return str(told)
    try:
        message = shorten(str(error), 150)
    except Exception:  # an error class of the learner's may not even print
        message = ""
    name = type(error).__name__
    if isinstance(error, TooLong):
        words = f"it {error}"
    else:
        words = f"it raises {name}: {message}" if message else f"it raises {name}"
    line = own_line(error.__traceback__)
    return f"{words} ({line})" if line else words


@functools.cache
def not_theirs():
    """Return the folders whose frames are not the learner's own lines: the course's, Python's, the packages'."""
    course = Path(__file__).parents[2]
    ours = (str(course / "lib"), str(course / "lessons" / "checker"), str(course / "lessons" / "exercises"))
    return (*ours, *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))


def own_line(traceback):
    """Return 'line 4: y = x.view(2)' for the deepest frame that is the learner's, or None."""
    found = None
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not file.startswith(not_theirs()) and not file.startswith("<frozen"):
            found = (file, traceback.tb_lineno)
        traceback = traceback.tb_next
    if found is None:
        return None
    source = linecache.getline(*found).strip()
    return f"line {found[1]}: {shorten(source, 80)}" if source else f"line {found[1]}"
