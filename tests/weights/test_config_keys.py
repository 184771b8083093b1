"""config.json: what transformers' own class does with a key is the truth; here it is done too, or refused by name."""

from dataclasses import replace

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.models.llama import Llama, LlamaConfig
from lib.models.presets import preset
from lib.weights import config_keys
from lib.weights.convert import from_hugging_face, to_hugging_face

SIZES = LlamaConfig(
    vocab_size=60, n_layers=2, d_model=48, n_heads=6, n_kv_heads=2, d_head=8, d_ff=56, context_length=64
)  # fmt: skip
TOKENS = torch.randint(0, 60, (1, 60), generator=torch.Generator().manual_seed(1))
CLASSES = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "mistral": (transformers.MistralConfig, transformers.MistralForCausalLM),
}


def weights():
    torch.manual_seed(0)
    model = Llama(SIZES)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return to_hugging_face(model)


DESCRIBED, TENSORS = weights()
BARE = {name: value for name, value in DESCRIBED.items() if name != "rope_parameters"}


def transformers_logits(config):
    """What transformers makes of a config.json and these tensors."""
    kind, make = CLASSES[config.get("model_type", "llama")]
    never_null = ("attention_bias", "mlp_bias", "tie_word_embeddings", "rope_theta")  # transformers 5 fails at a null
    config = {k: v for k, v in config.items() if v is not None or k not in never_null}
    model = make(kind.from_dict(config)).eval()
    missing, unexpected = model.load_state_dict(TENSORS, strict=False)
    assert not unexpected and not missing
    with torch.no_grad():
        return model(TOKENS).logits


def our_logits(config):
    with torch.no_grad():
        return from_hugging_face(config, TENSORS).eval()(TOKENS)[0]


def same(config):
    truth = transformers_logits(config)
    return (our_logits(config) - truth).abs().max() < 1e-4 * truth.std()


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"rope_scaling": None},
        {"rope_scaling": {}},
        {"rope_theta": 1e5, "rope_scaling": None},
        {"rope_parameters": {"rope_theta": 1e5, "rope_type": "default"}},
        {"rope_parameters": {"rope_theta": 1e5, "type": "default"}},
        {"rope_theta": 1e5, "rope_parameters": {"rope_type": "default"}},
        {"rope_theta": 1e5, "rope_scaling": {"type": "linear", "factor": 1.0}},
        {"rope_theta": 1e5, "partial_rotary_factor": 1.0},
        {"attention_bias": None, "mlp_bias": None, "hidden_act": "swish"},
        {"head_dim": None, "tie_word_embeddings": False, "sliding_window": None},
        {"logit_scale": None, "embedding_multiplier": 1.0, "quantization_config": None, "qk_norm": False},
        {"model_type": "mistral", "sliding_window": 5},
        {"model_type": "mistral", "sliding_window": 5, "rope_theta": 1e6},
        {"model_type": "mistral", "sliding_window": None},
        {"model_type": "mistral"},
        {"sliding_window": 64, "use_sliding_window": False, "layer_types": ["full_attention"] * 2},
        {"pretraining_tp": 2, "attention_dropout": 0.1, "torch_dtype": "float32", "unsloth_version": "2025.1"},
    ],
)
def test_what_is_known_is_read_as_transformers_reads_it(extra):
    config = {**BARE, **extra}
    if config["model_type"] == "mistral":
        config = {k: v for k, v in config.items() if k not in ("attention_bias", "mlp_bias", "architectures")}
    assert same(config)


ROPE = "asks for RoPE"


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"rope_scaling": {"rope_type": "linear", "factor": 4.0}}, f"rope_scaling {ROPE} of type 'linear'"),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, f"rope_scaling {ROPE} of type 'linear'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, f"rope_scaling {ROPE} of type 'dynamic'"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, f"rope_scaling {ROPE} of type 'yarn'"),
        ({"rope_scaling": {"factor": 4.0}}, f"rope_scaling {ROPE} with factor 4.0"),
        ({"rope_scaling": {"type": "default", "factor": 4.0}}, f"rope_scaling {ROPE} with factor 4.0"),
        ({"rope_parameters": {"rope_theta": 1e5, "type": "linear", "factor": 4.0}}, f"rope_parameters {ROPE} of type"),
        ({"rope_parameters": {"rope_theta": 1e5, "partial_rotary_factor": 0.5}}, "partial_rotary_factor 0.5"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e5}}}, "with full_attention"),
        ({"rope_scaling": "linear"}, "rope_scaling is 'linear': expected is an object"),
        ({"rope_theta": 1e4, "rope_parameters": {"rope_theta": 1e5}}, "two values of theta"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        ({"rope_interleaved": True}, "rope_interleaved is True"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"mlp_bias": True}, "mlp_bias is True"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', but our Llama knows 'silu' alone"),
        ({"hidden_activation": "gelu_pytorch_tanh"}, "hidden_activation is 'gelu_pytorch_tanh'"),
        ({"sliding_window": 16}, "sliding_window is 16, but a model of type 'llama' sees all of its 64"),
        ({"model_type": "mistral", "sliding_window": 5, "use_sliding_window": False}, "use_sliding_window is False"),
        ({"model_type": "mistral", "sliding_window": 5, "max_window_layers": 1}, "max_window_layers is 1"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types is"),
        ({"logit_scale": 0.0625}, "logit_scale = 0.0625"),
        ({"logits_scaling": 8.0}, "logits_scaling = 8.0"),
        ({"embedding_multiplier": 12.0, "residual_multiplier": 0.22}, "embedding_multiplier = 12.0, residual_mult"),
        ({"attention_multiplier": 1.0}, "attention_multiplier is 1.0, but our Llama has no such step"),
        ({"query_pre_attn_scalar": 256}, "query_pre_attn_scalar is 256"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping is 30.0"),
        ({"clip_qkv": 8}, "clip_qkv is 8"),
        ({"use_qk_norm": True}, "use_qk_norm is True"),
        ({"num_local_experts": 8}, "num_local_experts is 8"),
        ({"is_causal": False}, "is_causal is False"),
        ({"use_rms_norm": False}, "use_rms_norm = False"),
        ({"scale_attn_weights": False}, "scale_attn_weights = False"),
        ({"num_experts_per_token": 2}, "num_experts_per_token = 2"),
        ({"norm_type": "layernorm"}, "norm_type = 'layernorm'"),
        ({"a_key_of_tomorrow": [1, 2]}, r"a_key_of_tomorrow = \[1, 2\], which our Llama does not know.*take it out"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads is"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantised .quantization_config: gptq"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "architectures is .*SequenceClassification"),
        ({"auto_map": {"AutoModelForCausalLM": "modeling_x.XForCausalLM"}}, "code of its own"),
        ({"model_type": "rwkv"}, "of model type 'rwkv'.*RWKV from its .pth"),
        ({"head_dim": 0}, "d_head is 0"),
        ({"num_key_value_heads": 0}, "n_kv_heads is 0"),
        ({"tie_word_embeddings": "no"}, "tied is 'no'"),
    ],
)  # fmt: skip
def test_what_would_change_the_arithmetic_is_refused_by_name(extra, words):
    with pytest.raises(ValueError, match=words):
        from_hugging_face(BARE | extra, TENSORS)


@pytest.mark.parametrize("key", config_keys.NEEDS)
def test_a_size_that_is_missing_is_named(key):
    for config in ({k: v for k, v in BARE.items() if k != key}, BARE | {key: None}):
        with pytest.raises(ValueError, match=f"config.json does not say {key}"):
            from_hugging_face(config, TENSORS)


def test_the_defaults_of_mistrals_class():
    """A config without them means 8 key/value heads and a window of 4,096."""
    theirs = transformers.MistralConfig()
    config = {k: v for k, v in BARE.items() if k not in ("num_key_value_heads", "attention_bias", "mlp_bias")}
    config |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
    assert config_keys.window_of(config) == theirs.sliding_window == 4096 and theirs.num_key_value_heads == 8
    with pytest.raises(ValueError, match="6 heads can't share 8 key/value heads"):
        from_hugging_face(config, TENSORS)


@pytest.mark.parametrize("family", CLASSES)
def test_no_key_that_transformers_writes_by_itself_is_unknown(family):
    kind, _ = CLASSES[family]
    small = {k: v for k, v in BARE.items() if k in kind().to_dict() and k not in ("architectures", "model_type")}
    config = kind(**small, **({"sliding_window": None} if family == "mistral" else {})).to_dict()
    assert len(config) > 25 and torch.equal(our_logits(config), our_logits(BARE))


BASE = {
    "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.02, "transformers_version": "4.35.0",
    "use_cache": True, "hidden_act": "silu", "architectures": ["LlamaForCausalLM"], "model_type": "llama",
}  # fmt: skip
# The other keys of the published files, as they stand there.
PUBLISHED = {
    "llama-2-7b": {"_name_or_path": "meta-llama/Llama-2-7b-hf", "pretraining_tp": 1, "rope_scaling": None},
    "tinyllama-1.1b": {"attention_bias": False, "pretraining_tp": 1, "rope_scaling": None, "rope_theta": 10000.0},
    "litellama-460m": {"pad_token_id": 0, "pretraining_tp": 1, "rope_scaling": None, "torch_dtype": "float16"},
    "smollm2-135m": {
        "attention_dropout": 0.0, "is_llama_config": True, "mlp_bias": False, "rope_interleaved": False,
        "rope_scaling": None, "rope_theta": 100000, "torch_dtype": "bfloat16", "attention_bias": False,
        "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16"}}, "pad_token_id": 2, "pretraining_tp": 1,
    },
    "mistral-7b-v0.1": {
        "architectures": ["MistralForCausalLM"], "model_type": "mistral", "rope_theta": 10000.0, "sliding_window": 4096,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_configs_are_read_as_the_presets(name):
    ours = preset(name).config
    sizes = to_hugging_face(Llama(SIZES))[0]
    sizes |= {
        "vocab_size": ours.vocab_size, "hidden_size": ours.d_model, "intermediate_size": ours.d_ff,
        "num_hidden_layers": ours.n_layers, "num_attention_heads": ours.n_heads, "rms_norm_eps": ours.norm_eps,
        "num_key_value_heads": ours.n_kv_heads, "max_position_embeddings": ours.context_length,
        "tie_word_embeddings": ours.tied,
    }  # fmt: skip
    config = {k: v for k, v in sizes.items() if k not in ("head_dim", "rope_parameters")} | BASE | PUBLISHED[name]
    with torch.device("meta"):
        _, tensors = to_hugging_face(Llama(replace(ours, window=None)))
    if ours.tied:
        del tensors["lm_head.weight"]
    assert from_hugging_face(config, tensors).config == ours


# Keys that transformers' classes know, and some that they don't; each with values that do something, and with others.
KEYS = {
    "rope_theta": [1e4, 5e5, 0, None],
    "rope_scaling": [
        None, {}, {"type": "linear", "factor": 4.0}, {"rope_type": "linear", "factor": 1.0}, {"rope_theta": 1e6},
        {"rope_type": "default"}, {"type": "dynamic", "factor": 2.0}, {"type": "dynamic", "factor": 0.5},
    ],
    "rope_parameters": [{"rope_theta": 1e5}, {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}, None],
    "partial_rotary_factor": [None, 1.0, 0.5],
    "hidden_act": ["silu", "swish", "gelu", "relu"],
    "rms_norm_eps": [1e-5, 1e-1],
    "sliding_window": [None, 5, 64, 1000],
    "use_sliding_window": [True, False],
    "layer_types": [None, ["full_attention"] * 2, ["full_attention", "sliding_attention"]],
    "attention_bias": [None, False], "mlp_bias": [False], "head_dim": [None, 8], "tie_word_embeddings": [None, False],
    "attention_dropout": [0.1], "pretraining_tp": [1, 2], "is_causal": [True], "num_key_value_heads": [2],
    "use_cache": [False], "torch_dtype": ["float32"], "chunk_size_feed_forward": [0], "initializer_range": [0.5],
    "model_type": ["llama", "mistral"],
}  # fmt: skip
KNOWN = st.one_of([st.tuples(st.just(name), st.sampled_from(values)) for name, values in KEYS.items()])
WORDS = st.sampled_from("rope scaling window softcap bias norm act factor alpha multiplier x".split())
UNKNOWN = st.tuples(
    st.lists(WORDS, min_size=1, max_size=3).map("_".join), st.sampled_from([None, 0.5, 2, "gelu", True, [3], {"a": 1}])
)


def either_the_same_or_refused(pairs):
    """What opens gives transformers' logits; a refusal names a key that was added, and its value's beginning."""
    extra = dict(pairs)
    config = BARE | extra
    if extra.get("model_type") == "mistral":
        config = {k: v for k, v in config.items() if k not in ("attention_bias", "mlp_bias", "architectures")}
    try:
        ours = our_logits(config)
    except ValueError as error:
        assert any(name in str(error) for name in [*extra, "theta", "rope_parameters"]), f"no key in: {error}"
        return
    truth = transformers_logits(config)
    assert (ours - truth).abs().max() < 1e-4 * truth.std(), "opened as another model"
    unknown = {name for name, value in extra.items() if name not in KEYS and value is not None}
    assert not unknown, f"{unknown} were skipped"


PAIRS = st.lists(st.one_of(KNOWN, KNOWN, KNOWN, UNKNOWN), min_size=1, max_size=4)


@settings(max_examples=120)
@given(PAIRS)
def test_added_keys_change_nothing_or_are_refused(pairs):
    either_the_same_or_refused(pairs)


@pytest.mark.slow
@settings(max_examples=1500)
@given(PAIRS)
def test_many_more_added_keys(pairs):
    either_the_same_or_refused(pairs)
