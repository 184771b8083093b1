"""Comparisons seed by seed: the same batches for all, one size, the error of the mean, and a record that goes on."""

import json
import math

import pytest
import torch

from lib.models.openelm import OpenElm, block_parameters, openelm_config, reversed_layers, uniform_like
from lib.models.presets import OPENELM_PRESETS
from lib.models.skeleton import n_params
from lib.run import paired as ours
from lib.run.train import Recipe
from lib.text.batches import WindowBatches


def test_the_three_shapes_have_one_size():
    configs = ours.shapes()
    counts = {n_params(OpenElm(config)) for config in configs.values()}
    assert max(counts) < 1.01 * min(counts)
    assert configs["scaled"].d_ff[::-1] == configs["reversed"].d_ff
    assert len(set(configs["uniform"].d_ff)) == 1


@pytest.mark.parametrize("name", OPENELM_PRESETS)
def test_a_uniform_twin_is_as_large_to_half_a_channel(name):
    config = OPENELM_PRESETS[name].config
    twin, totals = uniform_like(config), []
    for one in (config, twin):
        totals.append(sum(block_parameters(one, i) for i in range(one.n_layers)))
    assert abs(totals[0] - totals[1]) <= 1.5 * config.d_model * config.n_layers
    assert len(set(zip(twin.n_heads, twin.n_kv_heads, twin.d_ff, strict=True))) == 1


def test_block_parameters_are_those_of_the_block():
    config = openelm_config(61, 5, 64, 8, multiple_of=16)
    with torch.device("meta"):
        model = OpenElm(config)
    assert [n_params(block) for block in model.blocks] == [block_parameters(config, i) for i in range(5)]


def test_the_paired_difference_is_that_of_the_textbook():
    mean, error = ours.paired([3.0, 5.0, 4.0], [3.5, 5.1, 4.9])
    assert mean == pytest.approx(0.5)
    assert error == pytest.approx(math.sqrt((0.0**2 + 0.4**2 + 0.4**2) / 2) / math.sqrt(3))
    with pytest.raises(ValueError, match="2 and 1 numbers"):
        ours.paired([1.0, 2.0], [1.0])


def tiny_data(read):
    stream = torch.randint(0, 61, (400,), generator=torch.Generator().manual_seed(0))

    def batches(seed):
        read.append(seed)
        return WindowBatches(stream, 3, 8, seed)

    return batches, WindowBatches(stream, 4, 8, seed=9)


def test_all_models_read_the_batches_of_the_seed_and_a_run_can_be_repeated():
    read, config = [], openelm_config(61, 2, 16, 4, context_length=16, group=2, multiple_of=4)
    batches, new = tiny_data(read)
    builds = {"a": lambda: OpenElm(config), "b": lambda: OpenElm(reversed_layers(config))}
    runs = list(ours.compare(builds, batches, new, Recipe(steps=3), [4, 7], n_scored=1))
    assert [(run.name, run.seed) for run in runs] == [("a", 4), ("b", 4), ("a", 7), ("b", 7)] and read == [4, 4, 7, 7]
    (again,) = ours.compare({"b": builds["b"]}, batches, new, Recipe(steps=3), [7], n_scored=1)
    assert again == runs[3] and len(again.losses) == 3


def test_the_command_goes_on_where_its_record_ends(tmp_path, monkeypatch, capsys):
    config = openelm_config(61, 2, 16, 4, context_length=16, group=2, multiple_of=4)
    monkeypatch.setattr(ours, "shapes", lambda: {"scaled": config, "uniform": uniform_like(config)})
    monkeypatch.setattr(ours, "tales_batches", lambda: tiny_data([]))
    call = ["--steps", "2", "--seeds", "2", "--out", str(tmp_path / "widths.json")]
    assert ours.main([*call, "--seconds", "1e-9"]) == 0 and not (tmp_path / "widths.json").exists()
    assert ours.main([*call[:3], "1", *call[4:]]) == 0
    first = json.loads((tmp_path / "widths.json").read_text(encoding="utf-8"))
    assert [(run["name"], run["seed"]) for run in first["runs"]] == [("scaled", 0), ("uniform", 0)]
    assert ours.main(call) == 0
    whole = json.loads((tmp_path / "widths.json").read_text(encoding="utf-8"))
    assert whole["runs"][:2] == first["runs"] and len(whole["runs"]) == 4
    assert ours.main([*call, "--learning-rate", "0.1"]) == 1
    assert "--learning-rate 0.005" in capsys.readouterr().err
