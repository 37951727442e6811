"""The live dashboard of a training run.

No pyplot here and no notebook globals: JupyterLab runs widget callbacks on a second thread while a
cell is running.
"""

import html
import itertools
import os
import time
from collections.abc import Iterable, Iterator

import ipywidgets
from IPython.display import DisplayHandle, display
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from rlvr_helpers import plots
from rlvr_helpers.engine.interrupts import finishing_steps
from rlvr_helpers.methods import Method
from rlvr_helpers.records import StepRecord
from rlvr_helpers.widgets.explorer import answers_at_once

SECONDS_BETWEEN_PICTURES = 2.0  # a picture takes about 0.1 s, which training would rather have
FEW = 4  # steps of a run where the variable RLVR_FAST is set, as in browser tests


def progress_bar(steps: Iterable, total: int, label: str) -> Iterator:
    """Passes on `steps` under a progress bar with the time left: for an experiment that needs no
    dashboard.

    Interrupting the kernel ends it and keeps what there is.
    """
    bar = tqdm(_few(steps), total=total, desc=label)
    try:
        yield from bar
    except KeyboardInterrupt:
        bar.set_description(f"{label}, stopped")
    finally:
        bar.close()


def _few(steps: Iterable) -> Iterable:
    return itertools.islice(steps, FEW) if os.environ.get("RLVR_FAST") else steps


class TrainingDashboard:
    """A live picture of training with a progress bar, the time left and a Stop button that keeps
    what was learnt.

        dashboard = TrainingDashboard(total_steps=30, method=GRPO)
        records = list(dashboard.watch(train(policy, problems, GRPO, TrainSettings(steps=30))))

    Interrupting the kernel does what Stop does. At the end the live picture is replaced by a still
    one, so that the saved notebook shows it without a kernel.

    name: what the titles call the run, by default the method. simple: only the reward is shown
    until the button "All panels" is pressed.
    """

    def __init__(
        self,
        total_steps: int,
        method: Method | None = None,
        name: str | None = None,
        simple: bool = False,
    ) -> None:
        self.total_steps = total_steps
        self.method = method
        self.name = name
        self.simple = simple
        self._label = name or (method.name if method else "")
        # a comparison makes several side by side
        self._runs: dict[str, list[StepRecord]] = {self._label: []}
        self.taken = 0  # records of all runs
        self.stopped = False
        self.read_back = 0  # steps that came from the files of finished runs
        self._started = time.monotonic()
        self._drawn = 0.0
        self.bar = ipywidgets.IntProgress(max=total_steps, layout={"width": "320px"})
        self.stop_button = ipywidgets.Button(
            description="Stop", tooltip="Stop after this step and keep what was learnt"
        )
        self.stop_button.on_click(self.stop)
        self.status = ipywidgets.HTML("Starting: the first rollout is being sampled.")
        self.image = ipywidgets.HTML()
        self.completions = ipywidgets.HTML()  # of one held-out problem, before training and now
        self.all_button = ipywidgets.Button(description="All panels")
        self.all_button.on_click(self.show_all)
        buttons = [self.stop_button, *([self.all_button] if simple else [])]
        controls = ipywidgets.HBox([self.bar, *buttons, self.status])
        self.box = ipywidgets.VBox([controls, self.image, self.completions])
        answers_at_once(self.stop_button, self.all_button)

    def stop(self, _: object = None) -> None:
        """Asks for a stop; the step under way is finished first."""
        self.stopped = True
        self.status.value = "Stopping after this step."

    def show_all(self, _: object = None) -> None:
        """Shows all panels from now on."""
        self.simple = False
        self._drawn = 0.0

    def watch(self, steps: Iterable) -> Iterator:
        """Passes on records (of `train`) or progress (of `run_comparison`) and shows them as they
        come."""
        handle = display(self.box, display_id=True)
        few = _few(steps) if self.method else steps  # a comparison is shortened where it is planned
        try:
            with finishing_steps(self.stop):
                for item in few:
                    self.show(item)
                    yield item
                    if self.stopped:
                        break
        except KeyboardInterrupt:  # the second one
            self.stopped = True
        finally:
            if hasattr(steps, "close"):
                steps.close()
            self._finish(handle)

    def show(self, item: object) -> None:
        """Takes one record, or one `Progress` of a comparison, into the picture. Of runs that go on
        side by side one is shown until it ends."""
        record = getattr(item, "record", item)
        label = self._label
        run_steps = getattr(item, "run_steps", self.total_steps)
        if hasattr(item, "method"):
            label = f"{item.method.name}, seed {item.seed}"
        self._runs[label] = [*self._runs.get(label, ()), record]
        if label == self._label or len(self.records) in (0, run_steps):
            self._label = label
            self.method = getattr(item, "method", self.method)
            self._run_steps = run_steps
        self.taken += 1
        self.read_back += getattr(item, "read_back", False)
        self.bar.value = self.taken
        self.status.value = html.escape(self._status_line())
        if (
            time.monotonic() - self._drawn > SECONDS_BETWEEN_PICTURES
            or self.bar.value == self.total_steps
        ):
            self.image.value = plots.show(self._figure()).html
            self.completions.value = self._completions().html
            self._drawn = time.monotonic()

    @property
    def records(self) -> list[StepRecord]:
        """Those of the run that is shown."""
        return self._runs.get(self._label, [])

    def _status_line(self) -> str:
        spent = time.monotonic() - self._started
        done = self.taken
        left = spent / done * (self.total_steps - done)
        reward = self.records[-1].reward_mean
        return (
            f"{self._label}: step {done} of {self.total_steps}, reward {reward:.2f}, {left:.0f} s"
            " left"
        )

    def _figure(self) -> Figure:
        draw = plots.reward_curve if self.simple else plots.dashboard
        return draw(self.records, self._run_steps, self.method, self.name)

    def _completions(self) -> plots.Picture:
        return plots.completions([] if self.simple else self.records)

    def _finish(self, handle: DisplayHandle) -> None:
        """Puts a still picture in the place of the live one."""
        seconds = time.monotonic() - self._started
        word = "Stopped" if self.stopped else "Done"
        line = (
            f"{word} after {self.bar.value} of {self.total_steps} steps, {seconds:.0f} s. What was"
            " learnt is kept."
        )
        if self.read_back:
            line = (
                f"{word}: {self.bar.value} of {self.total_steps} steps, {self.read_back} of them"
                " read back from finished runs."
            )
        still = line
        if self.records:
            still = plots.show(self._figure(), caption=line)
            read = self._completions()
            still = plots.Picture(still.html + read.html, f"{still.text}\n{read.text}".strip())
        if handle is not None:
            handle.update(still)
