"""A fuzzer: bad input by the thousand, from a seed. `python -m tests.fuzz --cases 100000` prints what it found.

A target takes a random generator, makes one input, and gives it to the code under test. Right is: an answer that holds
(a round trip, an independent computation), or a sentence in an error of the kinds that we raise on purpose. Wrong is
everything else: another error, an answer that does not hold, ten seconds without one, a process that dies.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import torch

from tests import fuzz_configs, fuzz_files, fuzz_text

SECONDS = 10
ON_PURPOSE = (ValueError, TypeError, FileNotFoundError)


class Hang(BaseException):
    """A case took longer than SECONDS."""


def hang(*_):
    """The alarm's handler."""
    raise Hang


def outcome(target, dice):
    """Return "answered" or "refused", or a description of what is wrong."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        target(dice)
        return "answered"
    except ON_PURPOSE as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        ours = "/lib/" in frame.filename and "site-packages" not in frame.filename and frame.line.startswith("raise")
        # An error that slipped through is no sentence: it was not raised by us, in words for the one who reads it.
        return "refused" if ours and len(str(error)) > 15 else told(error, "an error that nobody wrote")
    except Hang as error:
        return told(error, f"no answer after {SECONDS} s")
    except BaseException as error:
        return told(error, "a wrong answer" if isinstance(error, AssertionError) else "another kind of error")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def told(error, what):
    """Describe a finding in a line: what, the error, and the last two places."""
    places = traceback.extract_tb(error.__traceback__)[-2:]
    where = " < ".join(f"{Path(p.filename).name}:{p.lineno}" for p in reversed(places))
    return f"{what}: {type(error).__name__}: {str(error)[:160]} ({where})"


def main(arguments=None):
    """Run the cases, shared among the targets by their weights; print a JSON object; return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="the name of one target")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, hang)
    begun, seen, findings, seconds = time.monotonic(), {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        targets = {}
        for module in (fuzz_text, fuzz_configs, fuzz_files):
            targets |= module.targets(Path(folder))
        targets = {name: pair for name, pair in targets.items() if options.only in (None, name)}
        whole = sum(weight for _, weight in targets.values())
        for name, (target, weight) in targets.items():
            counts, start = Counter(), time.monotonic()
            # Without a weight: a few cases that take long, such as a megabyte in one word.
            for i in range(-(-options.cases * weight // max(1, whole)) or (12 if options.cases >= 50_000 else 2)):
                result = outcome(target, random.Random(f"{options.seed} {name} {i}"))
                counts[result if result in ("answered", "refused") else "wrong"] += 1
                if result not in ("answered", "refused"):
                    kind = (name, result.split(":")[0], result.rsplit(" (", 1)[-1])
                    findings.setdefault(kind, []).append((i, result))
            seen[name], seconds[name] = dict(counts), round(time.monotonic() - start, 1)
    cases = sum(sum(counts.values()) for counts in seen.values())
    result = {"cases": cases, "seconds": round(time.monotonic() - begun, 1), "wrong": sum(map(len, findings.values()))}
    first = [f"{len(found)} times, first {kind[0]} {found[0][0]}: {found[0][1]}" for kind, found in findings.items()]
    print(json.dumps(result | {"findings": first, "seen": seen, "seconds_each": seconds}, indent=1))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
