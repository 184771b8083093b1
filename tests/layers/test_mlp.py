"""SwiGLU against transformers' LlamaMLP; the inner width against the published ones."""

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

from lib.layers.mlp import SwiGLU, llama_d_ff


def test_equals_transformers():
    torch.manual_seed(0)
    ours = SwiGLU(24, 40).double()
    theirs = LlamaMLP(LlamaConfig(hidden_size=24, intermediate_size=40, num_attention_heads=4)).double()
    theirs.load_state_dict({f"{name}_proj.weight": weight for name, weight in _matrices(ours).items()})
    x = torch.randn(2, 5, 24, dtype=torch.float64)
    y, state = ours(x, state="kept")
    assert state == "kept"
    assert torch.allclose(y, theirs(x), atol=1e-12)


def _matrices(mlp):
    return {name: getattr(mlp, name).weight for name in ("gate", "up", "down")}


@pytest.mark.parametrize(
    ("d_model", "d_ff"), [(4096, 11008), (5120, 13824), (6656, 17920), (8192, 22016), (2048, 5632)]
)
def test_published_inner_widths(d_model, d_ff):
    assert llama_d_ff(d_model) == d_ff


def test_bad_widths_are_refused():
    with pytest.raises(ValueError, match="0"):
        llama_d_ff(0)
