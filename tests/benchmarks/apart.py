"""A job in a process of its own, for a race: what one side sets in its process can't help or hinder the other.

Our training asks the C library to keep freed memory (`lib.run.device.keep_memory`). In one process the peers would be
faster by it too, though nobody who uses them has it. Only one process works at a time: the others wait for a line.
"""

import importlib
import json
import subprocess
import sys

from tests.benchmarks.race import timed


class Apart:
    """`Apart("module", "function", *arguments)`: the process calls function(*arguments), which gives the job.

    It is started and not waited for, so that several import at once what they need; the first `timed` waits.
    """

    def __init__(self, *call):
        command = [sys.executable, "-m", "tests.benchmarks.apart", json.dumps(call)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = False

    def answer(self):
        """Return what the process says next."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended, with code {self.process.wait()}: what it said is above")
        return json.loads(line)

    def timed(self):
        """Do the job once; return its result, and its seconds on the clock and on the processor, measured there."""
        if not self.ready:
            self.ready = self.answer() == "ready"
        self.process.stdin.write("once\n")
        self.process.stdin.flush()
        return self.answer()

    def end(self):
        """Let the process end."""
        self.process.stdin.close()
        self.process.wait()


def serve(module, function, *arguments):
    """Make the job, and do it once for each line that comes."""
    job = getattr(importlib.import_module(module), function)(*arguments)
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        print(json.dumps(timed(job)), flush=True)


if __name__ == "__main__":
    serve(*json.loads(sys.argv[1]))
