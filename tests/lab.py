"""JupyterLab in a real browser: one server for a run of tests, and a page that opens a lesson and works it by hand."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Cells out of view stay in the page, so that all of them can be looked at; and no pop-up stands before a picture.
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
}
# The kernel that will work is named in the status bar; the dot in the toolbar says "idle" too early.
IDLE = """() => [...document.querySelectorAll('#jp-main-statusbar span')]
    .some(e => /^(?!No Kernel).+\\|\\s*Idle$/.test(e.textContent.trim()))"""
CELLS = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell"
ERRORS = """cells => cells.flatMap((cell, i) => [...cell.querySelectorAll(
    "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']")]
    .map(found => `cell ${i}: ${found.innerText.trim().slice(-400)}`))"""
# The prompt of every code cell: " ", "*" or a number. A cell whose code is folded shows none.
PROMPTS = """cells => cells.filter(cell => cell.classList.contains('jp-CodeCell')
        && !cell.querySelector('.jp-InputPlaceholder'))
    .map(cell => cell.querySelector('.jp-InputPrompt').innerText.replace(/[^0-9*]/g, ''))"""
# When the picture of a widget changes, from the moment in which the browser was told to move it: until it is painted.
WATCH = """box => {
    window.moved = window.painted = null;
    const begin = event => {
        if (event.type !== 'pointermove' || event.buttons) window.moved ??= performance.now();
    };
    for (const kind of ['keydown', 'click', 'pointermove']) addEventListener(kind, begin, {capture: true});
    const seen = new MutationObserver(() => {
        if (window.moved === null || window.painted !== null) return;
        requestAnimationFrame(() => setTimeout(() => { window.painted ??= performance.now(); }));
    });
    const place = box.querySelector('img').closest('.widget-html-content');
    seen.observe(place, {subtree: true, childList: true, attributes: true});
}"""


class Server:
    """A JupyterLab on this machine's loopback, in a copy of the lessons beside the course's own lib and data."""

    def __init__(self, folder, root=ROOT):
        self.folder, self.token = folder, secrets.token_hex(16)
        shutil.copytree(root / "lessons", folder / "lessons", ignore=shutil.ignore_patterns(".*", "source"))
        for beside in root.iterdir():
            if beside.name[0] != "." and beside.name != "lessons":
                (folder / beside.name).symlink_to(beside)
        for name, values in SETTINGS.items():
            file = folder / ".jupyterlab_settings_dir" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values), encoding="utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = None

    def start(self):
        """Start it and wait until it answers. Raises RuntimeError where it does not within a minute."""
        own = [f"JUPYTER_{kind}_DIR" for kind in ("CONFIG", "DATA", "RUNTIME")] + ["IPYTHONDIR"]
        own += [f"JUPYTERLAB_{kind}_DIR" for kind in ("SETTINGS", "WORKSPACES")]
        places = {name: str(self.folder / f".{name.lower()}") for name in own}
        threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # two pages may work at once
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
        command += [f"--port={self.port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={self.token}"]
        command += [f"--ServerApp.root_dir={self.folder}", "--LabApp.news_url=None"]
        command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
        with open(self.folder / ".server.log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **places, **threads}, start_new_session=True
            )
        for _ in range(600):
            try:
                return self.ask("GET", "status")
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        self.stop()
        raise RuntimeError("JupyterLab does not answer: " + (self.folder / ".server.log").read_text()[-2000:])

    def ask(self, method, path):
        """Send a request to the server's interface; return what it answers."""
        url = f"http://127.0.0.1:{self.port}/api/{path}"
        request = urllib.request.Request(url, method=method, headers={"Authorization": f"token {self.token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or "null")

    def end_kernels(self):
        """End all kernels: each holds a model or two."""
        for session in self.ask("GET", "sessions"):
            self.ask("DELETE", f"sessions/{session['id']}")

    def stop(self):
        """Stop the server and its kernels."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


class Lesson:
    """A lesson that is open in JupyterLab. `.page` is playwright's; `.errors` what went wrong in the page itself."""

    def __init__(self, server, page, name, patience=420):
        self.page, self.patience, self.errors = page, patience, []
        self.listen = lambda error: self.errors.append(str(error)[:400])
        page.on("pageerror", self.listen)
        page.goto(f"http://127.0.0.1:{server.port}/lab/tree/lessons/{name}.ipynb?reset&token={server.token}")
        page.wait_for_selector(CELLS, timeout=90_000)
        page.wait_for_function(IDLE, timeout=90_000)
        self.cells = page.locator(CELLS)

    def menu(self, name, command):
        """Choose a command from the menu bar."""
        self.page.get_by_role("menuitem", name=name, exact=True).click()
        self.page.locator(f'.lm-Menu-item[data-command="{command}"]').click()

    def run_all(self):
        """Clear what the file shows, run all cells and wait for the last one. Raises AssertionError on an error."""
        self.menu("Edit", "editmenu:clear-all")
        self.menu("Run", "runmenu:run-all")
        self.wait()

    def restart_and_run_all(self):
        """A kernel that knows nothing yet runs all cells."""
        self.menu("Kernel", "runmenu:restart-and-run-all")
        self.page.locator(".jp-Dialog button.jp-mod-accept").click()
        self.page.wait_for_function("selector => [...document.querySelectorAll(selector + ' .jp-InputPrompt')]"
                                    ".some(e => e.innerText.includes('*'))", arg=CELLS, timeout=30_000)  # fmt: skip
        self.wait()

    def wait(self):
        """Wait until every code cell has run and the kernel rests. Raises AssertionError on an error."""
        end = time.monotonic() + self.patience
        while time.monotonic() < end:
            prompts = self.cells.evaluate_all(PROMPTS)
            if all(prompt.isdecimal() for prompt in prompts) and self.page.evaluate(IDLE):
                break
            assert not self.problems(), self.problems()
            time.sleep(0.2)
        assert all(prompt.isdecimal() for prompt in prompts), f"not done after {self.patience} s: {prompts}"
        assert not self.problems(), self.problems()

    def theme(self, name):
        """Choose a theme from the menu: "JupyterLab Dark"."""
        self.page.get_by_role("menuitem", name="Settings", exact=True).click()
        self.page.locator(".lm-Menu-item").filter(has_text="Theme").first.hover()
        self.page.get_by_text(name, exact=True).click()
        self.page.wait_for_selector(f"body[data-jp-theme-name='{name}']", state="attached", timeout=20_000)
        # JupyterLab's splash lies over the page until the theme is there, and then fades for 0.2 s.
        self.page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=20_000)

    def close(self):
        """Stop listening to the page; the next lesson takes it over."""
        self.page.remove_listener("pageerror", self.listen)

    def problems(self):
        """Return in words the errors and warnings that cells show, and those of the page."""
        return self.cells.evaluate_all(ERRORS) + self.errors

    def run_cell(self, index, text=None):
        """Run the code cell at `index`, with `text` in place of what is there; return the text that it shows."""
        cell = self.cells.nth(index)
        folded = cell.locator(".jp-InputPlaceholder")
        if folded.count():
            folded.click()
        editor = cell.locator(".cm-content")
        editor.scroll_into_view_if_needed()
        editor.click()
        if text is not None:
            self.page.keyboard.press("ControlOrMeta+a")
            self.page.keyboard.insert_text(text)
        before = cell.locator(".jp-InputPrompt").inner_text()
        self.page.keyboard.press("ControlOrMeta+Enter")
        self.page.wait_for_function(
            "([cell, before]) => ![before, '[*]:'].includes(cell.querySelector('.jp-InputPrompt').innerText)",
            arg=[cell.element_handle(), before], timeout=90_000,
        )  # fmt: skip
        self.page.wait_for_function(IDLE, timeout=30_000)
        return cell.locator(".jp-OutputArea").inner_text()

    def widgets(self):
        """Return the boxes of the widgets that draw a picture."""
        boxes = self.page.locator(f"{CELLS} .jupyter-widgets.widget-vbox").filter(has=self.page.locator("img"))
        return [Widget(self, boxes.nth(i)) for i in range(boxes.count())]


class Widget:
    """A question, its controls, and the picture that answers it."""

    def __init__(self, lesson, box):
        self.lesson, self.page, self.box = lesson, lesson.page, box
        self.question = box.locator(".widget-html-content").first.inner_text().strip()
        controls = box.locator(".widget-slider, .widget-toggle-buttons, .widget-dropdown")
        self.controls = [controls.nth(i) for i in range(controls.count())]
        box.scroll_into_view_if_needed()

    def picture(self):
        """Return what tells the picture from others, None where there is none."""
        image = self.box.locator("img")
        return image.get_attribute("src") if image.count() else None

    def moved(self, move, wait=2.0):
        """Do `move`; return the milliseconds until another picture was painted, None where none came."""
        before = self.picture()
        self.box.evaluate(WATCH)
        move()
        end = time.monotonic() + wait
        while self.picture() == before and time.monotonic() < end:
            time.sleep(0.02)
        if self.picture() == before:
            return None
        self.page.wait_for_function("() => window.painted !== null", timeout=10_000)
        taken = self.page.evaluate("() => window.painted - window.moved")
        self.page.wait_for_function(IDLE, timeout=30_000)
        return taken

    def by_keyboard(self, control):
        """Move a control with keys alone; return the milliseconds, None where no key changed the picture."""
        handle = control.locator(".noUi-handle")
        if handle.count():
            handle.focus()
            now, high = (float(handle.get_attribute(f"aria-value{end}")) for end in ("now", "max"))
            keys = ["ArrowRight", "ArrowUp"] * 4 if now < high else ["ArrowLeft", "ArrowDown"] * 4
            return self.first(lambda key=key: self.page.keyboard.press(key) for key in keys)
        buttons = control.locator("button:not(.mod-active)")
        buttons.first.focus()
        return self.first([lambda: self.page.keyboard.press("Space")])

    def by_mouse(self, control):
        """Drag a slider, or click a button; return the milliseconds, None where the picture stayed as it was."""
        handle = control.locator(".noUi-handle")
        if not handle.count():
            return self.first([lambda: control.locator("button:not(.mod-active)").last.click()])
        rail = control.locator(".noUi-base")
        return self.first(lambda share=share: self.drag(handle, rail, share) for share in (1.0, 0.0, 0.6))

    def drag(self, handle, rail, share):
        """Drag a slider's handle to a share of its way."""
        start, way = handle.bounding_box(), rail.bounding_box()
        middle = start["y"] + start["height"] / 2
        self.page.mouse.move(start["x"] + start["width"] / 2, middle)
        self.page.mouse.down()
        self.page.mouse.move(way["x"] + share * way["width"], middle, steps=3)
        self.page.mouse.up()

    def first(self, moves):
        """Return the milliseconds of the first move that changed the picture; None where none did."""
        return next((taken for taken in map(self.moved, moves) if taken is not None), None)

    def tab_order(self):
        """Return the places of the controls in the order in which the Tab key comes to them from the first one."""
        self.controls[0].locator(".noUi-handle, button").first.focus()
        where = """box => [...box.querySelectorAll('.widget-slider, .widget-toggle-buttons, .widget-dropdown')]
            .findIndex(control => control.contains(document.activeElement))"""
        seen = [self.box.evaluate(where)]
        for _ in range(40):
            self.page.keyboard.press("Tab")
            place = self.box.evaluate(where)
            if place < 0:
                break
            seen += [place] * (place != seen[-1])
        return seen


def formulas(markdown):
    """Return how many formulas MathJax should make of a markdown text: those between $ and between $$."""
    text = re.sub(r"```.*?```|~~~.*?~~~", "", markdown, flags=re.DOTALL)
    text = re.sub(r"(`+).*?\1", "", text, flags=re.DOTALL)
    return len(re.findall(r"(?<!\\)(\$\$?)(?:[^$\\]|\\.)+?\1", text, re.DOTALL))


@contextmanager
def chromium_page(executable, width=1300, height=1000):
    """Open a browser and give a page of it."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=executable, args=flags)
        yield browser.new_page(viewport={"width": width, "height": height})
        browser.close()
