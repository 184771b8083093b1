"""What the course's code does not do: run strings, unpickle, use shells, fetch unchecked, open doors.

Each rule reads the syntax tree, so words in comments and texts don't count; and each is seen to find what it is for.
"""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from architecture import files

from lib import __main__ as commands
from lib.environment import Environment
from lib.text import corpora
from lib.weights import hub

ROOT = Path(__file__).resolve().parents[1]
# Files that may do what a rule forbids, each with its reason.
EXCEPT = {
    "runs_strings": {
        "tests/test_lessons.py": "runs the lessons' own definitions",
        "tests/test_shapes.py": "runs the lessons' own cells",
        "tests/test_workflows.py": "runs the container's own line",
        "tests/shape_comments.py": "runs the code whose comments it checks",
        "tests/teach/test_grade.py": "runs the lessons' own definitions",
    },
    "unpickles": {
        "lessons/source/21_real_weights.py": "shows what a stranger's file does, with one that it has just written",
        "tests/weights/test_files.py": "sees that the trap that it sets would work",
    },
    "fetches": {
        "lib/torch_build.py": "asks whether an index answers, before anything is installed, and reads nothing",
        "lib/text/download.py": "the one place that downloads: it checks size and SHA-256",
        "lib/weights/hub.py": "knocks at the Hub (HEAD) before huggingface_hub fetches, and checks SHA-256 afterwards",
        "tests/lab.py": "asks the JupyterLab that it has started, on this machine",
        "tests/weights/test_hub.py": "stands in for the network",
    },
}
# Weights whose publisher names no SHA-256 that we know: a commit alone pins them. To be filled in; nothing joins them.
UNCHECKED = {"litellama-460m", "openelm-270m"}
PICKLES = {"cPickle", "_pickle", "dill", "cloudpickle", "shelve", "joblib", "marshal"}
NETWORK = {"urllib.request", "http.client", "requests", "httpx", "aiohttp", "ftplib", "urllib3", "wget"}


def python():
    """Return {path: source} of all Python that is tracked: lib, tests, and the lessons' sources without their magic."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"]
    try:
        names = subprocess.run(git, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        found = [*(ROOT / "lib").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "lessons").rglob("*.py")]
        names = [path.relative_to(ROOT).as_posix() for path in found]
    return {name: (ROOT / name).read_text(encoding="utf-8") for name in names if name and (ROOT / name).is_file()}


def calls(tree):
    """Yield (line, dotted name, call) of every call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func), node


def keyword(call, name):
    """Return a keyword's value in source text, None without it."""
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), None)


def imported(tree):
    """Yield (line, module) of every import; `from a import b` gives a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def runs_strings(tree):
    """eval and exec of Python's."""
    return [line for line, name, _ in calls(tree) if name in ("eval", "exec", "builtins.eval", "builtins.exec")]


def unpickles(tree):
    """Pickle read in any form: by pickle and its kin, or by a torch.load or np.load that allows it."""
    names = ("pickle.load", "pickle.loads", "pickle.Unpickler")
    bad = [line for line, module in imported(tree) if module.split(".")[0] in PICKLES or module in names]
    for line, name, call in calls(tree):
        if name in names:
            bad.append(line)
        if name == "torch.load" and keyword(call, "weights_only") != "True":
            bad.append(line)
        if keyword(call, "allow_pickle") == "True" or name.endswith("read_pickle"):
            bad.append(line)
    return bad


def uses_shells(tree):
    """A command line that a shell would read."""
    shells = ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput")
    return [line for line, name, call in calls(tree) if name in shells or keyword(call, "shell") not in (None, "False")]


def fetches(tree):
    """A download that goes past lib.text.download."""
    bad = [line for line, module in imported(tree) if module in NETWORK or module.split(".")[0] in NETWORK]
    return bad + [line for line, name, _ in calls(tree) if name.endswith(("urlopen", "urlretrieve"))]


def skips_certificates(tree):
    """TLS without looking at who answers."""
    bad = [line for line, _, call in calls(tree) if keyword(call, "verify") == "False"]
    names = ("_create_unverified_context", "CERT_NONE", "trust_remote_code")
    bad += [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr in names]
    return bad + [line for line, _, call in calls(tree) if keyword(call, "trust_remote_code") not in (None, "False")]


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


RULES = [runs_strings, unpickles, uses_shells, fetches, skips_certificates, plain_http, opens_doors]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_file_does_this(rule):
    allowed, bad, needed = EXCEPT.get(rule.__name__, {}), [], set()
    for path, source in python().items():
        if path == "tests/test_security.py":
            continue
        lines = rule(ast.parse(source))
        needed |= {path} if lines else set()
        bad += [f"{path}:{line}" for line in lines if path not in allowed]
    assert not bad, f"{rule.__doc__} {bad}"
    assert needed >= set(allowed), "an exception that nothing needs any more"


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (runs_strings, "eval(text)"),
        (runs_strings, "exec(compile(tree, 'a', 'exec'))"),
        (unpickles, "pickle.loads(data)"),
        (unpickles, "from pickle import load"),
        (unpickles, "from joblib import load"),
        (unpickles, "torch.load(path)"),
        (unpickles, "torch.load(path, weights_only=False)"),
        (unpickles, "np.load(path, allow_pickle=True)"),
        (uses_shells, "subprocess.run(line, shell=True)"),
        (uses_shells, "os.system(line)"),
        (fetches, "import requests"),
        (fetches, "from urllib.request import urlretrieve"),
        (fetches, "from urllib import request"),
        (fetches, "urllib.request.urlopen(url)"),
        (skips_certificates, "get(url, verify=False)"),
        (skips_certificates, "context.verify_mode = ssl.CERT_NONE"),
        (skips_certificates, "AutoModel.from_pretrained(name, trust_remote_code=True)"),
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
    assert set(made) <= {"lib.text.corpora"}, "look at the new Sources here, too"
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
