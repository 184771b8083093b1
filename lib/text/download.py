"""Downloads a file once, checks it, and leaves nothing behind when something is wrong."""

import hashlib
import os
import tempfile
import urllib.request
from pathlib import Path
from typing import NamedTuple

BLOCK = 1 << 20
TIMEOUT = 30  # seconds without an answer


class DownloadError(OSError):
    """A file could not be had, or is not what was expected; the message says what to do."""


class Source(NamedTuple):
    """A published file: where it is, how many bytes it has, and its SHA-256."""

    file: str
    url: str
    size: int
    sha256: str


def fetch(source, folder):
    """Return the path of the checked file in a folder, downloading it where it is not there (or not whole)."""
    path = Path(folder) / source.file
    if path.is_file() and sha256_of(path) == source.sha256:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=source.file + ".")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            _copy(source, path, file)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _copy(source, path, file):
    digest, size = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(source.url, timeout=TIMEOUT) as answer:
            while size <= source.size and (block := answer.read(BLOCK)):
                digest.update(block)
                size += len(block)
                file.write(block)
    except OSError as error:
        raise DownloadError(
            f"{source.file} could not be downloaded ({error}). Connect to the network and load it again, or put the "
            f"file from {source.url} at {path} yourself; the corpus 'tales' needs no network."
        ) from error
    if size != source.size or digest.hexdigest() != source.sha256:
        raise DownloadError(
            f"{source.url} is not the file that was expected: {size:,} bytes with SHA-256 {digest.hexdigest()[:16]}, "
            f"expected {source.size:,} bytes with {source.sha256[:16]}. Nothing was kept. Load it again; if that "
            "does not help, the connection is tampered with or the file was changed: use the corpus 'tales'."
        )


def sha256_of(path):
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
