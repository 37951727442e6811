"""Everything worth measuring on a rented GPU in one command, within a number of minutes.

    python -m rlvr_helpers.tools.gpu_session --minutes 9 --out gpu --model runs/warm

Stages, in order of value, each in a process of its own with a time limit:

    smoke      is the GPU path correct: graph against eager decoding, attention plans, packed
               against plain scoring
    benchmark  a step of the original comparison's workload, beside the script's way, and peak
               memory against `memory`
    train      the three methods with several seeds from one start model, for as long as the budget
               allows
    notebook   notebook 09, executed here

What is found is written at once to `findings.jsonl`, a JSON object per line. A stage that the
budget cannot hold is skipped and named. The table at the end is also in `table.txt`. `--quick` runs
everything at a small size on a CPU.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rlvr_helpers.tools.gpu_findings import COMMAND, FINDINGS

TABLE = "table.txt"


@dataclass(frozen=True)
class Stage:
    """When and how long a stage runs.

    share: its share of what is left of the budget
    least: seconds below which it is not worth a start
    quick: the same with --quick
    """

    share: float
    least: float
    quick: float


STAGES = {
    "smoke": Stage(share=0.20, least=45, quick=15),
    "benchmark": Stage(share=0.25, least=75, quick=15),
    "train": Stage(share=0.35, least=90, quick=15),
    "notebook": Stage(share=0.20, least=75, quick=20),
}
# The share of its limit that a stage must not plan with, since starting Python takes some of it.
SPARE = 0.15


def main(arguments: list[str] | None = None) -> int:
    """The command: 0 if every stage that was asked for is done, 1 if one failed, was stopped or
    skipped."""
    options = parser()
    args = options.parse_args(arguments)
    if args.one_stage:
        # Imported here, so that a session itself starts at once and holds no GPU.
        from rlvr_helpers.tools import gpu_stages

        gpu_stages.run(args.one_stage, args)
        return 0
    # Run the stages one by one, within what is left.
    names = stages_of(options, args)
    args.out.mkdir(parents=True, exist_ok=True)
    print(
        f"{', '.join(names)}: at most {args.minutes:g} minutes; findings go to"
        f" {args.out.as_posix()}",
        flush=True,
    )
    results = {}
    ends = time.monotonic() + 60 * args.minutes
    try:
        for name in names:
            results[name] = run_stage(
                name, names[names.index(name) :], ends - time.monotonic(), args=args
            )
            print(f"  {name}: {results[name]['result']}", flush=True)
    except KeyboardInterrupt:
        print("stopped; this is what there is", flush=True)
    # The table of all that was found.
    text = table(results, read_findings(args.out / FINDINGS))
    print("\n" + text)
    (args.out / TABLE).write_text(text + "\n", encoding="utf-8")
    return 0 if all(results.get(name, {}).get("result") == "done" for name in names) else 1


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(prog=COMMAND, description=__doc__.partition("\n")[0])
    add = options.add_argument
    # How long, and where the findings go.
    add("--minutes", type=float, default=9, help="the whole budget; default: 9")
    add(
        "--out",
        type=Path,
        required=True,
        help="a new folder for findings, table, logs, runs and the notebook",
    )
    add(
        # What is measured, and on what.
        "--stages",
        default=",".join(STAGES),
        help=f"of {','.join(STAGES)}, run in this order; default: all",
    )
    add(
        "--model",
        help=(
            "for train and notebook: a policy's name or a folder; default: the largest that is here"
            " and fits"
        ),
    )
    add(
        "--quick",
        action="store_true",
        help="a small model and small sizes, on a CPU, to see that it works",
    )
    # How a session starts its own stages.
    add("--one-stage", choices=STAGES, help=argparse.SUPPRESS)
    add("--seconds", type=float, help=argparse.SUPPRESS)
    return options


def stages_of(options: argparse.ArgumentParser, args: argparse.Namespace) -> list[str]:
    """The stages that are asked for, in order of value. Ends the program with a message if there
    can be no session."""
    # Each thing that would end a session later.
    asked = args.stages.split(",")
    unknown = [name for name in asked if name not in STAGES]
    if unknown:
        options.error(f"--stages: there is no stage {unknown[0]!r}; there are {', '.join(STAGES)}")
    if not 0 < args.minutes < 60 * 24:
        options.error(f"--minutes must be above 0 and less than a day, not {args.minutes:g}")
    if (args.out / FINDINGS).exists():
        options.error(
            f"{args.out.name!r} holds the findings of another session: choose a new folder for"
            " --out"
        )
    if not args.quick and not gpu_is_here():
        options.error(
            "there is no CUDA GPU here (or RLVR_DEVICE sets it aside): --quick runs every stage at"
            " a small size on a CPU"
        )
    return [name for name in STAGES if name in asked]


def gpu_is_here() -> bool:
    """Whether there is a GPU, and RLVR_DEVICE does not rule it out."""
    from rlvr_helpers.models import default_device

    return default_device().type == "cuda"


def run_stage(name: str, still: list[str], left: float, args: argparse.Namespace) -> dict:
    """Runs one stage in a process of its own. Returns its result in words, its seconds and its
    limit.

    still: this stage and those after it
    left:  seconds of the budget
    """
    stage = STAGES[name]
    least = stage.quick if args.quick else stage.least
    if left < least:
        return {
            "result": f"skipped: {max(left, 0):.0f} s are left and it needs {least:.0f}",
            "seconds": 0.0,
            "limit": 0.0,
        }
    # Its share of the time, and its command.
    limit = max(least, left * stage.share / sum(STAGES[each].share for each in still))
    given = ["--one-stage", name, "--seconds", f"{limit * (1 - SPARE):.1f}", "--out", str(args.out)]
    given += ["--model", args.model] if args.model else []
    given += ["--quick"] if args.quick else []
    # Run it, and end it at its limit.
    began = time.monotonic()
    log = args.out / f"{name}.log"
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, *COMMAND.split()[1:], *given],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(args.quick),
            start_new_session=True,
        )
        try:
            code = process.wait(limit)
            result = "done" if code == 0 else f"failed: {last_line(log)}"
        except subprocess.TimeoutExpired:
            result = f"stopped at its limit of {limit:.0f} s"
        finally:
            end(process)
    return {"result": result, "seconds": time.monotonic() - began, "limit": limit}


def environment(quick: bool) -> dict[str, str]:
    """Of a stage: nothing is downloaded within its limit, and the package is found from any
    folder."""
    here = str(Path(__file__).resolve().parents[2])
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    # What the caller has set wins, but for the path to the package.
    return {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        **({"RLVR_DEVICE": "cpu"} if quick else {}),
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
    }


def end(process: subprocess.Popen) -> None:
    """Ends a stage with all that it started (a notebook's kernel)."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        # All of it has ended.
        pass
    process.wait()


def last_line(log: Path) -> str:
    """The last line of a log, which says what failed."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{lines[-1][:200]} ({log.name} says more)" if lines else f"{log.name} is empty"


# -- findings and the table -----------------------------------------------------------------------


def read_findings(file: Path) -> list[dict]:
    """What the stages wrote. A last line that was cut off by a time limit is left out."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def table(results: dict[str, dict], findings: list[dict]) -> str:
    """The machine and how each stage went, then what it found, a line each."""
    lines = [found["shown"] for found in findings if found["what"] == "machine"][:1]
    lines.append(f"{'stage':<10} {'seconds':>7} {'limit':>6}  result")
    for name, stage in results.items():
        lines.append(
            f"{name:<10} {stage['seconds']:>7.0f} {stage['limit']:>6.0f}  {stage['result']}"
        )
    # What each stage found, indented below its name.
    for name in results:
        shown = [found for found in findings if found["stage"] == name and "shown" in found]
        shown = [found for found in shown if found["what"] != "machine"]
        lines += ["", name] if shown else []
        for found in shown:
            first, *more = found["shown"].splitlines()
            lines += [f"  {found['what']}: {first}", *(f"    {line}".rstrip() for line in more)]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
