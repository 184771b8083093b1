"""Run code that nobody has read before: within a time, with its prints held back, its errors told in words."""

import contextlib
import ctypes
import functools
import io
import linecache
import sysconfig
import threading
import time
from pathlib import Path
from typing import NamedTuple

import torch


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
    """A time budget in seconds for code that may never end. `.printed` says in words what was printed meanwhile."""

    def __init__(self, seconds=10.0):
        self.seconds, self.left, self.sink = seconds, seconds, Sink()

    def run(self, function):
        """Call function() in a thread of its own and return its Outcome; whatever happens, the caller goes on.

        A Python loop is stopped by an exception set from here; it works on every platform. A single long call into C
        can't be stopped: its thread is left behind, as a daemon.
        """
        result, done = [], threading.Event()

        def work():
            with contextlib.suppress(TooLong):  # a second one may come when the first has done its work
                try:
                    result.append(outcome_of(function))
                finally:
                    done.set()

        thread = threading.Thread(target=work, daemon=True)
        start = time.perf_counter()
        with contextlib.redirect_stdout(self.sink), contextlib.redirect_stderr(self.sink):
            thread.start()
            try:
                finished = done.wait(max(0.05, self.left))
            finally:
                if not done.is_set():
                    stop(thread, done)
                    thread.join(0.2)
        self.left -= time.perf_counter() - start
        return result[0] if finished and result else Outcome(None, self.too_long())

    def too_long(self):
        """Return the error of code that took all of the time."""
        return TooLong(f"ran for more than {self.seconds:g} s")

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
    torch.default_generator.manual_seed(0)  # code that draws random numbers draws the same ones in every run
    try:
        return Outcome(function(), None)
    except TooLong:
        raise
    except BaseException as error:  # also SystemExit and KeyboardInterrupt: they are the learner's here
        return Outcome(None, error)


def stop(thread, done, patience=2.0):
    """Raise TooLong inside a running thread, again and again, since a bare `except:` may swallow one."""
    end = time.perf_counter() + patience
    while not done.is_set() and time.perf_counter() < end:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(TooLong))
        done.wait(0.02)


def shorten(text, length=200):
    """Return text cut to `length` characters, in one line."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 3] + "..."


def error_in_words(error):
    """Return one sentence on an error: its type, its message, and the learner's own line where there is one."""
    if isinstance(error, InWords):
        return str(error)
    try:
        message = shorten(str(error))
    except Exception:  # an error class of the learner's may not even print
        message = ""
    name = type(error).__name__
    if isinstance(error, TooLong):
        words = f"it {message or 'ran too long'} and was stopped: is there a loop that never ends?"
    else:
        words = f"it raises {name}: {message}" if message else f"it raises {name}"
    line = own_line(error.__traceback__)
    return f"{words} ({line})" if line else words


@functools.cache
def not_theirs():
    """Return the folders whose frames are not the learner's own lines: the course's, Python's, the packages'."""
    return (str(Path(__file__).parents[1]), *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))


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
    return f"line {found[1]}: {shorten(source, 100)}" if source else f"line {found[1]}"
