"""`python3 -m lib build`: make the notebooks of the lessons from their sources, and execute them."""

import argparse
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from lessons.tools.notebook import SPOILER, SourceError, fingerprint, forms, tagged_words, write_text
from lib.environment import share_of_cores
from lib.run.command_line import whole

ROOT = Path(__file__).resolve().parents[2]
WIDGET = "application/vnd.jupyter.widget-view+json"
# What a progress bar or a first start of matplotlib writes on stderr. Anything else there is a warning to be mended.
NOISE = re.compile(r"\d%\||\d(?:it|s)/|\?it/s|it/s\]|building the font cache")
# A folder of somebody's machine, or an object's address: neither means anything to a reader, both change with each run.
MACHINE = re.compile(
    r"(?<![\w.])/(?:home|Users|root|tmp|private|var/folders)/[^\s\"'<>]*|\b[A-Z]:\\+Users\b[^\s\"'<>]*"
    r"|\S*site-packages\S*|\bat 0x[0-9a-fA-F]{6,}"
)


class BuildError(RuntimeError):
    """A notebook that can't be built; the message names the lesson, the cell and the error."""


class Client(NotebookClient):
    """Executes a notebook in this very Python: the kernel that is registered as python3 may be another one."""

    def __init__(self, nb, workers=1, **settings):
        super().__init__(nb, **settings)
        self.workers = workers

    def create_kernel_manager(self):
        """Return the manager of the kernel that will run the notebook.

        A lesson that has the machine to itself runs as a learner's does. Where several share it, each gets its part
        of the cores, and its threads sleep while they wait: OpenMP's spin, which makes a step up to four times slower
        beside others. Alone it is the other way round: a tiny model's step takes twice as long if they sleep.
        """
        manager = super().create_kernel_manager()
        manager.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        if self.workers > 1:
            manager.kernel_spec.env = {**manager.kernel_spec.env, **share_of_cores(self.workers)}
        return manager


def execute(nb, folder, name="notebook", timeout=120, workers=1):
    """Run all cells in `folder`, put the outputs into `nb` and tidy them. Raises BuildError.

    `name` stands in the error's message; `timeout` is in seconds, for each cell; `workers` lessons share the machine.
    """
    here, language = {"cell": 0}, nb.metadata.get("language_info", {})
    client = Client(
        nb,
        workers,
        timeout=timeout,
        record_timing=False,
        store_widget_state=False,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=lambda cell, cell_index: here.update(cell=cell_index),
    )
    fail = partial(_fail, nb, name)
    try:
        client.execute()
    except CellExecutionError as error:
        trace = re.sub(r"\x1b\[[0-9;]*m", "", error.traceback).strip().splitlines()
        fail(here["cell"], "\n  ".join([f"{error.ename}: {error.evalue}", *trace[-12:]]))
    except CellTimeoutError:
        fail(here["cell"], f"still running after {timeout} s: make it smaller")
    except DeadKernelError:
        fail(here["cell"], "the kernel died, often for want of memory")
    nb.metadata.language_info = language  # nbclient writes this machine's Python into it
    code = [index for index, cell in enumerate(nb.cells) if cell.cell_type == "code"]
    for count, index in enumerate(code, start=1):
        try:
            tidy(nb.cells[index], count)
        except BuildError as error:
            fail(index, error)
    nbformat.validate(nb)


def _fail(nb, name, index, what):
    start = nb.cells[index].source.split("\n")[0][:60]
    raise BuildError(f'{name}, cell {index}, "{start}": {what}') from None


def tidy(cell, count):
    """Leave of a cell's outputs what a reader should see, the same at each run.

    A live widget goes where a picture or text says the same, progress bars go, pieces of one stream are joined. Raises
    BuildError on what must not be published: a warning, a machine's path, an address, a widget without a still picture.
    """
    kept = []
    for output in cell.outputs:
        if output.output_type == "stream":
            _keep_stream(kept, output)
            continue
        if WIDGET in output.get("data", {}):
            if NOISE.search(output.data.get("text/plain", "")):
                continue  # a progress bar
            del output.data[WIDGET]
            if not {"image/png", "image/svg+xml", "text/html"} & set(output.data):
                raise BuildError("a widget without a still picture: show one in the same output, for GitHub")
        kept.append(output)
    for output in kept:
        if "execution_count" in output:
            output.execution_count = count
        if found := machine_trace(shown_text(output)):
            raise BuildError(f'the output holds "{found}", which stands on this machine alone: print something else')
    cell.outputs, cell.execution_count = kept, count
    cell.metadata.pop("execution", None)


def _keep_stream(kept, output):
    if output.name == "stderr":
        lines = [line for line in re.split(r"[\r\n]+", output.text) if line.strip() and not NOISE.search(line)]
        if lines:
            raise BuildError(f'stderr has "{lines[0][:200]}": mend what it warns of')
    elif kept and kept[-1].output_type == "stream":
        kept[-1].text += output.text
    else:
        kept.append(output)


def shown_text(output):
    """Return all of an output that is text."""
    data = output.get("data", {})
    parts = [text for kind, text in data.items() if kind.startswith("text/") and isinstance(text, str)]
    return "\n".join([output.get("text", ""), *parts])


def machine_trace(text):
    """Return the first path of a machine or address of an object in a text; None where there is none."""
    own = [str(ROOT), str(Path.home()), sys.prefix, tempfile.gettempdir()]
    found = [path for path in own if len(path) > 5 and path in text]
    match = MACHINE.search(text)
    return found[0] if found else match and match.group()


def places(source):
    """Return where a source's two notebooks stand: (stub, solved)."""
    lessons = source.parents[1]
    return lessons / f"{source.stem}.ipynb", lessons / "solutions" / f"{source.stem}.ipynb"


def is_current(file, form):
    """Say whether the notebook at `file` has the cells of `form`, made by this builder, and was executed."""
    try:
        nb = nbformat.read(file, as_version=4)
    except (OSError, ValueError):
        return False
    ran = all(cell.execution_count for cell in nb.cells if cell.cell_type == "code")
    return ran and form.metadata.course == nb.metadata.get("course") and fingerprint(form) == fingerprint(nb)


def stale(source):
    """Return the forms of a source that must be built: a list of (file, notebook), not executed."""
    pairs = zip(places(source), forms(source), strict=True)
    return [(file, form) for file, form in pairs if not is_current(file, form)]


def build_lesson(source, everything=False, timeout=120, workers=1):
    """Build what is stale of a lesson, or all of it; write nothing unless all of it ran. Returns the files written."""
    jobs = list(zip(places(source), forms(source), strict=True)) if everything else stale(source)
    for file, form in jobs:
        file.parent.mkdir(parents=True, exist_ok=True)
        execute(form, file.parent, f"{source.stem} ({form.metadata.course.form})", timeout, workers)
        if form.metadata.course.form == "stub":
            hide_answers(form)
    for file, form in jobs:
        write(form, file)
    return [file for file, _ in jobs]


def hide_answers(nb):
    """Take the outputs away that answer what a learner is asked to predict first."""
    for cell in nb.cells:
        if cell.cell_type == "code" and SPOILER in tagged_words(cell):
            cell.outputs = []


def write(nb, file):
    """Write a notebook; nobody sees half of it."""
    write_text(file, nbformat.writes(nb) + "\n")


def _report(source, args):
    # One lesson, in words: (line to print, whether all is well).
    begin = time.perf_counter()
    try:
        if args.check:
            names = [file.relative_to(source.parents[1]).as_posix() for file, _ in stale(source)]
            line = f"stale: {', '.join(names)}: run python3 -m lib build {source.stem[:2]}" if names else "current"
            return f"{source.stem}: {line}", not names
        files = build_lesson(source, args.all, workers=args.workers)
    except (BuildError, SourceError) as error:
        return f"{source.stem}: not built, and what was there is left as it was.\n  {error}", False
    line = f"built {len(files)} notebooks in {time.perf_counter() - begin:.0f} s" if files else "current"
    return f"{source.stem}: {line}", True


def main(argv=None, root=ROOT):
    """Build the lessons that argv names, or all whose source changed. Returns 0, or 1 where one failed or is stale."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lib build",
        description="Make lessons/NN_name.ipynb and lessons/solutions/NN_name.ipynb from lessons/source/NN_name.py. A "
        "lesson is built when its source, the set-up cell or the builder changed, or its notebook was edited: what was "
        "typed into it is lost then.",
    )
    parser.add_argument("lessons", nargs="*", metavar="NN", help="numbers, such as 04; none means all")
    parser.add_argument("--all", action="store_true", help="build what is current, too: after a change in lib")
    parser.add_argument("--check", action="store_true", help="build nothing, say what is stale")
    parser.add_argument("--workers", type=whole(), default=1, metavar="N", help="lessons at a time (1: true timings)")
    args = parser.parse_args(argv)
    sources = sorted((root / "lessons" / "source").glob("*.py"))
    numbers = [source.stem[:2] for source in sources]
    if unknown := [number for number in args.lessons if number not in numbers]:
        print(f"no lesson {', '.join(unknown)}: there are {', '.join(numbers) or 'none'}", file=sys.stderr)
        return 1
    chosen = [source for source in sources if not args.lessons or source.stem[:2] in args.lessons]
    well = True
    with ThreadPoolExecutor(max(1, args.workers)) as pool:
        for line, good in pool.map(lambda source: _report(source, args), chosen):
            print(line, flush=True)
            well &= good
    return 0 if well else 1
