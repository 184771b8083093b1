"""Pictures of the reading copy as visitors see it: light and dark, on a wide screen and on a phone."""

import contextlib
import functools
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from lessons.tools.site.lessons import BookError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
WIDTHS = {"wide": 1280, "phone": 390}
HIGHEST = 9000  # pixels of a page that a picture shows: what a person looks at, and Chromium can paint
DRAWN = "() => !window.MathJax || !MathJax.startup || MathJax.startup.promise.then(() => true)"
TOO_WIDE = """() => [...document.querySelectorAll('body *')]
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 5)
    .map(e => e.tagName.toLowerCase() + '.' + e.className)"""


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that says nothing."""

    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def served(folder):
    """Serve a folder on this machine alone, while the block runs; give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    server.handle_error = lambda *_: None  # a browser that leaves a page early hangs up
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def take(site, folder):
    """Leave a picture of every page in `folder`, in all forms; return how many. Raises BookError without a browser.

    Names: page_wide_light.png. A page that is wider than a phone's screen is named in what is printed.
    """
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise BookError("pictures are taken with Chromium, which is not here: install chromium")
    folder.mkdir(parents=True, exist_ok=True)
    names = pages(site)
    with served(site) as address, sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=browser, args=FLAGS)
        for form, width in WIDTHS.items():
            for scheme in ("light", "dark"):
                context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
                for name in names:
                    picture(context, f"{address}/{name}", folder / f"{name[:-5].replace('/', '_')}_{form}_{scheme}.png")
                context.close()
        chromium.close()
    return 2 * len(WIDTHS) * len(names)


def pages(site):
    """Return the pages that are pictured, by their paths: the first, the live one, the lessons."""
    first = [name for name in ("index.html", "live.html") if (site / name).is_file()]
    return first + [path.relative_to(site).as_posix() for path in sorted((site / "lessons").glob("[0-9]*.html"))]


def picture(context, address, path):
    """Take a picture of one page, and say so where something stands out at its right."""
    page = context.new_page()
    open_page(page, address)
    width, height = page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    if width > page.viewport_size["width"]:
        print(f"{path.stem}: {width} pixels wide: {page.evaluate(TOO_WIDE)}")
    page.set_viewport_size({"width": page.viewport_size["width"], "height": min(height, HIGHEST)})
    page.screenshot(path=path)
    page.close()


def open_page(page, address):
    """Open a page and wait until its formulas are drawn and its models, where it has some, have read their text."""
    page.goto(address)
    page.evaluate(DRAWN)
    if page.locator("#live").count() and not address.startswith("file:"):
        page.wait_for_function(
            "() => window.liveModels || !document.getElementById('live-trouble').hidden", timeout=120_000
        )
