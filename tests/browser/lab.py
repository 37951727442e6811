"""JupyterLab in a real browser, for tests:

    with Lab(folder_of_notebooks, temporary_folder, path_of_chromium) as lab:
        with lab.open("00_start_here.ipynb") as notebook:
            notebook.run_all(timeout=120)
            assert not notebook.errors()
            notebook.cell("plots.show").screenshot("plot.png")
        assert not lab.requests_out

The server has its own settings, runs in a copy of the notebooks and listens on 127.0.0.1 alone.
Times are in seconds.
"""

import json
import os
import re
import secrets
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Locator, Page, sync_playwright

CHROMIUM = [
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
# no news, every cell in the page even when it is scrolled away, no dialogue on leaving
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"checkForUpdates": False, "fetchNews": "false"},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
HERE = "127.0.0.1"
EXPLORED = "[...output.querySelectorAll('.widget-html-content')].at(-1)"  # what an explorer shows
# A cell that computes until `Lab.kept_busy` lets it go.
BUSY = """\
from pathlib import Path

print("busy", flush=True)
while not Path("let_go").exists():
    pass"""
PATIENCE = 300  # seconds: a machine on which everything else runs as well may be this slow


class Gate(socketserver.ThreadingTCPServer):
    """The proxy of server and kernels: lets nothing out and remembers what was asked for."""

    daemon_threads = True

    class RequestHandlerClass(socketserver.StreamRequestHandler):
        def handle(self):
            self.server.asked.append(self.rfile.readline().decode(errors="replace").strip())
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    def __init__(self):
        super().__init__((HERE, 0), self.RequestHandlerClass)
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Lab:
    """A JupyterLab server over a copy of `notebooks`, and a browser. Further keywords are its
    environment variables.

    requests:     the address of every request of the browser
    requests_out: those of them, and those of the server and its kernels, that would have left the
        machine
    """

    def __init__(self, notebooks: Path, folder: Path, browser: str, **environment: str):
        self.folder, self.root, self.token = folder, folder / "notebooks", secrets.token_hex(16)
        shutil.copytree(
            notebooks,
            self.root,
            ignore=shutil.ignore_patterns("runs", "my_work", ".ipynb_checkpoints"),
        )
        self.requests: list[str] = []
        self._browser_path, self._environment = browser, environment
        self._opened = 0

    def __enter__(self) -> "Lab":
        self._gate = Gate()
        self._start_server()
        self._playwright = sync_playwright().start()
        self.browser = self._playwright.chromium.launch(
            executable_path=self._browser_path, args=CHROMIUM
        )
        return self

    def __exit__(self, *_) -> None:
        self.browser.close()
        self._playwright.stop()
        self.server.terminate()
        try:
            self.server.wait(20)
        except subprocess.TimeoutExpired:
            self.server.kill()
        self._gate.shutdown()
        self._gate.server_close()

    def _start_server(self) -> None:
        homes = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
        }
        homes |= {"IPYTHONDIR": "ipython"}
        env = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("JUPYTER", "IPYTHON"))
        }
        env |= {key: str(self.folder / name) for key, name in homes.items()} | self._environment
        gate = f"http://{HERE}:{self._gate.server_address[1]}"
        env |= {
            key: gate
            for name in ("http", "https", "all")
            for key in (f"{name}_proxy", f"{name.upper()}_PROXY")
        }
        env |= {"no_proxy": f"{HERE},localhost", "NO_PROXY": f"{HERE},localhost"}
        overrides = self.folder / "config" / "labconfig" / "default_setting_overrides.json"
        overrides.parent.mkdir(parents=True)
        overrides.write_text(json.dumps(SETTINGS))
        with socket.socket() as free:
            free.bind((HERE, 0))
            port = free.getsockname()[1]
        self.address = f"http://{HERE}:{port}"
        command = [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            f"--ServerApp.ip={HERE}",
        ]
        command += [
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.root}",
        ]
        command += [f"--IdentityProvider.token={self.token}", "--LabApp.expose_app_in_browser=True"]
        with open(self.folder / "server.log", "w") as log:
            self.server = subprocess.Popen(command, cwd=self.root, env=env, stdout=log, stderr=log)
        give_up = time.monotonic() + PATIENCE
        while not self._answers():
            if self.server.poll() is not None or time.monotonic() > give_up:
                self.server.kill()
                raise RuntimeError(
                    "JupyterLab did not start:\n" + (self.folder / "server.log").read_text()[-3000:]
                )
            time.sleep(0.2)

    def _answers(self) -> bool:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            return (
                direct.open(f"{self.address}/api/status?token={self.token}", timeout=5).status
                == 200
            )
        except (URLError, OSError):
            return False

    @property
    def requests_out(self) -> list[str]:
        return [url for url in self.requests if not self._stays(url)] + self._gate.asked

    def _stays(self, url: str) -> bool:
        parts = urlsplit(url)
        return (
            parts.scheme in ("data", "blob", "about")
            or parts.netloc == urlsplit(self.address).netloc
        )

    def write(self, name: str, *cells: str) -> str:
        """Puts a notebook of these code cells beside the others; returns its name."""
        nbformat.write(
            new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata=KERNEL),
            self.root / name,
        )
        return name

    @contextmanager
    def kept_busy(self, notebook: "Notebook") -> Iterator[None]:
        """The kernel computes in the notebook's cell BUSY as long as the block lasts."""
        let_go = self.root / "let_go"
        let_go.unlink(missing_ok=True)
        cell = notebook.cell(BUSY)
        cell.start()
        try:
            cell.wait_for_text("busy")
            yield
            assert not notebook.ended()
        finally:
            let_go.touch()
        notebook.wait()

    def open(self, name: str, theme: str = "JupyterLab Light") -> "Notebook":
        """Opens a notebook in a window of its own and waits until its kernel is ready."""
        # a workspace of its own, or JupyterLab would open the earlier notebooks again
        self._opened += 1
        context = self.browser.new_context(viewport={"width": 1400, "height": 1100})
        context.on("request", lambda request: self.requests.append(request.url))
        context.route(lambda url: not self._stays(url), lambda route: route.abort())
        page = context.new_page()
        page.on("websocket", lambda websocket: self.requests.append(websocket.url))
        page.goto(
            f"{self.address}/lab/workspaces/test{self._opened}/tree/{name}?token={self.token}"
        )
        return Notebook(page, name, theme)


class Notebook:
    """A notebook that is open in JupyterLab."""

    def __init__(self, page: Page, name: str, theme: str):
        self.page = page
        self.wait_until("window.jupyterapp?.shell")
        page.evaluate("jupyterapp.restored.then(() => true)")
        path = json.dumps(name)  # the shell is there before the notebook is
        self.wait_until(f"jupyterapp.shell.currentWidget?.context?.path === {path}")
        if theme != "JupyterLab Light":
            self.command("apputils:change-theme", theme=theme)
        page.evaluate("""async () => {
            const context = jupyterapp.shell.currentWidget.context;
            await context.ready;
            await context.sessionContext.ready;
            await context.sessionContext.session.kernel.info;
        }""")

    def __enter__(self) -> "Notebook":
        return self

    def __exit__(self, *_) -> None:
        """Ends the kernel and closes the window."""
        self.page.evaluate("jupyterapp.shell.currentWidget.context.sessionContext.shutdown()")
        self.page.context.close()

    def command(self, name: str, **arguments) -> None:
        """Carries out a command of JupyterLab and waits for its end."""
        self.page.evaluate(
            "([name, args]) => jupyterapp.commands.execute(name, args).then(() => true)",
            [name, arguments],
        )

    def wait_until(self, condition: str, timeout: float = PATIENCE, given=None) -> None:
        """Waits until a JavaScript expression, or function of `given`, is true."""
        self.page.wait_for_function(condition, arg=given, timeout=1000 * timeout, polling=200)

    def start(self, command: str = "notebook:run-all-cells") -> None:
        """Begins to run all cells; see `wait`."""
        self.page.evaluate(
            """name => {
            window.cellsEnded = false;
            jupyterapp.commands.execute(name).finally(() => { window.cellsEnded = true; });
        }""",
            command,
        )

    def wait(self, timeout: float = PATIENCE) -> None:
        """Waits for the end of the cells that `start` has begun to run."""
        self.wait_until("window.cellsEnded", timeout)

    def ended(self) -> bool:
        return self.page.evaluate("window.cellsEnded")

    def run_all(self, timeout: float = PATIENCE) -> None:
        self.start()
        self.wait(timeout)

    def interrupt(self) -> None:
        """Presses the square in the toolbar of the notebook."""
        self.page.locator('.jp-NotebookPanel-toolbar [data-jp-item-name="interrupt"]').click()

    def cells(self) -> list["Cell"]:
        """The code cells."""
        found = self.page.evaluate(
            """() => jupyterapp.shell.currentWidget.content.widgets.map((cell, number) => {
            const {cell_type, source, metadata, execution_count} = cell.model.toJSON();
            return [cell_type, number, [source].flat().join(''), metadata.tags || [], execution_count];
        })"""
        )
        return [Cell(self, *about) for kind, *about in found if kind == "code"]

    def cell(self, text: str = "", tag: str | None = None) -> "Cell":
        """The first code cell with this text in its source (and this tag)."""
        for cell in self.cells():
            if text in cell.source and (tag is None or tag in cell.tags):
                return cell
        raise LookupError(f"no code cell with text {text!r} and tag {tag!r}")

    def errors(self) -> list[str]:
        """What the cells that ended in an error say."""
        outputs = [(cell, output) for cell in self.cells() for output in cell.outputs()]
        return [
            f"cell {cell.number}: {output['ename']}: {output['evalue']}"
            for cell, output in outputs
            if output["output_type"] == "error"
        ]


@dataclass
class Picture:
    """An <img> or <svg role="img"> as the page shows it; width and height in pixels, 0 where it
    could not be drawn."""

    alt: str
    source: str
    width: float
    height: float


@dataclass
class Cell:
    """A code cell of an open notebook. execution_count is None where it did not run."""

    notebook: Notebook
    number: int
    source: str
    tags: list[str]
    execution_count: int | None

    def start(self) -> None:
        """Begins to run this cell alone; see `Notebook.wait`."""
        self.notebook.page.evaluate(
            "number => { jupyterapp.shell.currentWidget.content.activeCellIndex = number; }",
            self.number,
        )
        self.notebook.start("notebook:run-cell")

    @property
    def box(self) -> Locator:
        return self.notebook.page.locator(f'.jp-Cell[data-windowed-list-index="{self.number}"]')

    @property
    def area(self) -> Locator:
        return self.box.locator(".jp-Cell-outputArea")

    def widget(self, selector: str, text: str | None = None) -> Locator:
        """The widget with this CSS selector (and text) in the cell's output."""
        return self.area.locator(selector, has_text=text)

    def outputs(self) -> list[dict]:
        """The outputs as they would be saved."""
        return self.notebook.page.evaluate(
            "number =>"
            " jupyterapp.shell.currentWidget.content.widgets[number].model.outputs.toJSON()",
            self.number,
        )

    def text(self) -> str:
        """What a reader can read in the output."""
        return self.area.inner_text()

    def pictures(self) -> list[Picture]:
        found = self.area.evaluate(
            """area => [...area.querySelectorAll('img, svg[role=img]')].map(picture => {
            const {width, height} = picture.getBoundingClientRect();
            const seen = picture.localName === 'svg' || (picture.complete && picture.naturalWidth > 0);
            const alt = picture.getAttribute('alt') || picture.getAttribute('aria-label') || '';
            return [alt, picture.currentSrc || picture.outerHTML, seen ? width : 0, seen ? height : 0];
        })"""
        )
        return [Picture(*about) for about in found]

    def wait_for_text(self, pattern: str, timeout: float = PATIENCE) -> re.Match:
        """Waits until a regular expression is found in the output."""
        self._wait("(output, wanted) => RegExp(wanted).test(output.innerText)", pattern, timeout)
        return re.search(pattern, self.text())

    def wait_for_other_text(self, earlier: str, timeout: float = PATIENCE) -> None:
        """Waits until the output has another text than the given one, which `text` gave."""
        self._wait("(output, earlier) => output.innerText !== earlier", earlier, timeout)

    def wait_for_picture(
        self, other_than: Picture | None = None, timeout: float = PATIENCE
    ) -> Picture:
        """Waits until a picture, another one than the given, is in the output."""
        is_there = """(output, earlier) => {
            const picture = output.querySelector('img');
            return picture && picture.complete && picture.src !== earlier;
        }"""
        self._wait(is_there, other_than and other_than.source, timeout)
        return self.pictures()[0]

    def wait_for_content(
        self, other_than: str | None, timeout: float = PATIENCE
    ) -> tuple[str, float, float]:
        """An explorer's content once it is not the given one: its HTML, width and height."""
        is_there = (
            f"(output, earlier) => {{ const c = {EXPLORED}; return c && c.innerHTML !== earlier; }}"
        )
        self._wait(is_there, other_than, timeout)
        return tuple(
            self.area.evaluate(f"""output => {{
            const content = {EXPLORED}, {{width, height}} = content.getBoundingClientRect();
            return [content.innerHTML, width, height];
        }}""")
        )

    def wait_for_content_again(self, html: str, timeout: float = PATIENCE) -> None:
        """Waits until an explorer shows a content that it had before; what earlier moves draw may
        come in between."""
        self._wait(
            f"(output, wanted) => {{ const c = {EXPLORED}; return c && c.innerHTML === wanted; }}",
            html,
            timeout,
        )

    def _wait(self, is_there: str, given, timeout: float) -> None:
        """Waits for something in the output; a cell that ends in an error ends the wait."""
        condition = """([number, given]) => {
            const cells = jupyterapp.shell.currentWidget.content.widgets;
            const outputs = cells.flatMap(cell => cell.model.type === 'code' ? cell.model.outputs.toJSON() : []);
            return outputs.some(output => output.output_type === 'error')
                || (%s)(cells[number].outputArea.node, given);
        }"""
        self.notebook.wait_until(condition % is_there, timeout, [self.number, given])
        if errors := self.notebook.errors():
            raise AssertionError("; ".join(errors))

    def screenshot(self, path: str | Path) -> None:
        """The output as the reader sees it. The page is photographed: a widget may replace its
        elements meanwhile."""
        self.area.scroll_into_view_if_needed()
        self.area.evaluate("area => area.scrollIntoView({block: 'start'})")
        self.notebook.page.screenshot(path=path, clip=self.area.bounding_box())


def assert_reads(picture):
    """A picture that was really drawn and says in words what it shows."""
    assert picture.width > 100 and picture.height > 40, picture.alt
    assert len(picture.alt) > 20, f"the alternative text is {picture.alt!r}"
