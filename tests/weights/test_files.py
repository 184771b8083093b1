"""Files of tensors: written whole or not at all, damaged ones named, code in them never run."""

import json
import os
import pickle
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.weights import files
from lib.weights.files import DamagedFile, open_pth, open_safetensors, open_tensors, save_pth, save_safetensors

TENSORS = {
    "a.weight": torch.arange(60.0).view(6, 10),
    "b.weight": torch.ones(3, dtype=torch.bfloat16),
    "c.bias": torch.arange(50).half(),
    "d.count": torch.arange(7),
}


def same(found, expected=TENSORS):
    assert found.keys() == expected.keys()
    assert all(found[name].dtype == tensor.dtype for name, tensor in expected.items())
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("max_bytes", [None, 10_000, 150, 1])
def test_safetensors_come_back_whole_and_in_parts(tmp_path, max_bytes):
    save_safetensors(tmp_path / "model", TENSORS, max_bytes)
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert len(names) == {None: 1, 10_000: 1, 150: 4, 1: 5}[max_bytes], names
    same(open_safetensors(tmp_path / "model"))
    for name in names[-1:]:
        same(open_tensors(tmp_path / "model" / name))


def test_transformers_reads_the_same_index(tmp_path):
    """The keys that the Hub's index has: each tensor's part, and the bytes of all."""
    save_safetensors(tmp_path, TENSORS, 150)
    index = json.loads((tmp_path / files.INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in TENSORS.values())
    assert index["weight_map"].keys() == TENSORS.keys()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    save_safetensors(folder, TENSORS)
    save_pth(folder / "model.pth", TENSORS)
    torch.save(TENSORS, folder / "old.pth", _use_new_zipfile_serialization=False)
    return folder


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth", "old.pth"])
@settings(max_examples=60)
@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_short_is_named(whole, name, cut):
    data = (whole / name).read_bytes()
    path = whole / f"cut-{name}"
    path.write_bytes(data[: int(cut * len(data))])
    with pytest.raises(DamagedFile, match=f"cut-{name}.* is cut short"):
        open_tensors(path)


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_no_file_and_a_foreign_file_are_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=name):
        open_tensors(tmp_path / name)
    (tmp_path / name).write_text("<html>404 not found</html>" * 50)
    with pytest.raises(DamagedFile, match=name):
        open_tensors(tmp_path / name)
    with pytest.raises(ValueError, match="ends in '.onnx'"):
        open_tensors("model.onnx")


def test_too_much_at_the_end_is_damage(whole, tmp_path):
    (tmp_path / "model.safetensors").write_bytes((whole / "model.safetensors").read_bytes() + b"x")
    with pytest.raises(DamagedFile, match="too much at its end"):
        open_safetensors(tmp_path)


def test_missing_and_contradicting_parts_are_named(tmp_path):
    save_safetensors(tmp_path / "m", TENSORS, 150)
    shutil.copytree(tmp_path / "m", tmp_path / "n")
    (tmp_path / "m" / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"missing are \['model-00002-of-00003.safetensors'\]"):
        open_safetensors(tmp_path / "m")
    index = json.loads((tmp_path / "n" / files.INDEX).read_text())
    index["weight_map"]["e.weight"] = index["weight_map"].pop("b.weight")
    (tmp_path / "n" / files.INDEX).write_text(json.dumps(index))
    with pytest.raises(DamagedFile, match=r"disagree on 2 tensors \['b.weight', 'e.weight'\]"):
        open_safetensors(tmp_path / "n")
    (tmp_path / "n" / files.INDEX).write_text("[1, 2")
    with pytest.raises(DamagedFile, match="index.json is cut short"):
        open_safetensors(tmp_path / "n")


class Trap:
    """Unpickling it makes a folder: a harmless sign that code ran."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", ["torch", "old torch", "pickle"])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, write):
    path, sign = tmp_path / "trap.pth", tmp_path / "code-ran"
    trap = {"a.weight": torch.ones(2) if write != "pickle" else 1, "b": Trap(sign)}
    if write == "pickle":
        path.write_bytes(pickle.dumps(trap))
    else:
        torch.save(trap, path, _use_new_zipfile_serialization=write == "torch")
    with pytest.raises(ValueError, match="trap.pth is refused: to open it would run code") as caught:
        open_pth(path)
    assert not isinstance(caught.value, DamagedFile) and not sign.exists()
    if write == "torch":
        assert "mkdir" in str(caught.value)
        torch.load(path, weights_only=False)  # the trap is a real one
        assert sign.exists()


@pytest.mark.parametrize("value", [{"model": {"a": torch.ones(2)}}, torch.ones(2), [torch.ones(2)], {"step": 3}])
def test_what_holds_more_than_tensors_is_refused(tmp_path, value):
    torch.save(value, tmp_path / "model.pth")
    with pytest.raises(ValueError, match="model.pth holds"):
        open_pth(tmp_path / "model.pth")


def test_a_view_is_saved_by_itself(tmp_path):
    large = torch.zeros(1_000_000)
    save_pth(tmp_path / "view.pth", {"a": large[:10]})
    assert (tmp_path / "view.pth").stat().st_size < 5_000


@pytest.mark.parametrize("where", ["first part", "second part", "index"])
def test_saving_that_fails_leaves_the_old_model_as_it_was(tmp_path, monkeypatch, where):
    save_safetensors(tmp_path, TENSORS)
    real, count = os.replace, []

    def fails(source, target):
        count.append(target)
        if len(count) == {"first part": 1, "second part": 2, "index": 4}[where]:
            raise OSError("no space left")
        real(source, target)

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="no space"):
        save_safetensors(tmp_path, {name: 2 * tensor for name, tensor in TENSORS.items()}, 150)
    assert not list(tmp_path.glob("*.part"))
    same(open_safetensors(tmp_path))


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def half(beside):
        (beside / "config.json").write_text("{}")
        raise KeyboardInterrupt

    def full(beside):
        for name in ("config.json", "export.json"):
            (beside / name).write_text("{}")

    with pytest.raises(KeyboardInterrupt):
        files.write_folder(tmp_path / "out", half)
    assert list(tmp_path.iterdir()) == []
    files.write_folder(tmp_path / "out", full)
    with pytest.raises(KeyboardInterrupt):
        files.write_folder(tmp_path / "out", half)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.json", "export.json"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("all my work")
    with pytest.raises(ValueError, match="holds files that no export wrote"):
        files.write_folder(tmp_path / "mine", full)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "all my work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]


def test_a_file_in_the_place_of_a_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis").write_text("all my work")
    with pytest.raises(ValueError, match="thesis is a file, and a folder is to be written"):
        files.write_folder(tmp_path / "thesis", lambda beside: (beside / "export.json").write_text("{}"))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]
    assert (tmp_path / "thesis").read_text() == "all my work"


def test_a_folder_in_the_place_of_a_file_is_said(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(ValueError, match="a.json is a folder, where a file is to be written"):
        files.write_json(tmp_path / "a.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_name_that_is_no_utf_8_is_said_and_not_called_damage(tmp_path):
    """The bytes of "café" in Latin-1, as an old disk has them; Python has a half of a surrogate pair in their place."""
    odd = tmp_path / "caf\udce9.safetensors"
    for call in (lambda: files.write_beside(odd, lambda part: part.write_text("x")), lambda: files._load_part(odd)):
        with pytest.raises(ValueError, match="a name that is no UTF-8: rename it") as refused:
            call()
        assert not isinstance(refused.value, files.DamagedFile)
    assert list(tmp_path.iterdir()) == []
