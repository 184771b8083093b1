"""Published weights from the Hugging Face Hub: what they need is said first, then they are fetched and checked.

Each stands here with the commit that is meant, and with the SHA-256 of its weights where that is public: what is
changed later, on purpose or not, is never loaded by accident.
"""

import hashlib
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from lib.models.presets import preset
from lib.weights.export import load_hugging_face
from lib.weights.files import DamagedFile, open_pth
from lib.weights.rwkv import from_rwkv


class Published(NamedTuple):
    """Where a model is: repository, commit, its weights, their size in bytes and SHA-256, the files beside them.

    sha256 None: the commit alone pins it. licence: as its page says.
    """

    repository: str
    commit: str
    weights: str
    size: int
    sha256: str | None
    beside: tuple[str, ...]
    licence: str


HUB = {
    "tinyllama-1.1b": Published(
        "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        "fe8a4ea1ffedaf415f4da2f062534de366a451e6",
        "model.safetensors",
        2_200_119_864,
        "6e6001da2106d4757498752a021df6c2bdc332c650aae4bae6b0c004dcf14933",
        ("config.json", "tokenizer.json"),
        "Apache-2.0",
    ),
    "litellama-460m": Published(
        "ahxt/LiteLlama-460M-1T",
        "77b8a976440e7d1ea5a890eaf1e0175b1cac0078",
        "pytorch_model.bin",
        923_000_000,
        None,
        ("config.json", "vocab.json", "merges.txt"),
        "MIT",
    ),
    "openelm-270m": Published(
        "apple/OpenELM-270M",
        "a45edb887e55dd52ab717565a872db9a6fd89a96",
        "model.safetensors",
        1_090_000_000,
        None,
        ("config.json",),
        "Apple's sample code licence",
    ),
    "rwkv-4-169m": Published(
        "BlinkDL/rwkv-4-pile-169m",
        "ee1b3b102463d879bf14799066f87093537fcfa7",
        "RWKV-4-Pile-169M-20220807-8023.pth",
        338_718_755,
        "713c6f6137a08d3a86ab57df4f09ea03563329beb3bbabc23509d6c57aa0f9e2",
        (),
        "Apache-2.0",
    ),
    "eagle-7b": Published(
        "RWKV/v5-Eagle-7B-pth",
        "22432188a612fc7276d42905684efc00e69a1598",
        "RWKV-v5-Eagle-World-7B-v2-20240128-ctx4096.pth",
        15_036_197_526,
        "a88c7274184b211e5545c8f992f0b80d03c40a447980bbfcd0f6d5858982615a",
        (),
        "Apache-2.0",
    ),
}


class NoNetwork(RuntimeError):
    """The Hub was not reached; the message says what to do."""


class Gated(NoNetwork):
    """The Hub gives the weights only to those who accepted their licence; the message says what to do."""


def needs(name):
    """Return what a model needs, in bytes: {"download", "to load", "to run"}.

    In this course weights run in float32, 4 bytes each; while they are loaded the file's own numbers are there too.
    """
    published = _find(name)
    runs = 4 * preset(name).n_params
    return {"download": published.size, "to load": runs + published.size, "to run": runs}


def fetch(name, folder=None, say=print, download=None):
    """Say what a published model needs, fetch it unless it is here already, check it, and return its folder.

    `folder`: without one, the Hub's own cache. `download(repository, file, commit, folder)` returns a path; tests pass
    their own. Raises NoNetwork, DamagedFile, or OSError where the disk is too small.
    """
    published, download = _find(name), download or _from_hub
    need = needs(name)
    say(
        f"{name}: {preset(name).n_params:,} parameters, {need['download'] / 1e9:.2f} GB to download from "
        f"{published.repository} (licence: {published.licence}). Memory in float32: {need['to load'] / 1e9:.1f} GB "
        f"while it is loaded, {need['to run'] / 1e9:.1f} GB while it runs."
    )
    free = shutil.disk_usage(_standing(folder)).free
    if folder is not None and free < need["download"] and not (Path(folder) / published.weights).is_file():
        raise OSError(f"{folder} has {free / 1e9:.1f} GB of {need['download'] / 1e9:.1f} GB needed: make room first")
    paths = [Path(download(published.repository, file, published.commit, folder)) for file in _files(published)]
    check(published, paths[0])
    return paths[0].parent


def check(published, path):
    """Raise DamagedFile where a file is not the one that was published."""
    if published.sha256 is None:
        return
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != published.sha256:
        raise DamagedFile(
            f"{path} has SHA-256 {found[:16]}..., published is {published.sha256[:16]}...: delete it and fetch it again"
        )


def load(name, folder):
    """Return our model, in float32, of a folder that `fetch` returned."""
    published = _find(name)
    if published.weights.endswith(".pth"):
        return from_rwkv(open_pth(Path(folder) / published.weights)).eval()
    return load_hugging_face(folder)


def _find(name):
    if name not in HUB:
        raise ValueError(f"{name!r} is not among the published models here: there are {', '.join(HUB)}")
    return HUB[name]


def _files(published):
    return (published.weights, *published.beside)


def _standing(folder):
    """Return the folder, or the nearest one above it that exists."""
    path = Path(folder or ".").absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def _from_hub(repository, file, commit, folder):
    """Return the path of a file: what is here already, else from the Hub."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.constants import ENDPOINT
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if folder is not None and (Path(folder) / file).is_file():
        return Path(folder) / file
    try:
        return hf_hub_download(repository, file, revision=commit, local_dir=folder, local_files_only=True)
    except LocalEntryNotFoundError:
        pass
    address = f"{ENDPOINT}/{repository}/resolve/{commit}/{file}"
    try:
        _knock(address)
        return hf_hub_download(repository, file, revision=commit, local_dir=folder)
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        if _status(error) in (401, 403):
            raise Gated(
                f"{file} is not given to everyone ({_status(error)}): log in on {ENDPOINT}, accept the licence on "
                f"{ENDPOINT}/{repository}, run `hf auth login` in a terminal, and call again"
            ) from error
        raise NoNetwork(
            f"{file} could not be had: {ENDPOINT} was not reached, or did not give it ({type(error).__name__}). "
            f"Connect to the network and call again; or fetch {address} elsewhere, and give fetch() its folder"
        ) from error


def _knock(address):
    # hf_hub_download would try for half a minute before it gives up. Who has to log in is its business.
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=20).close()
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403):
            raise


def _status(error):
    """Return the HTTP status of an error, None where the answer had none."""
    return getattr(getattr(error, "response", None), "status_code", None)
