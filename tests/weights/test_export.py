"""What is exported from here opens in transformers and in `rwkv`, with its tokenizer, and says the same."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer

from lib.models.llama import Llama, LlamaConfig
from lib.models.openelm import OpenElm, OpenElmConfig
from lib.models.rwkv import Rwkv, RwkvConfig
from lib.run.checkpoint import save_bundle
from lib.run.commands import main
from lib.run.sample import sample
from lib.text.bpe import BPE
from lib.weights.convert import from_hugging_face, to_hugging_face
from lib.weights.export import export_hugging_face, export_rwkv, load_hugging_face
from lib.weights.files import open_pth, save_pth, save_safetensors, write_json
from lib.weights.openelm import to_hugging_face_openelm

TEXT = "One day Anna's dog  saw 12 birds.\n\nGröße 한국어, they're don't\t<|endoftext|>"
CONFIG = LlamaConfig(
    vocab_size=300, n_layers=2, d_model=48, n_heads=6, n_kv_heads=2, d_head=8, d_ff=88, context_length=64, norm_eps=1e-6
)
ANGLES = 10000.0 ** (-torch.arange(4) / 4)  # theta^(-2j/N) radians a token
RANKS = {4: (), 5: (), 6: (32, 64), 7: (64, 64, 32, 128)}


@pytest.fixture(scope="module")
def tokenizer():
    return BPE.train("the cat sat on the mat, and the dog saw the cat. " * 9 + TEXT, 300)


def randomised(model):
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return model.eval()


@pytest.mark.parametrize("max_bytes", [None, 20_000])
@pytest.mark.parametrize("tied", [False, True])
def test_transformers_opens_model_and_tokenizer_and_writes_the_same(tmp_path, tokenizer, tied, max_bytes):
    model = randomised(Llama(replace(CONFIG, tied=tied)))
    export_hugging_face(tmp_path / "out", model, tokenizer, max_bytes)
    assert (tmp_path / "out" / "model.safetensors").is_file() == (max_bytes is None)
    words = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    assert words.eos_token_id == words.bos_token_id == theirs.generation_config.eos_token_id == tokenizer.eot
    assert theirs.config.eos_token_id == theirs.config.bos_token_id == tokenizer.eot
    assert len(words) == tokenizer.vocab_size and words.model_max_length == CONFIG.context_length
    ids = words(TEXT)["input_ids"]
    assert ids == tokenizer.encode(TEXT, allow_special=True) and words.decode(ids) == TEXT
    prompt = torch.tensor([[tokenizer.eot, *tokenizer.encode("the cat")]])
    with torch.no_grad():
        assert (theirs.eval()(prompt).logits - model(prompt)[0]).abs().max() < 1e-5
    written = theirs.generate(prompt, max_new_tokens=40, do_sample=False, pad_token_id=0)[0, prompt.shape[1] :]
    ours = torch.cat(list(sample(model, prompt, 40, temperature=0, stop=tokenizer.eot)))
    assert written.tolist() == ours.tolist()


def test_transformers_stops_where_we_stop(tmp_path, tokenizer):
    """The eos id is in the right place: a model that says <|endoftext|> next ends at once, there as here."""
    model = randomised(Llama(CONFIG))
    prompt = torch.tensor([tokenizer.encode("the cat")])
    with torch.no_grad():
        model.head.weight[tokenizer.eot] = 100 * model.hidden(prompt)[0][0, -1]
    export_hugging_face(tmp_path / "out", model, tokenizer)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    written = theirs.generate(prompt, max_new_tokens=9, do_sample=False, pad_token_id=0)[0, prompt.shape[1] :]
    assert written.tolist() == [tokenizer.eot]


@pytest.mark.parametrize("max_bytes", [None, 20_000])
@pytest.mark.parametrize("make", ["Llama", "Mistral"])
def test_what_transformers_saved_opens_here(tmp_path, make, max_bytes):
    config, _ = to_hugging_face(Llama(CONFIG))
    config = {key: value for key, value in config.items() if key not in ("architectures", "model_type")}
    extra = {"sliding_window": 5} if make == "Mistral" else {}
    drop = ("attention_bias", "mlp_bias") if make == "Mistral" else ()
    kind, model = getattr(transformers, f"{make}Config"), getattr(transformers, f"{make}ForCausalLM")
    theirs = randomised(model(kind(**{k: v for k, v in config.items() if k not in drop}, **extra)))
    theirs.save_pretrained(tmp_path, max_shard_size=max_bytes or "5GB")
    assert len(list(tmp_path.glob("*.safetensors"))) == (1 if max_bytes is None else 12)
    ours = load_hugging_face(tmp_path)
    tokens = torch.randint(0, 300, (2, 17))
    with torch.no_grad():
        assert (ours(tokens)[0] - theirs(tokens).logits).abs().max() < 1e-5


def test_an_older_file_with_angles_and_a_bin_opens_here(tmp_path):
    """As LiteLlama is: a pickle of tensors in bfloat16, theta at the top of the config, RoPE's angles saved too."""
    model = randomised(Llama(CONFIG))
    config, tensors = to_hugging_face(model)
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    tensors |= {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": ANGLES for i in range(2)}
    save_pth(tmp_path / "pytorch_model.bin", {name: tensor.bfloat16() for name, tensor in tensors.items()})
    write_json(tmp_path / "config.json", config)
    ours = load_hugging_face(tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor.bfloat16().float()), name


def test_openelm_opens_through_the_same_door(tmp_path):
    model = randomised(OpenElm(OpenElmConfig(61, 40, 8, (3, 4), (1, 2), (20, 60), context_length=37)))
    config, tensors = to_hugging_face_openelm(model)
    save_safetensors(tmp_path, tensors)
    write_json(tmp_path / "config.json", config)
    tokens = torch.randint(0, 61, (2, 9))
    with torch.no_grad():
        assert torch.equal(load_hugging_face(tmp_path)(tokens)[0], model(tokens)[0])


def broken(tmp_path, change_tensors=lambda t: t, change_config=lambda c: c):
    config, tensors = to_hugging_face(Llama(CONFIG))
    save_safetensors(tmp_path, change_tensors(dict(tensors)))
    write_json(tmp_path / "config.json", change_config(dict(config)))
    return tmp_path


def without(*names):
    return lambda values: {name: value for name, value in values.items() if name not in names}


NORM, QUERY = "model.norm.weight", "model.layers.1.self_attn.q_proj.weight"


@pytest.mark.parametrize(
    ("tensors", "config", "words"),
    [
        (without(NORM), dict, rf"1 tensors are missing \['{NORM}'\]"),
        (lambda t: t | {"model.layers.2.mlp.bias": torch.ones(3)}, dict, r"1 are unexpected \['model.layers.2.mlp"),
        (lambda t: t | {QUERY: torch.ones(48, 40)}, dict, rf"{QUERY} is \(48, 40\), expected \(48, 48\)"),
        (dict, lambda c: c | {"hidden_size": 56}, r"embed_tokens.weight is \(300, 48\), expected \(300, 56\).*more"),
        (dict, lambda c: c | {"num_hidden_layers": 3}, r"9 tensors are missing \['model.layers.2"),
        (dict, without("vocab_size", "rms_norm_eps"), "config.json does not say vocab_size, rms_norm_eps"),
        (dict, lambda c: c | {"model_type": "gemma"}, "of model type 'gemma'"),
        (dict, lambda c: c | {"attention_bias": True}, "attention_bias is True"),
        (dict, lambda c: c | {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        (dict, lambda c: c | {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "RoPE of type 'llama3'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path, tensors, config, words):
    with pytest.raises(ValueError, match=words):
        load_hugging_face(broken(tmp_path, tensors, config))


def test_an_adapter_beside_the_weights_is_said(tmp_path):
    """transformers would load it, so the weights alone are another model."""
    folder = broken(tmp_path)
    write_json(folder / "adapter_config.json", {"peft_type": "LORA"})
    with pytest.raises(ValueError, match="holds an adapter beside the weights .*merge the two first"):
        load_hugging_face(folder)


def test_a_folder_without_weights_or_config_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no config.json in"):
        load_hugging_face(tmp_path)
    write_json(tmp_path / "config.json", {})
    with pytest.raises(FileNotFoundError, match="no weights in .*model.safetensors"):
        load_hugging_face(tmp_path)


def test_a_loaded_model_shares_no_memory_with_what_it_came_from():
    model = randomised(Llama(replace(CONFIG, tied=True)))
    copy = from_hugging_face(*to_hugging_face(model))
    assert copy.head.weight is copy.embed.weight and copy.embed.weight.requires_grad
    with torch.no_grad():
        copy.embed.weight.zero_()
    assert model.embed.weight.abs().sum() > 0


def test_what_has_no_place_there_is_refused(tmp_path, tokenizer):
    window = Llama(replace(CONFIG, window=5))
    recurrent = Rwkv(RwkvConfig(4, 300, 2, 32, 64))
    elm = OpenElm(OpenElmConfig(61, 40, 8, (3, 4), (1, 2), (20, 60), context_length=37))
    for export, model, words in [
        (export_hugging_face, window, "a window of 5"),
        (export_hugging_face, recurrent, "a Rwkv has no place in LlamaForCausalLM"),
        (export_hugging_face, elm, "a OpenElm has no place"),
        (export_rwkv, window, "a Llama is no RWKV"),
        (export_hugging_face, Llama(replace(CONFIG, vocab_size=299)), "300 tokens, the model 299"),
    ]:
        with pytest.raises(ValueError, match=words):
            export(tmp_path / "out", model, tokenizer)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("generation", [4, 7])
def test_the_rwkv_package_gives_the_same_logits_and_tokens(tmp_path, tokenizer, generation):
    """All generations, by three ways of handing over tokens, are compared in tests/models; here it is the folder."""
    config = RwkvConfig(generation, 300, 2, 128, 256, ranks=RANKS[generation])
    model = randomised(Rwkv(config))
    export_rwkv(tmp_path / "out", model, tokenizer)
    theirs = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json")).encode("the cat sat on the mat").ids
    assert theirs == tokenizer.encode("the cat sat on the mat")
    script = Path(__file__).parents[1] / "models" / "rwkv_package.py"
    said = [
        str(generation),
        str(tmp_path / "out" / "model.pth"),
        ",".join(map(str, theirs)),
        str(tmp_path / "found.pt"),
    ]
    subprocess.run([sys.executable, str(script), *said], check=True, capture_output=True, timeout=200)
    found = open_pth(tmp_path / "found.pt")
    with torch.no_grad():
        ours = model(torch.tensor([theirs]))[0][0]
    assert (found["whole"] - ours).abs().max() < 1e-4 * ours.abs().max()
    written = torch.cat(list(sample(model, torch.tensor([theirs]), 10, temperature=0)))
    assert found["greedy"].tolist() == written.tolist()


def test_the_command_exports_a_bundle(tmp_path, tokenizer, capsys):
    model = randomised(Llama(CONFIG))
    save_bundle(tmp_path / "mine", model, tokenizer, {})
    for _ in range(2):  # the second replaces the first
        assert main(["export", str(tmp_path / "mine"), "--to", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "AutoModelForCausalLM" in said and re.search(r"out.? is written", said)
    tokens = torch.tensor([[1, 2, 3]])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        assert (theirs(tokens).logits - model(tokens)[0]).abs().max() < 1e-5
    assert main(["export", str(tmp_path / "mine"), "--to", str(tmp_path / "mine")]) == 1
    assert "holds files that no export wrote" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "mine"), "--to", str(tmp_path / "x"), "--format", "rwkv"]) == 1
    assert "a Llama is no RWKV" in capsys.readouterr().err
