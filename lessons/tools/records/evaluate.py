"""`python3 -m lib evaluate FOLDER ...`: three tasks made of tales, as a table with errors. Lesson 18 explains it."""

import argparse
import json
import platform
import shlex
import statistics
from pathlib import Path

import tokenizers
import torch

from lib.run.checkpoint import load_bundle
from lib.run.choices import measure, perplexity, standard_error
from lib.run.command_line import seed, told, whole
from lib.text.tales_questions import N_ENDINGS, SEED, TASKS, questions
from lib.weights.export import load_hugging_face
from lib.weights.files import read_config, write_beside

GUESS = {"word": "", "ending": f"guessing {1 / N_ENDINGS:.0%}", "context": f"guessing {1 / 2:.0%}"}


class FileTokenizer:
    """The tokenizer.json of a folder of transformers: encode(text) -> ids, and eot, with which a text begins."""

    def __init__(self, folder, config):
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(f"no tokenizer.json in {folder}: it says how text becomes tokens, fetch it too")
        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        begins = config.get("bos_token_id")
        self.eot = begins if isinstance(begins, int) else config.get("eos_token_id")
        if not isinstance(self.eot, int):
            raise ValueError(
                f"{folder}/config.json names no bos_token_id and no eos_token_id: add the one it begins with"
            )

    def encode(self, text):
        """Text -> ids, with nothing added."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids


def load(folder):
    """Return model and tokenizer of a folder that `train` saved, or of one that transformers can open."""
    config = read_config(folder)
    if "family" in config:
        return load_bundle(folder)
    return load_hugging_face(folder), FileTokenizer(folder, config)


def lines(task, values):
    """Return the rows of a table, as text, for what `measure` gives."""
    found = []
    for rule, row in values.items():
        if rule == "nats":
            found.append(f"{task:8} {'perplexity':16} {{:7.3f}} ± {{:.3f}}".format(*perplexity(row)))
        else:
            mean, error = statistics.fmean(row), standard_error(row)
            found.append(f"{task:8} {rule:16} {mean:7.1%} ± {error:.1%}   {GUESS[task]}".rstrip())
    return found


def run(options, typed):
    """Print the table of each folder, and put the answers on record where that is asked for; return the exit code.

    typed: the command as it was typed, for the record.
    """
    tasks = TASKS if options.task == "all" else (options.task,)
    record = {"command": "", "n": options.n, "seed": options.seed, "torch": torch.__version__}
    record |= {"machine": platform.machine(), "threads": torch.get_num_threads(), "runs": []}
    if options.record and options.record.is_file():
        record = json.loads(options.record.read_text(encoding="utf-8"))
        if (record["n"], record["seed"]) != (options.n, options.seed):
            raise ValueError(
                f"{options.record} has {record['n']} questions of seed {record['seed']}: choose another file"
            )
    record["command"] = typed
    asked = {task: questions(task, options.n, options.seed) for task in tasks}
    for folder in options.folders:
        model, tokenizer = load(folder)
        print(f"{folder}: {options.n} questions a task; ± is one standard error", flush=True)
        for task in tasks:
            known = [r for r in record["runs"] if (r["checkpoint"], r["task"]) == (folder.name, task)]
            values = known[0]["values"] if known else measure(model, tokenizer, task, asked[task])
            print(*lines(task, values), sep="\n", flush=True)
            if options.record and not known:
                values = {rule: [round(x, 5) for x in row] for rule, row in values.items()}
                record["runs"].append({"checkpoint": folder.name, "task": task, "values": values})
                text = json.dumps(record) + "\n"
                write_beside(options.record, lambda path, text=text: path.write_text(text, encoding="utf-8"))
    return 0


def main(arguments):
    """Run `evaluate`; return the exit code."""
    parser = argparse.ArgumentParser(
        "python3 -m lib evaluate",
        description="Ask a model the questions of lesson 18, and print its scores with their standard errors.",
    )
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER", help="what `train` saved, or of transformers"
    )
    parser.add_argument("--task", choices=["all", *TASKS], default="all")
    parser.add_argument("--n", type=whole(2, 100_000), default=100, help="questions a task (default: 100)")
    parser.add_argument("--seed", type=seed, default=SEED, help="of the questions")
    parser.add_argument("--record", type=Path, help="a file for the answers to each question; a stopped run goes on")
    options = parser.parse_args(arguments)
    return told("evaluate", lambda: run(options, shlex.join(["python3", "-m", "lib", "evaluate", *arguments])))
