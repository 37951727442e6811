"""A live explorer: JavaScript over data from Python, linked to traits that Python reads and sets.

    class Lens(LiveExplorer):
        # defines `explorer(root, values, data, words)` and `style`
        script = Path(__file__).with_name("lens.js")
        # what the reader changes
        update = value(traitlets.Int(0))

    Lens(data={...}, words=WORDS["lens"], still=picture)

A cell shows it as one HTML output: an `<img>` and a script. The image is all that an untrusted
notebook or GitHub shows. The script puts the live explorer in its place wherever scripts run, in
JupyterLab and in exported HTML, with no kernel and no network.

Inside a notebook the output finds the kernel's model of the explorer by its id and follows it. So a
saved notebook never holds a widget whose model is gone. Inside other widgets
(`ipywidgets.VBox([lens])`) it is an ordinary widget.
"""

import base64
import html
import json
import math
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import anywidget
import traitlets

from rlvr_helpers.plots.house import INK
from rlvr_helpers.widgets.explorer import answers_at_once

SHARED = Path(__file__).with_name("rlvr.js")
JOINED = (SHARED, SHARED.with_name("controls.js"), SHARED.with_name("mount.js"))
# Characters, which a screen reader reads in one breath.
LONGEST_ALT = 150

# What makes a widget of an explorer's script.
WIDGET_TAIL = """
export default {
  initialize: ({ model }) => announce(model),
  render({ model, el }) {
    const parts = Object.fromEntries(["data", "words"].map((name) => [name, model.get(name)]));
    const names = model.get("value_names");
    const values = Object.fromEntries(names.map((name) => [name, model.get(name)]));
    mount(el, explorer, { ...parts, values, style }, model);
  },
};
"""
# What puts the explorer into the page of a cell's output: its data, and the id of its place.
PAGE_TAIL = """
const given = %s;
for (const place of document.querySelectorAll('[data-rlvr="%s"]:not([data-live])')) {
  place.setAttribute("data-live", "true");
  meet(given.id, mount(place, explorer, { ...given, style }));
}
"""
# A page of its own, which follows the reader's light or dark theme.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark; }}
  body {{ margin: 24px auto; max-width: 1060px; padding: 0 16px;
         font: 15px/1.5 system-ui, sans-serif;
    background: #fff; color: #1f1f1f; }}
  h1 {{ font-size: 20px; }}
  @media (prefers-color-scheme: dark) {{ body {{ background: #111; color: #ececec; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
{explorer}
</body>
</html>
"""


def svg_text(x: float, y: float, words: str, anchor: str = "middle", **more: str) -> str:
    """Words in a still picture. more: further attributes, such as fill="#767676"."""
    # An anchor at the start is what SVG takes by itself.
    more = ({} if anchor == "start" else {"text_anchor": anchor}) | more
    given = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<text x="{x:.0f}" y="{y:.0f}"{given}>{html.escape(words)}</text>'


@dataclass(frozen=True)
class Still:
    """The picture where no script runs.

    svg:         the drawing, `width` by `height` pixels
    alt:         the alternative text. Raises ValueError above 150 characters.
    description: a longer text, shown below the picture
    """

    svg: str
    alt: str
    width: int
    height: int
    description: str = ""

    def __post_init__(self) -> None:
        if not 0 < len(self.alt) <= LONGEST_ALT:
            raise ValueError(
                f"alt must have 1 to {LONGEST_ALT} characters, not {len(self.alt)}: {self.alt!r}"
            )

    @classmethod
    def of(
        cls,
        shapes: Iterable[str],
        width: int,
        height: int,
        *,
        alt: str,
        description: str = "",
        font: str = "sans-serif",
        size: int = 13,
    ) -> "Still":
        """A picture of SVG shapes. Texts have this font and, as filled shapes, the course's ink."""
        box = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        style = f'font-family="{font}" font-size="{size}" fill="{INK}"'
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" {box} {style}>{"".join(shapes)}</svg>'
        return cls(svg, alt, width, height=height, description=description)

    @property
    def html(self) -> str:
        """The picture as an `<img>`, and the description as a paragraph."""
        source = base64.b64encode(self.svg.encode()).decode()
        image = (
            f'<img alt="{html.escape(self.alt)}" width="{self.width}" height="{self.height}" '
            f'src="data:image/svg+xml;base64,{source}">'
        )
        return image + (f"<p>{html.escape(self.description)}</p>" if self.description else "")


class Finite(traitlets.Float):
    """A float that is neither NaN nor infinite. `traitlets.Float` lets NaN pass its ends."""

    info_text = "a finite number"

    def validate(self, obj: traitlets.HasTraits, value: object) -> float:
        found = super().validate(obj, value)
        if not math.isfinite(found):
            self.error(obj, value)
        return found


def refuse(name: str, wanted: str, value: object) -> None:
    """Raises the error of a value that does not fit an explorer's data."""
    raise traitlets.TraitError(f"{name} must be {wanted}, not {value!r}")


def value(trait: traitlets.TraitType) -> traitlets.TraitType:
    """Marks a trait as one that the reader changes in the page and that Python reads and sets."""
    return trait.tag(sync=True, value=True)


def as_json(data: object) -> str:
    """Compact JSON that can stand in a script of a page. Raises ValueError on NaN and infinity,
    which JSON lacks."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # "</script>" inside a text would end the script.
    return text.replace("</", "<\\/")


class LiveExplorer(anywidget.AnyWidget):
    """A subclass gives `script`, the path of its JavaScript, further files as `parts`, and traits
    wrapped in `value`."""

    script: Path
    parts: tuple[Path, ...] = ()
    # What the page gets: the joined script, its data and words, and which traits it can change.
    _esm = traitlets.Unicode().tag(sync=True)
    data = traitlets.Dict().tag(sync=True)
    words = traitlets.Dict().tag(sync=True)
    value_names = traitlets.List().tag(sync=True)
    name_of_this = traitlets.Unicode().tag(sync=True)

    def __init__(self, data: dict, words: dict, still: Still, **values: object) -> None:
        self.still = still
        names = sorted(self.trait_names(value=True))
        # By this id a stored output finds its model again.
        own = uuid.uuid4().hex[:12]
        source = self.source() + WIDGET_TAIL
        super().__init__(
            data=data, words=words, value_names=names, name_of_this=own, _esm=source, **values
        )
        answers_at_once(self)

    @classmethod
    def source(cls) -> str:
        """The shared module and the explorer's own files, joined."""
        paths = (*JOINED, *cls.parts, cls.script)
        joined = "\n".join(path.read_text(encoding="utf-8") for path in paths)
        # Without lines of comment and indentation: every output of a notebook stores it.
        code = re.sub(r"^\s*//.*\n|^\s*/\*\*(?:.|\n)*?\*/\n", "", joined, flags=re.MULTILINE)
        return re.sub(r"\n\s+", "\n", code)

    @property
    def html(self) -> str:
        """The still picture, and the script that makes it live: what a cell shows and stores."""
        values = {name: getattr(self, name) for name in self.value_names}
        given = {"id": self.name_of_this, "data": self.data, "words": self.words, "values": values}
        script = self.source() + PAGE_TAIL % (as_json(given), self.name_of_this)
        return (
            f'<div data-rlvr="{self.name_of_this}">{self.still.html}</div>\n'
            f'<script type="module">\n{script}</script>'
        )

    def page(self, title: str) -> str:
        """A whole page with the explorer, which opens from disk without a server."""
        return PAGE.format(title=html.escape(title), explorer=self.html)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.still.alt}
