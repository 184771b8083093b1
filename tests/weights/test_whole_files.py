"""What a file of weights lacks, has twice, has under another name, or in other numbers: read, or said in a sentence."""

import json

import pytest
import torch

from lib.models.llama import Llama, LlamaConfig
from lib.models.openelm import OpenElm, OpenElmConfig
from lib.models.rwkv import Rwkv, RwkvConfig
from lib.weights.convert import from_hugging_face, to_hugging_face
from lib.weights.export import load_hugging_face
from lib.weights.files import BIN_INDEX, INDEX, DamagedFile, open_tensors, save_pth, save_safetensors, write_json
from lib.weights.openelm import from_hugging_face_openelm, to_hugging_face_openelm
from lib.weights.rwkv import from_rwkv, to_rwkv

RANKS = {4: (), 5: (), 6: (8, 8), 7: (8, 8, 8, 8)}
GENERATIONS = pytest.mark.parametrize("generation", RANKS)
EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TOKENS = torch.tensor([[1, 5, 2, 7, 7, 3]])


def randomised(model):
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return model.eval()


def llama(**changes):
    sizes = dict(vocab_size=60, n_layers=2, d_model=48, n_heads=6, n_kv_heads=2, d_head=8, d_ff=56, context_length=64)
    return randomised(Llama(LlamaConfig(**(sizes | changes))))


def rwkv(generation, n_layers=2):
    return randomised(Rwkv(RwkvConfig(generation, 60, n_layers, 64, 128, d_head=32, ranks=RANKS[generation])))


def openelm():
    return randomised(OpenElm(OpenElmConfig(60, 40, 8, (3, 4), (1, 2), (20, 60), context_length=37)))


def ways():
    """Each loader with a whole file: {name: (load the tensors, the tensors)}."""
    config, tensors = to_hugging_face(llama())
    elm, apples = to_hugging_face_openelm(openelm())
    found = {"llama": (lambda t: from_hugging_face(config, t), tensors)}
    found["openelm"] = (lambda t: from_hugging_face_openelm(elm, t), apples)
    return found | {f"rwkv-{g}": (from_rwkv, to_rwkv(rwkv(g))) for g in RANKS}


WAYS = ways()
LOADERS = pytest.mark.parametrize(("load", "tensors"), WAYS.values(), ids=WAYS)


@LOADERS
def test_each_tensor_that_is_left_out_is_named(load, tensors):
    for name in tensors:
        rest = {other: tensor for other, tensor in tensors.items() if other != name}
        with pytest.raises(ValueError) as caught:
            load(rest)
        # Without the tensor that tells the generation, the names that are there are said instead.
        assert name in str(caught.value) or "no tensors of RWKV" in str(caught.value)


@LOADERS
def test_a_tensor_too_many_is_named(load, tensors):
    for extra in ("blocks.0.att.time_state", "model.layers.0.self_attn.q_proj.bias", "x"):
        with pytest.raises(ValueError, match=rf"1 are unexpected \['{extra}'\]"):
            load(tensors | {extra: torch.ones(3)})


@LOADERS
def test_nothing_at_all_and_no_tensors_are_refused(load, tensors):
    name = next(iter(tensors))
    for bad, words in (({}, "missing|no tensors of RWKV"), (tensors | {name: None}, rf"\['{name}'\] are no tensors")):
        with pytest.raises(ValueError, match=words):
            load(bad)


@LOADERS
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_said(load, tensors, value):
    name = [name for name, tensor in tensors.items() if tensor.numel() > 100][-1]
    bad = tensors[name].clone()
    bad.view(-1)[7] = value
    with pytest.raises(ValueError, match=r"has 1 of [\d,]+ numbers that are NaN or infinite") as caught:
        load(tensors | {name: bad})
    assert name in str(caught.value)


def test_large_numbers_are_no_infinity():
    config, tensors = to_hugging_face(llama())
    tensors = tensors | {HEAD: torch.full_like(tensors[HEAD], 3e38)}  # their sum is infinite in float32
    assert (from_hugging_face(config, tensors).head.weight == 3e38).all()


@LOADERS
@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn])
def test_numbers_that_need_a_scale_are_refused(load, tensors, kind):
    name = [name for name, tensor in tensors.items() if tensor.dim() == 2][-1]
    with pytest.raises(ValueError, match=f"numbers of the type {kind}".replace("torch.", "")):
        load(tensors | {name: tensors[name].to(kind)})


@LOADERS
@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "module.", "module._orig_mod.", "_forward_module.", "_orig_mod.module."]
)
def test_prefixes_of_what_held_the_model_are_taken_off(load, tensors, prefix):
    ours, plain = load({prefix + name: tensor for name, tensor in tensors.items()}), load(tensors)
    assert torch.equal(ours(TOKENS)[0], plain(TOKENS)[0])
    twice = tensors | {prefix + name: tensor for name, tensor in tensors.items()}
    with pytest.raises(ValueError, match="without their prefix, too"):
        load(twice)


def test_what_torch_compile_holds_is_read():
    model = llama()
    model.blocks[1].mix_channels = torch.compile(
        model.blocks[1].mix_channels
    )  # nothing is compiled before it is called
    held = torch.compile(model).state_dict()
    assert all(name.startswith("_orig_mod.") for name in held) and any(
        "mix_channels._orig_mod" in name for name in held
    )
    config, _ = to_hugging_face(llama())
    _, tensors = to_hugging_face(llama())
    inside = {name.replace("mlp.", "mlp._orig_mod."): tensor for name, tensor in tensors.items()}
    assert torch.equal(from_hugging_face(config, inside)(TOKENS)[0], llama()(TOKENS)[0])


@LOADERS
def test_an_adapter_is_no_model(load, tensors):
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    for adapter in ({name: torch.ones(2, 2)}, tensors | {"blocks.0.att.receptance.lora_B": torch.ones(2, 2)}):
        with pytest.raises(ValueError, match="belong to an adapter .LoRA."):
            load(adapter)


def test_a_head_that_stands_twice_is_compared():
    config, tensors = to_hugging_face(llama())
    tied = config | {"tie_word_embeddings": True}
    with pytest.raises(ValueError, match=f"tie_word_embeddings is true, but {HEAD} differs from {EMBED} by up to"):
        from_hugging_face(tied, tensors)
    with pytest.raises(ValueError, match=rf"{HEAD} is \(59, 48\) and {EMBED} \(60, 48\)"):
        from_hugging_face(tied, tensors | {HEAD: tensors[HEAD][:-1]})
    for head in (tensors[EMBED], tensors[EMBED].clone()):
        model = from_hugging_face(tied, tensors | {HEAD: head})
        assert model.head.weight is model.embed.weight
    assert torch.equal(from_hugging_face(config, tensors).head.weight, tensors[HEAD])


def test_openelms_second_head_is_compared():
    config, tensors = to_hugging_face_openelm(openelm())
    embed = tensors["transformer.token_embeddings.weight"]
    from_hugging_face_openelm(config, tensors | {HEAD: embed.clone()})
    with pytest.raises(ValueError, match=f"share_input_output_layers is true, but {HEAD} differs"):
        from_hugging_face_openelm(config, tensors | {HEAD: embed + 1})


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("theta", [1e4, 1e6])
def test_saved_angles_are_compared(kind, theta):
    import transformers

    config, tensors = to_hugging_face(llama(rope_theta=theta))
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).model.rotary_emb.inv_freq
    name = "model.layers.1.self_attn.rotary_emb.inv_freq"
    from_hugging_face(config, tensors | {name: theirs.to(kind)})
    for other in (theirs / 4, theirs**1.2, theirs[:3]):
        with pytest.raises(ValueError, match=f"{name} has other speeds than theta = "):
            from_hugging_face(config, tensors | {name: other.to(kind)})


def in_parts(folder, tensors):
    """Write tensors as older folders on the Hub have them: two .bin files and an index."""
    names = sorted(tensors)
    places = {name: f"pytorch_model-{1 + (i > 9):05}-of-00002.bin" for i, name in enumerate(names)}
    for part in sorted(set(places.values())):
        save_pth(folder / part, {name: tensors[name] for name in names if places[name] == part})
    write_json(folder / BIN_INDEX, {"metadata": {"total_size": 1}, "weight_map": places})
    return places


def test_a_bin_in_parts_is_read(tmp_path):
    import transformers

    model = llama()
    config, tensors = to_hugging_face(model)
    places = in_parts(tmp_path, tensors)
    write_json(tmp_path / "config.json", config)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ours = load_hugging_face(tmp_path)
    assert torch.equal(ours(TOKENS)[0], model(TOKENS)[0])
    assert (ours(TOKENS)[0] - theirs(TOKENS).logits).abs().max() < 1e-5
    (tmp_path / places[HEAD]).unlink()
    with pytest.raises(FileNotFoundError, match=rf"missing are \['{places[HEAD]}'\]"):
        load_hugging_face(tmp_path)


def test_a_bin_whose_parts_disagree_with_the_index_is_named(tmp_path):
    places = in_parts(tmp_path, to_hugging_face(llama())[1])
    write_json(tmp_path / BIN_INDEX, {"weight_map": places | {"more": places[HEAD]}})
    with pytest.raises(DamagedFile, match=r"disagree on 1 tensors \['more'\]"):
        open_tensors(tmp_path / BIN_INDEX)


@pytest.mark.parametrize(
    "places", [[1], {"a": 3}, {"a": ["b"]}, {"a": "../model.safetensors"}, {"a": ""}, {"a": "notes.txt"}, "x", None]
)
def test_an_index_that_makes_no_sense_is_damage(tmp_path, places):
    save_safetensors(tmp_path, {"a": torch.ones(2)})
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": places}))
    with pytest.raises(DamagedFile, match="index.json (has no list|names)"):
        open_tensors(tmp_path / INDEX)


@GENERATIONS
def test_a_block_that_is_missing_is_named(generation):
    tensors = to_rwkv(rwkv(generation, n_layers=3))
    with pytest.raises(ValueError, match="block 1 is missing, but there is block 2"):
        from_rwkv({name: tensor for name, tensor in tensors.items() if ".1." not in name})


@GENERATIONS
def test_a_tensor_that_says_a_size_with_other_axes_is_named(generation):
    tensors = to_rwkv(rwkv(generation))
    for name in ("emb.weight", "blocks.0.ffn.key.weight"):
        with pytest.raises(ValueError, match=rf"{name} is \(\d+,\), expected are 2 axes"):
            from_rwkv(tensors | {name: tensors[name].flatten()})


def test_a_name_with_a_huge_block_takes_no_time():
    tensors = to_rwkv(rwkv(5))
    with pytest.raises(ValueError, match="block 2 is missing, but there is block 999999"):
        from_rwkv(tensors | {"blocks.999999.ln1.weight": torch.ones(64)})
