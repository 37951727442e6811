"""JupyterHub with its proxy on loopback: two users run one lesson at the same time, each with an
own kernel and progress.

The settings are those of docs/class.md. Both users belong to this test's user, since others would
need an administrator.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from contextlib import contextmanager

import pytest
from test_setup import ROOT
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="JupyterHub runs on Linux and macOS"),
]

LESSON = "06_clipping"
SETTINGS = '{"OMP_NUM_THREADS": "1", "RLVR_MY_WORK": "~/my_work"}'  # as docs/class.md says
SOLVED = """
from rlvr_helpers.exercises import check
def token_ratios(logp_new, logp_old, mask):
    import torch
    difference = torch.where(mask.bool(), logp_new - logp_old.detach(), 0.0)
    return difference.exp()
assert check("token_ratios", token_ratios)
"""
CONFIG = """
import os, sys
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{front}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy}"
c.ConfigurableHTTPProxy.command = {command!r}
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {home!r}
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.start_timeout = c.Spawner.http_timeout = 240
c.Spawner.environment = {settings} | {{"RLVR_FAST": "1"}}
c.JupyterHub.services = [{{"name": "test", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [{{"name": "everything", "scopes": ["admin:users", "admin:servers", "tokens"], "services": ["test"]}}]
"""


def free_ports(count):
    """Ports that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def running_hub(folder, token):
    """A hub with its proxy; yields its address."""
    front, hub, proxy = free_ports(3)
    command = [shutil.which("configurable-http-proxy")]
    home = str(folder / "{username}")
    config = folder / "jupyterhub_config.py"
    values = {"front": front, "hub": hub, "proxy": proxy, "command": command, "home": home}
    config.write_text(CONFIG.format(settings=SETTINGS, token=token, **values))
    names = ("RLVR_", "JUPYTER", "IPYTHON")
    env = {key: value for key, value in os.environ.items() if not key.startswith(names)}
    with (folder / "hub.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", str(config)],
            cwd=folder,
            env=env,
            stdout=log,
            stderr=log,
        )
        try:
            yield f"http://127.0.0.1:{front}"
        finally:
            server.terminate()
            server.wait(60)


class Learner:
    """One user of the hub, with a token of the user's own."""

    def __init__(self, address, admin_token, name):
        self.address, self.name, self.token = address, name, admin_token

    def headers(self):
        return {"Authorization": f"token {self.token}"}

    async def ask(self, path, method="GET", **content):
        """The JSON that an address of the hub answers with."""
        body = json.dumps(content) if method == "POST" else None
        request = HTTPRequest(
            self.address + path, method, self.headers(), body, request_timeout=120
        )
        answer = await AsyncHTTPClient().fetch(request)
        return json.loads(answer.body or b"null")

    async def start(self):
        """Adds the user, takes a token for it and waits until its server is there."""
        user = f"/hub/api/users/{self.name}"
        await self.ask(user, "POST")
        await self.ask(f"{user}/server", "POST")
        while not (await self.ask(user))["servers"].get("", {}).get("ready"):
            await asyncio.sleep(1)
        self.token = (await self.ask(f"{user}/tokens", "POST", note="test"))["token"]

    async def run_lesson(self):
        """Copies the notebooks, runs the lesson's code cells in one kernel, solves an exercise; the
        errors."""
        kernel = await self.ask(f"/user/{self.name}/api/kernels", "POST", name="python3")
        channels = f"{self.address}/user/{self.name}/api/kernels/{kernel['id']}/channels".replace(
            "http", "ws", 1
        )
        socket = await websocket_connect(HTTPRequest(channels, headers=self.headers()))
        errors = await self.run(socket, self.copying())
        assert not errors, errors
        notebook = (await self.ask(f"/user/{self.name}/api/contents/my_work/{LESSON}.ipynb"))[
            "content"
        ]
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                errors += await self.run(socket, cell["source"])
        errors += await self.run(socket, SOLVED)
        socket.close()
        return errors

    @staticmethod
    def copying():
        """The cell of lesson 00 that copies the notebooks, with its import."""
        lesson = ROOT / "notebooks" / "00_start_here.ipynb"
        cells = json.loads(lesson.read_text(encoding="utf-8"))["cells"]
        sources = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        return next(source for source in sources if "copy_notebooks()" in source)

    @staticmethod
    async def run(socket, code):
        """Runs a cell; the tracebacks of its errors."""
        wanted, errors = uuid.uuid4().hex, []
        header = {
            "msg_id": wanted,
            "msg_type": "execute_request",
            "username": "",
            "session": wanted,
            "version": "5.3",
        }
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "allow_stdin": False,
            "stop_on_error": False,
        }
        message = {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": "shell",
        }
        await socket.write_message(json.dumps(message))
        ended = set()
        while ended != {"idle", "reply"}:
            said = json.loads(await asyncio.wait_for(socket.read_message(), 400))
            if said["parent_header"].get("msg_id") != wanted:
                continue
            if said["msg_type"] == "error":
                errors.append("\n".join(said["content"]["traceback"]))
            if said["msg_type"] == "execute_reply":
                ended.add("reply")
            if said["msg_type"] == "status" and said["content"]["execution_state"] == "idle":
                ended.add("idle")
        return errors


async def two_at_once(address, admin_token):
    """Both users start a server and run the lesson at the same time; their errors, and what one may
    see of the other."""
    learners = [Learner(address, admin_token, name) for name in ("ada", "bob")]
    for _ in range(240):
        try:
            await learners[0].ask("/hub/api/")
            break
        except (OSError, HTTPClientError):
            await asyncio.sleep(0.5)
    await asyncio.gather(*(learner.start() for learner in learners))
    errors = await asyncio.gather(*(learner.run_lesson() for learner in learners))
    ada, bob = learners
    with pytest.raises(HTTPClientError, match="403|404"):
        await bob.ask("/user/ada/api/contents/my_work")
    kernels = [await learner.ask(f"/user/{learner.name}/api/kernels") for learner in learners]
    return errors, kernels


def test_two_users_run_one_lesson_at_the_same_time(tmp_path):
    pytest.importorskip("jupyterhub", reason="needs jupyterhub: uv sync --group hub")
    if not shutil.which("configurable-http-proxy"):
        pytest.skip("needs configurable-http-proxy, an npm package")
    token = uuid.uuid4().hex
    with running_hub(tmp_path, token) as address:
        errors, kernels = asyncio.run(two_at_once(address, token))
    log = (tmp_path / "hub.log").read_text()
    assert errors == [[], []], log
    assert len({kernel["id"] for owned in kernels for kernel in owned}) == 2, (
        "each has one kernel of their own"
    )
    for name in ("ada", "bob"):
        progress = json.loads((tmp_path / name / "my_work" / "progress.json").read_text())
        assert progress["token_ratios"]["done"] == "alone"
        assert (tmp_path / name / "my_work" / f"{LESSON}.ipynb").is_file()
    assert SETTINGS in (ROOT / "docs" / "class.md").read_text(encoding="utf-8")
