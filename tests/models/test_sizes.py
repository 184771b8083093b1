"""Numbers that can't be a config's are refused when it is made, with the name and the value."""

import math

import pytest

from lib.models import sizes
from lib.models.llama import LlamaConfig
from lib.models.openelm import OpenElmConfig
from lib.models.rwkv import RwkvConfig

LLAMA = {"vocab_size": 9, "n_layers": 2, "d_model": 8, "n_heads": 4, "n_kv_heads": 2, "d_head": 2, "d_ff": 5}
LLAMA |= {"context_length": 7}
OPENELM = {"vocab_size": 9, "d_model": 8, "d_head": 2, "n_heads": [2, 4], "n_kv_heads": [1, 2], "d_ff": [5, 6]}
OPENELM |= {"context_length": 7}
RWKV = {"generation": 5, "vocab_size": 9, "n_layers": 2, "d_model": 8, "d_ff": 5, "d_head": 4}


@pytest.mark.parametrize(
    ("make", "change", "words"),
    [
        (LlamaConfig, {"n_layers": 0}, "n_layers is 0: give a whole number of at least 1"),
        (LlamaConfig, {"n_layers": 10_001}, "n_layers is 10001: the most that is taken is 10000"),
        (LlamaConfig, {"d_ff": -5}, "d_ff is -5"),
        (LlamaConfig, {"d_model": True}, "d_model is True"),
        (LlamaConfig, {"d_model": 10**30}, f"d_model is {10**30}: the most that is taken is {2**31 - 1}"),
        (LlamaConfig, {"n_kv_heads": 3}, "4 heads can't share 3 key/value heads evenly"),
        (LlamaConfig, {"d_head": 3}, "d_head is 3, but RoPE turns pairs"),
        (LlamaConfig, {"rope_theta": math.nan}, "rope_theta is nan: give a finite number above zero"),
        (LlamaConfig, {"norm_eps": "1e-5"}, "norm_eps is '1e-5'"),
        (LlamaConfig, {"window": 2.5}, "window is 2.5: a token must see at least itself"),
        (LlamaConfig, {"tied": 1}, "tied is 1: give True or False"),
        (OpenElmConfig, {"n_heads": 4}, "n_heads is 4: give a list of whole numbers"),
        (OpenElmConfig, {"n_heads": [2, 3]}, "layer 1: 3 heads can't share 2 key/value heads"),
        (OpenElmConfig, {"d_ff": [5]}, r"name \[2, 2, 1\] layers"),
        (OpenElmConfig, {"d_ff": [5, 0]}, "layer 1: d_ff is 0"),
        (OpenElmConfig, {"rope_theta": 0}, "rope_theta is 0"),
        (RwkvConfig, {"generation": 8}, "generation is 8: there are 4, 5, 6 and 7"),
        (RwkvConfig, {"generation": [5]}, r"generation is \[5\]"),
        (RwkvConfig, {"d_head": 3}, "d_model 8 is no multiple of d_head 3"),
        (RwkvConfig, {"ranks": 3}, "ranks are 3: RWKV-5 takes none"),
        (RwkvConfig, {"generation": 6, "ranks": [2, 0]}, r"ranks are \[2, 0\]: RWKV-6 takes \(shift, decay\)"),
        (RwkvConfig, {"context_length": "9"}, "context_length is '9': give 1 or more"),
        (RwkvConfig, {"head_eps": -1.0}, "head_eps is -1.0"),
    ],
)
def test_what_can_not_work_is_refused_when_made(make, change, words):
    good = {LlamaConfig: LLAMA, OpenElmConfig: OPENELM, RwkvConfig: RWKV}[make]
    make(**good)
    with pytest.raises(ValueError, match=words):
        make(**{**good, **change})


def test_what_fits_is_let_through():
    sizes.check_whole("a", 1)
    sizes.check_whole("a", sizes.MOST)
    sizes.check_positive("a", 1e-12)
    sizes.check_positive("a", 3)
    assert sizes.check_list("a", [1, 2]) == sizes.check_list("a", (1, 2)) == (1, 2)
