"""What a config's numbers have to be, checked when it is made: whole, positive, no larger than a machine can hold."""

import math

MOST = 2**31 - 1
MOST_LAYERS = 10_000


def check_whole(name, value, most=MOST):
    """Raise ValueError, with the name and the value, for what is no whole number from 1 to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value!r}: give a whole number of at least 1")
    if value > most:
        raise ValueError(f"{name} is {value}: the most that is taken is {most}")


def check_positive(name, value):
    """Raise ValueError for what is no finite number above zero."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= 1e30 or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}: give a finite number above zero")


def check_flag(name, value):
    """Raise ValueError for what is neither True nor False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}: give True or False")


def check_list(name, value):
    """Return a list or `tuple` as a `tuple`; ValueError for anything else."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} is {value!r}: give a list of whole numbers, one for each layer")
    return tuple(value)


def check_heads(n_heads, n_kv_heads, where=""):
    """Raise ValueError, with both numbers, where key/value heads can't be shared evenly by the query heads."""
    if n_heads % n_kv_heads:
        raise ValueError(
            f"{where}{n_heads} heads can't share {n_kv_heads} key/value heads evenly: let one divide the other"
        )


def check_rope(d_head):
    """Raise ValueError for a head size that can't be cut into pairs."""
    if d_head % 2:
        raise ValueError(f"d_head is {d_head}, but RoPE turns pairs of channels: choose an even head size")
