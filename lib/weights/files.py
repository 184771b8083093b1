"""Open and save files of tensors: .safetensors and .bin (one, or in parts with an index), .pth, and .gguf to read.

Nothing that is opened can run code, a damaged file is named as such before a single tensor is handed out, and a file is
written beside its place and then moved there.
"""

import json
import os
import pickle
import pickletools
import re
import shutil
import struct
import warnings
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lib.weights.places import refuse_name, refuse_place

INDEX = "model.safetensors.index.json"
BIN_INDEX = "pytorch_model.bin.index.json"
GGUF_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1")


class DamagedFile(ValueError):
    """A file of weights that is cut short, altered, or not what its name says."""


def open_tensors(path):
    """Return {name: tensor} of a file or folder of weights, by its ending."""
    path = Path(path)
    if path.is_dir() or path.name.endswith((".safetensors", ".json")):
        return open_safetensors(path)
    if path.suffix in (".pth", ".pt", ".bin"):
        return open_pth(path)
    if path.suffix == ".gguf":
        return open_gguf(path)[1]
    raise ValueError(f"{path.name} ends in {path.suffix!r}: there are .safetensors, .pth, .pt, .bin and .gguf")


def open_safetensors(path):
    """Return {name: tensor} of a .safetensors file, of an index.json, or of a folder that holds one of the two.

    An index may name .bin files, too. Every .safetensors part is checked before the first is read. Raises
    FileNotFoundError, or DamagedFile with the file's name.
    """
    path = Path(path)
    if path.is_dir():
        one = path / "model.safetensors"
        path = one if one.is_file() else path / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}: expected is model.safetensors, or {INDEX} and its parts")
    if path.suffix != ".json":
        safetensors_header(path)
        return _load_part(path)
    return _open_parts(path)


def _open_parts(index):
    """Return {name: tensor} of all the parts that an index names; DamagedFile where it and they disagree."""
    places = _json(index).get("weight_map", {})
    if not isinstance(places, dict) or not all(isinstance(place, str) for place in places.values()):
        raise DamagedFile(f"{index} has no list of tensors and their files, weight_map: download it again")
    names = sorted(set(places.values()))
    odd = [name for name in names if Path(name).name != name or not name.endswith((".safetensors", ".bin"))]
    if odd:
        raise DamagedFile(f"{index} names {odd[:3]}: expected are .safetensors or .bin files beside it")
    parts = [index.with_name(name) for name in names]
    missing = [part.name for part in parts if not part.is_file()]
    if missing or not parts:
        raise FileNotFoundError(f"{index} speaks of {len(parts)} parts, missing are {missing}: download them too")
    opened = {part: open_pth(part) for part in parts if part.suffix == ".bin"}
    listed = {part: opened[part] if part in opened else safetensors_header(part) for part in parts}
    there = {name: part.name for part in parts for name in listed[part] if name != "__metadata__"}
    if there != places:
        differ = sorted(name for name in there.keys() | places.keys() if there.get(name) != places.get(name))
        raise DamagedFile(f"{index.name} and its parts disagree on {len(differ)} tensors {differ[:3]}: load all again")
    tensors = {}
    for part in parts:
        tensors |= opened[part] if part in opened else _load_part(part)
    return tensors


def _load_part(path):
    refuse_name(path)
    try:
        return load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise DamagedFile(f"{path} is altered ({_first_line(error)}): download or save it again") from None


def safetensors_header(path):
    """Return the header of a .safetensors file: {name: {"dtype", "shape", "data_offsets"}}.

    The file is 8 bytes that say how long the header is, the header in JSON, then the numbers. Raises DamagedFile where
    the file is shorter or longer than its header says.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        text = file.read(length) if length <= size else b""
    try:
        header = json.loads(text)
        spans = {name: tensor["data_offsets"] for name, tensor in header.items() if name != "__metadata__"}
        end = 8 + length + max((last for _, last in spans.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DamagedFile(f"{path} is cut short, or no .safetensors file: its header can't be read") from None
    if size != end:
        cut = sum(8 + length + last > size for _, last in spans.values())
        what = f"is cut short, {cut} of {len(spans)} tensors are missing" if size < end else "has too much at its end"
        raise DamagedFile(f"{path} {what}: {size:,} bytes, its header says {end:,}: download or save it again")
    return header


def save_safetensors(folder, tensors, max_bytes=None):
    """Write model.safetensors into a folder; above `max_bytes`, in parts with an index, as the Hub has large models.

    The index comes last, so there is either a whole model or none. Names share no memory: leave a tied one out.
    """
    folder = Path(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    groups, size = [[]], 0
    for name, tensor in tensors.items():
        if max_bytes is not None and groups[-1] and size + tensor.nbytes > max_bytes:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += tensor.nbytes
    names = [f"model-{i + 1:05}-of-{len(groups):05}.safetensors" for i in range(len(groups))]
    names = names if len(groups) > 1 else ["model.safetensors"]
    for file, group in zip(names, groups, strict=True):
        part = {name: tensors[name] for name in group}
        write_beside(folder / file, lambda path, part=part: save_file(part, path, metadata={"format": "pt"}))
    if len(groups) > 1:
        total = sum(tensor.nbytes for tensor in tensors.values())
        places = {name: file for file, group in zip(names, groups, strict=True) for name in group}
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})


def open_pth(path):
    """Return {name: tensor} of a file that torch.save wrote. What else a pickle could hold, code above all, is refused.

    Raises FileNotFoundError, DamagedFile for a file that is cut or altered, ValueError for one that would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle's version, which is said better below
            kept = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if _calls(path):
            found = re.search(r"GLOBAL (\S+)|Unsupported class (\S+)", str(error))
            what = f", {found[1] or found[2]}" if found else ""
            raise ValueError(
                f"{path} is refused: to open it would run code that stands in it{what}. Tensors alone are read; ask "
                "whoever made it for a .safetensors file"
            ) from None
        raise DamagedFile(f"{path} is cut short, or no file that torch.save wrote: download it again") from None
    except Exception as error:  # torch raises seven kinds of error for a file that is cut or altered
        raise DamagedFile(f"{path} is cut short or altered ({_first_line(error)}): download it again") from None
    odd = [name for name, tensor in kept.items() if not torch.is_tensor(tensor)] if isinstance(kept, dict) else None
    if odd or odd is None:
        what = f"holds {odd[:3]}, which are no tensors" if odd else f"holds a {type(kept).__name__}"
        raise ValueError(f"{path} {what}: expected is one dict of tensors, such as model.state_dict()")
    return kept


def _calls(path):
    """Say whether a file's pickle is whole and names something to call. It is read only: nothing is carried out."""
    if zipfile.is_zipfile(path):
        return True
    try:
        with open(path, "rb") as file:
            first = [(op.name, value) for op, value, _ in pickletools.genops(file)]
            # An old file of torch.save begins with three short pickles; the fourth has the tensors.
            more = 3 * any(value == torch.serialization.MAGIC_NUMBER for _, value in first)
            rest = [(op.name, value) for _ in range(more) for op, value, _ in pickletools.genops(file)]
    except Exception:  # it breaks off, or is no pickle at all
        return False
    return any(name in ("GLOBAL", "STACK_GLOBAL", "INST") for name, _ in first + rest)


def save_pth(path, tensors):
    """Write {name: tensor} as a .pth file, each tensor by itself (a view would carry all that it is a view of)."""
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    write_beside(path, lambda part: torch.save(tensors, part))


def open_gguf(path):
    """Return (metadata, tensors) of a .gguf file: plain values, and {name: tensor} dequantised to float32.

    GGUF is llama.cpp's format; names and order of rows stay its own (`lib.weights.gguf_llama` makes ours of them).
    Needs the package gguf. Raises DamagedFile, and ValueError for a kind of numbers that is not read.
    """
    try:
        from gguf import GGUFReader, dequantize
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("reading .gguf needs a package: run `pip install --no-deps gguf`") from error
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    with open(path, "rb") as file:
        if file.read(4) != b"GGUF":
            raise DamagedFile(f"{path} does not begin with GGUF: it is no such file, or it is cut short")
    try:
        reader = GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:
        raise DamagedFile(f"{path} is cut short or altered ({_first_line(error)}): download it again") from None
    unknown = sorted({t.tensor_type.name for t in reader.tensors} - set(GGUF_TYPES))
    if unknown:
        raise ValueError(f"{path} has numbers of the types {', '.join(unknown)}: read are {', '.join(GGUF_TYPES)}")
    try:
        metadata = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, IndexError, TypeError) as error:
        raise DamagedFile(f"{path} is altered ({_first_line(error)}): download it again") from None
    tensors = {}
    for t in reader.tensors:
        shape = [int(size) for size in reversed(t.shape)]  # GGUF counts the axes from the last
        tensors[t.name] = torch.tensor(dequantize(t.data, t.tensor_type)).view(shape)
    return metadata, tensors


def write_beside(path, write):
    """Call write(a path beside), flush it to the disk, then move it to `path`: there is always a whole file there."""
    path = Path(path)
    refuse_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        write(part)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_folder(folder, write):
    """Call write(a folder beside), then move it to `folder`: all of its files are there, or none.

    An older export in its place goes; a folder that holds anything else is left alone, with an error.
    """
    folder = Path(folder)
    beside, old = (folder.with_name(f"{folder.name}.{end}") for end in ("part", "old"))
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, and a folder is to be written: choose another name")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "export.json").is_file():
        raise ValueError(f"{folder} holds files that no export wrote: choose another folder, or empty it")
    for ruin in (beside, old):
        shutil.rmtree(ruin, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        write(beside)
        if folder.exists():
            os.replace(folder, old)
        os.replace(beside, folder)
    finally:
        for rest in (beside, old):
            shutil.rmtree(rest, ignore_errors=True)


def write_json(path, value):
    """Write a value as JSON, beside its place and then there."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_beside(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))


def read_config(folder):
    """Return the config.json of a folder, a dict."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"no config.json in {folder}: it says the sizes of the model, fetch it too")
    return _json(path)


def _json(path):
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{path} is cut short, or no JSON ({error}): download it again") from None
    if not isinstance(value, dict):
        raise DamagedFile(f"{path} holds a {type(value).__name__}, expected is an object")
    return value


def _first_line(error):
    words = str(error).strip().split("\n")[0].split(". ")[0]
    return words[:120] or type(error).__name__
