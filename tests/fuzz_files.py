"""Bad files: weights, tokenizers, checkpoints, cut, with flipped bits, with headers that lie. See tests/fuzz.py."""

import json
import struct

import torch
from safetensors.torch import save_file

from lib.text import bpe_file
from lib.text.bpe import BPE
from lib.text.trie import WorldTokenizer
from lib.weights.files import BIN_INDEX, INDEX, open_gguf, open_pth, open_safetensors, save_pth
from lib.weights.sealed import read_sealed, write_sealed
from tests.fuzz_text import holds, text

DEEP = "[" * 20_000
ODD = [
    0,
    -1,
    1.5,
    2**63,
    2**64,
    10**40,
    "x",
    "",
    None,
    True,
    [],
    {},
    [1, 2],
    {"a": 1},
    "F64",
    "I8",
    "BOOL",
    [0],
    [-3],
    [2**40] * 3,
]


def damaged(dice, data):
    """Return the bytes, cut, with bits flipped, with a stretch overwritten, repeated, or with something behind."""
    data = bytearray(data)
    kind = dice.randrange(6)
    place = dice.randrange(len(data)) if dice.random() < 0.5 else dice.randrange(min(400, len(data)))
    if kind == 0:
        return bytes(data[:place])
    if kind == 1:
        for _ in range(dice.choice([1, 1, 2, 8])):
            data[dice.randrange(len(data)) if dice.random() < 0.3 else place] ^= 1 << dice.randrange(8)
    elif kind == 2:
        data[place : place + 8] = dice.choice(
            [b"\xff" * 8, b"\0" * 8, struct.pack("<Q", dice.choice([1, 2**31, 2**62]))]
        )
    elif kind == 3:
        data[place:place] = data[max(0, place - 50) : place]
    elif kind == 4:
        data += dice.randbytes(dice.choice([1, 100]))
    else:
        del data[place : place + dice.choice([1, 8, 100])]
    return bytes(data)


def changed(dice, value, depth=0):
    """Return a value of JSON with one thing in it replaced, taken away, or doubled."""
    if isinstance(value, dict) and value and (depth == 0 or dice.random() < 0.7):
        name = dice.choice(list(value))
        new = dict(value)
        if dice.random() < 0.15:
            del new[name]
        else:
            new[name] = changed(dice, new[name], depth + 1)
        return new
    if isinstance(value, list) and value and dice.random() < 0.7:
        new = list(value)
        i = dice.randrange(len(new))
        kind = dice.random()
        if kind < 0.2:
            del new[i]
        elif kind < 0.4:
            new.insert(dice.randrange(len(new)), new[i])
        else:
            new[i] = changed(dice, new[i], depth + 1)
        return new
    return dice.choice(ODD)


def sane(tensors, whole):
    """Assert that what was opened are tensors that can be read to their last number."""
    assert isinstance(tensors, dict)
    for tensor in tensors.values():
        assert torch.is_tensor(tensor)
        assert tensor.numel() <= 10 * sum(t.numel() for t in whole.values()), "a tensor larger than the file"
        if tensor.numel() and not tensor.is_quantized:
            tensor.clone()


def write_gguf(path, tensors):
    """Write a small file of llama.cpp's format with the package that its makers publish."""
    from gguf import GGUFWriter

    writer = GGUFWriter(str(path), "llama")
    writer.add_block_count(2)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "c"])
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def targets(folder):
    """Return {name: (target, weight)}."""
    generator = torch.Generator().manual_seed(0)
    whole = {name: torch.randn(4, 8, generator=generator) for name in ("a.weight", "b.weight")}
    whole["c"] = torch.arange(6, dtype=torch.float16)
    places = {end: folder / f"whole.{end}" for end in ("safetensors", "pth", "gguf", "json", "txt", "pt")}
    save_file(whole, places["safetensors"])
    save_pth(places["pth"], whole)
    write_gguf(places["gguf"], whole)
    BPE.train("the cat and the hat and the bat " * 9, 300).save(places["json"])
    lines = [f"{i + 1} {bytes([i])!r} 1" for i in range(256)] + ["257 ' the' 4", "258 'cat' 3", "259 'é' 2"]
    places["txt"].write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_sealed(places["pt"], {"a": whole["a.weight"], "b": [1, 2.0, "c", None]})
    read = {end: place.read_bytes() for end, place in places.items()}
    bad = {end: folder / f"bad.{end}" for end in places}

    def opened(opener, end, data):
        bad[end].write_bytes(data)
        return opener(bad[end])

    def safetensors_bytes(dice):
        sane(opened(open_safetensors, "safetensors", damaged(dice, read["safetensors"])), whole)

    def safetensors_header(dice):
        length = struct.unpack("<Q", read["safetensors"][:8])[0]
        header = json.loads(read["safetensors"][8 : 8 + length])
        header = dice.choice(
            [json.dumps(changed(dice, header)), DEEP, '{"a":' * 10_000, "null"]
            if dice.random() < 0.1
            else [json.dumps(changed(dice, header))]
        )
        header += " " * (-len(header) % 8)  # as the format wants it
        size = dice.choice([len(header)] * 8 + [0, 2**63, 2**64 - 1, len(header) + 1])
        sane(
            opened(
                open_safetensors,
                "safetensors",
                struct.pack("<Q", size) + header.encode() + read["safetensors"][8 + length :],
            ),
            whole,
        )

    def pth(dice):
        sane(opened(open_pth, "pth", damaged(dice, read["pth"])), whole)

    indices = {}
    for index, place, end in ((INDEX, "safetensors", ".safetensors"), (BIN_INDEX, "pth", ".bin")):
        (folder / f"part{end}").write_bytes(read[place])
        indices[index] = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(whole, f"part{end}")}

    def index(dice):
        name, content = dice.choice(list(indices.items()))
        part = dice.choice(["part.bin", "../x.bin", "/x.bin", "\0", "part", ""])
        places = dice.choice([content["weight_map"], changed(dice, content["weight_map"]), {"a.weight": part}])
        content = dice.choice([content, changed(dice, content), content | {"weight_map": places}])
        (folder / name).write_text(json.dumps(content))
        sane(open_safetensors(folder / name), whole)

    def gguf(dice):
        metadata, tensors = opened(open_gguf, "gguf", damaged(dice, read["gguf"]))
        assert isinstance(metadata, dict)
        sane(tensors, whole)

    def tokenizer_bytes(dice):
        holds(opened(BPE.load, "json", damaged(dice, read["json"])), text(dice))

    def tokenizer_json(dice):
        content = changed(dice, json.loads(read["json"]))
        if dice.random() < 0.5:
            content = json.loads(read["json"])
            content["model"] = changed(dice, content["model"])
        data = DEEP.encode() if dice.random() < 0.02 else json.dumps(content).encode()
        holds(opened(BPE.load, "json", data), text(dice))

    def vocabulary(dice):
        holds(opened(WorldTokenizer, "txt", damaged(dice, read["txt"])), text(dice))

    def sealed(dice):
        data = damaged(dice, read["pt"])
        kept = opened(read_sealed, "pt", data)
        assert data == read["pt"], "an altered checkpoint was read"
        assert torch.equal(kept["a"], whole["a.weight"])

    def characters(dice):
        value = dice.randbytes(dice.randrange(12))
        assert bpe_file.from_characters(bpe_file.to_characters(value)) == value

    return {
        "safetensors_bytes": (safetensors_bytes, 40),
        "safetensors_header": (safetensors_header, 40),
        "pth": (pth, 12),
        "index": (index, 10),
        "gguf": (gguf, 10),
        "tokenizer_bytes": (tokenizer_bytes, 12),
        "tokenizer_json": (tokenizer_json, 16),
        "vocabulary": (vocabulary, 8),
        "sealed": (sealed, 30),
        "characters": (characters, 20),
    }
