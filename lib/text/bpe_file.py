"""The tokenizer.json format of Hugging Face for a byte-level BPE: write it, read it.

JSON holds text, tokens are bytes: GPT-2 writes each byte as one printable character, a space as Ġ (its encoder.py).
"""

import json
import os
from functools import cache
from pathlib import Path

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


@cache
def byte_characters() -> tuple[str, ...]:
    """The character that stands for each byte: itself where it is printable, else the next one from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return tuple(chr(b) if b in printable else chr(256 + others.index(b)) for b in range(256))


def to_characters(token: bytes) -> str:
    """Bytes -> characters, b" the" -> Ġthe."""
    characters = byte_characters()
    return "".join([characters[b] for b in token])


def from_characters(text: str) -> bytes:
    """Characters -> bytes, Ġthe -> b" the". KeyError on a character that stands for no byte."""
    numbers = _numbers()
    return bytes([numbers[c] for c in text])


@cache
def _numbers() -> dict[str, int]:
    return {c: b for b, c in enumerate(byte_characters())}


def write(path: Path, vocab: list[bytes], merges: list[tuple[bytes, bytes]], special: list[str]) -> None:
    """Write the file beside its place and then move it there: a reader never meets half a file."""
    ids = {s: i for i, s in enumerate(special)}
    for i, token in enumerate(vocab[len(special) :], start=len(special)):
        if ids.setdefault(to_characters(token), i) != i:
            raise ValueError(f"the special token {to_characters(token)!r} is written like token {i}: rename it")
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": s, **flags} for i, s in enumerate(special)],
        "normalizer": None,
        "pre_tokenizer": BYTE_LEVEL,
        "post_processor": None,
        "decoder": BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": ids,
            "merges": [f"{to_characters(left)} {to_characters(right)}" for left, right in merges],
        },
    }
    beside = path.with_name(path.name + ".part")
    try:
        with open(beside, "w", encoding="utf-8", newline="\n") as file:
            json.dump(content, file, ensure_ascii=False, indent=1)
            file.write("\n")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read(path: Path) -> tuple[list[tuple[bytes, bytes]], list[str], list[bytes]]:
    """(merges, special tokens, vocabulary) of a byte-level tokenizer.json. ValueError: what is wrong with the file."""
    if not path.is_file():
        raise FileNotFoundError(f"no tokenizer at {path}: write one with BPE.train(...).save({str(path)!r})")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}): save the tokenizer again") from None
    try:
        return _parts(content)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        message = f"{path} is not a byte-level BPE that BPE.save wrote ({type(error).__name__}: {error})"
        raise ValueError(f"{message}: open it with the library that wrote it") from None


def _parts(content: dict) -> tuple[list[tuple[bytes, bytes]], list[str], list[bytes]]:
    model, cutter = content["model"], content["pre_tokenizer"]
    if model["type"] != "BPE" or content["normalizer"] is not None:
        raise ValueError(f"the model is {model['type']}, the normalizer {content['normalizer']}")
    if cutter["type"] != "ByteLevel" or cutter["add_prefix_space"] or not cutter.get("use_regex", True):
        raise ValueError(f"the pre-tokenizer is {cutter}")
    special = [t["content"] for t in sorted(content["added_tokens"], key=lambda t: t["id"])]
    # before version 0.20, tokenizers wrote "a b"; since then ["a", "b"]
    pairs = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    merges = [(from_characters(left), from_characters(right)) for left, right in pairs]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    if sorted(model["vocab"].values()) != list(range(len(tokens))):
        raise ValueError(f"the ids of the {len(tokens)} tokens are not 0 to {len(tokens) - 1}")
    vocab = [t.encode("utf-8") if t in special else from_characters(t) for t in tokens]
    return merges, special, vocab
