"""Published weights: what they need is said first, commit and checksum are held to, no network is a sentence."""

import hashlib
import re
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lib.models.llama import Llama
from lib.models.presets import preset
from lib.models.rwkv import Rwkv
from lib.text.bpe import BPE
from lib.weights import hub
from lib.weights.export import export_hugging_face
from lib.weights.files import DamagedFile, save_pth
from lib.weights.rwkv import to_rwkv


@pytest.mark.parametrize("name", hub.HUB)
def test_each_is_pinned_to_a_commit_and_has_the_size_of_its_preset(name):
    published = hub.HUB[name]
    assert re.fullmatch(r"[0-9a-f]{40}", published.commit)
    assert published.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", published.sha256)
    # bytes a number: 2, or 4 in OpenELM's file; names and shapes take a little more
    width = 4 if name.startswith("openelm") else 2
    assert published.size == pytest.approx(width * preset(name).n_params, rel=0.005)


def test_needs_are_counted_from_the_preset():
    need = hub.needs("eagle-7b")
    assert need["to run"] == 4 * 7_518_044_160 and need["download"] == 15_036_197_526
    assert need["to load"] == need["to run"] + need["download"]
    with pytest.raises(ValueError, match="'gpt-5' is not among the published models here: there are tinyllama-1.1b"):
        hub.needs("gpt-5")


class Hub:
    """A Hub that has one file, and remembers what was asked."""

    def __init__(self, folder, content):
        self.folder, self.content, self.asked = folder, content, []

    def __call__(self, repository, file, commit, folder):
        self.asked.append((repository, file, commit))
        path = self.folder / file
        path.write_bytes(self.content)
        return path


def test_the_needs_are_said_before_anything_is_fetched_and_the_content_is_checked(tmp_path):
    there, said = Hub(tmp_path, b"something else"), []

    def say(words):
        assert not there.asked
        said.append(words)

    with pytest.raises(DamagedFile, match=r"8023.pth has SHA-256 [0-9a-f]{16}\.\.\., published is 713c6f6137a08d3a"):
        hub.fetch("rwkv-4-169m", say=say, download=there)
    assert "169,342,464 parameters, 0.34 GB to download from BlinkDL/rwkv-4-pile-169m" in said[0]
    assert "1.0 GB while it is loaded, 0.7 GB while it runs" in said[0]
    published = hub.HUB["rwkv-4-169m"]
    assert there.asked == [(published.repository, published.weights, published.commit)]


def test_no_room_on_the_disk_is_said_before_the_download(tmp_path, monkeypatch):
    there = Hub(tmp_path, b"")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**9}))
    with pytest.raises(OSError, match=r"has 1.0 GB of 15.0 GB needed"):
        hub.fetch("eagle-7b", tmp_path / "new", say=lambda words: None, download=there)
    assert not there.asked


def test_without_a_network_there_is_one_sentence(tmp_path, monkeypatch):
    def offline(request, timeout):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(hub.NoNetwork, match=r"was not reached.*give fetch\(\) its folder") as caught:
        hub.fetch("litellama-460m", tmp_path, say=lambda words: None)
    assert hub.HUB["litellama-460m"].commit in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
def test_weights_behind_a_licence_are_said_to_be_so_and_the_login_is_used(status, tmp_path, monkeypatch):
    import httpx
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

    asked = []

    def closed(request, timeout):
        raise urllib.error.HTTPError(request.full_url, status, "no", {}, None)

    def hf_hub_download(repository, file, revision, local_dir, local_files_only=False):
        asked.append(local_files_only)
        if local_files_only:
            raise LocalEntryNotFoundError("not here")
        raise GatedRepoError("no", response=httpx.Response(status, request=httpx.Request("HEAD", "https://hub.org")))

    monkeypatch.setattr(urllib.request, "urlopen", closed)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    with pytest.raises(hub.Gated, match=rf"not given to everyone \({status}\).*ahxt/LiteLlama.*hf auth login"):
        hub.fetch("litellama-460m", tmp_path, say=lambda words: None)
    assert asked == [True, False], "the knock knows no login, so the Hub's own client has the last word"


def test_a_file_that_is_here_already_is_taken_and_checked(tmp_path, monkeypatch):
    """A small model stands in for the published one, with a checksum of its own."""
    monkeypatch.setattr(urllib.request, "urlopen", None)  # nothing may be asked
    torch.manual_seed(0)
    config = preset("rwkv-4-169m").config
    model = Rwkv(type(config)(4, 50, 2, 32, 64))
    published = hub.HUB["rwkv-4-169m"]
    save_pth(tmp_path / published.weights, to_rwkv(model))
    digest = hashlib.sha256((tmp_path / published.weights).read_bytes()).hexdigest()
    monkeypatch.setitem(hub.HUB, "rwkv-4-169m", published._replace(sha256=digest))
    folder = hub.fetch("rwkv-4-169m", tmp_path, say=lambda words: None)
    assert folder == Path(tmp_path)
    tokens = torch.tensor([[3, 1, 4]])
    with torch.no_grad():
        assert torch.equal(hub.load("rwkv-4-169m", folder)(tokens)[0], model(tokens)[0])


def test_a_transformers_folder_is_loaded_as_such(tmp_path):
    small = replace(
        preset("tinyllama-1.1b").config, n_layers=1, d_model=64, n_heads=4, n_kv_heads=2, d_head=16, d_ff=32
    )
    model = Llama(replace(small, vocab_size=300))
    export_hugging_face(tmp_path / "m", model, BPE.train("the cat and the hat " * 5, 270))
    tokens = torch.tensor([[3, 1, 4]])
    with torch.no_grad():
        assert torch.equal(hub.load("tinyllama-1.1b", tmp_path / "m")(tokens)[0], model(tokens)[0])
