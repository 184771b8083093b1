"""What the course's code does not do: unpickle, trust code from elsewhere, fetch unchecked, open doors.

Each rule reads the syntax tree, so words in comments and texts don't count; and each is seen to find what it is for.
Strings that are run, shells, pickle by name and downloads are found by ruff: `test_lint` sees that it does.
"""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from architecture import files

from lessons.tools.site import npm_package
from lib import __main__ as commands
from lib.environment import Environment
from lib.text import corpora
from lib.weights import hub

ROOT = Path(__file__).resolve().parents[1]
# Files that may do what a rule forbids, each with its reason.
EXCEPT = {
    "trusts": {
        "lessons/source/21_real_weights.py": "shows what a stranger's file does, with one that it has just written",
        "tests/weights/test_files.py": "sees that the trap that it sets would work",
    },
    "plain_http": {"tests/test_workflows.py": "holds an address that the container's server has to refuse"},
    "opens_doors": {"tests/test_workflows.py": "sees that the container's server lets its own page in, and no other"},
}
# Weights whose publisher names no SHA-256 that we know: a commit alone pins them. To be filled in; nothing joins them.
UNCHECKED = {"litellama-460m", "openelm-270m"}


@cache
def python():
    """Return {path: syntax tree} of all Python that is tracked: lib, tests, and the lessons' sources without magic."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"]
    try:
        names = subprocess.run(git, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        found = [*(ROOT / "lib").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "lessons").rglob("*.py")]
        names = [path.relative_to(ROOT).as_posix() for path in found]
    paths = {name: ROOT / name for name in names if name and (ROOT / name).is_file()}
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in paths.items()}


def calls(tree):
    """Yield (line, dotted name, call) of every call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func), node


def keyword(call, name):
    """Return a keyword's value in source text, None without it."""
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), None)


def trusts(tree):
    """A stranger taken at their word: torch.load, np.load and the hub run code where one lets them; unchecked TLS."""
    bad = []
    for line, name, call in calls(tree):
        runs = [keyword(call, word) not in (None, "False") for word in ("allow_pickle", "trust_remote_code")]
        opens = name == "torch.load" and keyword(call, "weights_only") != "True"
        if any(runs) or opens or keyword(call, "verify") == "False":
            bad.append(line)
    return bad


def texts(tree):
    """Yield (line, text) of every string that is no docstring; the values in an f-string are written {}."""
    known = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            known.add(id(body[0].value))
        if isinstance(node, ast.JoinedStr):
            known |= {id(part) for part in node.values}
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in known:
            yield node.lineno, node.value


def plain_http(tree):
    """An address that is fetched, or shown, without TLS: on this machine and in XML's names of namespaces it may be."""
    allowed = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\]|www\.w3\.org/)")
    found = ((line, text) for line, text in texts(tree) if "http://" in text)
    return [line for line, text in found if re.search("http://", allowed.sub("", text))]


def opens_doors(tree):
    """A server for everybody, or one that asks nobody who they are."""
    door = re.compile(
        r"0\.0\.0\.0|(?:token|password)=(?:''|\"\"|$)|disable_check_xsrf|allow_origin|allow_remote_access"
    )
    return [line for line, text in texts(tree) if door.search(text)]


RULES = [trusts, plain_http, opens_doors]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_file_does_this(rule):
    allowed, bad, needed = EXCEPT.get(rule.__name__, {}), [], set()
    for path, tree in python().items():
        if path == "tests/test_security.py":
            continue
        lines = rule(tree)
        needed |= {path} if lines else set()
        bad += [f"{path}:{line}" for line in lines if path not in allowed]
    assert not bad, f"{rule.__doc__} {bad}"
    assert needed >= set(allowed), "an exception that nothing needs any more"


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (trusts, "torch.load(path)"),
        (trusts, "torch.load(path, weights_only=False)"),
        (trusts, "np.load(path, allow_pickle=True)"),
        (trusts, "get(url, verify=False)"),
        (trusts, "AutoModel.from_pretrained(name, trust_remote_code=True)"),
        (plain_http, "URL = 'http://example.org/a.zip'"),
        (plain_http, "URL = f'http://{host}/a.zip'"),
        (opens_doors, "run(['jupyter', '--ServerApp.ip=0.0.0.0'])"),
        (opens_doors, "run(['jupyter', '--ServerApp.token='])"),
        (opens_doors, "line = \"--IdentityProvider.token=''\""),
    ],
)
def test_each_rule_sees_what_it_is_for(rule, source):
    assert rule(ast.parse(source))


def test_rules_let_through_what_is_sound():
    source = '''
def load(path):
    """Not http://, not eval(x), not 0.0.0.0."""
    model.eval()
    run(["git"], shell=False), f"http://127.0.0.1:{port}", f"--token={token}", pickle.dumps(1)
    return torch.load(path, weights_only=True)
'''
    assert [rule.__name__ for rule in RULES if rule(ast.parse(source))] == []


def test_every_download_has_a_checksum():
    """All addresses that lib fetches itself stand in a Source, with size and SHA-256; the hub's files have theirs."""
    sources = [value for value in vars(corpora).values() if type(value).__name__ == "Source"]
    assert len(sources) >= 2
    for source in sources:
        assert source.url.startswith("https://") and source.size > 0 and re.fullmatch("[0-9a-f]{64}", source.sha256)
    made = [path for path, text in files().items() if "Source(" in text and path != "lib.text.download"]
    assert set(made) <= {"lib.text.corpora", "lessons.tools.site.npm_package"}, "look at the new Sources here, too"
    package = npm_package.ONNXRUNTIME_WEB
    assert package.size > 0 and re.fullmatch("[0-9a-f]{64}", package.sha256) and package.integrity[:7] == "sha512-"
    for name, published in hub.HUB.items():
        assert re.fullmatch("[0-9a-f]{40}", published.commit), name
        if name not in UNCHECKED:
            assert re.fullmatch("[0-9a-f]{64}", published.sha256), name


def test_notebooks_and_scripts_keep_it_too():
    """Cells that people run, CI's script and the requirements: no shell, no plain http, no switched-off check."""
    for path in [*(ROOT / "lessons").rglob("*.ipynb"), *(ROOT / ".ci").iterdir(), ROOT / "requirements.txt"]:
        text = path.read_text(encoding="utf-8")
        found = re.findall(
            r"trusted-host|--no-check-certificate|curl [^|]*\| *(?:ba)?sh|shell=True|http://(?!www\.w3)", text
        )
        assert not found, f"{path.name}: {found}"


def lab_command(tmp_path, *arguments):
    """Return the command that `lab` would start."""
    place, started = Environment(tmp_path), []
    place.prepare = lambda: None
    commands.lab(place, list(arguments), lambda command, root, extra: started.append(command) or 0)
    return [str(word) for word in started[0]]


def test_lab_listens_on_this_machine_alone_and_asks_for_its_token(tmp_path):
    command = lab_command(tmp_path, "--no-browser", "--port", "9012")
    options = dict(word.lstrip("-").partition("=")[::2] for word in command[3:] if word.startswith("--"))
    assert options["ServerApp.ip"] == "127.0.0.1"
    known = {"ServerApp.ip", "ServerApp.root_dir", "ServerApp.port", "LabApp.check_for_updates_class"}
    known |= {"LabApp.news_url", "no-browser", "allow-root"}
    assert set(options) <= known, "a new option of JupyterLab's: does it open anything?"
