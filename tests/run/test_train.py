"""Training: schedule, who decays, accumulation, precision, interrupts, NaN; torch's own optimizers are the truth."""

import itertools
import math
import signal

import pytest
import torch
import torch.nn.functional as F

from lib.run.loss import next_token_loss
from lib.run.optimizer import Muon, Optimizer, build_optimizers
from lib.run.train import Recipe, fit, schedule, train, uninterrupted
from tests.run.tiny import counting, tiny_llama, tiny_rwkv, weights


def test_the_schedule_is_a_line_and_half_a_cosine():
    recipe = Recipe(steps=110, warmup=10, final_ratio=0.1)
    values = [schedule(step, recipe) for step in range(110)]
    assert values[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert values[10] == 1 and values[60] == pytest.approx(0.55)  # the cosine's middle: (1 + 0.1) / 2
    assert values[35] == pytest.approx(0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2)
    assert schedule(110, recipe) == pytest.approx(0.1)
    assert all(a > b for a, b in itertools.pairwise(values[10:]))
    assert schedule(0, Recipe(steps=3, warmup=0)) == 1
    assert all(0 < schedule(step, Recipe(steps=5, warmup=10)) <= 0.5 for step in range(5))


def test_matrices_decay_and_norms_do_not():
    model = tiny_llama()
    decay, free = build_optimizers(model, Recipe(steps=1, weight_decay=0.3))[0].param_groups
    assert decay["weight_decay"] == 0.3 and free["weight_decay"] == 0
    assert {id(p) for p in free["params"]} == {id(p) for name, p in model.named_parameters() if "norm" in name}
    assert len(decay["params"]) + len(free["params"]) == len(list(model.parameters()))
    assert any(p is model.embed.weight for p in decay["params"])


def test_muon_has_the_matrices_in_the_blocks_and_adamw_the_rest():
    model = tiny_llama()
    muon, adamw = build_optimizers(model, Recipe(steps=1, optimizer="muon", matrix_rate=0.07))
    inside = {id(p) for p in model.blocks.parameters() if p.ndim == 2}
    assert isinstance(muon, Muon) and muon.param_groups[0]["lr"] == 0.07
    assert {id(p) for p in muon.param_groups[0]["params"]} == inside
    outside = [p for group in adamw.param_groups for p in group["params"]]
    assert {id(p) for p in outside} == {id(p) for p in model.parameters()} - inside


GENERATIONS = pytest.mark.parametrize("generation", [4, 5, 6, 7])


def is_large(name, weight):
    """RWKV-LM's rule in words: of what has two axes, that which is called a weight."""
    return weight.ndim == 2 and name.endswith(".weight")


@GENERATIONS
def test_of_rwkv_the_large_matrices_decay_and_the_decays_learn_at_twice_the_rate(generation):
    model = tiny_rwkv(generation)
    (adamw,) = build_optimizers(model, Recipe(steps=1, weight_decay=0.3, learning_rate=0.01))
    learns = {id(p): (group["weight_decay"], group["lr"]) for group in adamw.param_groups for p in group["params"]}
    assert len(learns) == sum(len(group["params"]) for group in adamw.param_groups) == len(list(model.parameters()))
    for name, weight in model.named_parameters():
        decay, rate = learns[id(weight)]
        assert decay == (0.3 if is_large(name, weight) else 0.0), name
        fast = name.endswith("mix_time.decay" + (".bias" if generation > 5 else ""))
        multiple = 3 if name.endswith("time.bonus") and generation == 4 else 1 + fast
        assert rate == pytest.approx(0.01 * multiple), name


@GENERATIONS
def test_of_rwkv_muon_has_the_large_matrices_in_the_blocks(generation):
    model = tiny_rwkv(generation)
    muon, adamw = build_optimizers(model, Recipe(steps=1, optimizer="muon"))
    inside = {id(p) for name, p in model.blocks.named_parameters() if is_large(name, p)}
    assert {id(p) for group in muon.param_groups for p in group["params"]} == inside and inside
    outside = [id(p) for group in adamw.param_groups for p in group["params"]]
    assert sorted(outside) == sorted({id(p) for p in model.parameters()} - inside)


@GENERATIONS
def test_the_rates_of_rwkv_follow_the_schedule_together(generation):
    """What learns at twice the rate does so at every step: one AdamW step moves it by twice the others' distance."""
    model = tiny_rwkv(generation)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = Optimizer(model, Recipe(steps=9, learning_rate=1e-3, weight_decay=0.0, clip=1e9))
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step(0.5)
    moved = {name: (before[name] - p).abs().max().item() for name, p in model.named_parameters()}
    decay = "blocks.1.mix_time.decay" + (".bias" if generation > 5 else "")
    assert moved["blocks.1.mix_time.output.weight"] == pytest.approx(0.5e-3, rel=1e-3)
    assert moved[decay] == pytest.approx(1e-3, rel=1e-2)


@GENERATIONS
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_rwkv_learns(generation, optimizer):
    recipe = Recipe(steps=60, warmup=10, learning_rate=0.02, optimizer=optimizer)
    records = fit(tiny_rwkv(generation), counting(), recipe, dtype="float32")
    assert records[0].loss > 3 and records[-1].loss < 0.7


def test_an_unknown_optimizer_is_named():
    with pytest.raises(ValueError, match="no optimizer 'sgd': there is adamw, muon"):
        build_optimizers(tiny_llama(), Recipe(steps=1, optimizer="sgd"))


def test_a_run_is_the_plain_loop():
    """The loop that everybody would write, with torch's AdamW and its clipping, gives the same losses and norms."""
    recipe, batches, model = Recipe(steps=8, warmup=3, clip=0.5, learning_rate=0.01), counting(), tiny_llama()
    groups = [[p for p in model.parameters() if (p.ndim >= 2) == matrix] for matrix in (True, False)]
    adamw = torch.optim.AdamW(
        [{"params": groups[0], "weight_decay": 0.1}, {"params": groups[1], "weight_decay": 0.0}], betas=(0.9, 0.95)
    )
    expected = []
    for step in range(8):
        x, y = batches[step]
        loss = F.cross_entropy(model(x)[0].flatten(0, 1), y.flatten())
        adamw.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        for group in adamw.param_groups:
            group["lr"] = 0.01 * schedule(step, recipe)
        adamw.step()
        expected.append((loss.item(), norm.item()))
    ours = tiny_llama()
    records = fit(ours, batches, recipe, dtype="float32")
    assert torch.tensor([(r.loss, r.grad_norm) for r in records]) == pytest.approx(torch.tensor(expected), rel=1e-5)
    assert torch.allclose(weights(ours), weights(model), atol=1e-6)
    assert [r.step for r in records] == list(range(1, 9))
    assert records[-1].tokens == 8 * 4 * 12 and records[2].learning_rate == 0.01
    assert all(a.seconds < b.seconds for a, b in itertools.pairwise(records))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_it_learns(optimizer):
    recipe = Recipe(steps=60, warmup=10, learning_rate=0.01, optimizer=optimizer)
    records = fit(tiny_llama(), counting(), recipe, dtype="float32")
    assert records[0].loss > 3 and records[-1].loss < 0.7


def test_three_small_batches_are_one_large():
    one = fit(tiny_llama(), counting(12), Recipe(steps=4, warmup=0), dtype="float32")
    model = tiny_llama()
    three = fit(model, counting(4), Recipe(steps=4, warmup=0, accumulate=3), dtype="float32")
    assert [r.loss for r in three] == pytest.approx([r.loss for r in one], rel=1e-5)
    assert [r.grad_norm for r in three] == pytest.approx([r.grad_norm for r in one], rel=1e-4)
    assert three[-1].tokens == one[-1].tokens


def test_bfloat16_is_close_and_leaves_the_weights_wide():
    recipe = Recipe(steps=12, warmup=4, learning_rate=0.01)
    exact = fit(tiny_llama(), counting(), recipe, dtype="float32")
    model = tiny_llama()
    rounded = fit(model, counting(), recipe, dtype="bfloat16")
    losses = [[r.loss for r in records] for records in (exact, rounded)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02) and losses[0] != losses[1]
    assert model.head.weight.dtype == torch.float32


def test_scaled_gradients_are_the_same_gradients():
    """float16 on the CPU: the loss is scaled by 65,536, what is clipped and reported is not."""
    exact = fit(tiny_llama(), counting(), Recipe(steps=3, warmup=0), dtype="float32")
    scaled = fit(tiny_llama(), counting(), Recipe(steps=3, warmup=0), dtype="float16")
    assert [r.grad_norm for r in scaled] == pytest.approx([r.grad_norm for r in exact], rel=0.05)


class Interrupts:
    """Batches that press Ctrl-C when step `at` asks for its own."""

    def __init__(self, at):
        self.batches, self.at = counting(), at

    def __getitem__(self, step):
        if step == self.at:
            signal.raise_signal(signal.SIGINT)
        return self.batches[step]


def test_an_interrupt_keeps_the_last_finished_step(capsys):
    recipe, model, reference = Recipe(steps=9), tiny_llama(), tiny_llama()
    records = fit(model, Interrupts(at=5), recipe, dtype="float32")
    assert "stopped after step 5 of 9" in capsys.readouterr().out
    assert len(records) == 5
    for _ in zip(range(5), train(reference, counting(), recipe, dtype="float32"), strict=False):
        pass
    assert torch.equal(weights(model), weights(reference))


def test_a_gradient_that_an_interrupt_left_is_dropped():
    model, fresh = tiny_llama(), tiny_llama()
    next_token_loss(model, *counting()[7]).backward()
    assert fit(model, counting(), Recipe(steps=1))[0].grad_norm == fit(fresh, counting(), Recipe(steps=1))[0].grad_norm


def test_an_interrupt_within_an_update_waits_for_its_end(monkeypatch):
    done = []
    step = Optimizer.step

    def pressed_within(self, factor):
        if len(done) == 2:
            signal.raise_signal(signal.SIGINT)
        step(self, factor)
        done.append(weights(model))

    monkeypatch.setattr(Optimizer, "step", pressed_within)
    model = tiny_llama()
    with pytest.raises(KeyboardInterrupt, match="after step 3 of 9; the model holds it"):
        for _ in train(model, counting(), Recipe(steps=9), dtype="float32"):
            pass
    assert len(done) == 3 and torch.equal(done[2], weights(model))


def test_uninterrupted_gives_the_handler_back():
    usual = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError), uninterrupted():
        raise RuntimeError
    assert signal.getsignal(signal.SIGINT) is usual


def test_nan_stops_before_it_reaches_the_weights():
    model, before = tiny_llama(), None
    poisoned = iter(range(9))

    class Batches:
        def __getitem__(self, step):
            nonlocal before
            if next(poisoned) == 3:
                before = weights(model)
                model.norm.register_forward_hook(lambda module, x, y: y * math.nan)
            return counting()[step]

    words = r"step 4: the loss is nan.*holds step 3, loss \d.*half the learning rate \(0\.0015\)"
    with pytest.raises(FloatingPointError, match=words):
        fit(model, Batches(), Recipe(steps=9), dtype="float32")
    assert torch.equal(weights(model), before)


def test_a_bar_shows_when_asked(capsys):
    fit(tiny_llama(), counting(), Recipe(steps=2), progress=True, dtype="float32")
    assert "2/2" in capsys.readouterr().err
    fit(tiny_llama(), counting(), Recipe(steps=2), dtype="float32")
    assert capsys.readouterr().err == ""


def test_the_loss_is_the_mean_negative_log_probability():
    model, (x, y) = tiny_llama(), counting()[0]
    p = model(x)[0].detach().softmax(-1)
    by_hand = [-math.log(p[b, t, y[b, t]]) for b in range(4) for t in range(12)]
    assert next_token_loss(model, x, y).item() == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-5)
