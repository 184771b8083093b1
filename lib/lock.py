"""A lock file: one call at a time makes the environment, and the next one reads what the last one left in the file.

Standard library only: this is what runs before anything is installed.
"""

import contextlib
import os
import time


class Lock:
    """An open lock file, and the word in it."""

    def __init__(self, file):
        self.file = file

    def read(self):
        """Return the word that the last holder left."""
        self.file.seek(0)
        return self.file.read()

    def write(self, word):
        """Leave a word for the next holder."""
        self.file.seek(0)
        self.file.truncate()
        self.file.write(word)
        self.file.flush()


@contextlib.contextmanager
def alone(path, say, pause=0.3):
    """Hold the lock file `path` while the block runs. Wait where another call holds it.

    It is the system's lock, so it is free again whatever way its holder ended.
    """
    with open(path, "a+", encoding="utf-8") as file:
        if not _try_lock(file):
            say("Another call is making the environment: waiting for it. Ctrl-C ends the waiting.")
            while not _try_lock(file):
                time.sleep(pause)
        yield Lock(file)


def _try_lock(file):
    if os.name == "nt":
        import msvcrt

        file.seek(1 << 20)  # far behind the text: on Windows others can't read what is locked
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # some network folders have no locks: better without one than not at all
    return True
