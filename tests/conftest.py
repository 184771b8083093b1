"""What all tests share: a browser where there is one, and the same random examples in every run."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("course", deadline=None, derandomize=True)
settings.load_profile("course")

# A shell starts a command in the background with Ctrl-C ignored, and children inherit that: the tests of interrupts,
# and the programs that they start, need it as it is in the foreground.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"


def pytest_addoption(parser):
    """Where the browser tests leave their pictures: without the option they take none."""
    parser.addoption("--screenshots", type=Path, metavar="DIR", help="leave pictures of all figures and widgets there")


def find_chromium():
    """Return the path of a Chromium, or None."""
    names = [os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "chrome", MAC]
    return next((found for found in map(shutil.which, filter(None, names)) if found), None)


def has_cuda():
    """Say whether torch finds a CUDA device."""
    import torch  # here: most test files that need no browser and no GPU are faster without it

    return torch.cuda.is_available()


def pytest_runtest_setup(item):
    """Skip a browser test where there is no browser; in CI that is an error, so that it can't go unseen for long.

    A test that needs CUDA is skipped where there is none.
    """
    if item.get_closest_marker("cuda") and not has_cuda():
        pytest.skip("no CUDA device here")
    if item.get_closest_marker("browser") and find_chromium() is None:
        reason = "no Chromium here: install chromium, or name one in CHROMIUM"
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium():
    """The path of the browser, for tests marked `browser`."""
    return find_chromium()


@pytest.fixture(scope="session")
def root():
    """The course's folder."""
    return Path(__file__).resolve().parent.parent
