"""Write a model so that published code opens it: a folder for transformers, or one for the `rwkv` package.

`load_hugging_face` opens such a folder here, and so it opens those that others published.
"""

from pathlib import Path

from lib.models.hybrid import Hybrid
from lib.models.llama import Llama
from lib.models.rwkv import Rwkv
from lib.text.instructions import ASSISTANT, TEMPLATE, USER
from lib.weights.convert import from_hugging_face, to_hugging_face
from lib.weights.files import (
    BIN_INDEX,
    INDEX,
    open_tensors,
    read_config,
    save_pth,
    save_safetensors,
    write_folder,
    write_json,
)
from lib.weights.openelm import from_hugging_face_openelm
from lib.weights.rwkv import to_rwkv

END_OF_TEXT = "<|endoftext|>"
WEIGHTS = ("model.safetensors", INDEX, "pytorch_model.bin", BIN_INDEX)


def load_hugging_face(folder):
    """Return our model, in float32, of a folder as the Hub has it: config.json, and weights in one file or in parts.

    Reads LLaMA, TinyLlama, LiteLlama, SmolLM2, Mistral and OpenELM.
    """
    folder = Path(folder)
    config = read_config(folder)
    found = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    if not found:
        raise FileNotFoundError(f"no weights in {folder}: expected is one of {', '.join(WEIGHTS)}")
    if (folder / "adapter_config.json").is_file():
        raise ValueError(
            f"{folder} holds an adapter beside the weights (adapter_config.json), which transformers would add: merge "
            "the two first, as peft's merge_and_unload does, or take that file away"
        )
    build = from_hugging_face_openelm if config.get("model_type") == "openelm" else from_hugging_face
    return build(config, open_tensors(found[0])).eval()


def export_hugging_face(folder, model, tokenizer, max_bytes=None):
    """Write a Llama and its BPE so that AutoModelForCausalLM and AutoTokenizer of transformers open the folder.

    Text that the model makes ends at <|endoftext|>, and a prompt begins with it: it is both eos and bos. `max_bytes`
    cuts the weights into parts. Nothing is added to a prompt by itself.
    """
    refuse_hybrid(model)
    if type(model) is not Llama:  # OpenELM is a kind of Llama here, but not there
        raise ValueError(f"a {type(model).__name__} has no place in LlamaForCausalLM: export a Llama, or --format rwkv")
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, the model {model.config.vocab_size}: pass its own"
        )
    ends = {"bos_token_id": tokenizer.eot, "eos_token_id": tokenizer.eot}
    config, tensors = to_hugging_face(model)
    if model.config.tied:
        del tensors["lm_head.weight"]  # transformers ties it by itself, and the file can't hold one memory twice
    dtype = str(model.head.weight.dtype).removeprefix("torch.")

    def write(beside):
        save_safetensors(beside, tensors, max_bytes)
        tokenizer.save(beside / "tokenizer.json")
        write_json(beside / "tokenizer_config.json", tokenizer_config(model.config.context_length, tokenizer.special))
        write_json(beside / "config.json", {**config, **ends, "dtype": dtype})
        write_json(beside / "generation_config.json", ends)
        _sign(beside, "hf")

    write_folder(folder, write)


def refuse_hybrid(model):
    """Raise ValueError for a hybrid of ours, which no published code reads."""
    if isinstance(model, Hybrid):
        raise ValueError("a Hybrid can't be exported: no published code has its mix of layers; `sample` reads it here")


def tokenizer_config(context_length, special=(END_OF_TEXT,)):
    """Return what AutoTokenizer must know beside tokenizer.json; where there are marks of a conversation, its form."""
    marks = [token for token in special if token != END_OF_TEXT]
    chat = {"extra_special_tokens": marks, "chat_template": TEMPLATE} if {USER, ASSISTANT} <= set(marks) else {}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "model_max_length": context_length,
        "clean_up_tokenization_spaces": False,
        **chat,
    }


def export_rwkv(folder, model, tokenizer):
    """Write an Rwkv as FOLDER/model.pth, with its tokenizer.json.

    `RWKV(model="FOLDER/model", strategy="cpu fp32")` of the `rwkv` package then gives the same logits; for generation 7
    it wants RWKV_V7_ON=1 in its environment. PIPELINE(model, "FOLDER/tokenizer.json") reads the tokenizer.
    """
    refuse_hybrid(model)
    if not isinstance(model, Rwkv):
        raise ValueError(f"a {type(model).__name__} is no RWKV: export it with --format hf")

    def write(beside):
        save_pth(beside / "model.pth", to_rwkv(model))
        tokenizer.save(beside / "tokenizer.json")
        _sign(beside, "rwkv")

    write_folder(folder, write)


def _sign(folder, kind):
    """Leave a mark, so that a later export knows the folder as one of ours and may replace it."""
    write_json(folder / "export.json", {"made_by": "python3 -m lib export", "format": kind})
