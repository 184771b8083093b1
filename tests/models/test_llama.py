"""Our LLaMA gives transformers' logits, on the same random weights: LlamaForCausalLM, and Mistral's with a window."""

from dataclasses import replace

import pytest
import torch
import transformers
from transformers.models.llama import modeling_llama

from lib.layers.rope import rope_table
from lib.models.llama import Llama, LlamaConfig, attention_maps
from lib.models.openelm import OpenElm, OpenElmConfig
from lib.models.skeleton import head_from_embedding
from lib.weights.convert import from_hugging_face, to_hugging_face

CONFIG = LlamaConfig(
    vocab_size=101, n_layers=3, d_model=48, n_heads=6, n_kv_heads=2, d_head=8, d_ff=88, context_length=64, norm_eps=1e-6
)


def randomised(config):
    torch.manual_seed(0)
    model = Llama(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    return model


def theirs_of(model, attention="sdpa"):
    config, tensors = to_hugging_face(model)
    config = transformers.LlamaConfig(**config, attn_implementation=attention)
    theirs = transformers.LlamaForCausalLM(config).eval()
    theirs.load_state_dict(tensors)
    return theirs


@pytest.fixture
def tokens():
    return torch.randint(0, 101, (3, 31), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("change", [{}, {"n_kv_heads": 6}, {"n_kv_heads": 1}, {"tied": True}, {"rope_theta": 5e5}])
def test_equals_transformers_in_float32(tokens, change, attention):
    model = randomised(replace(CONFIG, **change))
    theirs = theirs_of(model, attention)(tokens).logits
    assert (model(tokens)[0] - theirs).abs().max() < 1e-5


def test_equals_transformers_in_float64_with_its_norm_and_table_made_float64(tokens, monkeypatch):
    """As it stands transformers computes both in float32 whatever it is given, so that 1e-6 is all that it can give."""
    model = randomised(CONFIG).double()
    theirs = theirs_of(model).double()

    def norm(self, x):
        return torch.nn.functional.rms_norm(x, (x.shape[-1],), self.weight, self.variance_epsilon)

    def table(self, x, position_ids, *args, **kwargs):
        cos, sin = rope_table(8, position_ids.shape[-1], dtype=torch.float64)
        return torch.cat([cos, cos], -1)[None], torch.cat([sin, sin], -1)[None]

    stock = (model(tokens)[0] - theirs(tokens).logits).abs().max()
    monkeypatch.setattr(modeling_llama.LlamaRMSNorm, "forward", norm)
    monkeypatch.setattr(modeling_llama.LlamaRotaryEmbedding, "forward", table)
    patched = (model(tokens)[0] - theirs(tokens).logits).abs().max()
    assert stock < 1e-5 and patched < 1e-10


def test_gradients_equal_transformers(tokens):
    model = randomised(CONFIG)
    theirs = theirs_of(model)
    model(tokens)[0].square().mean().backward()
    theirs(tokens).logits.square().mean().backward()
    grads = dict(theirs.named_parameters())
    _, names = to_hugging_face(model)
    for (name, weight), their_name in zip(model.named_parameters(), names, strict=True):
        assert torch.allclose(weight.grad, grads[their_name].grad, atol=1e-6), name


@pytest.mark.parametrize("window", [None, 7])
def test_equals_mistral(tokens, window):
    model = randomised(CONFIG)
    config, tensors = to_hugging_face(model)
    config.pop("architectures"), config.pop("model_type"), config.pop("attention_bias"), config.pop("mlp_bias")
    theirs = transformers.MistralForCausalLM(transformers.MistralConfig(**config, sliding_window=window)).eval()
    theirs.load_state_dict(tensors)
    ours = Llama(replace(CONFIG, window=window))
    ours.load_state_dict(model.state_dict())
    assert (ours(tokens)[0] - theirs(tokens).logits).abs().max() < 1e-5


def test_the_same_greedy_tokens_as_transformers_generate(tokens):
    model = randomised(CONFIG)
    theirs = theirs_of(model).generate(
        tokens[:1, :5], max_new_tokens=40, do_sample=False, pad_token_id=0, eos_token_id=None
    )
    ours, state = model(tokens[:1, :5])
    row = tokens[0, :5].tolist()
    with torch.no_grad():
        for _ in range(40):
            row.append(int(ours[0, -1].argmax()))
            ours, state = model(torch.tensor([row[-1:]]), state)
    assert row == theirs[0].tolist()


def test_export_then_import_is_the_same_model(tokens):
    for config in (CONFIG, replace(CONFIG, tied=True)):
        model = randomised(config)
        back = from_hugging_face(*to_hugging_face(model))
        assert back.config == config
        assert torch.equal(back(tokens)[0], model(tokens)[0])


def test_what_is_missing_or_left_over_is_named():
    described, tensors = to_hugging_face(randomised(CONFIG))
    tensors["model.extra.weight"] = tensors.pop("model.norm.weight")
    with pytest.raises(ValueError, match=r"model\.norm\.weight.*model\.extra\.weight"):
        from_hugging_face(described, tensors)


def test_the_head_can_start_in_the_embeddings_directions():
    """Each row keeps its length; a tied table stays as it is."""
    torch.manual_seed(0)
    model = Llama(CONFIG)
    assert not CONFIG.tied
    lengths = model.head.weight.norm(dim=1)
    head_from_embedding(model)
    torch.testing.assert_close(model.head.weight.norm(dim=1), lengths)
    alike = torch.nn.functional.cosine_similarity(model.head.weight, model.embed.weight, dim=1)
    torch.testing.assert_close(alike, torch.ones_like(alike))
    tied = Llama(replace(CONFIG, tied=True))
    before = tied.embed.weight.clone()
    head_from_embedding(tied)
    assert torch.equal(tied.head.weight, before)


@pytest.mark.parametrize("change", [{}, {"n_kv_heads": 6}, {"n_kv_heads": 1}, {"rope_theta": 50.0}])
def test_attention_maps_are_transformers_attentions(tokens, change):
    model = randomised(replace(CONFIG, **change))
    theirs = theirs_of(model, "eager")(tokens[:1], output_attentions=True).attentions
    maps = attention_maps(model, tokens[:1])
    assert maps.shape == (3, 6, 31, 31) and not maps.requires_grad
    assert (maps - torch.cat(theirs)).abs().max() < 1e-5
    assert (maps.sum(-1) - 1).abs().max() < 1e-5 and maps.triu(1).abs().max() == 0
    assert all(not block.mix_time._forward_hooks for block in model.blocks)


@pytest.mark.parametrize("kind", ["window", "norms"])
def test_attention_maps_give_what_each_layer_gave(tokens, kind):
    """The values, mixed by the maps, are what goes into each layer's output matrix: with a window, and with norms."""
    if kind == "window":
        model = randomised(replace(CONFIG, window=7))
    else:
        model = OpenElm(OpenElmConfig(101, 48, 8, [6] * 3, [2] * 3, [88] * 3, context_length=64))
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
    given = []
    for block in model.blocks:
        block.mix_time.output.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0][0]))
    _, state = model(tokens[:1])
    with torch.no_grad():
        for weights, y, (cache, _) in zip(attention_maps(model, tokens[:1]), given[:3], state.layers, strict=True):
            values = cache.values[0].repeat_interleave(3, 0)  # (H, T, N)
            assert (torch.cat([*(weights @ values)], -1) - y).abs().max() < 1e-5


@pytest.mark.parametrize("kind", [Llama, OpenElm])
def test_what_was_asked_first_can_be_trained_after(tokens, kind):
    config = CONFIG if kind is Llama else OpenElmConfig(101, 48, 8, [2, 4], [1, 2], [24, 40], 64)
    model = kind(config)
    with torch.inference_mode():
        first, _ = model(tokens)
    again, _ = model(tokens)
    again.sum().backward()
    assert torch.equal(first, again) and model.embed.weight.grad.abs().sum() > 0
