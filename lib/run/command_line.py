"""What the commands share: types for argparse that refuse numbers without sense, and errors told as sentences."""

import argparse
import json
import math
import sys

WHOLE = 10**9  # more than any count that is meant
MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # of CUDA and MPS, Linux, Windows


def whole(least=1, most=WHOLE):
    """Return a type for `add_argument`: whole numbers from `least` to `most`."""

    def read(text):
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text}: give a whole number from {least:,} to {most:,}")
        return number

    return read


def amount(above=0.0, most=1e6):
    """Return a type for `add_argument`: numbers above `above`, at most `most`; neither infinite nor NaN."""

    def read(text):
        number = _number(text)
        if not above < number <= most:  # NaN is neither
            raise argparse.ArgumentTypeError(f"{text}: give a number above {above:g}, at most {most:g}")
        return number

    return read


def temperature(text):
    """Read a temperature: 0, which is greedy, or a number above it; `sample` says how small it may be."""
    number = _number(text)
    if not 0 <= number <= 1e6:
        raise argparse.ArgumentTypeError(f"{text}: give 0, which takes the likeliest token, or a number up to 1e6")
    return number


def seed(text):
    """Read a seed: a whole number from 0 to 2^32 - 1, which every generator here takes."""
    return whole(0, 2**32 - 1)(text)


def setting(text):
    """Read NAME=VALUE, the value as JSON has it: 3, 0.5, true, [1, 2]. Return (name, value)."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text}: give NAME=VALUE, such as n_layers=3 or mixers=["rwkv5"]') from None


def told(command, call):
    """Return call()'s exit code; where a user can mend what went wrong, say it in a sentence on stderr and return 1.

    Any other RuntimeError is a bug, and keeps its traceback.
    """
    try:
        return call()
    except BrokenPipeError:  # whoever read the output has gone, as `head` does: `lib.__main__` ends in silence
        raise
    except (ValueError, OSError, FloatingPointError) as error:
        sentence = str(error)
    except (RuntimeError, MemoryError) as error:
        sentence = of_torch(error)
        if sentence is None:
            raise
    print(f"python3 -m lib {command}: {sentence}", file=sys.stderr)
    return 1


def of_torch(error):
    """Return a sentence for what torch, or Python, says where the machine is too small or fails; None for the rest."""
    first = (str(error).splitlines() or [""])[0][:300]
    lower = first.lower()
    if isinstance(error, MemoryError) or any(words in lower for words in MEMORY):
        reason = f" ({first})" if first else ""
        return f"there is too little memory{reason}: take a smaller --batch-size or --length, or another --device"
    if type(error).__name__ == "AcceleratorError" or any(words in lower for words in ("cuda error", "mps backend")):
        return f"the device failed ({first}): try again, or take --device cpu"
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return f"torch.compile failed ({first}): leave --compile out"
    return None


def _number(text):
    try:
        return float(text)
    except ValueError:
        return math.nan
