"""`python3 -m lib`: its commands, and .venv made, found whole, and made again after whatever went wrong."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lib import __main__ as commands
from lib.environment import IMPORTED, LESSONS, Environment, Trouble, hand_over, watch
from lib.lock import alone
from lib.pip_trouble import ROOM
from lib.torch_build import Build

ROOT = Path(__file__).resolve().parent.parent
NO_NETWORK = (
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)': /simple/torch/\n"
    "ERROR: No matching distribution found for torch==2.13.0\n"
)


REQUIREMENTS = f"""# the pins

{LESSONS[0]}
torch==2.0  # why

{LESSONS[1]}
jupyterlab==1.0

# building
nbgrader==0.9
myst-nb==1.4
"""


class Machine:
    """A machine that installs nothing: it makes the files that venv and pip would, and fails where it is told to."""

    def __init__(self, root):
        (root / "data").mkdir(exist_ok=True)
        (root / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")
        (root / "data/packages.txt").write_text("rwkv==0.8\n", encoding="utf-8")
        self.calls, self.failures, self.said, self.commands = [], {}, [], []
        self.warmed = []
        self.build, self.sentence, self.settings, self.asked = Build(None, "PyTorch: pip's."), None, "", []
        parts = {"choose": self.choose, "no_build": lambda: self.sentence}
        self.place = Environment(root, self.run, self.said.append, lambda folder: self.free, **parts)
        self.free = 2 * ROOM

    def choose(self, settings):
        self.asked.append(settings)
        return self.build

    def run(self, command, quiet):
        words = [str(word) for word in command]
        if "config" in words:
            return 0, self.settings
        if IMPORTED in words or "compileall" in words:
            self.warmed.append(words)
            return 1, "no such module"  # it only makes things faster
        kind = self.kind(words)
        self.calls.append(kind)
        self.commands.append(words)
        failure = self.failures.pop(kind, (0, ""))
        if isinstance(failure, BaseException):
            raise failure
        if kind == "venv" and failure[0] == 0:
            for path in (self.place.python, self.place.site_packages / "pip.py"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("", encoding="utf-8")
        elif kind in ("torch", "lessons") and failure[0] == 0:
            (self.place.site_packages / "torch-2.0+cpu.dist-info").mkdir(exist_ok=True)
        return failure

    def kind(self, words):
        if "venv" in words:
            return "venv"
        if "pip" not in words:
            return "starts?"
        if "rwkv==0.8" in words:
            return "data"
        return "torch" if "--index-url" in words else "tools" if "nbgrader==0.9" in words else "lessons"

    def prepare(self, level="lessons"):
        self.calls.clear()
        self.place.prepare(level)
        return self.calls


WHOLE = ["venv", "lessons", "data"]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_the_first_call_installs_and_the_second_does_nothing(machine, tmp_path):
    assert machine.prepare() == WHOLE
    assert [line[:3] for line in machine.said[:4]] == ["1/3", "PyT", "2/3", "3/3"] and "stands" in machine.said[4]
    assert machine.commands[1][-2:] == ["torch==2.0", "jupyterlab==1.0"], "what only tools need stays away"
    assert machine.prepare() == [] and len(machine.said) == 5
    pth = (machine.place.site_packages / "course.pth").read_text().strip()
    assert (machine.place.site_packages / pth).resolve() == tmp_path.resolve()


def test_tools_come_later_and_only_what_is_missing(machine):
    machine.prepare()
    assert machine.place.is_ready() and not machine.place.is_ready("tools")
    assert machine.prepare("tools") == ["starts?", "tools"], "the lessons' part stands"
    assert machine.commands[-1][-4:] == ["torch==2.0", "jupyterlab==1.0", "nbgrader==0.9", "myst-nb==1.4"]
    assert machine.prepare("tools") == machine.prepare("lessons") == []


def test_a_first_call_can_be_for_the_tools(machine):
    assert machine.prepare("tools") == [*WHOLE, "tools"]
    assert machine.prepare("lessons") == []


@pytest.mark.parametrize(("end", "left"), [((1, NO_NETWORK), True), (KeyboardInterrupt(), False)])
def test_tools_that_did_not_come_leave_the_lessons_ready_or_are_noticed(machine, end, left):
    machine.prepare()
    machine.failures["tools"] = end
    with pytest.raises((Trouble, KeyboardInterrupt)):
        machine.prepare("tools")
    assert machine.place.is_ready() is left, "without a network nothing was begun; a cut call may have left anything"
    assert machine.prepare() == ([] if left else WHOLE)
    assert machine.place.is_ready() and not machine.place.is_ready("tools")


def test_commands_name_their_level_by_the_modules_they_need():
    place = Environment(ROOT)
    tools = {name for name, command in commands.COMMANDS.items() if place.level(command.needs) == "tools"}
    assert {"build", "release", "book", "exercises", "claims", "publish", "colab-check", "versions"} <= tools
    assert not {"lab", "progress", "train", "sample", "export", "compare"} & tools


def test_learners_get_what_lessons_need_and_no_tools():
    lessons, tools = (Environment(ROOT).pins(level) for level in ("lessons", "tools"))
    names = [{line.split("==")[0] for line in pins} for pins in (lessons, tools)]
    assert {"torch", "transformers", "jupyterlab", "matplotlib", "ipywidgets", "einops"} <= names[0] < names[1]
    assert not {"nbgrader", "sphinx", "myst-nb", "playwright", "pytest", "nbval", "hypothesis", "ruff"} & names[0]
    assert {"nbval", "nbgrader", "import-linter"} <= names[1]
    assert all("==" in line for line in tools)


def test_lab_hides_the_menus_of_instructors(machine, monkeypatch):
    """JupyterLab itself reads the settings that `lab` points it to: what nbgrader brings is switched off."""
    from jupyterlab_server.config import get_page_config

    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/mine")
    run = Recorder()
    commands.lab(machine.place, [], run)
    path = run.extra[0]["JUPYTER_CONFIG_PATH"]
    assert path.split(os.pathsep) == [str(machine.place.folder / "etc/course"), "/mine"]
    switched_off = "@jupyter/nbgrader"
    assert switched_off not in get_page_config([]).get("disabledExtensions", {})
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", path)
    assert switched_off in get_page_config([])["disabledExtensions"]


def test_torch_alone_comes_from_its_own_index(machine):
    machine.build, machine.settings = Build("https://example.org/cpu", "PyTorch: the CPU build."), "global.cert='x'"
    assert machine.prepare() == ["venv", "torch", "lessons", "data"] and machine.asked == ["global.cert='x'"]
    words = machine.commands[1]
    assert words[words.index("--index-url") + 1] == "https://example.org/cpu"
    assert "--no-deps" in words and [word for word in words if "==" in word] == ["torch==2.0"]
    assert not any("example.org" in word for word in machine.commands[2]) and "PyTorch: the CPU build." in machine.said
    (machine.place.root / "requirements.txt").write_text(REQUIREMENTS + "new==1\n")
    assert machine.prepare("tools") == ["starts?", "tools"], "a torch that is there stays"


def test_byte_code_is_written_for_what_is_used_and_for_all_where_python_writes_none(machine, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    machine.prepare()
    machine.prepare("tools")
    assert [words[1:] for words in machine.warmed] == [["-c", IMPORTED]]
    assert all("--no-compile" in words for words in machine.commands if "install" in words)
    machine.place.stamp("tools").unlink()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    machine.prepare("tools")
    assert machine.warmed[1][1:] == ["-m", "compileall", "-q", str(machine.place.site_packages)]


def test_where_torchs_index_fails_pip_finds_one(machine):
    machine.build = Build("https://example.org/cpu", "PyTorch: the CPU build.")
    machine.failures["torch"] = (1, NO_NETWORK)
    assert machine.prepare() == ["venv", "torch", "lessons", "data"]
    assert "did not give it: the build that pip finds comes instead" in " ".join(machine.said)
    assert machine.place.is_ready()


def test_a_full_disk_is_not_taken_for_a_bad_index(machine):
    machine.build = Build("https://example.org/cpu", "PyTorch: the CPU build.")
    machine.failures["torch"] = (1, "ERROR: [Errno 28] No space left on device\n")
    with pytest.raises(Trouble, match="The disk is full"):
        machine.prepare()
    assert machine.prepare() == ["venv", "torch", "lessons", "data"]


def test_the_build_with_cuda_wants_its_room(machine):
    machine.build = Build(None, "PyTorch: the build with CUDA.", 5 * ROOM)
    with pytest.raises(Trouble, match=r"4\.0 GB left of 10\.0 needed"):
        machine.prepare()
    assert machine.calls == ["venv"]


def test_a_machine_that_pytorch_has_no_build_for_is_told_first(machine):
    machine.sentence = "PyTorch has no build for this."
    with pytest.raises(Trouble, match="no build for this"):
        machine.prepare()
    assert machine.calls == [] and not machine.place.folder.exists()


@pytest.mark.parametrize(("name", "text"), [("requirements.txt", REQUIREMENTS), ("data/packages.txt", "rwkv==0.8\n")])
def test_changed_requirements_are_installed_into_what_is_there(machine, tmp_path, name, text):
    machine.prepare()
    (tmp_path / name).write_text(text.replace("jupyterlab==1.0", "jupyterlab==2.0") + "new==1.0\n", encoding="utf-8")
    assert machine.prepare() == ["starts?", *WHOLE[1:]]
    assert machine.prepare() == []


def test_a_changed_tool_or_a_comment_is_nothing_to_a_learner(machine, tmp_path):
    machine.prepare("tools")
    changed = REQUIREMENTS.replace("# why", "# because").replace("nbgrader==0.9", "nbgrader==1.0")
    (tmp_path / "requirements.txt").write_text(changed, encoding="utf-8")
    assert machine.place.is_ready() and not machine.place.is_ready("tools")


def test_line_ends_of_another_platform_change_nothing(machine, tmp_path):
    machine.prepare()
    text = (tmp_path / "requirements.txt").read_bytes()
    (tmp_path / "requirements.txt").write_bytes(text.replace(b"\n", b"\r\n"))
    assert machine.prepare() == []


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(9)])
def test_an_interrupted_call_is_noticed_and_made_anew(machine, kind, end):
    machine.failures[kind] = end
    with pytest.raises(type(end)):
        machine.prepare()
    assert not machine.place.is_ready()
    assert machine.prepare() == WHOLE
    assert machine.prepare() == []


def test_a_venv_whose_python_is_gone_is_made_anew(machine):
    machine.prepare()
    machine.place.python.unlink()
    assert machine.prepare() == WHOLE and "anew" in " ".join(machine.said)


def test_an_empty_folder_called_venv_is_made_anew(machine):
    machine.place.folder.mkdir()
    assert machine.prepare() == WHOLE


def test_a_venv_of_another_python_is_made_anew(machine):
    machine.prepare()
    machine.place.stamp("lessons").write_text("the stamp of another Python", encoding="utf-8")
    machine.failures["starts?"] = (1, "")
    assert machine.prepare() == ["starts?", *WHOLE]


@pytest.mark.parametrize(
    ("kind", "code_and_words", "sentence"),
    [
        ("lessons", (1, NO_NETWORK), "install requirements.txt, since the package index was not reached"),
        ("data", (1, "ERROR: [Errno 28] No space left on device\n"), "The disk is full: make 2.0 GB"),
        ("lessons", (1, "OSError: [Errno 2] ... HINT: Windows Long Path support\n"), "paths of 260 letters"),
        ("lessons", (1, "ERROR: [Errno 13] Permission denied: 'x'\n"), "copy it to a folder of yours"),
        ("lessons", (1, "ERROR: No matching distribution found for torch\n"), "no build for Python 3"),
        ("lessons", (2, "something\nnew\n"), r"\(new\): call again; if it stays, delete .venv"),
        ("lessons", (-9, ""), "it said nothing"),
        ("venv", (1, "... because ensurepip is not\navailable ...\n"), "install python3-venv, then call again"),
        ("venv", (1, "No module named venv\n"), "install python3-venv"),
    ],
)
def test_trouble_is_one_sentence_and_the_next_call_recovers(machine, kind, code_and_words, sentence):
    machine.failures[kind] = code_and_words
    with pytest.raises(Trouble, match=sentence) as trouble:
        machine.prepare()
    assert "\n" not in str(trouble.value) and len(str(trouble.value)) < 200
    machine.prepare()
    assert machine.place.is_ready() and machine.prepare() == []


def test_what_was_installed_before_the_network_went_is_kept(machine):
    machine.failures["data"] = (1, NO_NETWORK)
    with pytest.raises(Trouble):
        machine.prepare()
    assert machine.prepare() == ["starts?", *WHOLE[1:]]


def test_too_little_room_is_said_before_anything_is_made(machine):
    machine.free = 400_000_000
    with pytest.raises(Trouble, match=r"0\.4 GB left of 2\.0 needed: make room, then call again"):
        machine.prepare()
    assert machine.calls == [] and not machine.place.folder.exists()
    machine.free = 2 * ROOM
    assert machine.prepare() == WHOLE


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere; Windows has no chmod")
def test_a_folder_that_may_not_be_written_is_said(machine, tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(Trouble, match="may not be changed"):
            machine.prepare()
    finally:
        tmp_path.chmod(0o700)


def test_a_lock_file_that_can_not_be_opened_is_said(machine):
    machine.place.lock = machine.place.root  # a folder
    with pytest.raises(Trouble, match="Could not write here"):
        machine.prepare()


def test_two_calls_at_once_install_once(tmp_path):
    first, second = Machine(tmp_path), Machine(tmp_path)
    installing, go_on = threading.Event(), threading.Event()

    def slow(command, quiet, run=first.run):
        installing.set()
        assert go_on.wait(20)
        return run(command, quiet)

    first.place.run = slow
    threads = [threading.Thread(target=first.prepare), threading.Thread(target=second.prepare)]
    threads[0].start()
    assert installing.wait(20)
    threads[1].start()
    until(lambda: second.said)
    assert "waiting" in second.said[0] and second.calls == []
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert first.calls == WHOLE and second.calls == [] and second.place.is_ready()


def until(true, seconds=20):
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    lock = tmp_path / "lock"
    code = f"from lib.environment import alone\nwith alone({str(lock)!r}, print) as lock:\n    lock.write('making')\n"
    child = [sys.executable, "-c", code + "    print(1, flush=True)\n    input()"]
    with subprocess.Popen(child, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline().strip() == b"1"
        process.kill()
    said = []
    with alone(lock, said.append) as held:
        assert held.read() == "making"
    assert said == []


def test_watch_shows_errors_and_returns_them(capfd):
    child = [sys.executable, "-c", "import sys; print('out'); sys.stderr.write('bad\\n'); sys.exit(3)"]
    assert watch(child) == (3, "bad\n")
    assert capfd.readouterr() == ("out\n", "bad\n")
    code, said = watch(child, quiet=True)
    assert code == 3 and sorted(said.split()) == ["bad", "out"] and capfd.readouterr() == ("", "")


def test_hand_over_passes_the_exit_code_and_variables(tmp_path):
    code = "import os, sys; sys.exit(7 if os.environ['X'] == '1' and os.getcwd() == sys.argv[1] else 1)"
    assert hand_over([sys.executable, "-c", code, tmp_path.resolve()], tmp_path.resolve(), {"X": "1"}) == 7


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 5), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_a_signal_ends_the_command_and_then_us(tmp_path, number, code):
    """Ctrl-C goes to the whole group, and the command may answer it; a kill goes to us, and we pass it on."""
    child = "import sys, time\nprint(1, flush=True)\ntry: time.sleep(60)\nexcept KeyboardInterrupt: sys.exit(5)"
    parent = "import sys\nfrom lib.environment import hand_over\n"
    parent += f"sys.exit(hand_over([sys.executable, '-c', {child!r}], '.'))"
    with subprocess.Popen(
        [sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        process.stdout.readline()
        time.sleep(0.3)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        assert process.wait(20) == code


def test_help_lists_the_commands(capsys):
    assert commands.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in commands.COMMANDS)


@pytest.mark.parametrize("module", sorted({command.module for command in commands.COMMANDS.values() if command.module}))
def test_every_command_that_is_listed_exists(module):
    path = ROOT / (module.replace(".", "/") + ".py")
    assert path.is_file() and "\ndef main(" in path.read_text(encoding="utf-8"), f"{path} has no main"


def test_an_unknown_command_lists_those_that_exist(capsys):
    assert commands.main(["tset"]) == 2
    assert "no command 'tset': there are lab, test, build" in capsys.readouterr().err


def test_a_python_that_is_too_old_says_so(capsys):
    assert commands.main(["lab"], version=(3, 10, 4)) == 1
    assert "Python 3.10 is too old, the course needs 3.11 or later" in capsys.readouterr().err
    assert commands.too_old((3, 11, 0)) is None and commands.too_old((4, 0)) is None


def test_the_newer_python_that_is_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commands.too_old((3, 9)).endswith("install a newer one from python.org")
    newer = tmp_path / ("python3.12.exe" if os.name == "nt" else "python3.12")
    newer.write_text("", encoding="utf-8")
    newer.chmod(0o755)
    assert commands.too_old((3, 9)).endswith("call it with python3.12: python3.12 -m lib ...")


def test_the_entry_can_be_read_by_an_old_python():
    import ast

    ast.parse((ROOT / "lib/__main__.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_trouble_and_interrupt_become_sentences(monkeypatch, capsys):
    def stop(error):
        def dispatch(name, arguments):
            raise error

        monkeypatch.setattr(commands, "dispatch", dispatch)

    stop(Trouble("the disk is full: make room."))
    assert commands.main(["lab"]) == 1 and "python3 -m lib: the disk is full" in capsys.readouterr().err
    stop(KeyboardInterrupt())
    assert commands.main(["test"]) == 130 and "takes it up again" in capsys.readouterr().err
    stop(PermissionError(13, "Permission denied", "/nowhere"))
    assert commands.main(["release"]) == 1
    assert "python3 -m lib: release: [Errno 13] Permission denied: '/nowhere'" in capsys.readouterr().err


def test_a_command_that_this_copy_lacks_is_said(tmp_path):
    """The copy for learners has no tests, and so no benchmarks."""
    shutil.copytree(ROOT / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "lib", "bench", "train"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1 and result.stdout == ""
    said = "python3 -m lib: `bench` is not in this copy of the course, which has no tests: take the whole course\n"
    assert result.stderr == said


SPEAK = """
import sys
from lib import __main__ as commands
commands.dispatch = lambda name, arguments: print({text}) or 0
sys.exit(commands.main(["progress"]))
"""


@pytest.mark.parametrize(
    ("encoding", "text", "written"),
    [
        ("cp1252", "Größe 한 →", "Größe \\ud55c \\u2192"),
        ("cp949", "Größe 한 →", "Gr\\xf6ße 한 →"),
        ("utf-8", "Größe 한 →", "Größe 한 →"),
        ("utf-8", "x\udcff", "x\\udcff"),
    ],
)
def test_letters_that_a_code_page_lacks_are_spelled_out(encoding, text, written):
    code = SPEAK.format(text=ascii(text))
    environment = {**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode(encoding).strip() == written
    assert (b"lacks some of these letters" in result.stderr) == (written != text)


def test_a_reader_that_goes_away_ends_a_command_in_silence():
    code = SPEAK.format(text="'many words ' * 100_000")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait(60) == 1 and said == b""


def test_a_command_without_an_output_is_carried_out(monkeypatch):
    """Python has None where the output is closed, as `>&-` closes it, or where pythonw starts it."""
    done = []
    monkeypatch.setattr(commands, "dispatch", lambda name, arguments: print("words") or done.append(name) or 0)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert commands.main(["progress"]) == 0 and done == ["progress"]
    assert commands.main(["tset"]) == 2


@pytest.mark.parametrize("port", ["-1", "0", "65536", "x"])
def test_lab_refuses_what_is_no_port(machine, capsys, port):
    with pytest.raises(SystemExit):
        commands.lab(machine.place, [f"--port={port}"], Recorder())
    assert f"argument --port: {port}: give a whole number from 1 to 65535" in capsys.readouterr().err


class Recorder:
    """Takes commands instead of running them."""

    def __init__(self, *codes):
        self.codes, self.commands, self.extra = list(codes), [], []

    def __call__(self, command, root, extra=None):
        self.commands.append([str(word) for word in command])
        self.extra.append(extra or {})
        return self.codes.pop(0) if self.codes else 0


def test_lab_opens_the_first_lesson_on_this_machine_alone(machine, tmp_path):
    lesson = tmp_path / commands.FIRST_LESSON
    lesson.parent.mkdir()
    lesson.write_text("{}", encoding="utf-8")
    run = Recorder(5)
    assert commands.lab(machine.place, ["--no-browser", "--port", "9012", "--debug"], run) == 5
    (command,) = run.commands
    assert machine.place.is_ready() and command[:3] == [str(machine.place.python), "-m", "jupyterlab"]
    wanted = {"--ServerApp.ip=127.0.0.1", "--ServerApp.port=9012", f"--ServerApp.root_dir={tmp_path}", "--no-browser"}
    assert wanted | {str(lesson), "--debug"} <= set(command)
    assert not any("token" in word for word in command)
    commands.lab(machine.place, [], run)
    assert "--no-browser" not in run.commands[1]


def test_test_lints_then_runs_tests_and_notebooks_in_one_call(machine, tmp_path):
    run = Recorder()
    assert commands.test(machine.place, ["-x"], run) == 0
    lint, imports, pytest_call = run.commands
    assert lint[1:] == ["-m", "ruff", "check", "."] and imports[1:] == ["-c", commands.LINT_IMPORTS]
    assert {"pytest", "--nbval-lax", "tests", "lessons", "-x"} <= set(pytest_call)
    assert run.extra[-1]["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize(("codes", "code"), [((1,), 1), ((0, 1), 1), ((0, 0, 1), 1), ((1, 0, 2), 2), ((), 0)])
def test_test_fails_where_lint_or_tests_fail(machine, codes, code):
    assert commands.test(machine.place, [], Recorder(*codes)) == code


def test_test_takes_paths_and_pytests_options(machine, tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_a.py").write_text("", encoding="utf-8")
    run = Recorder()
    commands.test(machine.place, ["tests/test_a.py::test_b", "-n0"], run)
    assert run.commands[-1][-2:] == ["tests/test_a.py::test_b", "-n0"] and "lessons" not in run.commands[-1]
    assert "-n" not in run.commands[-1]


def test_quick_leaves_out_what_is_slow_and_takes_the_notebooks_that_changed(machine, tmp_path):
    for name in ("00_start_here", "01_a", "02_b", "03_c"):
        (tmp_path / "lessons").mkdir(exist_ok=True)
        (tmp_path / f"lessons/{name}.ipynb").write_text("{}", encoding="utf-8")
    run = Recorder()
    commands.test(machine.place, ["--quick"], run)
    assert run.commands[-1][-4:] == ["-m", "not slow and not nightly", "tests", "lessons/00_start_here.ipynb"]
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for words in (["init", "-q"], ["add", "lessons"], ["commit", "-q", "-m", "lessons"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    (tmp_path / "lessons/02_b.ipynb").write_text("{ }", encoding="utf-8")
    (tmp_path / "lessons/03_c.ipynb").unlink()
    (tmp_path / "lessons/04_d.ipynb").write_text("{}", encoding="utf-8")
    wanted = ["lessons/00_start_here.ipynb", "lessons/02_b.ipynb", "lessons/04_d.ipynb"]
    assert commands.quick_notebooks(tmp_path) == wanted


def test_other_commands_run_here_where_they_can(machine, monkeypatch):
    place = machine.place
    assert place.serves(("json", "pathlib")) and not place.serves(("json", "a_module_that_nobody_has"))
    machine.prepare()
    assert not place.serves(("json",)), "there is a .venv, and this is not it"
    monkeypatch.setattr(sys, "prefix", str(place.folder))
    assert place.serves(("json",)) and not place.serves(("json", "nbgrader")), "tools are not there yet"
    place.stamp("lessons").unlink()
    assert not place.serves(("json",)), "it is half-made"


def test_the_real_command_runs_without_anything_installed(tmp_path):
    """-S and -E: no site-packages at all."""
    bare = [sys.executable, "-E", "-S", "-m", "lib"]
    for words, code in ((["--help"], 0), (["foo"], 2), (["lab", "--help"], 0), (["test", "--help"], 0)):
        result = subprocess.run([*bare, *words], cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == code, result.stderr
        assert "usage" in result.stdout or "there are lab" in result.stderr
