"""What `python3 -m lib tune` and `python3 -m lib chat` do: a model is shown instructions; and you give it some."""

import argparse
import copy
import shlex
import statistics
import sys
from pathlib import Path

import torch

from lib.run.checkpoint import Keep, discard, load_bundle, prepare_place, save_bundle
from lib.run.evaluate import evaluate_documents
from lib.run.lora import adapt, merge
from lib.run.sample import tell_stream
from lib.run.train import Recipe, train
from lib.run.tune import (
    ROOM,
    AnswerBatches,
    AnswerLoss,
    PreferenceLoss,
    answer,
    encoded,
    make_room,
    n_trained,
    obedience,
    own_pairs,
    tuning_flops,
)
from lib.text import tales
from lib.text.instructions import chat_ids, instruct

METHODS = ("full", "lora", "dora", "dpo")
RATES = {"full": 1e-3, "lora": 4e-3, "dora": 4e-3, "dpo": 1e-4}
TEST_SEED, PLAIN_SEED, ROW = 900_000, 800_000, 180  # ROW: tokens of an instruction and its story, on average
TEMPERATURE, N, N_PLAIN = 0.5, 120, 100  # instructions that judge a model, and plain stories


def main(arguments):
    """Run `tune` or `chat`, whichever name comes first; return its exit code."""
    command, *arguments = arguments
    options = {"tune": tune_parser, "chat": chat_parser}[command]().parse_args(arguments)
    options.command = shlex.join(["python3", "-m", "lib", command, *arguments])
    try:
        return {"tune": tune_command, "chat": chat_command}[command](options)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"python3 -m lib {command}: {error}", file=sys.stderr)
        return 1


def tune_parser():
    """Return the parser of `tune`."""
    parser = argparse.ArgumentParser("python3 -m lib tune", description="Teach a trained model to do as it is told.")
    parser.add_argument("folder", type=Path, help="what `train` saved; for dpo what `tune` saved")
    parser.add_argument("--method", choices=METHODS, default="full", help="default: full")
    parser.add_argument("--steps", type=int, default=1000, help="default: 1000")
    parser.add_argument("--out", type=Path, help="the folder to save in (default: FOLDER-METHOD)")
    parser.add_argument("--rank", type=int, default=8, help="of lora and dora (default: 8)")
    parser.add_argument("--beta", type=float, default=0.1, help="of dpo: how far it may move (default: 0.1)")
    parser.add_argument("--loss", choices=["sigmoid", "hinge"], default="sigmoid", help="of dpo")
    parser.add_argument("--learning-rate", type=float, help="instead of the method's")
    parser.add_argument("--batch-size", type=int, default=8, help="rows a step, or pairs of rows (default: 8)")
    parser.add_argument(
        "--instructions", type=int, default=20_000, help="to learn from; of dpo to try (default: 20000)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--half", action="store_true", help="save in float16: half the size")
    return parser


def chat_parser():
    """Return the parser of `chat`."""
    parser = argparse.ArgumentParser("python3 -m lib chat", description="Tell a tuned model what you want to read.")
    parser.add_argument("folder", type=Path, help="what `tune` saved")
    parser.add_argument("--prompt", help="one instruction; without it you are asked, until you enter nothing")
    parser.add_argument("--temperature", type=float, default=TEMPERATURE, help=f"default: {TEMPERATURE}")
    parser.add_argument("--seed", type=int, help="the same seed gives the same answer")
    return parser


def tune_command(options):
    """Tune, judge and save; return the exit code."""
    model, tokenizer = load_bundle(options.folder)
    out = options.out or options.folder.with_name(f"{options.folder.name}-{options.method}")
    if out.resolve() == options.folder.resolve():
        raise ValueError(f"--out {out} is what you tune: name another folder, so that you can compare")
    prepare_place(out)
    torch.manual_seed(options.seed)
    try:
        model, tokenizer, figures = tuned(model, tokenizer, options, Keep(out / "run.pt"))
    except KeyboardInterrupt as stop:
        print(f"\n{str(stop) or 'stopped; the same call goes on with what is kept'}", file=sys.stderr)
        return 130
    figures |= judged(model, tokenizer)
    print(
        "{demands:.1%} of {n_demands} demands are met, {instructions:.1%} of instructions whole; {stopped:.1%} of the "
        "answers stop by themselves; plain stories cost {plain_excess:.1%} more than they must".format(**figures)
    )
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
    record = {"command": options.command, "base": str(options.folder), "torch": torch.__version__, **rounded}
    save_bundle(out, model, tokenizer, record, torch.float16 if options.half else None)
    discard(out / "run.pt")
    print(f"saved: python3 -m lib chat {out}")
    return 0


def tuned(model, tokenizer, options, checkpoint=None, say=print, rows=None):
    """Return the tuned model, adapters merged, its tokenizer, and what it took: {"trained", "flops", "seconds", ...}.

    rows: pairs for dpo that are there already.
    """
    model, tokenizer = make_room(model, tokenizer, options.seed)
    loss = AnswerLoss
    if options.method == "dpo":
        tried = list(instruct(options.seed, 0 if rows else options.instructions))
        rows = rows or own_pairs(model.eval(), tokenizer, tried, seed=options.seed)
        say(f"{len(rows)} pairs of its own answers", flush=True)
        before = copy.deepcopy(model)
        loss = lambda it: PreferenceLoss(it, before, options.beta, options.loss)  # noqa: E731
    elif options.method in ("lora", "dora"):
        adapt(model, options.method, options.rank)
    rows = rows or encoded(tokenizer, instruct(options.seed, options.instructions))
    batches = AnswerBatches(rows, options.batch_size, options.seed)
    batches.description["method"] = options.method  # so that no run is gone on with by another method
    rate = options.learning_rate or RATES[options.method]
    plan = Recipe(options.steps, rate, warmup=min(50, options.steps // 10), weight_decay=0.0, final_ratio=0.05)
    flops, count = flops_of(model, options.method, options.batch_size), n_trained(model)
    say(f"{count:,} parameters learn, {flops / 1e9:.1f} GFLOP a step", flush=True)
    losses, seconds = [], 0.0
    for record in train(model, batches, plan, device="cpu", dtype="float32", checkpoint=checkpoint, loss=loss):
        losses.append(record.loss)
        seconds = record.seconds
        if record.step % 100 == 0:
            say(f"step {record.step:5} of {plan.steps}  loss {statistics.fmean(losses[-100:]):.4f}", flush=True)
    figures = {"trained": count, "flops": flops * plan.steps, "seconds": seconds, "steps": plan.steps}
    figures["losses_by_10"] = [round(statistics.fmean(losses[i : i + 10]), 4) for i in range(0, len(losses), 10)]
    return merge(model).eval(), tokenizer, figures


def flops_of(model, method, batch_size):
    """Return the FLOPs of one step: DPO reads two answers a row, and the model before reads them, too."""
    one = tuning_flops(model, ROW, batch_size)
    return 2 * (one + one // 3) if method == "dpo" else one


def judged(model, tokenizer, n=N, n_plain=N_PLAIN, seed=TEST_SEED):
    """Return how far a model obeys what it never saw, and what plain stories cost it above their own entropy.

    Half of the instructions are new combinations in known words, half are in new words, too.
    """
    test = [item for new in (False, True) for item in instruct(seed + new, n // 2, kept=True, new_words=new)]
    replies = answer(model, tokenizer, [item.text for item in test], TEMPERATURE, seed)
    halves = [obedience(test[part], replies[part]) for part in (slice(n // 2), slice(n // 2, None))]
    plain = list(tales.stories(PLAIN_SEED, n_plain))
    score = evaluate_documents(model, tokenizer, [story.text for story in plain])
    excess = score.nats_per_token * score.n_tokens / -sum(story.log_probability for story in plain) - 1
    by_words = dict(
        zip(("demands_known_words", "demands_new_words"), (half["demands"] for half in halves), strict=True)
    )
    return obedience(test, replies) | by_words | {"plain_bits": score.bits_per_byte, "plain_excess": excess}


def chat_command(options):
    """Answer one instruction, or all that are typed; each is a conversation of its own. Return the exit code."""
    model, tokenizer = load_bundle(options.folder)
    chat_ids(tokenizer, [""])  # says what is missing where it is no tuned model
    if options.prompt is not None:
        say_answer(model, tokenizer, options.prompt, options)
        return 0
    print("Such as: Tell me a story about Little Mina, at the quiet mill. Enter nothing to end.")
    while True:
        try:
            text = input("\n> ").strip()
        except EOFError:
            text = ""
        if not text:
            return 0
        say_answer(model, tokenizer, text, options)


def say_answer(model, tokenizer, text, options):
    """Print an answer while it is written."""
    chances = {"temperature": options.temperature, "seed": options.seed}
    for piece in tell_stream(model, tokenizer, chat_ids(tokenizer, [text]), ROOM, **chances):
        print(piece, end="", flush=True)
    print()
