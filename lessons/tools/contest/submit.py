"""`python3 -m lib submit FOLDER`: check a submission, score it on stories drawn now, write it on the board.

Nothing is trained, but with --rerun, which trains the first steps of one run again and compares the losses.
"""

import argparse
import shlex
import statistics
import tempfile
from pathlib import Path
from secrets import randbelow

from lessons.tools.contest.entries import folder_name
from lib.run.command_line import amount, told
from lib.run.command_line import seed as a_seed
from lib.run.recipes import make_plan
from lib.run.train import train
from lib.run.train_command import new_model, prepare
from lib.teach.contest import CONTEST, asked_for, entry_of, load_rules, load_runs, objections, score
from lib.weights.files import write_json

DRAWN_FROM = 10**6  # seeds below are the course's own


def main(arguments):
    """Check, score, write; return the exit code: 1 where the submission is refused."""
    options = parser().parse_args(arguments)
    return told("submit", lambda: submit(options))


def parser():
    """Return the parser of `submit`."""
    it = argparse.ArgumentParser("python3 -m lib submit", description="Check and score a submission to the contest.")
    it.add_argument("folder", type=Path, help="holds a run of `train` for each seed of the rules: seed-0, seed-1, ...")
    it.add_argument("--name", help="on the board (default: the folder's)")
    it.add_argument("--by", default="", help="whose it is")
    it.add_argument("--board", type=Path, default=CONTEST, help="the board's folder (default: the course's)")
    it.add_argument("--seed", type=a_seed, help="score again by the seed of an entry; nothing is written then")
    it.add_argument(
        "--rerun", type=amount(most=1), metavar="SHARE", help="train this share of the first seed's steps again"
    )
    return it  # fmt: skip


def submit(options):
    """Do it; return the exit code."""
    rules = load_rules(options.board)
    runs = load_runs(options.folder, rules)
    found = objections(runs, rules)
    if options.rerun and not found:
        found = rerun(runs[0].record, options.rerun, rules)
    if found:
        raise ValueError("refused.\n  " + "\n  ".join(found))
    drawn = DRAWN_FROM + randbelow(2**31) if options.seed is None else options.seed
    figures = score(runs, rules, drawn)
    scored = {"seed": drawn, "stories": rules["scored_stories"], "told": rules["told_stories"]}
    entry = entry_of(options.name or options.folder.name, options.by, runs, figures, scored)
    print(
        "{name}: {bits_above:.4f} ± {half:.4f} bits a byte above the floor, facts hold in {facts:.1%}".format(**entry)
    )
    if options.seed is None:
        path = options.board / "entries" / f"{folder_name(entry['name'])}.json"
        write_json(path, entry)
        print(f"written: {path}. The board: python3 -m lib board")
    return 0


def rerun(record, share, rules):
    """Train the first steps of a run again, by its own command; return what speaks against its record.

    The losses of another machine differ by rounding, which grows: so the median difference counts, of the first steps.
    """
    options = asked_for(record)
    with tempfile.TemporaryDirectory() as folder:
        options.out, options.resume = Path(folder), False
        plan = make_plan(options, shlex.join(["train"]))
        data = prepare(plan)
        steps = max(1, int(share * record["steps"]))
        model, losses = new_model(plan, data.tokenizer.vocab_size), []
        recipe = plan.make_recipe(record["steps"])
        for step in train(model, data.batches, recipe, device=plan.device, dtype=plan.dtype):
            losses.append(step.loss)
            if step.step == steps:
                break
    apart = statistics.median(differences(losses, record["curve"]))
    print(f"{steps} steps again: the losses are {apart:.2%} apart", flush=True)
    if apart <= rules["rerun_apart"]:
        return []
    return [f"its command gives other losses: the first {steps} steps are {apart:.1%} apart in the median"]


def differences(losses, curve):
    """Return |ours / theirs - 1| at each point that we reached of a curve, [step, mean loss since the point before]."""
    found, start = [], 0
    for end, mean in curve:
        if end <= len(losses):
            found.append(abs(statistics.fmean(losses[start:end]) / mean - 1))
        start = end
    return found
