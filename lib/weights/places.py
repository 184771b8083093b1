"""Where a file can't be written: what takes long asks before it begins."""

from pathlib import Path


def refuse_name(path):
    """Raise ValueError for a path that is no UTF-8: Linux allows it, but .safetensors and JSON can't say it."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{str(path)!r} has a name that is no UTF-8: rename it, or choose another folder") from None


def refuse_place(path):
    """Raise ValueError where no file can be written: the name is no UTF-8, or a folder stands there.

    What takes long before it writes calls this first.
    """
    refuse_name(path)
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder, where a file is to be written: choose another place")
