"""Scores of benchmarks: equal to those of lm_eval on the same questions, each of them, and to transformers' logits.

The outside truth is EleutherAI's own program; without it these tests are skipped: pip install -r data/evaluation.txt.
"""

import json
import math
import statistics

import numpy as np
import pytest
import torch

from lessons.tools.records import evaluate
from lib.run.checkpoint import load_bundle, save_bundle
from lib.run.choices import RULES, chosen, encode_pair, likelihoods, measure, perplexity, standard_error
from lib.text import corpora, tales
from lib.text.published import load_tokenizer
from lib.text.tales_questions import TASKS, Question, questions
from lib.weights.convert import to_hugging_face
from lib.weights.export import export_hugging_face

N = 12
CHECKPOINTS = corpora.DATA / "checkpoints"


@pytest.fixture(scope="module")
def llama():
    return load_bundle(CHECKPOINTS / "llama-tales")


@pytest.fixture(scope="module")
def asked():
    return {task: questions(task, N, seed=7) for task in TASKS}


def test_every_question_has_one_answer_that_the_grammar_allows(asked):
    for q in (q for task in TASKS[1:] for q in asked[task]):
        readings = [tales.parse(f"{c} {e}") for c, e in zip(q.contexts, q.endings, strict=True)]
        if q.contexts[0] == q.contexts[1]:  # "ending": the texts are whole stories
            assert [i for i, reading in enumerate(readings) if not reading.violations] == [q.answer]
    for q in asked["word"]:
        assert any(story.text.startswith(f"{q.contexts[0]} {q.endings[0]}") for story in tales.stories(7, 60))
    assert len({q.answer for q in asked["ending"]}) > 1 and len({q.answer for q in asked["context"]}) == 2


def test_only_the_right_context_lets_its_ending_stand(asked):
    for q in asked["context"]:
        allowed = [
            tales.tales_parse.can_begin(tales.grammar(), f"{c} {e}") for c, e in zip(q.contexts, q.endings, strict=True)
        ]
        assert allowed == [i == q.answer for i in range(2)]


def test_questions_are_the_same_again_and_others_by_another_seed(asked):
    for task in TASKS:
        assert questions(task, 3, seed=7) == asked[task][:3] != questions(task, 3, seed=8)
    with pytest.raises(ValueError, match="no task 'words': there are word, ending, context"):
        questions("words", 1)


@pytest.mark.parametrize(("context", "ending"), [("Little Mina had", " a golden"), ("Little Mina had ", "a golden")])
def test_the_blank_belongs_to_the_ending(context, ending):
    tokenizer = load_tokenizer("tales")
    before, after = encode_pair(tokenizer, context, ending)
    assert before == [tokenizer.eot, *tokenizer.encode("Little Mina had")]
    assert after == tokenizer.encode(" a golden")


def test_likelihoods_are_those_of_transformers_logits(llama, asked):
    transformers = pytest.importorskip("transformers")
    model, tokenizer = llama
    config, tensors = to_hugging_face(model)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).eval()
    theirs.load_state_dict(tensors, strict=False)
    pairs = [(c, f" {e}") for q in asked["ending"][:4] for c, e in zip(q.contexts, q.endings, strict=True)]
    for (context, ending), ours in zip(pairs, likelihoods(model, tokenizer, pairs, batch_size=3), strict=True):
        ids = [tokenizer.eot, *tokenizer.encode(context + ending)]
        n = len(tokenizer.encode(ending))
        with torch.no_grad():
            log_p = theirs(torch.tensor([ids])).logits[0, -n - 1 : -1].log_softmax(-1)
        expected = sum(log_p[i, token].item() for i, token in enumerate(ids[-n:]))
        assert ours.log_p == pytest.approx(expected, abs=2e-4)
        assert ours.greedy == (log_p.argmax(-1).tolist() == ids[-n:])


def test_a_pair_that_can_not_be_scored_is_refused(llama):
    model, tokenizer = llama
    with pytest.raises(ValueError, match="the ending '' has no token"):
        likelihoods(model, tokenizer, [("Little Mina", "")])
    with pytest.raises(ValueError, match="tokens, but the model was built for 512"):
        likelihoods(model, tokenizer, [("and " * 600, " the end")])


def test_four_rules_can_take_four_endings():
    endings = ["oak", "a wide oak", "æøåæøåæøå", "the mill"]
    log_ps, alone = [-4.0, -9.0, -8.0, -9.5], [-3.0, -9.0, -6.0, -20.0]
    # By hand: -4 is the largest; a character costs 1.33, 0.9, 0.89, 1.19; a byte 1.33, 0.9, 0.44, 1.19; and the
    # differences are -1, 0, -2, 10.5.
    assert chosen(log_ps, endings, alone) == {"acc": 0, "acc_norm": 2, "acc_bytes": 2, "acc_mutual_info": 3}
    assert chosen([-4.0, -4.0], ["ab", "ab"]) == {"acc": 0, "acc_norm": 0, "acc_bytes": 0}


def test_errors_are_those_of_a_mean():
    values = [1.0, 0.0, 1.0, 1.0]
    assert standard_error(values) == pytest.approx(np.std(values, ddof=1) / 2)
    assert math.isnan(standard_error([1.0]))
    value, error = perplexity([math.log(2), math.log(8)])
    assert value == pytest.approx(4) and error == pytest.approx(4 * math.log(2), rel=1e-9)


def local_task(folder, name, asked):
    """Return a task of lm_eval that asks these questions, from a file, with its own rules."""
    from lm_eval.api.task import ConfigurableTask

    rows = [{"contexts": q.contexts, "endings": q.endings, "answer": q.answer} for q in asked]
    file = folder / f"{name}.json"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    mean = [{"metric": rule, "aggregation": "mean", "higher_is_better": True} for rule in RULES]
    shapes = {
        "word": {
            "output_type": "loglikelihood",
            "doc_to_text": lambda doc: doc["contexts"][0],
            "doc_to_target": lambda doc: " " + doc["endings"][0],
            "metric_list": [
                {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
                {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
            ],
        },
        "ending": {
            "output_type": "multiple_choice",
            "doc_to_text": lambda doc: doc["contexts"][0],
            "doc_to_target": "answer",
            "doc_to_choice": "endings",
            "metric_list": mean,
        },
        "context": {
            "output_type": "multiple_choice",
            "doc_to_text": lambda doc: doc["answer"],
            "doc_to_target": lambda doc: doc["endings"][0],
            "doc_to_choice": lambda doc: list(doc["contexts"]),
            "metric_list": mean[:1],
        },
    }
    return ConfigurableTask(
        config={
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(file)}, "cache_dir": str(folder)},
            "test_split": "test",
            "num_fewshot": 0,
            **shapes[name],
        }
    )


def adapter(model, tokenizer):
    """Return our model as lm_eval calls one: it makes the pairs of ids itself, and asks for their log p."""
    from lm_eval.api.model import TemplateLM

    class Ours(TemplateLM):
        backend = "causal"
        eot_token_id = tokenizer.eot
        tokenizer_name = "tales"

        def tok_encode(self, string, **_):
            return [tokenizer.eot, *tokenizer.encode(string)]

        def _loglikelihood_tokens(self, requests, **_):
            found = []
            for _, before, after in requests:
                with torch.no_grad():
                    logits = model(torch.tensor([[*before, *after]]))[0][0].double().log_softmax(-1)
                own = logits[len(before) - 1 : -1]
                found.append(
                    (own[range(len(after)), after].sum().item(), bool((own.argmax(-1) == torch.tensor(after)).all()))
                )
            return found

        def loglikelihood_rolling(self, requests, **_):
            raise NotImplementedError

        def generate_until(self, requests, **_):
            raise NotImplementedError

    return Ours()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["llama-tales", "rwkv-4-tales"])
def test_each_answer_is_that_of_lm_eval(tmp_path, monkeypatch, asked, name, task):
    pytest.importorskip("lm_eval", reason="the package lm_eval is not installed: pip install -r data/evaluation.txt")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from lm_eval.evaluator import simple_evaluate

    model, tokenizer = load_bundle(CHECKPOINTS / name)
    found = simple_evaluate(
        adapter(model, tokenizer), tasks=[local_task(tmp_path, task, asked[task])], bootstrap_iters=0
    )
    theirs = sorted(found["samples"][task], key=lambda sample: sample["doc_id"])
    ours = measure(model, tokenizer, task, asked[task])
    assert len(theirs) == N
    for rule, values in ours.items():
        if rule == "nats":
            assert values == pytest.approx([-sample["perplexity"] for sample in theirs], abs=2e-4)
            rule, value = "perplexity", perplexity(values)[0]
        else:
            assert values == [float(sample[rule]) for sample in theirs], rule
            value = statistics.fmean(values)
        assert found["results"][task][f"{rule},none"] == pytest.approx(value, abs=1e-4)


def test_the_command_reads_our_folder_and_transformers_alike(llama, tmp_path, capsys):
    model, tokenizer = llama
    export_hugging_face(tmp_path / "theirs", model, tokenizer)
    save_bundle(tmp_path / "ours", model, tokenizer, {})
    tables = []
    for folder in ("ours", "theirs"):
        assert evaluate.main([str(tmp_path / folder), "--n", "4", "--task", "word"]) == 0
        tables.append(capsys.readouterr().out.splitlines()[1:])
    assert tables[0] == tables[1] and len(tables[0]) == 2 and tables[0][0].startswith("word     acc")
    assert evaluate.main([str(tmp_path)]) == 1 and "no config.json" in capsys.readouterr().err


def test_a_stopped_record_goes_on(llama, tmp_path, capsys, monkeypatch):
    record = tmp_path / "record.json"
    call = [str(CHECKPOINTS / "llama-tales"), "--n", "3", "--record", str(record)]
    assert evaluate.main([*call, "--task", "word"]) == 0
    first = json.loads(record.read_text())["runs"]
    assert evaluate.main(call) == 0
    after = json.loads(record.read_text())["runs"]
    assert json.loads(record.read_text())["command"] == f"python3 -m lib evaluate {' '.join(call)}"
    assert after[:1] == first and [run["task"] for run in after] == list(TASKS)
    assert evaluate.main([*call[:1], "--n", "4", "--record", str(record)]) == 1
    assert "has 3 questions" in capsys.readouterr().err


def test_a_question_without_other_pairs_is_one_word(llama):
    model, tokenizer = llama
    one = measure(model, tokenizer, "word", [Question(("Once upon a",), ("xylophone",), 0)])
    assert one["acc"] == [0.0] and one["nats"][0] > 5
