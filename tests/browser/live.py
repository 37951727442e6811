"""What every live explorer must do, for tests: names and values as a screen reader gets them,
contrast, frames, memory."""

import json

import pytest
from playwright.sync_api import Page

# The themes of JupyterLab that a live explorer is shown in.
THEMES = ["JupyterLab Light", pytest.param("JupyterLab Dark", marks=pytest.mark.slow)]

# The values and the shadow root's content of the live explorer that a page shows.
PLACE = "[...document.querySelectorAll('[data-rlvr]')].find(place => place.rlvr).rlvr"

CONTRAST = """(root) => {
    const parse = (colour) => (colour.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
    const over = ([r, g, b, a = 1], [R, G, B]) => [a * r + (1 - a) * R, a * g + (1 - a) * G, a * b + (1 - a) * B];
    const light = (rgb) => rgb.map((x) => x / 255).map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4))
        .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
    const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
    const page = (element) => {
        const layers = [];
        for (let at = element; at; at = at.parentNode ?? at.host) {
            if (!(at instanceof Element)) continue;
            layers.push(parse(getComputedStyle(at).backgroundColor));
            if ((layers.at(-1)[3] ?? 1) === 1) break;
        }
        const whole = layers.at(-1)[3] === 0 ? layers.pop() && [255, 255, 255] : layers.pop();
        return layers.reverse().reduce((below, layer) => over(layer, below), whole);
    };
    const canvas = root.querySelector('canvas');
    const painted = (element) => {  // a tint of the canvas behind a text
        const [box, all] = [element.getBoundingClientRect(), canvas.getBoundingClientRect()];
        const ratio = canvas.width / all.width;
        const at = [box.left - all.left + 1.5, box.top - all.top + 3].map((x) => Math.round(x * ratio));
        const [r, g, b, a] = canvas.getContext('2d').getImageData(...at, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        const box = element.getBoundingClientRect();
        if (!walker.currentNode.data.trim() || !box.width || element.closest('style, [hidden]')) continue;
        const style = getComputedStyle(element);
        const ink = parse(element instanceof SVGElement ? style.fill : style.color);
        let below = page(element);
        if (element instanceof SVGElement) {  // the last shape before a text, where it lies behind its middle
            const middle = [box.left + box.width / 2, box.top + box.height / 2];
            for (const shape of element.closest('svg').querySelectorAll('rect')) {
                const s = shape.getBoundingClientRect();
                const inside = s.left <= middle[0] && middle[0] <= s.right && s.top <= middle[1] && middle[1] <= s.bottom;
                if (inside) below = over(parse(getComputedStyle(shape).fill), below);
            }
        }
        if (canvas && element.matches('.token')) below = over(painted(element), below);
        found.push([contrast(over(ink, below), below), walker.currentNode.data.trim()]);
    }
    return found;
}"""


def faults_of(page: Page) -> list[str]:
    """Errors of a page and its console, from now on."""
    faults: list[str] = []
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    return faults


def contrasts(page: Page) -> list[tuple[float, str]]:
    """The contrast of every text of the explorer to what is behind it."""
    page.wait_for_function(
        f"[...{PLACE}.root.querySelectorAll('canvas')]"
        ".every(canvas => canvas.getBoundingClientRect().width > 0)"
    )
    page.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
    )
    root = page.evaluate_handle(f"{PLACE}.root")
    return [tuple(found) for found in root.evaluate(CONTRAST)]


def accessible(page: Page) -> list[tuple[str, str]]:
    """Role and name of everything that a screen reader can focus, as the browser's accessibility
    tree has them."""
    session = page.context.new_cdp_session(page)
    found = []
    for node in session.send("Accessibility.getFullAXTree")["nodes"]:
        properties = {p["name"]: p["value"].get("value") for p in node.get("properties", [])}
        role = node["role"]["value"]
        if not node.get("ignored") and properties.get("focusable") and role != "RootWebArea":
            found.append((role, node["name"]["value"]))
    return found


def slider_values(page: Page) -> dict[str, tuple[str, str]]:
    """Each slider's name -> what it says as its value, in words and as a number."""
    return {
        slider.get_attribute("aria-label"): (
            slider.get_attribute("aria-valuetext"),
            slider.get_attribute("aria-valuenow") or slider.input_value(),
        )
        for slider in page.get_by_role("slider").all()
    }


def frame_times(page: Page, moves: str, frames: int = 120) -> list[float]:
    """Milliseconds of the explorer's own script for each frame while `moves`, an expression of
    `values` and `k`, runs."""
    return page.evaluate(f"""async () => {{
        const {{values, root}} = {PLACE};
        root.frameTimes.length = 0;
        for (let k = 0; k < {frames}; k++) {{
            {moves};
            await new Promise(requestAnimationFrame);
        }}
        return [...root.frameTimes].sort((a, b) => a - b);
    }}""")


def processor_time(page: Page, moves: str, frames: int = 120) -> float:
    """Milliseconds of processor time that the page's scripts take for a frame, on average. What
    else runs on this machine leaves it nearly as it is, unlike the times by the clock."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def taken() -> float:
        found = session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(one["value"] for one in found if one["name"] == "ScriptDuration")

    before = taken()
    frame_times(page, moves, frames)
    return (taken() - before) / frames


def heap(page: Page) -> float:
    """Megabytes of JavaScript objects that are in use."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    return session.send("Runtime.getHeapUsage")["usedSize"] / 1e6


class OnPage:
    """A live explorer on a page: its values, its parts, and what went wrong on the page."""

    def __init__(self, page: Page):
        self.page, self.faults = page, []
        page.on(
            "console", lambda said: self.faults.append(said.text) if said.type == "error" else None
        )
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", lambda request: self.faults.append(request.url))

    @property
    def root(self):
        return self.page.locator(".rlvr")

    def get(self, name: str):
        self.settle()
        return self.page.evaluate(
            f"document.querySelector('[data-rlvr]').rlvr.values.get({json.dumps(name)})"
        )

    def set(self, **values) -> None:
        for name, value in values.items():
            self.page.evaluate(
                "([n, v]) => document.querySelector('[data-rlvr]').rlvr.values.set(n, v)",
                [name, value],
            )
        self.settle()

    def settle(self) -> None:
        """Waits for two frames, and for dots that flow to their places."""
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def text(self, selector: str) -> str:
        self.settle()
        return self.root.locator(selector).first.inner_text()

    def slider(self, name: str):
        return self.root.get_by_role("slider", name=name, exact=True)

    def drag(self, selector: str, by: float) -> None:
        """Drags the middle of an element sideways by some pixels."""
        box = self.root.locator(selector).bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + by / 2, y, steps=3)
        self.page.mouse.move(x + by, y, steps=3)
        self.page.mouse.up()
