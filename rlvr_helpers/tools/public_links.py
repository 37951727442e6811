"""Writes the links that need the repository's public address: README.md, docs/class.md, the site.

    python -m rlvr_helpers.tools.public_links

The address is set in one place, `public-address` under `[tool.rlvr-helpers]` in pyproject.toml.
While it is empty the pages have no such link.
"""

import re
import tomllib
from pathlib import Path
from urllib.parse import quote, urlencode

ROOT = Path(__file__).resolve().parents[2]
FIRST = "notebooks/00_start_here.ipynb"
BLOCK = re.compile(
    r"((?:<!-- public links -->|# public links)\n)(.*?)((?:<!--|#) end of public links)", re.DOTALL
)


def hosted(address: str) -> str:
    """For the README: the course on Binder and, from GitHub, in Codespaces."""
    binder = f"https://mybinder.org/v2/git/{quote(address, safe='')}/HEAD"
    # Binder takes any git address, Codespaces only GitHub's.
    links = [f"[Binder]({binder}?labpath={quote(FIRST, safe='')})"]
    if address.startswith("https://github.com/"):
        links.append(
            f"[Codespaces](https://codespaces.new/{address.removeprefix('https://github.com/')})"
        )
    return f"Without installing anything: {' or '.join(links)}.\n"


def class_link(address: str) -> str:
    """For the page on one server: the link that gives a learner the course (nbgitpuller)."""
    folder = address.rstrip("/").rpartition("/")[2]
    query = urlencode({"repo": address, "urlpath": f"lab/tree/{folder}/{FIRST}"})
    return f"For this repository: `https://YOUR-SERVER/hub/user-redirect/git-pull?{query}`\n"


def launch_buttons(address: str) -> str:
    """For the site's settings: where its pages come from, and a button that opens one in Binder."""
    return (
        f"repository: {{url: {address}, branch: main}}\n"
        "launch_buttons: {binderhub_url: https://mybinder.org, notebook_interface: jupyterlab}\n"
    )


# Page -> what it gets.
PAGES = {"README.md": hosted, "docs/class.md": class_link, "docs/_config.yml": launch_buttons}


def page_with_links(name: str, address: str) -> str:
    """The text of a page with the links of this address ("" for none)."""
    links = PAGES[name](address) if address else ""
    return BLOCK.sub(
        lambda found: found[1] + links + found[3], (ROOT / name).read_text(encoding="utf-8")
    )


def public_address() -> str:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "rlvr-helpers"
    ]
    return settings["public-address"].removesuffix(".git").rstrip("/")


def main() -> None:
    for name in PAGES:
        (ROOT / name).write_text(page_with_links(name, public_address()), encoding="utf-8")
        print(f"{name}: {'with' if public_address() else 'without'} links")


if __name__ == "__main__":
    main()
