"""Tuning: which tokens count, DPO's loss, own pairs, FLOPs, the commands; transformers opens what comes out."""

import argparse
import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from lib.models.llama import Llama, LlamaConfig
from lib.models.openelm import OpenElm, openelm_config
from lib.models.rwkv import Rwkv, RwkvConfig
from lib.run import tune, tune_command
from lib.run.checkpoint import Keep, load_bundle, save_bundle
from lib.run.lora import adapt, merge
from lib.run.train import train
from lib.run.tune import Answer, AnswerBatches, AnswerLoss, PreferenceLoss, answer_log_probs, answers_only, preference
from lib.text.instructions import Instruction, chat_ids, instruct
from lib.text.published import load_tokenizer
from lib.weights.export import export_hugging_face
from tests.run.tiny import weights

TOKENIZER = load_tokenizer("tales")


def small(family="llama", seed=0, **changes):
    torch.manual_seed(seed)
    V = TOKENIZER.vocab_size
    if family == "llama":
        return Llama(LlamaConfig(V, 2, 24, 4, 2, 6, 40, context_length=300, **changes)).eval()
    if family == "openelm":
        return OpenElm(openelm_config(V, 2, 24, 6, context_length=300, group=2, multiple_of=4)).eval()
    model = Rwkv(RwkvConfig(5, V, 2, 24, 40, 8, tied=True)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))  # fresh, its outputs are zero: then no update can be seen
    return model


def test_only_the_answer_counts_from_its_first_token_to_the_last():
    x, y = answers_only([[5, 6, 7, 8, 9], [5, 6, 1]], [3, 2])
    assert x.tolist() == [[5, 6, 7, 8], [5, 6, 1, 1]]
    assert y.tolist() == [[-100, -100, 8, 9], [-100, 1, -100, -100]]


@pytest.mark.parametrize("family", ["llama", "openelm", "rwkv"])
def test_the_loss_is_the_mean_over_answers_and_no_token_after_a_row_matters(family):
    model = small(family)
    rows, prompts = [[5, 6, 7, 8, 9], [5, 6, 1]], [3, 2]
    loss = AnswerLoss(model)(*answers_only(rows, prompts))
    nats = []
    for row, n in zip(rows, prompts, strict=True):
        shares = model(torch.tensor([row[:-1]]))[0].log_softmax(-1)[0]
        nats += [-shares[i - 1, row[i]] for i in range(n, len(row))]
    torch.testing.assert_close(loss, torch.stack(nats).mean(), rtol=1e-5, atol=1e-5)
    sums = answer_log_probs(model, *answers_only(rows, prompts))
    torch.testing.assert_close(-sums.sum(), torch.stack(nats).sum(), rtol=1e-5, atol=1e-5)


def test_an_answer_ends_with_the_end_and_begins_behind_the_mark():
    _, marked = tune.make_room(small(), TOKENIZER)
    item = Instruction("Hm", {}, "So it was.")
    ((prompt, story),) = tune.encoded(marked, [item])
    assert marked.decode(story) == "So it was.<|endoftext|>" and prompt == chat_ids(marked, ["Hm"])


def test_batches_are_decided_by_the_step_and_better_answers_come_first():
    rows = [([1, 2], [10 + i], [20 + i, 3]) for i in range(7)]
    batches = AnswerBatches(rows, 3, seed=2)
    x, y = batches[1]
    assert torch.equal(y, AnswerBatches(rows, 3, seed=2)[1][1])
    assert (y[:3].max(1).values - 10).tolist() == (y[3:].max(1).values - 20).tolist()
    seen = [int(row.max()) - 10 for step in (0, 1) for row in batches[step][1][:3]]
    assert len(set(seen)) == 6 and not torch.equal(batches[0][1], batches[2][1]), "an epoch has its own order"
    with pytest.raises(ValueError, match="8 rows, but there are 7"):
        AnswerBatches(rows, 8)


def test_dpo_is_the_papers_formula():
    pi_w, pi_l, ref_w, ref_l, beta = -3.0, -5.0, -4.0, -4.5, 0.3  # log-probabilities
    ratio = (math.exp(pi_w) / math.exp(ref_w)) ** beta / (math.exp(pi_l) / math.exp(ref_l)) ** beta
    by_hand = -math.log(ratio / (1 + ratio))  # sigmoid(log r) = r / (1 + r)
    margin = torch.tensor((pi_w - ref_w) - (pi_l - ref_l))
    assert preference(margin, beta).item() == pytest.approx(by_hand, rel=1e-6)
    assert preference(margin, beta, "hinge").item() == pytest.approx(1 - beta * 1.5)
    assert preference(torch.tensor(9.0), 0.3, "hinge") == 0
    with pytest.raises(ValueError, match="there is sigmoid, hinge"):
        preference(margin, beta, "ipo")


@pytest.mark.parametrize("kind", ["sigmoid", "hinge"])
def test_dpo_starts_at_the_model_before_and_raises_the_better_answer(kind):
    model = small()
    before = copy.deepcopy(model)
    loss_of = PreferenceLoss(model, before, 0.5, kind)
    batch = answers_only([[5, 6, 7, 8], [5, 6, 9, 11, 3]], [2, 2])
    loss = loss_of(*batch)
    assert loss.item() == pytest.approx(math.log(2) if kind == "sigmoid" else 1.0, rel=1e-5)
    loss.backward()
    assert all(weight.grad is None for weight in before.parameters())
    with torch.no_grad():
        for weight in model.parameters():
            weight -= 0.1 * weight.grad
    better, worse = answer_log_probs(model, *batch) - answer_log_probs(before, *batch)
    assert better > worse and loss_of(*batch) < loss


@pytest.mark.parametrize("family", ["llama", "openelm", "rwkv"])
def test_room_for_two_marks_leaves_all_other_tokens_as_they_were(family):
    model = small(family)
    roomy, marked = tune.make_room(model, TOKENIZER)
    ids = TOKENIZER.encode("Tell me a story.")
    there = roomy(torch.tensor([[0, *(i + 2 for i in ids)]]))[0]
    here = model(torch.tensor([[0, *ids]]))[0]
    torch.testing.assert_close(there[..., [0, *range(3, marked.vocab_size)]], here)
    rows = roomy.embed.weight[1:3]
    assert not torch.equal(rows[0], rows[1]) and tune.make_room(roomy, marked)[1] is marked


def test_flops_of_an_adapted_step_are_what_torch_counts():
    model = small().train()
    T, B = 24, 2
    x = torch.randint(2048, (B, T))

    def counted():
        with FlopCounterMode(display=False) as counter:
            F.cross_entropy(model(x)[0].flatten(0, 1), x.flatten()).backward()
        return counter.get_total_flops()

    full = counted()
    assert tune.tuning_flops(model, T, B) == pytest.approx(full, rel=0.03)
    adapt(model, "lora", 4)
    # The first layer's input asks for no gradient: query, key and value of one layer are spared.
    assert tune.tuning_flops(model, T, B) == pytest.approx(counted(), rel=0.05)
    assert tune.tuning_flops(model, T, B) < 0.85 * full
    assert tune.steps_for(10 * tune.tuning_flops(model, T, B) + 5, model, T, B) == 10


def test_pairs_are_two_answers_to_one_instruction_one_obedient_and_one_not(monkeypatch):
    _, marked = tune.make_room(small(), TOKENIZER)
    items = list(instruct(3, 3))
    good = [Answer(item.story, [7, i], True) for i, item in enumerate(items)]
    bad = Answer("Once.", [8], True)
    unfinished = good[1]._replace(stopped=False, ids=[9])
    replies = [bad, good[0], unfinished, good[1], good[2], good[2]]
    monkeypatch.setattr(tune, "answer", lambda *arguments: replies)
    pairs = tune.own_pairs(None, marked, items, tries=2)
    assert [pair[1:] for pair in pairs] == [([7, 0], [8]), ([7, 1], [9])]
    assert pairs[1][0] == chat_ids(marked, [items[1].text])


def test_obedience_counts_demands_whole_instructions_and_ends():
    items = list(instruct(6, 30, n_demands=(2,)))
    replies = [Answer(item.story if i % 3 else "No.", [], i % 2 == 0) for i, item in enumerate(items)]
    found = tune.obedience(items, replies)
    shares = {name: found[name] for name in ("demands", "instructions", "stories")}
    assert shares == dict.fromkeys(shares, pytest.approx(2 / 3)) and found["stopped"] == 0.5
    assert found["n_demands"] == 60 == sum(n for _, n in found["parts"].values())
    assert sum(n for n, _ in found["parts"].values()) == 40


def test_prompts_of_different_lengths_are_answered_as_if_alone():
    model, marked = tune.make_room(small(), TOKENIZER)
    texts = ["Hm", "Tell me a story about Little Mina.", "So", "Hm"]
    together = tune.answer(model, marked, texts, temperature=0, room=6)
    alone = [tune.answer(model, marked, [text], temperature=0, room=6)[0] for text in texts]
    assert together == alone and all(len(reply.ids) == 6 or reply.stopped for reply in together)


@pytest.mark.parametrize("method", ["full", "lora", "dora"])
@pytest.mark.parametrize("family", ["llama", "openelm", "rwkv"])
def test_every_method_tunes_every_family(family, method):
    options = argparse.Namespace(method=method, rank=2, seed=0, instructions=4, batch_size=2, steps=6,
                                 learning_rate=0.02)  # fmt: skip
    base = small(family)
    model, marked, figures = tune_command.tuned(base, TOKENIZER, options, say=lambda *words, **how: None)
    rows = tune.encoded(marked, instruct(0, 4))
    loss = lambda it: AnswerLoss(it)(*AnswerBatches(rows, 4)[0]).item()  # noqa: E731
    assert loss(model) < loss(tune.make_room(base, TOKENIZER)[0]) - 0.02
    assert list(model.state_dict()) == list(base.state_dict())
    assert (figures["trained"] == sum(p.numel() for p in model.parameters())) == (method == "full")


def test_commands_tune_go_on_with_dpo_and_chat(tmp_path, monkeypatch, capsys):
    save_bundle(tmp_path / "base", small(), TOKENIZER, {})
    fast = {"demands": 0.5, "instructions": 0.25, "stopped": 1.0, "plain_excess": 0.1, "n_demands": 4}
    monkeypatch.setattr(tune_command, "judged", lambda model, tokenizer: dict(fast))
    brief = ["--steps", "2", "--batch-size", "2", "--instructions", "4", "--half"]
    assert tune_command.main(["tune", str(tmp_path / "base"), "--method", "lora", *brief]) == 0
    out = tmp_path / "base-lora"
    assert not list(out.glob("run.pt*")) and "saved" in capsys.readouterr().out
    pairs = [(chat_ids(load_bundle(out)[1], ["Hm"]), [5, 0], [6, 7])] * 2
    monkeypatch.setattr(tune_command, "own_pairs", lambda *arguments, **options: pairs)
    assert tune_command.main(["tune", str(out), "--method", "dpo", "--loss", "hinge", *brief]) == 0
    capsys.readouterr()
    assert tune_command.main(["chat", str(tmp_path / "base-lora-dpo"), "--prompt", "Hm", "--seed", "1"]) == 0
    assert capsys.readouterr().out.strip()
    lines = iter(["Hm", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    assert tune_command.main(["chat", str(out), "--temperature", "0"]) == 0
    assert tune_command.main(["chat", str(tmp_path / "base")]) == 1
    assert tune_command.main(["tune", str(out), "--out", str(out)]) == 1
    assert "name another folder" in capsys.readouterr().err


def test_transformers_opens_a_merged_model_and_writes_a_conversation_as_ours(tmp_path):
    transformers = pytest.importorskip("transformers")
    model, marked = tune.make_room(small(), TOKENIZER)
    adapt(model, "dora", 3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn_like(weight))
    tokens = torch.tensor([chat_ids(marked, ["Tell me a story about Little Mina."])])
    expected = model(tokens)[0]
    export_hugging_face(tmp_path / "hf", merge(model), marked)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    messages = [{"role": "user", "content": "Tell me a story about Little Mina."}]
    ids = reader.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert ids == tokens[0].tolist() and reader.eos_token_id == marked.eot
    torch.testing.assert_close(theirs(tokens).logits, expected, rtol=0, atol=2e-5)
    whole = reader.apply_chat_template([*messages, {"role": "assistant", "content": "So."}], return_dict=True)
    assert whole["input_ids"] == chat_ids(marked, [messages[0]["content"], "So."])


def test_a_stopped_run_goes_on_and_another_method_does_not_take_it_up(tmp_path):
    def run(method, steps_done):
        options = argparse.Namespace(method=method, rank=2, seed=0, instructions=4, batch_size=2, steps=4,
                                     learning_rate=0.01)  # fmt: skip
        said = []

        def stop(model, batches, plan, **others):
            for record in train(model, batches, plan, **others):
                said.append(record.step)
                yield record
                if record.step == steps_done:
                    return

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tune_command, "train", stop)
            model, *_ = tune_command.tuned(small(), TOKENIZER, options, Keep(tmp_path / "run.pt", steps=1), say=quiet)
        return said, weights(model)

    def quiet(*words, **how):
        """Say nothing."""

    assert run("lora", 2)[0] == [1, 2]
    with pytest.raises(ValueError, match="another run"):
        run("dora", 2)
    steps, stopped = run("lora", None)
    assert steps == [3, 4]
    for file in tmp_path.glob("run.pt*"):
        file.unlink()
    torch.testing.assert_close(run("lora", None)[1], stopped)
