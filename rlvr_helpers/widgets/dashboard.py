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
from rlvr_helpers.widgets.words import DASHBOARD

# A picture takes about 0.1 s, which is taken from training.
SECONDS_BETWEEN_PICTURES = 2.0
# Steps of a run if the variable RLVR_FAST is set, as in browser tests.
FEW = 4


def progress_bar(steps: Iterable, total: int, label: str) -> Iterator:
    """Passes on `steps` under a progress bar with the time left, for an experiment that needs no
    dashboard. Interrupting the kernel ends it and keeps what there is."""
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
    """A live picture of training with a progress bar, the time left, and a Stop button that keeps
    what was learnt.

        dashboard = TrainingDashboard(total_steps=30, method=GRPO)
        records = list(dashboard.watch(train(policy, problems, GRPO, TrainSettings(steps=30))))

    Interrupting the kernel does what Stop does. At the end the live picture is replaced by a still
    one, so that the saved notebook shows it without a kernel.

    name:   what the titles call the run, by default the method
    simple: shows only the reward until the button "All panels" is pressed
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
        # The records of each run, by its label. A comparison makes several runs side by side.
        self._label = name or (method.name if method else "")
        self._runs: dict[str, list[StepRecord]] = {self._label: []}
        # Records of all runs, and how many of them came from the files of finished runs.
        self.taken = 0
        self.read_back = 0
        self.stopped = False
        self._started = time.monotonic()
        self._drawn = 0.0
        # The controls above the picture. Below it stand the completions of one held-out problem.
        self.bar = ipywidgets.IntProgress(max=total_steps, layout={"width": "320px"})
        self.stop_button = ipywidgets.Button(
            description=DASHBOARD["stop"], tooltip=DASHBOARD["stop_hint"]
        )
        self.stop_button.on_click(self.stop)
        self.status = ipywidgets.HTML(DASHBOARD["starting"])
        self.image = ipywidgets.HTML()
        self.completions = ipywidgets.HTML()
        self.all_button = ipywidgets.Button(description=DASHBOARD["all_panels"])
        self.all_button.on_click(self.show_all)
        buttons = [self.stop_button, *([self.all_button] if simple else [])]
        controls = ipywidgets.HBox([self.bar, *buttons, self.status])
        self.box = ipywidgets.VBox([controls, self.image, self.completions])
        answers_at_once(self.stop_button, self.all_button)

    def stop(self, _: object = None) -> None:
        """Asks for a stop. The step under way is finished first."""
        self.stopped = True
        self.status.value = DASHBOARD["stopping"]

    def show_all(self, _: object = None) -> None:
        """Shows all panels from now on."""
        self.simple = False
        self._drawn = 0.0

    def watch(self, steps: Iterable) -> Iterator:
        """Passes on records (of `train`) or progress (of `run_comparison`) and shows them as they
        come."""
        handle = display(self.box, display_id=True)
        # A comparison is shortened where it is planned.
        few = _few(steps) if self.method else steps
        try:
            with finishing_steps(self.stop):
                for item in few:
                    self.show(item)
                    yield item
                    if self.stopped:
                        break
        # The second interrupt: the first one only asks for a stop.
        except KeyboardInterrupt:
            self.stopped = True
        finally:
            if hasattr(steps, "close"):
                steps.close()
            self._finish(handle)

    def show(self, item: object) -> None:
        """Takes one record, or one `Progress` of a comparison, into the picture. Of runs side by
        side, one is shown until it ends."""
        # To which run the record belongs.
        record = getattr(item, "record", item)
        label = self._label
        run_steps = getattr(item, "run_steps", self.total_steps)
        if hasattr(item, "method"):
            label = f"{item.method.name}, seed {item.seed}"
        self._runs[label] = [*self._runs.get(label, ()), record]
        # Show this run if it is the one shown, or if that one has ended.
        if label == self._label or len(self.records) in (0, run_steps):
            self._label = label
            self.method = getattr(item, "method", self.method)
            self._run_steps = run_steps
        self.taken += 1
        self.read_back += getattr(item, "read_back", False)
        self.bar.value = self.taken
        self.status.value = html.escape(self._status_line())
        # A new picture, if the last one is old enough or this is the end.
        is_old = time.monotonic() - self._drawn > SECONDS_BETWEEN_PICTURES
        if is_old or self.taken >= self.total_steps:
            self.image.value = plots.show(self._figure()).html
            self.completions.value = self._completions().html
            self._drawn = time.monotonic()

    @property
    def records(self) -> list[StepRecord]:
        """The records of the run that is shown."""
        return self._runs.get(self._label, [])

    def _status_line(self) -> str:
        """The step, the last reward, and the time left if all steps take as long."""
        spent = time.monotonic() - self._started
        left = spent / self.taken * (self.total_steps - self.taken)
        return DASHBOARD["status"].format(
            label=self._label,
            n=self.taken,
            all=self.total_steps,
            reward=f"{self.records[-1].reward_mean:.2f}",
            left=f"{left:.0f}",
        )

    def _figure(self) -> Figure:
        draw = plots.reward_curve if self.simple else plots.dashboard
        return draw(self.records, self._run_steps, self.method, name=self.name)

    def _completions(self) -> plots.Picture:
        return plots.completions([] if self.simple else self.records)

    def _finish(self, handle: DisplayHandle) -> None:
        """Puts a still picture in the place of the live one."""
        seconds = time.monotonic() - self._started
        # The time says nothing about steps that were read from a file.
        line = DASHBOARD["read_back" if self.read_back else "end"].format(
            word=DASHBOARD["ends"][self.stopped],
            n=self.bar.value,
            all=self.total_steps,
            read=self.read_back,
            seconds=f"{seconds:.0f}",
        )
        # The last picture and the completions, or only the line if there was no step.
        still = line
        if self.records:
            still = plots.show(self._figure(), caption=line)
            read = self._completions()
            still = plots.Picture(still.html + read.html, f"{still.text}\n{read.text}".strip())
        if handle is not None:
            handle.update(still)
