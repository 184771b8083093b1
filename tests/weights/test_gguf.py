"""GGUF files: the numbers that the `gguf` package wrote, the model that transformers makes of the same file."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.layers.rope import to_interleaved
from lib.models.llama import Llama, LlamaConfig
from lib.weights.convert import expand
from lib.weights.files import DamagedFile, open_gguf, open_tensors
from lib.weights.gguf_llama import READ, config_of_gguf, from_gguf
from lib.weights.names import GGUF_LLAMA
from tests.weights.transformers_gguf import transformers_reads

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed: pip install --no-deps gguf")
CONFIG = LlamaConfig(
    vocab_size=96, n_layers=2, d_model=64, n_heads=4, n_kv_heads=2, d_head=16, d_ff=96, context_length=64,
    rope_theta=5e4,
)  # fmt: skip
# How far a number of a block may move: half a step, and the step is a share of the largest number.
STEP = {"F32": 0, "F16": 2**-11, "Q8_0": 0.51 / 127, "Q4_1": 1.1 / 15, "Q4_0": 1.1 / 8}


def tiny(tied=False):
    torch.manual_seed(0)
    model = Llama(LlamaConfig(**(vars(CONFIG) | {"tied": tied})))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return model.eval()


def write(path, model, kind="F32", change=lambda tensors: tensors, **metadata):
    """Write a model as llama.cpp's converter does: rows of query and key interleaved, matrices quantised."""
    config = model.config
    writer = gguf.GGUFWriter(path, metadata.pop("architecture", "llama"))
    writer.add_block_count(config.n_layers)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.d_model)
    writer.add_feed_forward_length(config.d_ff)
    writer.add_head_count(config.n_heads)
    writer.add_head_count_kv(config.n_kv_heads)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_count(config.d_head)
    writer.add_vocab_size(config.vocab_size)
    if "alignment" in metadata:
        writer.add_custom_alignment(metadata.pop("alignment"))
    for name, value in metadata.items():
        add = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
        add[type(value)](name.replace("__", "."), value)
    weights, tensors = model.state_dict(), {}
    for ours, theirs in expand(GGUF_LLAMA, config.n_layers).items():
        heads = {"attn_q": config.n_heads, "attn_k": config.n_kv_heads}.get(theirs.split(".")[-2])
        tensors[theirs] = to_interleaved(weights[ours], heads) if heads else weights[ours]
    if config.tied:
        del tensors["output.weight"]
    quantised = getattr(gguf.GGMLQuantizationType, kind)
    for name, tensor in change(tensors).items():
        plain = tensor.dim() == 1
        array = tensor.float().numpy() if plain else gguf.quantize(tensor.float().numpy(), quantised)
        writer.add_tensor(name, array, raw_dtype=None if plain or kind in ("F32", "F16") else quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", STEP)
def test_the_numbers_and_the_config_come_back(tmp_path, kind, tied):
    model = tiny(tied)
    ours = from_gguf(*open_gguf(write(tmp_path / "m.gguf", model, kind)))
    assert ours.config == model.config
    for name, tensor in model.state_dict().items():
        found = ours.state_dict()[name]
        assert found.dtype == torch.float32 and found.shape == tensor.shape
        largest = tensor.abs().max() * (2 if kind == "Q4_1" else 1)
        assert (found - tensor).abs().max() <= STEP[kind] * largest + 1e-9, name
        assert kind in ("F32",) or tensor.dim() == 1 or not torch.equal(found, tensor)


@pytest.mark.parametrize("kind", ["F32", "Q8_0", "Q4_0", "Q4_1"])
def test_transformers_makes_the_same_of_the_same_file(tmp_path, kind):
    """It reads GGUF by itself, names, permutation and all, so nothing of ours is on that side."""
    path = write(tmp_path / "m.gguf", tiny(), kind)
    ours, theirs = from_gguf(*open_gguf(path)).eval(), transformers_reads(path)
    tokens = torch.randint(0, 96, (2, 23), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert (ours(tokens)[0] - theirs(tokens).logits).abs().max() < 1e-5


def test_without_the_permutation_it_is_another_model(tmp_path, monkeypatch):
    model = tiny()
    path = write(tmp_path / "m.gguf", model)
    monkeypatch.setattr("lib.weights.gguf_llama.to_half_split", lambda weight, heads: weight)
    crossed = from_gguf(*open_gguf(path))
    tokens = torch.randint(0, 96, (1, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        error = (crossed(tokens)[0] - model(tokens)[0]).abs().amax(-1)[0]
    assert error[0] < 1e-5 and error[1:].min() > 1e-2


def without(*names):
    return lambda values: {name: value for name, value in values.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "metadata", "words"),
    [
        (without("blk.1.ffn_norm.weight"), {}, r"1 tensors are missing \['blk.1.ffn_norm.weight'\]"),
        (lambda t: t | {"rope_freqs.weight": torch.ones(8)}, {}, r"1 are unexpected \['rope_freqs.weight'\]"),
        (lambda t: t | {"blk.0.attn_k.weight": torch.ones(64, 64)}, {}, r"attn_k.weight is \(64, 64\), expected \(32"),
        (dict, {"architecture": "gemma"}, "architecture is 'gemma'"),
        (dict, {"llama__rope__scaling__type": "yarn"}, "rope.scaling.type is 'yarn': RoPE is scaled"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path, change, metadata, words):
    path = write(tmp_path / "m.gguf", tiny(), change=change, **metadata)
    with pytest.raises(ValueError, match=words):
        from_gguf(*open_gguf(path))


OFF = {
    "llama__rope__scale_linear": 1.0,
    "llama__rope__scaling__factor": 0.0,
    "llama__rope__scaling__type": "none",
    "llama__rope__scaling__original_context_length": 64,
    "llama__attention__key_length": 16,
    "llama__attention__value_length": 16,
    "llama__attention__scale": 0.25,
    "llama__attention__causal": True,
    "llama__attention__sliding_window": 0,
    "llama__expert_count": 0,
    "llama__logit_scale": 0.0,
    "llama__tensor_data_layout": "Meta AI original pth",
    "general__type": "model",
    "general__file_type": 1,
    "general__source__url": "https://example.org",
    "mradermacher__quantized_by": "someone",
    "tokenizer__ggml__add_bos_token": True,
    "alignment": 64,
}


@pytest.mark.parametrize("key", OFF)
def test_keys_that_do_nothing_are_let_through(tmp_path, key):
    model = tiny()
    ours = from_gguf(*open_gguf(write(tmp_path / "m.gguf", model, **{key: OFF[key]})))
    assert ours.config == model.config
    assert all(torch.equal(ours.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama__rope__scale_linear", 4.0),
        ("llama__rope__scaling__factor", 4.0),
        ("llama__rope__scaling__type", "yarn"),
        ("llama__rope__scaling__attn_factor", 1.5),
        ("llama__rope__scaling__yarn_beta_fast", 32.0),
        ("llama__attention__value_length", 8),
        ("llama__attention__scale", 1.0),
        ("llama__attention__causal", False),
        ("llama__attention__sliding_window", 16),
        ("llama__attention__clamp_kqv", 8.0),
        ("llama__attn_logit_softcapping", 50.0),
        ("llama__final_logit_softcapping", 30.0),
        ("llama__logit_scale", 0.0625),
        ("llama__residual_scale", 0.22),
        ("llama__embedding_scale", 12.0),
        ("llama__expert_count", 8),
        ("llama__use_parallel_residual", True),
        ("llama__tensor_data_layout", "another"),
        ("llama__a_key_of_tomorrow", 3),
        ("other__rope__scaling__factor", 2.0),
        ("adapter__lora__alpha", 16.0),
        ("adapter__type", "lora"),
        ("general__type", "adapter"),
        ("general__quantization_version", 1),
        ("split__count", 2),
    ],
)
def test_keys_that_do_something_are_refused_by_name(tmp_path, key, value):
    path = write(tmp_path / "m.gguf", tiny(), **{key: value})
    with pytest.raises(ValueError, match=key.replace("__", r"\.")):
        from_gguf(*open_gguf(path))


def test_a_head_that_is_turned_in_part_is_refused():
    metadata = {"general.architecture": "llama", "llama.embedding_length": 64, "llama.attention.head_count": 4}
    with pytest.raises(ValueError, match="llama.rope.dimension_count is 8, but this Llama's heads have 16 throughout"):
        config_of_gguf(metadata | {"llama.rope.dimension_count": 8}, tied=False)


def test_every_key_of_the_package_is_known_or_refused(tmp_path):
    """All keys that gguf has for an architecture: a number that is no plain one is read, or refused by its name."""
    needed = open_gguf(write(tmp_path / "m.gguf", tiny()))[0]
    keys = [
        name.format(arch="llama")
        for group in (gguf.Keys.LLM, gguf.Keys.Attention, gguf.Keys.Rope)
        for name in vars(group).values()
        if isinstance(name, str) and name.startswith("{arch}.") and "{dense}" not in name
    ]
    read = [f"llama.{name}" for name in READ]
    harmless = ["llama.rope.scaling.original_context_length"]
    assert len(keys) > 80
    for key in set(keys) - set(read) - set(harmless):
        with pytest.raises(ValueError, match=key.replace(".", r"\.")):
            config_of_gguf(needed | {key: 3}, tied=False)


def test_nan_in_a_gguf_is_said(tmp_path):
    name = "blk.1.ffn_up.weight"
    path = write(tmp_path / "m.gguf", tiny(), change=lambda t: t | {name: t[name].log()})
    with pytest.raises(ValueError, match=rf"{name} has [\d,]+ of 6,144 numbers that are NaN or infinite"):
        from_gguf(*open_gguf(path))


@pytest.mark.parametrize("name", ["x", "rope", "blk.0", ""])
def test_a_tensor_of_any_name_is_refused_in_words(tmp_path, name):
    metadata, tensors = open_gguf(write(tmp_path / "m.gguf", tiny()))
    with pytest.raises(ValueError, match="1 are unexpected"):
        from_gguf(metadata, tensors | {name: torch.ones(2)})


def test_a_kind_of_numbers_that_is_not_read_is_named(tmp_path):
    path = write(tmp_path / "m.gguf", tiny(), "Q5_0")
    with pytest.raises(ValueError, match="numbers of the types Q5_0: read are F32, F16"):
        open_gguf(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp("gguf") / "m.gguf", tiny(), "Q4_0")


@settings(max_examples=40)
@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_short_is_named(whole, cut):
    data = whole.read_bytes()
    path = whole.with_name("cut.gguf")
    path.write_bytes(data[: int(cut * len(data))])
    with pytest.raises(DamagedFile, match=r"cut.gguf"):
        open_tensors(path)


def test_no_file_and_a_foreign_file_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="m.gguf"):
        open_gguf(tmp_path / "m.gguf")
    (tmp_path / "m.gguf").write_text("<html>404 not found</html>" * 50)
    with pytest.raises(DamagedFile, match="m.gguf does not begin with GGUF"):
        open_gguf(tmp_path / "m.gguf")
