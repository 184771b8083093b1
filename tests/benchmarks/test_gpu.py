"""`gpu-check`: the CPU stands in for the device, at tiny sizes; what is looked at is the record, not its figures."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch

from tests.benchmarks import gpu, gpu_parts
from tests.benchmarks.gpu import BEGIN, END, main, page, with_page

SMALL = ["--device", "cpu", "--small"]


def test_without_a_device_it_says_so_and_ends_with_two(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--out", str(tmp_path / "gpu.json")]) == 2
    assert "there is no CUDA device here" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("flags", [["--device", "cpu"], SMALL, ["--device", "cpu", "--out", "a.json"]])
def test_a_cpu_never_writes_a_record_that_looks_like_a_gpus(flags, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(flags)
    assert "--device cpu only tries the command" in capsys.readouterr().err


def test_the_limits_are_under_eight_minutes():
    assert sum(limit for _, limit in gpu_parts.PARTS.values()) < 480


@pytest.mark.slow
def test_the_whole_command_on_a_cpu(tmp_path, capfd):
    out = tmp_path / "new folder" / "gpu.json"
    assert main([*SMALL, "--out", str(out)]) == 0, capfd.readouterr().err[-3000:]
    record = json.loads(out.read_text(encoding="utf-8"))
    assert list(record) == ["command", "machine", "small", "parts"] and list(record["parts"]) == list(gpu_parts.PARTS)
    assert record["command"] == "python3 -m lib gpu-check --device cpu --small" and record["small"] is True
    assert record["machine"]["torch"] == torch.__version__ and {"device", "driver", "python"} <= set(record["machine"])
    assert {part["ended"] for part in record["parts"].values()} == {"whole"}
    rows = {name: part["figures"] for name, part in record["parts"].items()}
    for row in (row for some in rows.values() for row in some):
        assert {"name", "value", "unit", "conditions"} <= set(row) and all(row[key] for key in ("unit", "conditions"))
        assert isinstance(row["value"], int | float) and row["value"] >= 0
        assert ("ratio" in row) == ("middle_half" in row)
    raced = {name for name in rows if any("ratio" in row for row in rows[name])}
    assert raced == {"step", "generate", "wkv"}
    assert {row["name"] for row in rows["step"]} == {
        "ours",
        "transformers, sdpa",
        "transformers, eager",
        "nanoGPT-shaped",
    }
    assert rows["generate"][0] == {"name": "tokens that are the same", "value": 1.0, "unit": "share",
                                   "conditions": "8 tokens, batch 1, greedy, float32"}  # fmt: skip
    assert {row["conditions"][:13] for row in rows["wkv"]} == {f"WKV of RWKV-{n}" for n in (4, 5, 6, 7)}
    assert all(rows[name][0]["value"] == 2 and rows[name][0]["name"] == "steps" for name in ("llama", "rwkv"))
    text = page(record | {"machine": record["machine"] | {"memory_gib": 1.0}})
    assert all(row["conditions"] in text for row in rows["step"])


def asked(tmp_path, **others):
    """What argparse gives."""
    usual = {"out": tmp_path / "gpu.json", "device": "cpu", "small": True, "again": False, "peers": None}
    return SimpleNamespace(**usual | others)


def test_a_part_that_takes_too_long_is_stopped_and_keeps_what_it_told(tmp_path):
    """The part tells one figure and then sleeps; half a line is no figure."""
    slow = "import time\nprint('{\"name\": \"a\"}', flush=True)\nprint('{\"na', end='', flush=True)\ntime.sleep(60)"
    part = gpu.run_part("wkv", 3, asked(tmp_path), (sys.executable, "-c", slow))
    assert part["ended"] == "stopped after 3 s" and part["figures"] == [{"name": "a"}] and 3 <= part["seconds"] < 20


def test_a_part_that_fails_is_named_and_keeps_what_it_told(tmp_path):
    code = 'print(\'{"name": "a"}\')\nraise SystemExit(3)'
    part = gpu.run_part("wkv", 30, asked(tmp_path), (sys.executable, "-c", code))
    assert part["ended"] == "failed, with code 3" and part["figures"] == [{"name": "a"}]


def test_a_stopped_run_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    """The first call is interrupted in its second part; the next one does the second and third, and not the first."""
    ran = []

    def part(name, limit, options):
        ran.append(name)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return {"ended": "whole" if len(ran) != 3 else "stopped after 1 s", "seconds": 1.0, "figures": []}

    monkeypatch.setattr(gpu, "run_part", part)
    parts = dict.fromkeys("abc", (None, 1))
    with pytest.raises(KeyboardInterrupt):
        gpu.check(asked(tmp_path), parts)
    assert gpu.check(asked(tmp_path), parts) == 1 and ran == ["a", "b", "b", "c"]
    assert "not whole: b. Call again" in capsys.readouterr().out
    assert gpu.check(asked(tmp_path), parts) == 0 and ran[4:] == ["b"]
    assert gpu.check(asked(tmp_path, again=True), parts) == 0 and ran[5:] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="another machine, other versions or other sizes"):
        gpu.check(asked(tmp_path, small=False), parts)
    (tmp_path / "gpu.json").write_text("[]")
    with pytest.raises(ValueError, match="is no record of gpu-check"):
        gpu.check(asked(tmp_path), parts)


def test_the_page_says_what_the_record_says_and_nothing_without_one(root):
    path = root / "lessons" / "MEASURED.md"
    text = path.read_text(encoding="utf-8")
    record = json.loads(gpu.RECORD.read_text(encoding="utf-8")) if gpu.RECORD.is_file() else None
    assert with_page(text, record) == text
    assert with_page(text, None).count(BEGIN + "\n" + END) == 1
    about = {"device": "Some GPU", "memory_gib": 8.0, "driver": "1.2", "torch": "2.0"}
    row = {"name": "ours", "value": 1234567, "unit": "tokens/s", "conditions": "a step"}
    parts = {"step": {"ended": "whole", "figures": [row, row | {"ratio": 1.5, "middle_half": [1.25, 2.0]}]},
             "wkv": {"ended": "stopped after 70 s", "figures": []}}  # fmt: skip
    said = with_page(text, {"command": "python3 -m lib gpu-check", "machine": about, "parts": parts})
    assert "on an Some GPU" not in said and "Some GPU, 8.0 GiB, driver 1.2" in said
    assert "| a step | ours | 1,234,567 tokens/s |  |\n| a step | ours | 1,234,567 tokens/s | 1.5 (1.25 to 2) |" in said
    assert "Not whole: wkv stopped after 70 s." in said and with_page(said, None) == with_page(text, None)


def test_the_driver_is_what_nvidia_smi_says():
    assert gpu.driver(("no-such-program",)) is None
    for code, found in (("print('580.65.06')", "580.65.06"), ("raise SystemExit(9)", None), ("print()", None)):
        assert gpu.driver((sys.executable, "-c", code)) == found
