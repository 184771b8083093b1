"""Which build of PyTorch is chosen: what the machine has, what pip's settings say, and an index that answers or not."""

import contextlib
import http.server
import os
import platform
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from lib import torch_build
from lib.environment import Environment
from lib.torch_build import CPU_INDEX, NEWEST, ROOM_CUDA, answers_in_time, choose, has_driver, no_build

ROOT = Path(__file__).resolve().parents[1]


def pick(settings="", system="Linux", driver=False, answers=True):
    asked = []
    build = choose(settings, system, lambda: driver, lambda url: asked.append(url) or answers)
    return build, asked


def test_linux_without_a_driver_takes_the_cpu_build_where_its_index_answers():
    build, asked = pick()
    assert build.index == CPU_INDEX and "no NVIDIA driver" in build.why and asked == [f"{CPU_INDEX}/torch/"]
    build, _ = pick(answers=False)
    assert build.index is None and "did not answer within 3 s" in build.why and "pip finds" in build.why


def test_with_a_driver_the_build_has_cuda_and_no_index_is_asked():
    build, asked = pick(driver=True)
    assert build.index is None and "with CUDA" in build.why and build.room == ROOM_CUDA and asked == []


@pytest.mark.parametrize("system", ["Windows", "Darwin"])
def test_elsewhere_pips_own_build_is_the_right_one(system):
    build, asked = pick(system=system)
    assert build.index is None and system in build.why and asked == []


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("global.index-url='https://mirror.example.org/simple'", "index-url"),
        (":env:.extra-index-url='https://example.org'\nglobal.timeout='9'", "extra-index-url"),
        ("install.find-links='/wheels'\n:env:.no-index='1'", "find-links, no-index"),
    ],
)
def test_a_source_of_packages_that_the_reader_set_is_kept_to(settings, named):
    build, asked = pick(settings)
    assert build.index is None and f"({named})" in build.why and asked == []


def test_other_settings_of_pip_change_nothing():
    assert pick("global.cert='/a/index-url=b.pem'\nglobal.timeout='9'\n:env:.cache-dir='x'")[0].index == CPU_INDEX


def test_pip_prints_its_settings_in_the_form_that_is_read(tmp_path):
    """The real pip, with a setting from a file and one from the environment."""
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://mirror.example.org/simple\n", encoding="utf-8")
    env = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_FIND_LINKS": str(tmp_path), "HOME": str(tmp_path)}
    env |= {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP", "TMP") if name in os.environ}  # Windows' own
    said = subprocess.check_output([sys.executable, "-m", "pip", "config", "list"], env=env, text=True)
    assert {"index-url", "find-links"} <= set(torch_build.OWN_INDEX.findall(said))


@pytest.mark.parametrize("sign", ["proc", "which", "library"])
def test_each_sign_of_a_driver_counts(tmp_path, sign):
    signs = {"proc": tmp_path / "none", "which": lambda name: None, "library": lambda name: None}
    assert not has_driver(**signs)
    there = {"proc": tmp_path, "which": lambda name: f"/usr/bin/{name}", "library": lambda name: f"lib{name}.so.1"}
    assert has_driver(**{**signs, sign: there[sign]})


@contextlib.contextmanager
def index(folder, wait=0.0):
    """Serve a folder on this machine, each answer after `wait` seconds; give its address and the paths asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def send_head(self):
            asked.append(self.path)
            time.sleep(wait)
            return super().send_head()

        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def test_an_index_answers_in_time_or_it_does_not(tmp_path):
    (tmp_path / "torch").mkdir()
    with index(tmp_path) as (url, _):
        assert answers_in_time(f"{url}/torch/")
        assert not answers_in_time(f"{url}/nothing/"), "404"
    assert not answers_in_time(f"{url}/torch/"), "nobody listens there any more"
    with index(tmp_path, wait=3) as (url, _):
        begun = time.monotonic()
        assert not answers_in_time(f"{url}/torch/", seconds=0.3)
        assert time.monotonic() - begun < 2


def test_a_server_that_accepts_and_says_nothing_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as server:
        begun = time.monotonic()
        assert not answers_in_time(f"http://127.0.0.1:{server.getsockname()[1]}/torch/", seconds=0.3)
        assert time.monotonic() - begun < 2


def wheel(folder, name, version, *needs):
    """Write a wheel with one empty module into a folder of an index."""
    info, home = f"{name}-{version}.dist-info", folder / name
    home.mkdir(parents=True, exist_ok=True)
    about = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {n}" for n in needs)]
    with zipfile.ZipFile(home / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{info}/METADATA", "\n".join(about) + "\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


def course(root):
    """Make a course's folder that asks for torch, which needs a package of its own, and nothing else."""
    (root / "data").mkdir(parents=True)
    (root / "requirements.txt").write_text("# the lessons\ntorch==2.0\n", encoding="utf-8")
    (root / "data/packages.txt").write_text("words==1.0\n", encoding="utf-8")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("has_torch", [True, False])
def test_pip_itself_takes_torch_alone_from_its_index_and_the_rest_as_ever(tmp_path, monkeypatch, has_torch):
    """Two servers: "PyTorch's" also has a newer `helper`, which must never be asked for; "pip's" has a large torch."""
    theirs, usual = tmp_path / "theirs", tmp_path / "usual"
    wheel(theirs, "helper", "9.0")
    if has_torch:
        wheel(theirs, "torch", "2.0+cpu", "helper")
    (theirs / "torch").mkdir(exist_ok=True)
    wheel(usual, "torch", "2.0", "helper", "cuda")
    for name in ("helper", "cuda", "words"):
        wheel(usual, name, "1.0")
    with index(theirs) as (cpu, asked), index(usual) as (own, _):
        monkeypatch.setenv("PIP_INDEX_URL", own)
        for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "none"))
        said = []
        choice = lambda settings: choose("", "Linux", lambda: False, index=cpu)  # noqa: E731
        place = Environment(course(tmp_path / "course"), say=said.append, choose=choice, no_build=lambda: None)
        place.prepare()
    found = {path.name.removesuffix(".dist-info") for path in place.site_packages.glob("*.dist-info")}
    if has_torch:
        assert {"torch-2.0+cpu", "helper-1.0"} <= found and not any(name.startswith("cuda") for name in found)
    else:
        assert {"torch-2.0", "helper-1.0", "cuda-1.0"} <= found
        assert any("comes instead" in line for line in said)
    assert not any("helper" in path for path in asked)


@pytest.mark.parametrize(
    ("machine", "sentence"),
    [
        (((3, 12), "Darwin", "x86_64", 64), "no build for Intel Macs since version 2.2"),
        (((3, 12), "Windows", "ARM64", 64), "Windows on ARM: install Python for x64"),
        (((3, 12), "Windows", "x86", 32), "32 bits"),
        (((3, 15), "Windows", "AMD64", 64), r"no build for Python 3\.15 yet.*3\.14: .*call `py -3\.13 -m lib lab`"),
        (((3, 15), "Linux", "x86_64", 64), r"call `python3\.13 -m lib lab`"),
        (((3, 15, 1), "Darwin", "arm64", 64), r"no build for Python 3\.15 yet"),
    ],
)
def test_a_machine_without_a_build_is_told_in_a_sentence(machine, sentence):
    with pytest.raises(AssertionError, match=sentence) as told:
        assert no_build(*machine) is None, no_build(*machine)
    assert "\n" not in no_build(*machine) and told


def test_machines_with_a_build_are_told_nothing():
    for minor in range(11, NEWEST[1] + 1):
        for system, machine in (("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64"), ("Windows", "AMD64")):
            assert no_build((3, minor), system, machine, 64) is None
    assert no_build() is None or platform.machine() == "x86_64", "this very machine runs the tests"
