"""A comparison of methods: the same start, problems, noise and token budget for each, several
seeds."""

import json
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from rlvr_helpers.checkpoints import Checkpoints, identity_of
from rlvr_helpers.engine.files import remove_dead_parts, write_whole
from rlvr_helpers.engine.json_files import read_json
from rlvr_helpers.engine.large import DTYPES, add_lora, merge_lora
from rlvr_helpers.engine.locks import one_owner
from rlvr_helpers.engine.names import check_importable, name_of
from rlvr_helpers.engine.parallel import side_by_side
from rlvr_helpers.methods import DR_GRPO, GRPO, GSPO, Method
from rlvr_helpers.models import Policy, load_policy, save_policy
from rlvr_helpers.problems import Problem, load_problems
from rlvr_helpers.records import StepRecord
from rlvr_helpers.rewards import REWARDS
from rlvr_helpers.study.recipes import problems_for
from rlvr_helpers.study.runs import Run, load_run, provenance, save_run
from rlvr_helpers.train_settings import TrainSettings
from rlvr_helpers.training import train

USUAL_REWARD = "correctness"


@dataclass(frozen=True)
class Comparison:
    """What is compared: every method with every seed, on one policy. Everything but the method is
    shared.

    problems: a source of `load_problems`. None: what suits the policy.
    out: folder for the runs (one JSON file each), their checkpoints and the trained models. None
        keeps nothing.
    eval_count: held-out problems that are evaluated, the first ones of `eval_split`. Those of
        "train" are kept out of training, as the original comparison did.
    workers: runs that are made side by side, each in a process of its own with one thread. 1: one
        after the other.
    reward: a name in `rewards.REWARDS`. None: "correctness".
    scorer: a scorer of your own in place of a reward (`rewards.as_scorer`). Answers need not be
        numbers then. Several workers import it by its name.
    lora_rank: train LoRA of this rank instead of all weights.
    compute: dtype of matrix multiplications, a name in `large.DTYPES`. None: what suits the
        device.
    faults: of the original comparison, put back: "chat_template", "end_tokens", "float32_masters"
        (see `presets`).
    calibrate: find the clip range of sequence-level methods by a pilot first (`with_calibration`).
    """

    policy: str = "tiny"
    methods: tuple[Method, ...] = (GRPO, DR_GRPO, GSPO)
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: TrainSettings = field(default_factory=TrainSettings)
    problems: str | None = None
    eval_count: int = 200
    out: str | Path | None = None
    workers: int = 1
    eval_split: str = "test"
    reward: str | None = None
    lora_rank: int | None = None
    compute: str | None = None
    faults: tuple[str, ...] = ()
    calibrate: bool = False
    scorer: Callable[..., float | dict[str, float]] | None = None

    def __post_init__(self) -> None:
        # Each method and each seed makes a folder of its own.
        names = [folder_name(method) for method in self.methods]
        for what, items in (("methods", names), ("seeds", self.seeds)):
            if not items or len(set(items)) < len(items):
                raise ValueError(
                    f"{what} must be one or more, each once (methods by name), not {list(items)}"
                )
        # What pays, and whether other processes can import it.
        if self.scorer is not None and self.reward is not None:
            raise ValueError("give a reward or a scorer, not both (reward=None, or scorer=None)")
        if self.scorer is not None and self.workers > 1:
            check_importable(self.scorer, "scorer")
        for method in self.methods if self.workers > 1 else ():
            for own in (method.objective, method.clip_share):
                check_importable(own, "objective")
        if self.eval_count < 1 or self.workers < 1:
            raise ValueError(
                f"eval_count and workers must be at least 1, not {self.eval_count} and"
                f" {self.workers}"
            )

    @property
    def source(self) -> str:
        """Where the problems come from."""
        return self.problems or problems_for(self.policy)

    @property
    def pays(self) -> dict[str, Callable | None]:
        """The reward or the scorer, as `train` takes them."""
        reward = None if self.scorer else REWARDS[self.reward or USUAL_REWARD]
        return {"reward": reward, "scorer": self.scorer}

    @property
    def _more(self) -> dict:
        """The fields that are part of what a run is, by name, as a file keeps them."""
        names = ("eval_count", "eval_split", "lora_rank", "compute")
        weights = getattr(self.scorer, "weights", None)
        scorer = name_of(self.scorer) if self.scorer else None
        return {name: getattr(self, name) for name in names} | {
            "reward": None if scorer else self.reward or USUAL_REWARD,
            "faults": self.faults,
            "scorer": f"{scorer} with weights {weights}" if weights else scorer,
        }

    @property
    def identity(self) -> dict:
        """What makes a run what it is, beside its method and settings, as it is read back from a
        file."""
        own = self._more | {"faults": list(self.faults)}
        return {"policy": self.policy, "source": self.source} | own

    def new_run(self, method: Method, seed: int) -> Run:
        """A run of this comparison that has no records yet."""
        # Only what differs from the usual is written down.
        usual = Comparison()
        mine = self._more | {"calibrate": self.calibrate}
        theirs = usual._more | {"calibrate": usual.calibrate}
        more = {name: value for name, value in mine.items() if value != theirs[name]}
        more = {"eval_count": self.eval_count} | more
        return Run(
            method,
            replace(self.settings, seed=seed),
            [],
            provenance=provenance(self.policy, self.source, **more),
        )

    def cases(self) -> list[tuple[Method, int]]:
        """All (method, seed) pairs, seed by seed, so that a stopped comparison holds whole
        comparisons."""
        return [(method, seed) for seed in self.seeds for method in self.methods]

    def folder(self, method: Method, seed: int) -> Path | None:
        if self.out is None:
            return None
        return Path(self.out) / f"{folder_name(method)}-seed{seed}"


def folder_name(method: Method) -> str:
    """The method's name as a part of a file's name."""
    return re.sub(r"[^\w+-]+", "_", method.name.lower())


@dataclass(frozen=True)
class Progress:
    """One record of a comparison that is under way.

    done, total: steps of all runs. run_steps: the length of this run. read_back: the run was
        finished before, and this record comes from its file.
    """

    method: Method
    seed: int
    record: StepRecord
    done: int
    total: int
    run_steps: int
    read_back: bool = False


def run_comparison(comparison: Comparison, results: dict[str, list[Run]]) -> Iterator[Progress]:
    """Runs what is not done yet and yields every record. Runs are put into `results` by method
    name, seeds in order.

    With an `out` folder each run is checkpointed (`TrainSettings.checkpoint_every`), saved when it
    ends and read back next time. Its checkpoint is removed once it is saved, and the start model
    that the runs share once all are.
    """
    cases = comparison.cases()
    tasks = [(comparison, method, seed) for method, seed in cases]
    if comparison.workers > 1:
        # Run them in this process one after the other, or in several.
        items = side_by_side(run_case, tasks, comparison.workers)
    else:
        items = ((number, item) for number, task in enumerate(tasks) for item in run_case(task))
    # Collect the records of all runs, as they come.
    runs: dict[int, Run] = {}
    done = 0
    total = comparison.settings.steps * len(cases)
    try:
        for number, item in items:
            # The run as it was saved, in place of what was collected here.
            if isinstance(item, Run):
                runs[number] = item
                continue
            record, read_back = item
            if number not in runs:
                runs[number] = comparison.new_run(*cases[number])
            runs[number].records.append(record)
            done += 1
            yield Progress(
                *cases[number], record, done, total, comparison.settings.steps, read_back
            )
        if comparison.out is not None:
            remove_start_model(Path(comparison.out))
    # Also if the reader stops in the middle of a run: what there is can be looked at.
    finally:
        items.close()
        for number in sorted(runs):
            results.setdefault(runs[number].method.name, []).append(runs[number])


def run_case(
    task: tuple[Comparison, Method, int], trainer: Callable[..., Iterator[StepRecord]] = train
) -> Iterator[tuple[StepRecord, bool] | Run]:
    """One run: each record and whether it was read back from a finished run, and at last the run as
    it is saved.

    Raises ValueError if another command is at work on this run.
    """
    folder = task[0].folder(*task[1:])
    # A finished run is only read.
    finished = folder and (folder / "run.json").exists()
    with one_owner(None if finished else folder):
        yield from _run_case(*task, trainer)


def _run_case(
    comparison: Comparison, method: Method, seed: int, trainer: Callable[..., Iterator[StepRecord]]
) -> Iterator[tuple[StepRecord, bool] | Run]:
    # A run that was finished before is read back.
    folder = comparison.folder(method, seed)
    run = comparison.new_run(method, seed)
    finished = read_finished(folder, method, run.settings)
    if folder:
        check_identity(folder, comparison)
    if finished:
        # The command can have been killed before it came to that.
        remove_checkpoint(folder)
        yield from ((record, True) for record in finished.records)
        yield finished
        return
    policy = start_policy(comparison, seed)
    problems, eval_problems = split_problems(comparison)
    # Written last, so that a failed load does not claim the folder.
    kept = {}
    if folder:
        remove_dead_parts(folder)
        keep_identity(folder, comparison)
        kept = {"checkpoint_dir": folder / "checkpoint", "start_file": folder.parent / "start.pt"}
    # Train, and keep the trained model as a plain one.
    for record in trainer(
        policy,
        problems,
        method,
        settings=run.settings,
        eval_problems=eval_problems,
        **comparison.pays,
        **kept,
    ):
        run.records.append(record)
        yield record, False
    merge_lora(policy.model)
    if folder:
        save_policy(policy, folder / "model")
        save_run(run, folder / "run.json")
        remove_checkpoint(folder)
    yield run


def remove_checkpoint(folder: Path) -> None:
    """Frees the disk of a checkpoint, several times as large as the model, whose run is saved."""
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)


def remove_start_model(out: Path) -> None:
    """Removes the start model that the runs of a comparison share, unless one of them can be
    resumed."""
    if not any(out.glob("*/checkpoint")):
        (out / "start.pt").unlink(missing_ok=True)


def keep_identity(folder: Path, comparison: Comparison) -> None:
    """Writes what a run is beside it, once."""
    file = folder / "comparison.json"
    # A run of an older version has none.
    if not file.exists() and not (folder / "run.json").exists():
        write_whole(file, lambda f: f.write(json.dumps(comparison.identity).encode()))


def check_identity(folder: Path, comparison: Comparison) -> None:
    """Raises ValueError if the folder holds another run. We must neither resume from its checkpoint
    nor report its result as ours."""
    file = folder / "comparison.json"
    found = read_json(file) if file.exists() else comparison.identity
    for name, value in comparison.identity.items():
        if found.get(name) != value:
            raise ValueError(
                f"{folder.name!r} holds a run with {name} = {found.get(name)!r}, not {value!r}:"
                " choose another folder for `out`"
            )


def start_policy(comparison: Comparison, seed: int = 0) -> Policy:
    """The policy that a run of the comparison starts from."""
    # Load it, with the faults of the original comparison if they are asked for.
    dtype = torch.bfloat16 if "float32_masters" in comparison.faults else torch.float32
    compute_dtype = DTYPES[comparison.compute] if comparison.compute else None
    policy = load_policy(comparison.policy, dtype=dtype, compute_dtype=compute_dtype)
    if "chat_template" in comparison.faults:
        policy.chat = False
    if "end_tokens" in comparison.faults:
        policy.end_ids = (policy.tokenizer.eos_token_id,)
    if comparison.lora_rank:
        torch.manual_seed(seed)
        add_lora(policy.model, comparison.lora_rank)
    return policy


def split_problems(comparison: Comparison) -> tuple[list[Problem], list[Problem]]:
    """The problems to train on and those to evaluate on."""
    # A scorer of your own judges answers of any kind.
    numbers = comparison.scorer is None
    problems = load_problems("train", comparison.source, numbers)
    count = comparison.eval_count
    if comparison.eval_split == "train":
        return problems[count:], problems[:count]
    return problems, load_problems("test", comparison.source, numbers)[:count]


def read_finished(folder: Path | None, method: Method, settings: TrainSettings) -> Run | None:
    """The saved run of a folder. Raises ValueError if it was made with another method or other
    settings."""
    if folder is None or not (folder / "run.json").exists():
        return None
    # Steps count too: a longer run is another run.
    run = load_run(folder / "run.json")
    same = (
        identity_of(run.settings) == identity_of(settings) and run.settings.steps == settings.steps
    )
    if run.method.to_dict() != method.to_dict() or not same:
        raise ValueError(
            f"{folder.name!r} holds a run with other settings: choose another folder for `out`, or"
            f" repeat with {run.method} and {run.settings}"
        )
    return run


def load_trained(comparison: Comparison, method: Method, seed: int = 0) -> tuple[Policy, Policy]:
    """The start policy, and the one that a run of the comparison trained, from its folder.

    Of a run that was stopped it is the one of its last checkpoint, and a warning says of which
    step. Raises ValueError if there is none yet.
    """
    folder = comparison.folder(method, seed)
    # The trained weights: of a finished run, or of one that was stopped.
    if folder is not None and (folder / "model").is_dir():
        trained = load_policy(str(folder / "model"))
    elif folder is not None and (folder / "checkpoint" / "checkpoint.pt").exists():
        trained = start_policy(comparison, seed)
        step = Checkpoints(folder / "checkpoint", method, comparison.settings).load_weights(
            trained.model
        )
        merge_lora(trained.model)
        warnings.warn(
            f"{method.name} with seed {seed} was stopped: this is its model after step {step}",
            stacklevel=2,
        )
    else:
        raise ValueError(
            f"{method.name} with seed {seed} has no trained model yet: let its run take a step"
            " first"
        )
    # Both are prompted alike.
    start = start_policy(replace(comparison, lora_rank=None))
    for name in ("problems", "system_prompt", "examples", "chat", "end_ids", "compute_dtype"):
        setattr(trained, name, getattr(start, name))
    return start, trained
