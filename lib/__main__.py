"""The course's commands: `python3 -m lib lab`, `python3 -m lib test`, and those that `python3 -m lib --help` lists.

Standard library only, and written so that a Python that is too old can read it, and say that it is too old.
"""

import argparse
import os
import subprocess
import sys
from collections import namedtuple

OLDEST = (3, 11)
FIRST_LESSON = "lessons/00_start_here.ipynb"
# import-linter's script has its Python's path in it, and is lost when .venv is moved; its module has no `-m`.
LINT_IMPORTS = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True, no_logo=True))"

LETTERS = "{} lacks some of these letters: they stand as \\u and a number. PYTHONUTF8=1 in the environment writes them."

# A command is a module's `main(arguments)`, which returns the exit code; no module means a function below. `needs` are
# the packages without which .venv is called in. `named`: one `main` serves several, and gets the name first.
Command = namedtuple("Command", "module help needs named")
COMMANDS = {
    "lab": Command(None, "make .venv where there is none, and open the lessons in JupyterLab", (), False),
    "test": Command(None, "make .venv where there is none; then lint, all tests, all notebooks", (), False),
    "build": Command(
        "lessons.tools.build", "turn lessons/source/NN_name.py into notebooks", ("jupytext", "nbclient", "torch"), False
    ),
    "progress": Command(
        "lib.teach.progress", "say which exercises you have done, from your saved notebooks", (), False
    ),
    "release": Command(
        "lessons.marking.release",
        "for instructors: an nbgrader course, or a copy without solutions",
        ("jupytext", "nbgrader", "torch"),
        False,
    ),
    "collect": Command(
        "lessons.marking.collect", "for instructors: take in what learners handed in", ("jupytext", "nbformat"), False
    ),
    "exercises": Command(
        "lessons.tools.cards", "for instructors: the table of all exercises", ("jupytext", "nbformat"), False
    ),
    "book": Command(
        "lessons.tools.site.book", "make a site to read of the solved lessons", ("myst_nb", "nbformat", "onnx"), False
    ),
    "picture": Command(
        "lessons.tools.picture", "make the first page's picture, or all figures", ("torch", "PIL"), False
    ),
    "claims": Command(
        "lessons.tools.claims", "write the table of the sources' claims", ("jupytext", "nbformat"), False
    ),
    "publish": Command(
        "lessons.tools.publish",
        "write where the course is published, for Colab",
        ("jupytext", "nbclient", "torch"),
        False,
    ),
    "colab-check": Command(
        "lessons.tools.colab_check",
        "run lessons as Colab does, in another Python",
        ("jupytext", "nbclient", "torch"),
        False,
    ),
    "versions": Command(
        "lessons.tools.versions", "which versions were run, and run others", ("jupytext", "nbclient", "torch"), False
    ),
    "check-bank": Command(
        "tests.exercises.bank", "hold the checks to known wrong and right answers", ("torch",), False
    ),
    "train": Command("lib.run.commands", "train a small model: llama, openelm, rwkv", ("torch", "safetensors"), True),
    "sample": Command("lib.run.commands", "let a trained model tell stories", ("torch", "safetensors"), True),
    "export": Command(
        "lib.run.commands", "write a trained model so that transformers opens it", ("torch", "safetensors"), True
    ),
    "tune": Command("lib.run.tune_command", "teach a trained model to obey", ("torch", "safetensors"), True),
    "chat": Command("lib.run.tune_command", "tell a tuned model what to write", ("torch", "safetensors"), True),
    "tuning-study": Command("lessons.tools.records.tuning_study", "make the record of lesson 19", ("torch",), False),
    "submit": Command(
        "lessons.tools.contest.submit", "check and score a model for the board", ("torch", "safetensors"), False
    ),
    "board": Command("lessons.tools.contest.board", "show the board of the contest", ("torch", "safetensors"), False),
    "idea": Command("lessons.tools.contest.idea", "make the record of lesson 22", ("torch", "safetensors"), False),
    "entries": Command(
        "lessons.tools.contest.entries", "train the entries of the board", ("torch", "safetensors"), False
    ),
    "compare": Command("lib.run.paired", "train shapes of one size, seed by seed", ("torch", "safetensors"), False),
    "bench": Command(
        "tests.benchmarks.main", "measure our speed beside transformers'", ("torch", "transformers"), False
    ),
    "gpu-check": Command(
        "tests.benchmarks.gpu",
        "test and measure the course on a CUDA device",
        ("torch", "transformers", "pytest"),
        False,
    ),
    "evaluate": Command(
        "lessons.tools.records.evaluate", "ask a model what lesson 18 asks", ("torch", "tokenizers"), False
    ),
    "scale": Command("lessons.tools.records.scale", "train the grid of runs of lesson 20", ("torch",), False),
    "recall": Command(
        "lessons.tools.records.recall", "measure what lesson 17 has on record", ("torch", "safetensors"), False
    ),
}


def main(arguments=None, version=None):
    """Run one command; return its exit code: 0 is well, 1 is trouble, 2 a command that is not understood."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for name in ("stdout", "stderr"):  # where they are closed, as by `>&-`, Python has None, which nobody can print to
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
    sentence = too_old(tuple(version or sys.version_info))
    if sentence:
        return _fail(sentence, 1)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if arguments[0] not in COMMANDS:
        return _fail("there is no command '{}': there are {}".format(arguments[0], ", ".join(COMMANDS)), 2)
    from lib.environment import Trouble

    spelled = spell_out(sys.stdout)
    try:
        code = dispatch(arguments[0], arguments[1:])
        sys.stdout.flush()
        return code
    except Trouble as trouble:
        return _fail(str(trouble), 1)
    except BrokenPipeError:  # whoever read the output has gone, as `head` does: nobody is there to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail("{}: {}".format(arguments[0], error), 1)
    except KeyboardInterrupt:
        return _fail("stopped. The next call takes it up again.", 130)
    finally:
        if spelled:
            _fail(LETTERS.format(sys.stdout.encoding), 0)


def spell_out(stream):
    r"""Have `stream` write letters that its encoding lacks as \u and a number; return a list that is empty until then.

    On Windows what goes into a file or a pipe is in the code page of the country, which knows few letters of others.
    """
    import codecs

    spelled = []

    def spell(error):
        spelled.append(error.object[error.start])
        return codecs.backslashreplace_errors(error)

    if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
        codecs.register_error("spell_out", spell)
        stream.reconfigure(errors="spell_out")
    return spelled


def too_old(version):
    """Return what to tell a Python that is too old, None for one that will do."""
    if version[:2] >= OLDEST:
        return None
    import shutil

    names = ["python3.{}".format(minor) for minor in range(13, OLDEST[1] - 1, -1)]
    newer = next((name for name in names if shutil.which(name)), None)
    step = "call it with {0}: {0} -m lib ...".format(newer) if newer else "install a newer one from python.org"
    return "Python {}.{} is too old, the course needs {}.{} or later: ".format(*(version[:2] + OLDEST)) + step


def overview():
    """Return the help: the commands, a line each."""
    lines = ["usage: python3 -m lib <command> [options]      python3 -m lib <command> --help tells its options", ""]
    lines += ["  {:13}{}".format(name, command.help) for name, command in COMMANDS.items()]
    return "\n".join(lines)


def dispatch(name, arguments):
    """Run a command here where all that it needs is at hand, else in .venv; return its exit code."""
    from importlib import import_module
    from pathlib import Path

    from lib.environment import Environment, Trouble, hand_over

    place = Environment(Path(__file__).resolve().parent.parent)
    command = COMMANDS[name]
    if command.module is None:
        return {"lab": lab, "test": test}[name](place, arguments, hand_over)
    if not place.root.joinpath(*command.module.split(".")).with_suffix(".py").is_file():
        raise Trouble(
            "`{}` is not in this copy of the course, which has no {}: take the whole course".format(
                name, command.module.split(".")[0]
            )
        )
    if place.serves(command.needs):
        return import_module(command.module).main([name] * command.named + arguments)
    place.prepare(place.level(command.needs))
    return hand_over([place.python, "-m", "lib", name] + arguments, Path.cwd())


def lab(place, arguments, run):
    """Open JupyterLab at the first lesson; it runs until Ctrl-C. Return its exit code."""
    parser = argparse.ArgumentParser("python3 -m lib lab", description="Open the lessons in JupyterLab.")
    parser.add_argument("--no-browser", action="store_true", help="print the address and open nothing")
    parser.add_argument("--port", type=_port, default=8888, help="this one, or the next that is free (default: 8888)")
    options, others = parser.parse_known_args(arguments)
    place.prepare()
    command = [place.python, "-m", "jupyterlab"]
    command += ["--ServerApp.ip=127.0.0.1"]  # this machine alone; the token stays Jupyter's own
    command += ["--ServerApp.root_dir={}".format(place.root), "--ServerApp.port={}".format(options.port)]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None"]
    if options.no_browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # in a container everybody is root
    if (place.root / FIRST_LESSON).is_file():
        command.append(place.root / FIRST_LESSON)
    # Where JupyterLab looks for settings first: ours hide the menus of instructors.
    paths = [str(place.folder / "etc" / "course"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    return run(command + others, place.root, {"JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, paths))})


def test(place, arguments, run):
    """Lint, then run tests and notebooks in one call of pytest. Return the exit code of what failed, else 0."""
    from lib.environment import share_of_cores

    parser = argparse.ArgumentParser(
        "python3 -m lib test",
        description="Lint, all tests, and all notebooks by nbval. Other options and paths go to pytest.",
    )
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument("--quick", action="store_true", help="no slow tests; notebook 00 and those that changed")
    how_much.add_argument("--all", action="store_true", help="the nightly tests too: every lesson live in the browser")
    options, others = parser.parse_known_args(arguments)
    place.prepare("tools")
    print("Lint", flush=True)
    lint = run([place.python, "-m", "ruff", "check", "."], place.root)
    lint = run([place.python, "-c", LINT_IMPORTS], place.root) or lint
    command = [place.python, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=120"]
    if not any(other.startswith("-n") for other in others):
        command += ["-n", "2", "--dist", "loadfile"]  # whole files, since the cells of a notebook need each other
    if not options.all:
        command += ["-m", "not slow and not nightly" if options.quick else "not nightly"]
    if not any((place.root / other.split("::")[0]).exists() for other in others):
        command += ["tests"] + (quick_notebooks(place.root) if options.quick else ["lessons"])
    code = run(command + others, place.root, share_of_cores(2))
    if lint:
        print("Lint found what is listed at the top.")
    return code or lint


def quick_notebooks(root):
    """Return the first notebook, and those that differ from the last commit where git can tell."""
    git = ["git", "status", "--porcelain", "--untracked-files=all", "--", "lessons"]
    try:
        status = subprocess.check_output(git, cwd=str(root), stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        status = b""
    changed = {line[3:].split(" -> ")[-1].strip('"') for line in status.decode("utf-8", "replace").splitlines()}
    return sorted(path for path in changed | {FIRST_LESSON} if path.endswith(".ipynb") and (root / path).is_file())


def _port(text):
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError("{}: give a whole number from 1 to 65535".format(text))
    return int(text)


def _fail(sentence, code):
    sys.stderr.write("python3 -m lib: " + sentence + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
