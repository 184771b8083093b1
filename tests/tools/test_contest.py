"""The contest: an honest submission gets an entry; each kind of cheating is refused, or shown up, by its sentence."""

import copy
import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from lessons.tools.contest import board, entries, submit
from lib.run.checkpoint import load_bundle
from lib.run.commands import main as lib_command
from lib.run.cost import training_flops
from lib.run.recipes import recipe
from lib.run.train import train
from lib.teach import contest
from lib.text import corpora, tales
from lib.text.batches import DocumentBatches, encode_documents
from lib.text.download import sha256_of

SMALL = (
    "llama --steps {steps} --megabytes 0.4 --stories 0 --device cpu --dtype float32 --learning-rate 0.01"
    " --set d_model=32 --set n_layers=1 --set n_heads=2 --set n_kv_heads=2 --set d_head=16 --set d_ff=64"
)
STEPS, SEED = 40, 2_000_000


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A submission of three small runs."""
    folder = tmp_path_factory.mktemp("contest") / "mine"
    for seed in (0, 1, 2):
        trained(folder / f"seed-{seed}", seed)
    return folder


def trained(folder, seed, steps=STEPS):
    command = ["train", *SMALL.format(steps=steps).split(), "--seed", str(seed), "--out", str(folder)]
    assert lib_command(command) == 0


@pytest.fixture(scope="module")
def rules(honest):
    """The course's rules, the budget that of the submission, with fewer stories."""
    step = training_flops(contest.load_runs(honest, {"seeds": [0]})[0].model.config, 192, 8).total
    fewer = {"flops": STEPS * step, "scored_stories": 60, "told_stories": 3, "curve_apart": 0.5}
    return contest.load_rules() | fewer


@pytest.fixture
def mine(honest, tmp_path):
    """A copy of the submission that may be spoiled."""
    return shutil.copytree(honest, tmp_path / "mine")


@pytest.fixture
def own_board(rules, tmp_path):
    """The folder of a class's own board."""
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "rules.json").write_text(json.dumps(rules))
    return tmp_path / "board"


def edit(folder, number=0, /, **changes):
    """Edit a record; None takes a value away."""
    path = folder / f"seed-{number}" / "record.json"
    record = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in record.items() if value is not None}))


def read(folder, seed=0):
    return json.loads((folder / f"seed-{seed}" / "record.json").read_text())


def rewrite(folder, change, seed=0):
    """Edit the weights, a dict of tensors; return the hash of the new file."""
    path = folder / f"seed-{seed}" / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    return sha256_of(path)


def said(folder, rules):
    return "\n".join(contest.objections(contest.load_runs(folder, rules), rules))


def test_an_honest_submission_is_scored_and_stands_on_the_board(honest, own_board, capsys):
    assert submit.main([str(honest), "--board", str(own_board), "--name", "Small, mine", "--by", "me"]) == 0
    (entry,) = contest.load_entries(own_board)
    assert entry["name"] == "Small, mine" and entry["obeys"] is None and len(entry["runs"]) == 3
    bits = [run["bits_above"] for run in entry["runs"]]
    assert entry["bits_above"] == pytest.approx(sum(bits) / 3, abs=1e-5) and min(bits) > 0
    assert entry["half"] == pytest.approx(4.303 * torch.tensor(bits).std().item() / math.sqrt(3), rel=1e-2, abs=2e-5)
    assert [run["weights_sha256"] for run in entry["runs"]] == [
        read(honest, seed)["weights_sha256"] for seed in range(3)
    ]
    assert entry["scored"]["seed"] >= 10**6
    capsys.readouterr()
    assert board.main(["--board", str(own_board), "--write"]) == 0
    row = f"| 1 | Small, mine | {entry['bits_above']:.4f} ± {entry['half']:.4f} |"
    assert row in capsys.readouterr().out and row in (own_board / "BOARD.md").read_text()
    assert "What this board can't prove" in (own_board / "BOARD.md").read_text()


def test_the_score_is_the_loss_above_the_grammars_own_cost(honest, rules):
    run = contest.load_runs(honest, rules)[0]
    stories = list(tales.stories(5, 20))
    above = contest.above_truth(run.model, run.tokenizer, [story.text for story in stories])
    nats = 0.0
    for story in stories:
        ids = torch.tensor([run.tokenizer.eot, *run.tokenizer.encode(story.text), run.tokenizer.eot])
        with torch.inference_mode():
            logits = run.model(ids[None, :-1])[0][0]
        nats -= logits.log_softmax(-1).gather(1, ids[1:, None]).sum().item() + story.log_probability * -1
    n_bytes = sum(len(story.text.encode()) for story in stories)
    assert above.bits == pytest.approx(nats / math.log(2) / n_bytes, rel=1e-4)


def test_a_given_seed_scores_again_and_writes_nothing(honest, own_board, capsys):
    for _ in range(2):
        assert submit.main([str(honest), "--board", str(own_board), "--seed", str(SEED)]) == 0
    first, again = capsys.readouterr().out.splitlines()
    assert first == again and contest.load_entries(own_board) == []


def test_what_is_missing_or_damaged_is_named(mine, own_board, rules, capsys):
    (mine / "seed-1" / "model.safetensors").write_bytes(b"PK\x03\x04 a pickle")
    assert submit.main([str(mine), "--board", str(own_board)]) == 1 and "model.safetensors" in capsys.readouterr().err
    shutil.rmtree(mine / "seed-1")
    assert submit.main([str(mine), "--board", str(own_board)]) == 1
    assert "seed-1" in capsys.readouterr().err and contest.load_entries(own_board) == []


# One: trained on the stories that it will be scored on.


def overtrained(run, documents, steps=150):
    """Return a copy of a run whose model has learned these documents by heart."""
    model, batches = copy.deepcopy(run.model), DocumentBatches(*encode_documents(run.tokenizer, documents), 2, 190, 0)
    list(train(model, batches, recipe("muon", steps), device="cpu", dtype="float32"))
    return run._replace(model=model.eval())


def test_stories_learned_by_heart_do_not_help_on_drawn_ones_and_give_themselves_away(honest, rules):
    run = contest.load_runs(honest, rules)[0]
    public = corpora.load("tales", 400_000).documents_validation
    cheat = overtrained(run, public[:8])
    few = rules | {"scored_stories": 8}
    with pytest.raises(ValueError, match="it was trained on the stories of seed 2"):
        contest.score([cheat], few, SEED)
    assert contest.score([run], few, SEED)[0]["bits_above"] > 0  # an honest one passes the same


def test_a_score_below_the_floor_is_refused_with_the_sentence(honest, rules):
    model, _ = load_bundle(corpora.DATA / "checkpoints" / "llama-tales")  # as good as honest training has made it
    run = contest.load_runs(honest, rules)[0]._replace(model=model)
    stories = [story.text for story in tales.stories(SEED, 8)]
    assert not contest.leaks(contest.above_truth(model, run.tokenizer, stories), rules["errors_below"])
    cheat = overtrained(run, stories, 30)  # as if the seed had been known before
    with pytest.raises(ValueError, match="below the floor by more than its error, which no model can be"):
        contest.score([cheat], rules | {"scored_stories": 8}, SEED)


def test_the_leak_asks_for_more_than_the_error():
    assert contest.leaks(contest.Above(-0.004, 0.001), 3) and contest.leaks(contest.Above(math.nan, 0.1), 3)
    assert not contest.leaks(contest.Above(-0.002, 0.001), 3) and not contest.leaks(contest.Above(0.1, 0.001), 3)


class Peeks(torch.nn.Module):
    """Gives each token's successor away where it can see it."""

    def __init__(self, model):
        super().__init__()
        self.model, self.config, self.head = model, model.config, model.head

    def forward(self, x, *rest):
        logits, state = self.model(x, *rest)
        after = torch.nn.functional.one_hot(x[:, 1:], self.config.vocab_size)
        return torch.cat([logits[:, :-1] + 30 * after, logits[:, -1:]], 1), state


def test_a_model_that_sees_ahead_is_found_twice(honest, rules):
    run = contest.load_runs(honest, rules)[0]
    assert not contest.sees_ahead(run.model)
    cheat = run._replace(model=Peeks(run.model))
    assert contest.sees_ahead(cheat.model)
    assert "it sees ahead" in "\n".join(contest.objections([cheat], rules))
    with pytest.raises(ValueError, match="below the floor"):
        contest.score([cheat], rules, SEED)


# Two: more training than was allowed, or said.


def test_a_budget_is_counted_and_not_believed(mine, rules):
    assert said(mine, rules) == ""
    assert said(mine, rules | {"flops": 0.99 * rules["flops"]}).count("FLOPs of training, the rules allow") == 3
    edit(mine, flops=read(mine)["flops"] // 2)
    assert "its record says" in said(mine, rules)


def test_more_steps_than_the_record_says_show_up_when_its_command_is_run_again(
    mine, rules, own_board, tmp_path, capsys
):
    assert submit.rerun(read(mine), 0.5, rules) == []
    trained(tmp_path / "longer" / "seed-0", 0, 2 * STEPS)
    longer, said_to_be = tmp_path / "longer" / "seed-0", mine / "seed-0"
    forged, real = read(mine), read(tmp_path / "longer")
    measured = {name: value for name, value in real.items() if name.startswith(("valid", "excess", "weights"))}
    curve = [[step // 2, loss] for step, loss in real["curve"] if step % 2 == 0]
    shutil.copy(longer / "model.safetensors", said_to_be)
    edit(mine, **forged | measured | {"curve": curve})
    assert said(mine, rules) == ""  # a record that is forged as a whole adds up: this is what nobody can read off it
    assert "gives other losses" in submit.rerun(read(mine), 0.5, rules)[0]
    assert submit.main([str(mine), "--board", str(own_board), "--rerun", "0.5"]) == 1
    assert "gives other losses" in capsys.readouterr().err and contest.load_entries(own_board) == []


# Three: edited weights.


def test_edited_weights_have_another_hash_and_with_a_new_hash_another_loss(mine, rules):
    digest = rewrite(mine, lambda tensors: tensors["head.weight"].mul_(1.5))
    assert "SHA-256" in said(mine, rules)
    edit(mine, weights_sha256=digest)
    assert "SHA-256" not in said(mine, rules) and "on the public new stories it needs" in said(mine, rules)


def test_nan_is_refused(mine, rules):
    edit(mine, 1, validation_nats_per_token=math.nan)
    assert "seed-1: on the public new stories it needs" in said(mine, rules)
    rewrite(mine, lambda tensors: tensors["head.weight"][0].fill_(math.nan))
    with pytest.raises(ValueError, match="head.weight"):
        contest.load_runs(mine, rules)


# Four: an edited record.


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": STEPS // 2}, "tokens are not"),
        ({"steps": STEPS // 2, "tokens": STEPS * 768}, "the curve ends at step"),
        ({"tokens": 5}, "tokens are not"),
        ({"parameters": 7}, "its record says 7"),
        ({"batch_size": 4, "steps": 2 * STEPS}, "its command has other batches"),
        ({"seed": 5}, "it is seed 5"),
        ({"validation_nats_per_token": 2.0}, "its record says 2.0000"),
        ({"curve": [[STEPS, 1.0]]}, "its curve ends at 1.0000"),
        ({"curve": [[STEPS, math.nan]]}, "its last loss is nan"),
        ({"curve": []}, "its record has no curve of the loss"),
        ({"curve": None}, "its record lacks curve"),
        ({"tokens": "many"}, "can't be checked"),
        ({"wall_seconds": 1e-4, "cpu_seconds": 1e-4}, "more than 1 threads of a CPU can do"),
        ({"command": "python3 -m lib train llama --corpus shakespeare"}, "trained on shakespeare"),
        ({"command": "python3 -m lib train llama --megabytes 1e5"}, "trained on 100000 MB of text, the rules allow 50"),
        ({"command": "rm -rf"}, "can't be checked"),
    ],
)
def test_an_edited_record_does_not_add_up(mine, rules, changes, sentence):
    edit(mine, **{"threads": 1} | changes)
    assert sentence in said(mine, rules)


# Five: what the rules say of models and seeds.


def test_one_run_handed_in_three_times_is_found(mine, rules):
    for seed in (1, 2):
        shutil.copy(mine / "seed-0" / "model.safetensors", mine / f"seed-{seed}")
        edit(mine, seed, **read(mine) | {"seed": seed, "command": read(mine, seed)["command"]})
    assert said(mine, rules) == "two seeds have the same weights: one run was handed in twice"


def test_a_run_that_was_stopped_and_gone_on_with_is_as_good_as_another(mine, rules):
    edit(mine, 2, command=read(mine, 2)["command"] + " --resume")
    assert said(mine, rules) == ""
    run = contest.load_runs(mine, rules)[2]
    assert contest.score([run], rules, SEED)[0]["command"] == read(mine, 2)["command"].removesuffix(" --resume")


def test_other_settings_for_one_seed_are_found(mine, rules):
    edit(mine, 2, command=read(mine, 2)["command"].replace("0.01", "0.02"))
    assert "the commands differ by more than seed and folder" in said(mine, rules)


def test_a_model_that_is_too_large_is_refused(mine, rules):
    assert "parameters, the rules allow 1,000" in said(mine, rules | {"parameters": 1000})


def test_tuning_counts_and_obedience_stands_beside_the_score(mine, rules, monkeypatch):
    from lib.run import tune_command

    command = [
        "tune",
        str(mine / "seed-0"),
        "--steps",
        "2",
        "--instructions",
        "8",
        "--out",
        str(mine / "seed-0" / "tuned"),
    ]
    monkeypatch.setattr(tune_command, "N", 4)
    monkeypatch.setattr(tune_command, "judged", lambda *_: dict.fromkeys(
        ("demands", "n_demands", "instructions", "stopped", "plain_excess"), 0.5
    ))  # fmt: skip
    assert tune_command.main(command) == 0
    run = contest.load_runs(mine, rules)[0]
    flops = json.loads((mine / "seed-0" / "tuned" / "record.json").read_text())["flops"]
    assert contest.tuning(run) == flops > 0
    assert "FLOPs of training, the rules allow" in said(mine, rules)
    assert said(mine, rules | {"flops": rules["flops"] + flops}) == ""
    monkeypatch.setattr(contest, "judged", lambda model, tokenizer: {"demands": 0.25})
    assert contest.score([run], rules, SEED)[0]["obeys"] == 0.25


# The board, and the list of what is trained for it.


def entry(name, bits, obeys=None):
    return {"name": name, "by": "", "bits_above": bits, "half": 0.01, "facts": 0.5, "obeys": obeys, "parameters": 12,
            "flops": 3e12, "runs": [{"command": f"python3 -m lib train {name}"}]}  # fmt: skip


def test_the_best_stands_first_and_the_readme_keeps_what_is_around_the_board(tmp_path, monkeypatch):
    monkeypatch.setattr(board, "CONTEST", tmp_path)
    (tmp_path / "entries").mkdir()
    (tmp_path / "lessons").mkdir()
    for place, name in enumerate(["c", "a", "d", "b", "e"]):
        (tmp_path / "entries" / f"{name}.json").write_text(json.dumps(entry(name, 0.1 * (1 + place), 0.5)))
    (tmp_path / "README.md").write_text(f"before\n{board.BEGIN}\nold\n{board.END}\nafter\n")
    for _ in range(2):
        board.show(tmp_path, True, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith(f"before\n{board.BEGIN}") and text.endswith(f"{board.END}\nafter\n") and "old" not in text
    assert "| 1 | c |" in text and "| 4 | b |" in text and "| e |" not in text
    assert "| 5 | e | 0.5000 ± 0.0100 | 50.0% | 50% | 12 | 3e+12 |" in (tmp_path / "lessons" / "BOARD.md").read_text()
    with pytest.raises(ValueError, match="add them where the board belongs"):
        board.between("no marks", "rows")


def test_every_entry_of_the_course_is_planned_for_every_seed_within_the_budget(tmp_path):
    rules, ours = contest.load_rules(), json.loads((contest.CONTEST / "ours.json").read_text())
    planned = entries.plan(ours, rules, tmp_path)
    assert len(planned) == len(ours) * len(rules["seeds"]) == len({folder for folder, _ in planned}) == 24
    for folder, command in planned:
        asked = contest.train_parser().parse_args(command)
        assert asked.flops == rules["flops"] and asked.out == folder and folder.name == f"seed-{asked.seed}"
        assert not entries.is_scored(folder) and not entries.is_stopped(folder)


def test_a_run_that_is_there_is_not_run_again(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(entries, "lib_command", lambda command: calls.append(command) or 0)
    (tmp_path / "list.json").write_text(json.dumps({"A, one": "llama", "B": "rwkv"}))
    done, stopped = tmp_path / "out" / "a-one" / "seed-0", tmp_path / "out" / "b" / "seed-0"
    for folder, name in ((done, "record.json"), (stopped, "run.pt")):
        folder.mkdir(parents=True)
        (folder / name).write_text('{"validation_bits_per_byte": 1}')
    asked = ["--list", str(tmp_path / "list.json"), "--out", str(tmp_path / "out")]
    assert entries.main(asked) == 0
    assert len(calls) == 5 and calls[0][1] == "rwkv" and calls[0][-1] == "--resume"
    assert not any("--resume" in call for call in calls[1:])


def test_the_opening_board_is_what_its_entries_say():
    rules, opening = contest.load_rules(), contest.load_entries()
    assert {entry["name"] for entry in opening} >= set(json.loads((contest.CONTEST / "ours.json").read_text()))
    for entry in opening:
        assert [run["seed"] for run in entry["runs"]] == rules["seeds"] and entry["scored"]["seed"] >= submit.DRAWN_FROM
        bits = [run["bits_above"] for run in entry["runs"]]
        assert entry["bits_above"] == pytest.approx(sum(bits) / len(bits), abs=2e-5) and min(bits) > 0
        assert entry["flops"] <= rules["flops"] and entry["parameters"] <= rules["parameters"]
        assert len({run["weights_sha256"] for run in entry["runs"]}) == len(bits)
    readme, page = ((board.ROOT / name).read_text() for name in ("README.md", "lessons/BOARD.md"))
    assert board.between(readme, board.short(opening)) == readme and board.page(rules, opening) == page


def test_a_plan_of_train_counts_what_flops_allow():
    from lib.run.commands import train_parser
    from lib.run.recipes import make_plan

    ask = ["llama", "--flops", "3e12", "--set", "n_layers=2"]
    plan = make_plan(train_parser().parse_args(ask), "typed")
    step = training_flops(plan.config, 192, 8).total
    assert plan.config.n_layers == 2 and plan.steps * step <= 3e12 < (plan.steps + 1) * step
    for wrong, words in (
        (["llama", "--flops", "5"], "a step takes"),
        (["llama", "--flops", "3e12", "--steps", "4"], "give one of the two"),
        (["llama", "--set", "depth=3"], "no such size"),
    ):
        with pytest.raises(ValueError, match=words):
            make_plan(train_parser().parse_args(wrong), "typed")
    with pytest.raises(SystemExit):
        train_parser().parse_args(["llama", "--set", "n_layers=a"])
