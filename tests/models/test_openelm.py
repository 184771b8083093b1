"""Our OpenELM has Apple's lists and totals, and the logits of mlx-lm and of a plain model that is written here."""

import math
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lib.models.openelm import OpenElm, OpenElmConfig, make_divisible, multipliers, openelm_config
from lib.models.presets import OPENELM_PRESETS, preset
from lib.models.skeleton import count_on_meta
from lib.weights.openelm import describe, from_hugging_face_openelm, read_config, to_hugging_face_openelm

# No two sizes are equal, and no layer is like another.
CONFIG = OpenElmConfig(101, 48, 8, n_heads=(3, 4, 8), n_kv_heads=(1, 4, 2), d_ff=(20, 60, 44), context_length=64)

# num_query_heads of Apple's released config.json files, as pairs of a number and how many layers have it.
HEADS = {
    "openelm-270m": [(12, 5), (16, 7), (20, 4)],
    "openelm-450m": [(12, 3), (16, 7), (20, 6), (24, 4)],
    "openelm-1.1b": [(16, 3), (20, 7), (24, 8), (28, 6), (32, 4)],
    "openelm-3b": [(12, 4), (16, 14), (20, 12), (24, 6)],
}
# The inner widths that apple/corenet computes, in multiples of 256. See how the rounding skips one, or takes it twice.
WIDTHS = {
    "openelm-270m": [3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20],
    "openelm-450m": [3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 22, 23, 24],
    "openelm-1.1b": [*range(4, 17), 18, 18, *range(20, 33)],
    "openelm-3b": [
        6,
        7,
        8,
        10,
        11,
        12,
        13,
        14,
        16,
        17,
        18,
        19,
        20,
        22,
        23,
        24,
        25,
        26,
        28,
        29,
        30,
        31,
        32,
        34,
        35,
        36,
        37,
    ]
    + [38, 40, 41, 42, 43, 44, 46, 47, 48],
}


def randomised(config, seed=0):
    torch.manual_seed(seed)
    model = OpenElm(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return model


@pytest.fixture
def tokens():
    return torch.randint(0, 101, (3, 31), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", OPENELM_PRESETS)
def test_the_published_integer(name):
    assert count_on_meta(lambda: OpenElm(preset(name).config)) == preset(name).n_params


@pytest.mark.parametrize("name", OPENELM_PRESETS)
def test_the_lists_of_the_released_configs(name):
    config = preset(name).config
    assert config.n_heads == tuple(chain(*([heads] * times for heads, times in HEADS[name])))
    assert config.n_kv_heads == tuple(heads // 4 for heads in config.n_heads)
    assert list(config.d_ff) == [256 * width for width in WIDTHS[name]]


@pytest.mark.parametrize("name", OPENELM_PRESETS)
def test_numpys_linspace_gives_the_same_lists(name):
    """Corenet takes numpy's linspace and Python's round."""
    config, n = preset(name).config, preset(name).config.n_layers
    alpha, beta = ([round(float(v), 2) for v in np.linspace(0.5, last, n)] for last in (1.0, 4.0))
    assert (alpha, beta) == (multipliers(0.5, 1.0, n), multipliers(0.5, 4.0, n))
    assert list(config.d_ff) == [make_divisible(b * config.d_model, 256) for b in beta]


@pytest.mark.parametrize(
    ("value", "divisor", "rounded"),
    [
        (8.8, 8, 8),
        (10, 8, 16),
        (12, 8, 16),
        (3, 8, 8),
        (26.5, 8, 24),
        (27.9, 8, 32),
        (640, 256, 768),
        (256.0, 256, 256),
    ],
)
def test_make_divisible(value, divisor, rounded):
    assert make_divisible(value, divisor) == rounded


class PlainAttention(torch.nn.Module):
    """OpenELM's attention head by head and query by query, from the paper's words: no fused call, no cache."""

    def __init__(self, qkv, query_weight, key_weight, output, n_heads, n_kv_heads):
        super().__init__()
        self.qkv, self.query_weight, self.key_weight, self.output = qkv, query_weight, key_weight, output
        self.n_heads, self.n_kv_heads = n_heads, n_kv_heads

    def forward(self, x):
        width, length = len(self.query_weight), x.shape[1]
        each = (x @ self.qkv.T).split(width, dim=-1)
        queries = [self.turned(norm(z) * self.query_weight) for z in each[: self.n_heads]]
        keys = [self.turned(norm(z) * self.key_weight) for z in each[self.n_heads : -self.n_kv_heads]]
        values, mixed = each[-self.n_kv_heads :], []
        for h, query in enumerate(queries):
            g = h * self.n_kv_heads // self.n_heads
            rows = []
            for t in range(length):
                scores = (keys[g][:, : t + 1] * query[:, t : t + 1]).sum(-1) / math.sqrt(width)
                rows.append((scores.softmax(-1)[..., None] * values[g][:, : t + 1]).sum(1))
            mixed.append(torch.stack(rows, 1))
        return torch.cat(mixed, -1) @ self.output.T

    def turned(self, z):
        """Multiply each pair, as a complex number, by e^(i angle)."""
        half = z.shape[-1] // 2
        speed = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        angle = torch.arange(z.shape[1], dtype=torch.float64)[:, None] * speed
        pair = torch.complex(z[..., :half].double(), z[..., half:].double())
        pair = pair * torch.polar(torch.ones_like(angle), angle)
        return torch.cat([pair.real, pair.imag], -1).to(z.dtype)


def norm(z):
    return F.rms_norm(z, z.shape[-1:], eps=1e-6)


def plain_logits(config, tensors, tokens):
    """Compute logits from Apple's config and tensors alone."""
    x = F.embedding(tokens, tensors["transformer.token_embeddings.weight"])
    for i in range(config["num_transformer_layers"]):
        layer = {name.split(f"layers.{i}.")[1]: z for name, z in tensors.items() if f".layers.{i}." in name}
        attention = PlainAttention(
            layer["attn.qkv_proj.weight"],
            layer["attn.q_norm.weight"],
            layer["attn.k_norm.weight"],
            layer["attn.out_proj.weight"],
            config["num_query_heads"][i],
            config["num_kv_heads"][i],
        )
        x = x + attention(norm(x) * layer["attn_norm.weight"])
        both = (norm(x) * layer["ffn_norm.weight"]) @ layer["ffn.proj_1.weight"].T
        gate, up = both.chunk(2, -1)
        x = x + (gate * torch.sigmoid(gate) * up) @ layer["ffn.proj_2.weight"].T
    x = norm(x) * tensors["transformer.norm.weight"]
    return x @ tensors.get("lm_head.weight", tensors["transformer.token_embeddings.weight"]).T


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("change", [{}, {"tied": False}])
def test_equals_a_plain_model_from_the_exported_tensors(tokens, change, dtype):
    model = randomised(replace(CONFIG, **change)).to(dtype)
    plain = plain_logits(*to_hugging_face_openelm(model), tokens)
    ours, _ = model(tokens)
    assert (ours - plain).abs().max() < (1e-10 if dtype == torch.float64 else 1e-4) * plain.std()


def test_gradients_equal_the_plain_models(tokens):
    model = randomised(CONFIG).double()
    config, tensors = to_hugging_face_openelm(model)
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in tensors.items()}
    plain_logits(config, leaves, tokens).square().mean().backward()
    model(tokens)[0].square().mean().backward()
    grads = {name: weight.grad for name, weight in model.named_parameters()}
    with torch.no_grad():  # the gradients, put where the weights were, leave under Apple's names
        for name, weight in model.named_parameters():
            weight.copy_(grads[name])
    for name, gradient in to_hugging_face_openelm(model)[1].items():
        assert torch.allclose(gradient, leaves[name].grad, atol=1e-10), name


def test_equals_mlx_lm(tokens):
    reason = "Apple's mlx-lm is not here (the course doesn't need it): pip install --no-deps mlx mlx-cpu mlx-lm"
    mx = pytest.importorskip("mlx.core", reason=reason)
    peer = pytest.importorskip("mlx_lm.models.openelm", reason=reason)
    for change in ({}, {"tied": False}):
        model = randomised(replace(CONFIG, **change))
        config, tensors = to_hugging_face_openelm(model)
        theirs = peer.Model(peer.ModelArgs.from_dict(config))
        theirs.load_weights([(name, mx.array(tensor.numpy())) for name, tensor in tensors.items()], strict=True)
        logits = torch.from_numpy(np.array(theirs(mx.array(tokens.numpy()))))
        difference = (model(tokens)[0] - logits).abs().max() / logits.std()
        print(f"largest difference to mlx-lm: {difference:.1e} of the logits' spread")
        assert difference < 1e-4


@pytest.mark.parametrize("change", [{}, {"tied": False}, {"rope_theta": 5e5, "norm_eps": 1e-5}])
def test_export_then_import_is_the_same_model(tokens, change):
    model = randomised(replace(CONFIG, **change))
    back = from_hugging_face_openelm(*to_hugging_face_openelm(model))
    assert back.config == model.config
    assert torch.equal(back(tokens)[0], model(tokens)[0])


def test_the_published_config_gives_the_published_lists():
    """Apple's file has the rounded multipliers; ours has exact ones. Both must be read as the same widths."""
    config = preset("openelm-270m").config
    theirs = describe(config) | {"ffn_multipliers": multipliers(0.5, 4.0, 16), "ffn_dim_divisor": 256}
    del theirs["rms_norm_eps"]  # it is not in the file, but in the code
    small = openelm_config(300, 16, 1280, 64)
    with torch.device("meta"):
        _, tensors = to_hugging_face_openelm(OpenElm(small))
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert shapes["transformer.layers.0.attn.qkv_proj.weight"] == ((12 + 3 + 3) * 64, 1280)
    assert shapes["transformer.layers.1.ffn.proj_1.weight"] == (2 * 1024, 1280)
    assert read_config(theirs) == config


def test_what_is_missing_left_over_or_misshapen_is_named():
    described, tensors = to_hugging_face_openelm(randomised(CONFIG))
    renamed = dict(tensors)
    renamed["transformer.extra.weight"] = renamed.pop("transformer.norm.weight")
    with pytest.raises(ValueError, match=r"transformer\.norm\.weight.*transformer\.extra\.weight"):
        from_hugging_face_openelm(described, renamed)
    short = tensors | {"transformer.layers.1.attn.qkv_proj.weight": torch.zeros(95, 48)}
    with pytest.raises(ValueError, match=r"layers\.1\.attn\.qkv_proj\.weight is \(95, 48\), expected \(96, 48\)"):
        from_hugging_face_openelm(described, short)
    with pytest.raises(ValueError, match="normalize_qk_projections is False"):
        from_hugging_face_openelm(described | {"normalize_qk_projections": False}, tensors)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_heads": (3, 4)}, r"\[2, 3, 3\] layers"),
        ({"n_heads": (3, 5, 8)}, "layer 1: 5 heads can't share 4"),
        ({"d_head": 7}, "d_head is 7"),
        ({"d_ff": (20, 0, 44)}, "layer 1: d_ff is 0"),
        ({"n_heads": (), "n_kv_heads": (), "d_ff": ()}, r"\[0, 0, 0\] layers"),
    ],
)
def test_configs_that_can_not_work_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(CONFIG, **change)
