"""Writes a live explorer as one page that opens from disk, without a server, a kernel or a network.

python -m rlvr_helpers.tools.export_explorer token_lens --out token_lens.html
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from rlvr_helpers.kit.recorded import recorded_group
from rlvr_helpers.kit.token_lens import token_lens
from rlvr_helpers.lessons.l06_clipping.explorer import clip_stage
from rlvr_helpers.widgets.live import LiveExplorer

# Name -> the page's title, and what makes the explorer.
EXPLORERS: dict[str, tuple[str, Callable[[], LiveExplorer]]] = {
    "clip_stage": ("The clip stage", clip_stage),
    "token_lens": ("The token lens", lambda: token_lens(recorded_group())),
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("explorer", choices=sorted(EXPLORERS))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    title, make = EXPLORERS[options.explorer]
    options.out.write_text(make().page(title), encoding="utf-8")
    print(f"{options.out.name}: {options.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
