"""Checkpoints: resumed bit for bit, whatever ended the run before; written whole or not at all;
refused with a reason."""

import functools
import os
import pickle
import random
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_policies
import torch
from small_policies import make_tiny, some_problems

from rlvr_helpers import losses, rewards, training
from rlvr_helpers.checkpoints import Checkpoints, name_of
from rlvr_helpers.engine import files
from rlvr_helpers.engine.files import write_whole
from rlvr_helpers.engine.json_files import read_json
from rlvr_helpers.methods import DR_GRPO, GRPO, GSPO
from rlvr_helpers.models import save_policy
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train

SETTINGS = TrainSettings(
    steps=4,
    prompts_per_step=4,
    group_size=4,
    epochs=2,
    minibatches=2,
    learning_rate=5e-3,
    max_tokens=6,
    eval_every=2,
)
KILLED_STEP = 3


def letters(text, gold):
    """A reward between 0 and 1 that differs between the texts of a group."""
    return len(text) % 4 / 4


def weights(policy):
    return torch.cat([value.detach().flatten() for value in policy.model.parameters()]).clone()


def without_seconds(records):
    return [replace(record, seconds={}) for record in records]


def run(folder=None, steps=None, method=GRPO, settings=SETTINGS, reward=letters, policy=None):
    """Records and weights of a run that a new policy makes, up to this step."""
    policy = policy or make_tiny()
    records = []
    for record in train(
        policy, some_problems(), method, settings, reward, some_problems()[:3], folder
    ):
        records.append(record)
        if record.step == steps:
            break
    return without_seconds(records), weights(policy)


def assert_same(one, two):
    assert one[0] == two[0]
    assert torch.equal(one[1], two[1])


@pytest.fixture(scope="module")
def unbroken():
    return run()


# --- resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", [DR_GRPO, replace(GSPO, kl_coef=0.1)], ids=["Dr. GRPO", "GSPO and KL"]
)
@pytest.mark.parametrize("steps", [1, 3])
def test_a_resumed_run_equals_the_unbroken_one(tmp_path, method, steps):
    """A new policy object, made anew from the start model, goes on where the broken run was."""
    run(tmp_path, steps, method)
    assert_same(run(tmp_path, method=method), run(method=method))


def test_a_run_may_be_broken_at_every_step(tmp_path, unbroken):
    for steps in range(1, 5):
        records, _ = run(tmp_path, steps)
        assert records == unbroken[0][:steps]
    assert_same(run(tmp_path), unbroken)


def test_saving_changes_nothing(tmp_path, unbroken):
    assert_same(run(tmp_path), unbroken)


def test_resuming_does_not_need_the_weights_that_the_policy_has(tmp_path, unbroken):
    """The checkpoint's count, and the start model for the KL comes from the folder too."""
    run(tmp_path, 2)
    policy = make_tiny(seed=99)
    assert_same(run(tmp_path, policy=policy), unbroken)


def test_the_records_of_the_steps_that_are_done_come_first(tmp_path, unbroken):
    run(tmp_path, 3)
    asked = []

    @functools.wraps(letters)
    def reward(text, gold):
        asked.append(text)
        return letters(text, gold)

    policy = make_tiny()
    for record in train(
        policy, some_problems(), GRPO, SETTINGS, reward, some_problems()[:3], tmp_path
    ):
        assert replace(record, seconds={}) == unbroken[0][record.step - 1]
        assert len(asked) == 16 * max(record.step - 3, 0), "nothing is sampled again"


def test_a_finished_run_is_there_again_at_once(tmp_path, unbroken):
    run(tmp_path)

    @functools.wraps(letters)
    def reward(text, gold):
        raise AssertionError("there was nothing to do")

    assert_same(run(tmp_path, reward=reward), unbroken)


def test_fewer_steps_than_are_done_are_refused(tmp_path):
    """They would be called finished: a table would show the start beside a model that was trained
    further."""
    run(tmp_path, steps=3)
    with pytest.raises(ValueError, match="holds 3 steps, more than the 2 of these settings"):
        run(tmp_path, settings=replace(SETTINGS, steps=2))
    assert len(run(tmp_path)[0]) == 4


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_stop_between_two_checkpoints_loses_no_step(tmp_path, unbroken, done):
    seldom = replace(SETTINGS, checkpoint_every=3)
    run(tmp_path, steps=done, settings=seldom)

    @functools.wraps(letters)
    def nothing_to_do(text, gold):
        raise AssertionError("a step that was done is made again")

    steps = train(
        make_tiny(), some_problems(), GRPO, seldom, nothing_to_do, some_problems()[:3], tmp_path
    )
    again = [next(steps) for _ in range(done)]
    assert without_seconds(again) == unbroken[0][:done]
    steps.close()  # while old records are given out: nothing new to keep
    assert_same(run(tmp_path, settings=seldom), unbroken)


HOLD = """
import sys
from pathlib import Path
from rlvr_helpers.engine.locks import one_process
with one_process(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_never_train_in_one_folder(tmp_path, unbroken):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], text=True, **pipes)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="another process trains in the folder"):
            run(tmp_path)
    finally:
        other.kill()
        other.communicate()
    assert_same(run(tmp_path), unbroken)


def test_a_cell_runs_again_while_its_stopped_run_still_exists(tmp_path, unbroken):
    arguments = some_problems(), GRPO, SETTINGS, letters, some_problems()[:3], tmp_path
    stopped = train(make_tiny(), *arguments)
    next(stopped)
    again = train(make_tiny(), *arguments)
    assert without_seconds([next(again), next(again)]) == unbroken[0][:2]
    stopped.close()
    assert without_seconds(again) == unbroken[0][2:]


def test_more_steps_than_before_are_allowed(tmp_path):
    """Without held-out problems, whose evaluation after the last step belongs to the record."""
    long, short = SETTINGS, replace(SETTINGS, steps=2)
    results = []
    for settings_of_runs in ([short, long], [long]):
        for settings in settings_of_runs:
            policy = make_tiny()
            folder = tmp_path / str(len(settings_of_runs))
            records = list(train(policy, some_problems(), GRPO, settings, letters, None, folder))
        results.append((without_seconds(records), weights(policy)))
    assert len(results[0][0]) == 4
    assert_same(*results)


def equal_rewards_at(*steps):
    """A reward that gives no group of these steps a signal. It counts its calls, 16 a step, from
    the step it is told."""

    def from_step(first):
        calls = iter(range(16 * (first - 1), 10**6))
        return lambda text, gold: 1.0 if next(calls) // 16 + 1 in steps else letters(text, gold)

    return from_step


@pytest.mark.slow
@pytest.mark.parametrize("steps", [(1,), (2,), (3,), (2, 3), (1, 2)])
def test_resuming_where_no_group_has_a_signal(tmp_path, steps):
    """AdamW moves on by its momentum in a step without gradient. A resumed run must do as the
    unbroken one does, also when the first thing that it meets is such a step."""
    reward = equal_rewards_at(*steps)
    broken_after = max(steps) - 1 or 1
    run(tmp_path, broken_after, reward=reward(1))
    assert_same(run(tmp_path, reward=reward(broken_after + 1)), run(reward=reward(1)))


def test_python_s_and_torch_s_random_states_are_resumed(tmp_path):
    """A reward function may draw numbers of its own."""

    def reward(text, gold):
        return random.random() + float(torch.rand(()))

    def run_from(seed, *args):
        random.seed(seed)
        torch.manual_seed(seed)
        return run(*args, reward=reward)

    expected = run_from(1)
    run_from(1, tmp_path, 2)
    assert_same(run_from(2, tmp_path), expected)


def test_a_run_started_anew_keeps_its_own_start_model(tmp_path):
    """The error about a broken checkpoint says: move it away to start anew. What else lies in the
    folder then is old, and the KL of the new run must not be measured against it."""
    run(tmp_path, 2)
    (tmp_path / "checkpoint.pt").unlink()
    run(tmp_path, 2, policy=make_tiny(seed=5))
    assert_same(run(tmp_path, policy=make_tiny(seed=5)), run(policy=make_tiny(seed=5)))


# --- killed ---------------------------------------------------------------------------------------

KILLED = """
import functools, os, signal, sys
import torch
from test_checkpoints import KILLED_STEP, letters, run

def die_while_rewarding(folder):
    calls = iter(range(10**6))
    @functools.wraps(letters)
    def reward(text, gold):
        if next(calls) == 16 * (KILLED_STEP - 1) + 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return letters(text, gold)
    run(folder, reward=reward)

def die_while_saving(folder):
    calls, save = iter(range(1, 10**6)), torch.save
    def half(state, file):
        if next(calls) == KILLED_STEP + 1:  # the first is the start model's
            import io
            whole = io.BytesIO()
            save(state, whole)
            file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        save(state, file)
    torch.save = half
    run(folder)

for name in ("die_while_rewarding", "die_while_saving"):
    child = os.fork()  # before any work, so that one import serves both
    if child == 0:
        globals()[name](os.path.join(sys.argv[1], name))
        os._exit(0)
    print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Two runs in processes of their own, each killed in step 3: while it rewards, and while it
    saves."""
    folder = tmp_path_factory.mktemp("killed")
    path = os.pathsep.join(
        [
            str(Path(__file__).parent),
            str(Path(small_policies.__file__).parent),
            *filter(None, [os.environ.get("PYTHONPATH")]),
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["die_while_rewarding", "-9", "die_while_saving", "-9"], (
        done.stderr
    )
    return folder


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="processes are killed in this way on POSIX systems only"
)
@pytest.mark.parametrize("name", ["die_while_rewarding", "die_while_saving"])
def test_a_killed_run_loses_at_most_the_step_under_way(killed, unbroken, name):
    folder = killed / name
    saved = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert len(saved["records"]) == KILLED_STEP - 1
    left_behind = [
        file for file in folder.iterdir() if file.name not in ("checkpoint.pt", "start.pt")
    ]
    assert bool(left_behind) == (name == "die_while_saving")
    assert_same(run(folder), unbroken)


# --- saving that fails ----------------------------------------------------------------------------


def half_then(error):
    """A save that writes half of the file and then raises."""
    save = torch.save

    def write(state, file):
        save(state, file)
        file.truncate(file.tell() // 2)
        raise error

    return write


SAVES = {
    "the disk is full": half_then(OSError(28, "No space left on device")),
    "the disk is full, as torch puts it": half_then(
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos")
    ),
    "Stop is pressed": half_then(KeyboardInterrupt()),
}


@pytest.mark.parametrize("write", SAVES.values(), ids=SAVES.keys())
def test_an_interrupted_save_leaves_the_older_checkpoint(tmp_path, monkeypatch, unbroken, write):
    run(tmp_path, 2)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    monkeypatch.setattr(torch, "save", write)
    with pytest.raises((OSError, KeyboardInterrupt)):
        run(tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoint.pt", "start.pt"], (
        "nothing lies about"
    )
    assert_same(run(tmp_path), unbroken)


def test_a_save_that_cannot_be_put_in_place_leaves_the_older_checkpoint(
    tmp_path, monkeypatch, unbroken
):
    run(tmp_path, 2)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(
        OSError, match="could not be written.*Permission denied.*What was saved before is untouched"
    ):
        run(tmp_path)
    monkeypatch.undo()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoint.pt", "start.pt"]
    assert_same(run(tmp_path), unbroken)


@pytest.mark.parametrize("kept", [0, 2])
def test_a_full_disk_meets_a_clear_error(tmp_path, unbroken, kept):
    """A real one as far as the process can tell: the system refuses to write files beyond a few
    thousand bytes."""
    resource = pytest.importorskip(
        "resource", reason="file sizes can be limited on POSIX systems only"
    )
    if kept:
        run(tmp_path, kept)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    policy = make_tiny()
    steps = train(policy, some_problems(), GRPO, SETTINGS, letters, some_problems()[:3], tmp_path)
    for _ in range(kept):
        next(steps)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            next(steps)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = str(caught.value)
    assert (
        "could not be written" in message
        and "Free some disk space" in message
        and "run again" in message
    )
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert weights(policy).isfinite().all()
    assert_same(run(tmp_path), unbroken)


def test_a_folder_that_cannot_be_made_meets_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="'file' is a file, and checkpoints need a folder"):
        run(tmp_path / "file", 1)
    assert (tmp_path / "file").read_text() == "no folder"


def test_write_whole_replaces_a_file_or_leaves_it(tmp_path):
    path = tmp_path / "new" / "result.txt"
    write_whole(path, lambda file: file.write(b"one"))
    write_whole(path, lambda file: file.write(b"two"))
    assert path.read_bytes() == b"two"

    def fail(file):
        file.write(b"thr")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="result.txt could not be written.*No space left.*run again"):
        write_whole(path, fail)
    assert path.read_bytes() == b"two"
    assert [file.name for file in path.parent.iterdir()] == ["result.txt"]


# --- another run's folder, another file -----------------------------------------------------------


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"settings": replace(SETTINGS, learning_rate=1e-3)}, "learning_rate = 0.005, not 0.001"),
        ({"settings": replace(SETTINGS, seed=7)}, "seed = 0, not 7"),
        (
            {"settings": replace(SETTINGS, betas=(0.8, 0.9))},
            r"betas = \(0.9, 0.99\), not \(0.8, 0.9\)",
        ),
        ({"settings": replace(SETTINGS, max_tokens=5)}, "max_tokens = 6, not 5"),
        ({"method": DR_GRPO}, "name = 'GRPO', not 'Dr. GRPO'"),
        ({"method": replace(GRPO, clip_high=0.28)}, "clip_high = 0.2, not 0.28"),
        ({"method": replace(GRPO, kl_coef=0.04)}, "kl_coef = 0.0, not 0.04"),
    ],
)
def test_another_run_s_folder_is_refused_with_the_difference(tmp_path, changes, message):
    """At once, before the first record is asked for, and without touching anything."""
    run(tmp_path, 1)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    policy = make_tiny()
    start = weights(policy)
    options = {"method": GRPO, "settings": SETTINGS} | changes
    with pytest.raises(
        ValueError, match=f"'{tmp_path.name}' holds a run with {message}: choose another folder"
    ):
        train(policy, some_problems(), **options, reward=letters, checkpoint_dir=tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert torch.equal(weights(policy), start)


def test_a_run_of_an_older_version_goes_on(tmp_path, unbroken):
    """Its checkpoint does not know settings that came later: it had their defaults."""
    run(tmp_path, 2)
    state = torch.load(tmp_path / "checkpoint.pt")
    for name in ("eight_bit_optimizer", "eval_every"):
        assert state["identity"]["settings"].pop(name) is not None
    del state["scaler"]
    torch.save(state, tmp_path / "checkpoint.pt")
    # 5 is the default, which this run did not have
    with pytest.raises(ValueError, match="eval_every = 5, not 2"):
        run(tmp_path)
    state["identity"]["settings"]["eval_every"] = 2
    torch.save(state, tmp_path / "checkpoint.pt")
    assert_same(run(tmp_path), unbroken)


def of_another_kind(value):
    return lambda file: torch.save(value, file)


BROKEN = {
    "empty": lambda file: file.write_bytes(b""),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "a byte less": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "text": lambda file: file.write_text("this is no checkpoint"),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "weights alone": of_another_kind({"lm_head.weight": torch.zeros(2, 2)}),
    "a tensor": of_another_kind(torch.zeros(3)),
}


@pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_checkpoint_is_named_and_left_in_place(tmp_path, spoil):
    run(tmp_path, 1)
    file = tmp_path / "checkpoint.pt"
    spoil(file)
    before = file.read_bytes()
    with pytest.raises(
        ValueError,
        match="checkpoint.pt in the folder .* cannot be read.*: move it away to start anew",
    ):
        run(tmp_path)
    assert file.read_bytes() == before


def test_a_checkpoint_with_hostile_content_is_not_run(tmp_path):
    """A checkpoint may come from somebody else: reading it must not run what it says."""

    class Hostile:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'trace')!r}, 'w')",)

    torch.save({"identity": Hostile()}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="cannot be read"):
        run(tmp_path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("spoil", [BROKEN["cut short"], Path.unlink], ids=["cut short", "missing"])
def test_a_broken_start_model_is_named(tmp_path, spoil):
    run(tmp_path, 1)
    spoil(tmp_path / "start.pt")
    with pytest.raises(ValueError, match="start.pt in the folder .* cannot be read"):
        run(tmp_path)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    """The weights do not fit: one clear error, and the policy keeps its own."""
    run(tmp_path, 1)
    policy = make_tiny(hidden_size=32)
    start = weights(policy)
    with pytest.raises(ValueError, match="model"):
        run(tmp_path, policy=policy)
    assert torch.equal(weights(policy), start)


def test_a_run_and_a_saved_policy_may_share_a_folder(tmp_path, unbroken):
    """Saving the model beside the checkpoint disturbs neither."""
    policy = make_tiny()
    run(tmp_path, 2, policy=policy)
    save_policy(policy, tmp_path)
    assert_same(run(tmp_path), unbroken)


# --- damage ---------------------------------------------------------------------------------------


def same(one, two) -> bool:
    """Whether two nested states hold the same numbers."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two


@pytest.mark.parametrize("name", ["checkpoint.pt", "start.pt"])
def test_a_single_flipped_bit_is_noticed_or_changes_nothing(tmp_path, name):
    """torch.load reads such a file without a word."""
    run(tmp_path, 1)
    kept = Checkpoints(tmp_path, GRPO, SETTINGS)
    whole, state = (tmp_path / name).read_bytes(), kept._load(tmp_path / name)
    draw, refused = random.Random(0), 0
    for _ in range(150):
        place, bit = draw.randrange(len(whole)), draw.randrange(8)
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        (tmp_path / name).write_bytes(damaged)
        try:
            assert same(kept._load(tmp_path / name), state), f"bit {bit} of byte {place}"
        except ValueError as error:
            assert "cannot be read" in str(error)
            refused += 1
    assert refused > 50, "the rest of the file pads the tensors"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["model", "optimizer", "start"])
def test_numbers_that_are_not_finite_are_refused(tmp_path, part, value):
    run(tmp_path, 1)
    file = tmp_path / ("start.pt" if part == "start" else "checkpoint.pt")
    state = torch.load(file)
    tensors = {
        "model": state.get("model"),
        "optimizer": state.get("optimizer", {}).get("state", {}).get(0),
    }.get(part, state)
    next(iter(t for t in tensors.values() if t.dim())).view(-1)[3] = value
    torch.save(state, file)
    policy = make_tiny()
    with pytest.raises(
        ValueError, match=f"{file.name} in the folder .* numbers that are not finite"
    ):
        run(tmp_path, policy=policy)
    assert torch.equal(weights(policy), weights(make_tiny()))


BAD_RECORDS = {
    "none": lambda records: records.clear(),
    "null": lambda records: records.__setitem__(0, None),
    "no number": lambda records: records[0].update(loss=None),
    "NaN": lambda records: records[0].update(reward_mean=float("nan")),
    "a field less": lambda records: records[0].pop("loss"),
    "a field more": lambda records: records[0].update(fun=1),
    "a text for a number": lambda records: records[0].update(tokens="9"),
    "another step": lambda records: records[0].update(step=2),
}


@pytest.mark.parametrize("spoil", BAD_RECORDS.values(), ids=BAD_RECORDS.keys())
def test_a_checkpoint_with_bad_records_is_refused(tmp_path, spoil):
    run(tmp_path, 1)
    state = torch.load(tmp_path / "checkpoint.pt")
    spoil(state["records"])
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(
        ValueError, match="checkpoint.pt in the folder .* cannot be read .*[rR]ecord"
    ):
        run(tmp_path)


def test_a_checkpoint_that_could_run_code_is_refused_without_advice_to_let_it(tmp_path):
    for save in (torch.save, lambda value, file: file.write_bytes(pickle.dumps(value))):
        save({"identity": Path("x")}, tmp_path / "checkpoint.pt")
        with pytest.raises(ValueError, match="cannot be read") as caught:
            run(tmp_path)
        assert "weights_only" not in str(caught.value) and len(str(caught.value)) < 200


def test_what_a_dead_process_left_half_written_is_removed_at_the_start(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name, pid in (
        ("checkpoint.pt", dead.pid),
        ("start.pt", dead.pid),
        ("checkpoint.pt", os.getppid()),
    ):
        (tmp_path / f".{name}.part{pid}").write_bytes(b"half")
    train(make_tiny(), some_problems(), GRPO, SETTINGS, letters, checkpoint_dir=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [f".checkpoint.pt.part{os.getppid()}"]


# --- what a run is made of ------------------------------------------------------------------------


def other_letters(text, gold):
    return len(text) % 3 / 3


def paying(bonus, words=("a",)):
    return lambda text, gold: bonus * (text in words)


def other_loss(*args):
    return losses.policy_loss(*args)


class Paying:
    def __init__(self, bonus):
        self.bonus = bonus

    def __call__(self, text, gold):
        return self.bonus

    def reward(self, text, gold):
        return self.bonus


class Held:
    """Values that a reward holds. `other` is an object of its own, as a client of a server is."""

    def __init__(self, bonus):
        self.bonus = bonus
        self.other = threading.local()


def edited(source):
    """A function as a cell of a notebook defines it: edited, it keeps its name."""
    scope = {"__name__": "__main__"}
    exec(f"def reward(text, gold):\n    {source}", scope)
    return scope["reward"]


REWARDS = {
    "functions": (letters, other_letters),
    "lambdas": (lambda text, gold: 1.0 * len(text), lambda text, gold: 2.0 * len(text)),
    "closures": (paying(0.5), paying(0.25)),
    "lists that closures hold": (paying(0.5, ["a", "b"]), paying(0.5, ["a", "c"])),
    "partials": (functools.partial(letters, gold="1"), functools.partial(letters, gold="2")),
    "partials of others": (functools.partial(letters), functools.partial(other_letters)),
    "objects": (Paying(0.5), Paying(0.25)),
    "methods": (Paying(0.5).reward, Paying(0.25).reward),
    "an edited cell": (edited("return 1.0 * ('a' in text)"), edited("return 1.0 * ('b' in text)")),
    "other constants in a set": (
        edited("return text in {'a', 'b'}"),
        edited("return text in {'a', 'c'}"),
    ),
    "of the course": (rewards.correctness_reward, rewards.format_reward),
    "long arrays": (paying(np.zeros(2000)), paying(np.arange(2000) == 1000)),
    "the last digits of a tensor": (paying(torch.tensor(1.000001)), paying(torch.tensor(1.000002))),
    "objects that closures hold": (paying(Held(0.5)), paying(Held(0.25))),
    "objects in a list": (paying(1.0, [Held(0.5)]), paying(1.0, [Held(0.25)])),
    "objects that partials hold": (
        functools.partial(letters, Held(0.5)),
        functools.partial(letters, Held(0.25)),
    ),
}


@pytest.mark.parametrize("one, other", REWARDS.values(), ids=REWARDS.keys())
def test_another_reward_has_another_name(one, other):
    assert name_of(one) != name_of(other)
    assert " at 0x" not in name_of(one)


def test_the_same_reward_has_the_same_name():
    for make in (
        lambda: paying(0.5),
        lambda: Paying(0.5),
        lambda: Paying(0.5).reward,
        lambda: edited("return 'a'"),
    ):
        assert name_of(make()) == name_of(make())
    documented = edited("'''What it does.'''; return 'a'")
    assert name_of(documented) == name_of(edited("'''In other words.'''; return 'a'"))
    assert name_of(functools.wraps(letters)(paying(1))) == name_of(letters)
    assert name_of(rewards.correctness_reward) == "rlvr_helpers.rewards.correctness_reward"


def test_a_reward_has_the_same_name_in_another_process():
    code = (
        "from test_checkpoints import *; print([name_of(r) for pair in REWARDS.values() for r in"
        " pair])"
    )
    path = os.pathsep.join(
        [
            str(Path(__file__).parent),
            str(Path(small_policies.__file__).parent),
            *filter(None, [os.environ.get("PYTHONPATH")]),
        ]
    )
    seeds = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert seeds[0] == seeds[1] and "test_checkpoints.letters" in seeds[0]


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"reward": other_letters},
            "reward = 'test_checkpoints.letters .*', not 'test_checkpoints.other_letters",
        ),
        ({"problems": some_problems()[::-1]}, r"problems = '6 \(.*', not '6 \("),
        ({"problems": some_problems()[:5]}, r"problems = '6 \(.*', not '5 \("),
        ({"eval_problems": some_problems()[:2]}, r"eval_problems = '3 \(.*', not '2 \("),
        ({"eval_problems": None}, r"eval_problems = '3 \(.*', not '0 \("),
        (
            {"stages": training.Stages(loss=other_loss)},
            "loss = 'rlvr_helpers.losses.policy_loss', not 'test_checkpoints.other_loss",
        ),
    ],
)
def test_a_run_is_not_resumed_with_another_reward_or_other_problems(
    tmp_path, unbroken, changes, message
):
    run(tmp_path, 1)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    given = {
        "problems": some_problems(),
        "reward": letters,
        "eval_problems": some_problems()[:3],
    } | changes
    with pytest.raises(ValueError, match=f"'{tmp_path.name}' holds a run with {message}"):
        train(make_tiny(), method=GRPO, settings=SETTINGS, checkpoint_dir=tmp_path, **given)
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert_same(run(tmp_path), unbroken)


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("system_prompt", "Ben has", "prompt = .*, not .*Ben has"),
        ("examples", (("5", "5"),), "prompt = "),
        ("chat", False, "prompt = "),
        ("end_ids", (1,), "end_ids = .*, not '.1.'"),
    ],
)
def test_a_run_is_not_resumed_with_another_prompt_or_other_end_tokens(tmp_path, name, value, said):
    run(tmp_path, 1)
    policy = make_tiny()
    setattr(policy, name, value)
    with pytest.raises(ValueError, match=f"holds a run with {said}"):
        run(tmp_path, policy=policy)


def test_a_checkpoint_of_an_older_version_does_not_say_what_its_reward_was(tmp_path, unbroken):
    """It is resumed, and the next one says it."""
    run(tmp_path, 2)
    state = torch.load(tmp_path / "checkpoint.pt")
    del state["identity"]["data"]
    torch.save(state, tmp_path / "checkpoint.pt")
    assert_same(run(tmp_path), unbroken)
    with pytest.raises(ValueError, match="reward = "):
        run(tmp_path, reward=other_letters)


# --- a start model that runs share ----------------------------------------------------------------


def run_beside(folder, method, steps=None, policy=None):
    """A run in a folder of its own, whose start model lies beside it."""
    policy, records = policy or make_tiny(), []
    own = folder / method.name
    for record in train(
        policy,
        some_problems(),
        method,
        SETTINGS,
        letters,
        some_problems()[:3],
        own,
        start_file=folder / "start.pt",
    ):
        records.append(record)
        if record.step == steps:
            break
    return without_seconds(records), weights(policy)


def test_runs_from_one_start_model_keep_it_once(tmp_path, unbroken):
    run_beside(tmp_path, GRPO, 2)
    run_beside(tmp_path, DR_GRPO, 1)
    assert [file.relative_to(tmp_path).name for file in tmp_path.rglob("start.pt")] == ["start.pt"]
    assert_same(run_beside(tmp_path, GRPO), unbroken)


def test_a_start_model_that_runs_share_is_not_overwritten(tmp_path, unbroken):
    run_beside(tmp_path, GRPO, 2)
    with pytest.raises(
        ValueError, match="start.pt in the folder .* is another start model, of other runs there"
    ):
        run_beside(tmp_path, DR_GRPO, policy=make_tiny(seed=5))
    assert_same(run_beside(tmp_path, GRPO), unbroken)


def test_a_run_that_kept_its_own_start_model_is_resumed_with_it(tmp_path, unbroken):
    run(tmp_path / "GRPO", 2)
    assert_same(run_beside(tmp_path, GRPO), unbroken)
    assert not (tmp_path / "start.pt").exists()


# --- JSON that is read back -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "3",
        "{",
        '{"a": NaN}',
        "[" * 200_000,
        '{"a":' * 200_000,
        "\udcff",
        "not json",
    ],
)
def test_json_that_is_no_object_is_one_clear_error(tmp_path, text):
    file = tmp_path / "comparison.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match="comparison.json in the folder .* move it away"):
        read_json(file)
