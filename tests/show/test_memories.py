"""Cache beside state: its cells are the models' own numbers, equal areas equal bytes, and only the cache grows."""

import time

import numpy as np
import pytest
import torch

from lib.models.llama import Llama, LlamaConfig
from lib.models.rwkv import Rwkv, RwkvConfig
from lib.run.cost import state_bytes
from lib.show.memories import CHANGED, NUMBERS, draw_memories, memories, read


class Letters:
    """A tokenizer of one token a letter."""

    def encode(self, text):
        return [ord(letter) % 50 for letter in text]

    def decode(self, tokens):
        return "a" * len(tokens)


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    small = {"n_layers": 2, "d_model": 32, "d_ff": 48}
    llama = LlamaConfig(vocab_size=50, n_heads=4, n_kv_heads=2, d_head=8, context_length=64, **small)
    rwkv = RwkvConfig(7, 50, d_head=16, ranks=(4, 4, 4, 8), **small)
    return {"LLaMA": Llama(llama), "RWKV-7": Rwkv(rwkv)}


def test_bytes_are_what_cost_counts(models):
    for name, model in models.items():
        kept = read(name, model, list(range(12)))
        for n in (1, 5, 12):
            assert kept.kept(n) == state_bytes(model.config, n, dtype="float32"), (name, n)


def test_cells_are_the_numbers_of_the_state_and_a_cache_only_gains(models):
    llama, rwkv = models.values()
    tokens = [3, 1, 4, 1, 5]
    cache = read("LLaMA", llama, tokens)
    _, state = llama(torch.tensor([tokens]))
    keys = state.layers[1][0].keys[0].permute(1, 0, 2).reshape(5, -1).detach().numpy()  # (T, G N)
    own = cache.cells[5].reshape(16, 5, 4)[:, :, 2]  # the second layer's keys, a column for each token
    assert np.allclose(own / own[0, 0], keys.T / keys[0, 0], rtol=1e-3)
    assert [cells.shape[1] for cells in cache.cells] == [0, 4, 8, 12, 16, 20]
    kept = read("RWKV-7", rwkv, tokens)
    _, state = rwkv(torch.tensor([tokens]))
    S = state.layers[0][0][1][0].reshape(32, 16).detach().numpy()
    mine = kept.cells[5][:, 1:17]
    assert np.allclose(mine / mine[0, 0], S / S[0, 0], rtol=1e-3)
    assert not kept.grows and len({cells.shape for cells in kept.cells}) == 1


def test_towers_hold_the_same_numbers(models):
    for name, model in models.items():
        flat, tall = (read(name, model, [1, 2, 3], tower).cells[3] for tower in (1, 2))
        assert tall.shape[0] == 2 * flat.shape[0] and tall.size == flat.size
        assert np.allclose(np.sort(flat.ravel()), np.sort(tall.ravel()))


def test_the_last_token_adds_to_the_cache_and_sets_the_whole_state_anew(models):
    kept = [read(name, model, [1, 2, 3, 4]) for name, model in models.items()]
    figure = draw_memories(kept, 4, "aaaa", CHANGED)
    added, changed = (np.ma.getdata(ax.images[0].get_array()) for ax in figure.axes)
    assert (added[:, :12] == 0).all() and (added[:, 12:] > 0).all() and (changed > 0).mean() > 0.95
    assert "RWKV-7 keeps" in figure.alt_text and (kept[1].cells[4] != kept[1].cells[3]).all()
    whole = draw_memories(kept, 4, "aaaa", NUMBERS).axes[0].images[0].get_array()
    assert (np.ma.getdata(whole)[:, :12] > 0).all()


def test_a_move_draws_anew_and_says_the_bytes(models, capsys, monkeypatch):
    monkeypatch.setattr("lib.show.widgets.get_ipython", lambda: None)
    shown = memories(models, Letters(), "a  sentence of\nthirty letters", "Which one grows?", at=2)
    assert shown.controls["n_tokens"].range == (1, 28, 1)
    for n in (3, 20):
        start = time.perf_counter()
        assert shown.set(n_tokens=n).picture
        with capsys.disabled():
            print(f" redrawn in {1000 * (time.perf_counter() - start):.0f} ms", end="")
    cache, state = (state_bytes(model.config, 20, dtype="float32") / 1024 for model in models.values())
    assert f"LLaMA keeps {cache:.0f} KiB" in shown.alt and f"RWKV-7 keeps {state:.0f} KiB" in shown.alt
    widths = [ax.get_position().width / ax.images[0].get_array().shape[1] for ax in shown.figure.axes]
    heights = [ax.get_position().height / ax.images[0].get_array().shape[0] for ax in shown.figure.axes]
    assert widths[0] == pytest.approx(widths[1]) and heights[0] == pytest.approx(heights[1])
    renderer, room = shown.figure.canvas.get_renderer(), shown.figure.get_figwidth() * shown.figure.dpi
    for words in shown.figure.texts:
        box = words.get_window_extent(renderer)
        assert 0 <= box.x0 and box.x1 <= room, words.get_text()
