"""A published npm package, of a pinned version: npm fetches it where there is npm, its integrity is checked, always."""

import base64
import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple

from lib.text.download import DownloadError, Source, fetch

REGISTRY = "https://registry.npmjs.org"


class PackageError(RuntimeError):
    """A package that can't be had, or is not the one that was published; the message says what to do."""


class Unreachable(PackageError):
    """No registry gave the package."""


class Package(NamedTuple):
    """A version of a package. integrity: "sha512-" and the hash in base64, as the registry names it; size in bytes."""

    name: str
    version: str
    integrity: str
    size: int
    sha256: str


# Runs ONNX files in a browser; MIT. Its WebAssembly is 14 MB.
ONNXRUNTIME_WEB = Package(
    "onnxruntime-web",
    "1.30.0",
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    33106585,
    "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
)


def unpack(package, files, out, cache):
    """Write these files of a package, by their names within it, to the folder `out`. Raises PackageError.

    cache: the folder that keeps the package as it was published, so that it is fetched once.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive(package, cache), "r:gz") as packed:
        for name in files:
            try:
                inside = packed.extractfile(f"package/{name}")
            except KeyError:
                raise PackageError(f"{package.name} {package.version} has no {name}: name another file") from None
            (out / Path(name).name).write_bytes(inside.read())


def archive(package, cache):
    """Return the path of the checked package, fetched into `cache` where it is not there. Raises PackageError."""
    path = Path(cache) / f"{package.name}-{package.version}.tgz"
    if path.is_file() and integrity(path) == package.integrity:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    by_npm(package, path) or by_download(package, path)
    if (found := integrity(path)) != package.integrity:
        path.unlink()
        raise PackageError(
            f"{path.name} has the integrity {found[:20]}..., expected {package.integrity[:20]}...: it is not what was "
            "published, and nothing was kept. Look which registry `npm config get registry` names"
        )
    return path


def by_npm(package, path):
    """Let npm fetch the package to `path`, from the registry that it is set to; say whether it did."""
    npm = shutil.which("npm")
    if npm is None:
        return False
    asked = [npm, "pack", f"{package.name}@{package.version}", "--silent", "--pack-destination", str(path.parent)]
    try:
        done = subprocess.run(asked, capture_output=True, cwd=path.parent, timeout=300)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and path.is_file()


def by_download(package, path):
    """Fetch the package to `path` from the registry that ~/.npmrc names, else from npm's own."""
    url = f"{registry(Path.home() / '.npmrc')}/{package.name}/-/{path.name}"
    try:
        fetch(Source(path.name, url, package.size, package.sha256), path.parent)
    except DownloadError as error:
        raise Unreachable(
            f"{package.name} {package.version} could not be fetched from {url} ({error.__cause__ or error}): connect "
            f"to the network, or put the file at {path} yourself"
        ) from error


def registry(settings):
    """Return the registry that npm's settings file names, without a slash at its end; npm's own where it names none."""
    lines = settings.read_text(encoding="utf-8").splitlines() if settings.is_file() else []
    named = [line.partition("=")[2] for line in lines if line.partition("=")[0].strip() == "registry"]
    return (named[-1] if named else REGISTRY).strip().rstrip("/")


def integrity(path):
    """Return the integrity of a file as npm writes it: "sha512-" and the hash in base64."""
    with path.open("rb") as file:
        return "sha512-" + base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
