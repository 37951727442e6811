"""An explorer: sliders, toggles and text fields over one figure, and a still picture without them.

    def draw(temperature: float, top_p: float) -> Figure: ...

    Explorer(draw, temperature=ipywidgets.FloatSlider(...), top_p=ipywidgets.FloatSlider(...))

`draw` gets every control's value by name. It returns a `Picture`, or a figure of `plots` that keeps
its size: give its title a fixed number of lines. It must read only its arguments and what its
closure holds, since callbacks can run on a second thread while the next cell rebinds names.
ipywidgets swallows what a callback raises, so tests drive `update`.
"""

from collections.abc import Callable

import ipywidgets
from matplotlib.figure import Figure

from rlvr_helpers import plots
from rlvr_helpers.plots import Picture

# The usual width of a control, and of its label.
LABELS = {"description_width": "170px"}
WIDE = {"width": "560px"}


def answers_at_once(*controls: ipywidgets.Widget) -> None:
    """Lets what a reader does to these controls arrive while a cell runs, and in order. Call it
    once they are ready.

    JupyterLab sends all of it to one thread of the kernel. ipykernel 7.4 hands it on to the thread
    that last published for the control, at first the one that runs cells. There a Stop would wait
    for the end of the run, and a click could overtake the text typed before it.
    """
    # Without this note the message stays on the thread to which JupyterLab sends it.
    for control in controls:
        getattr(control.comm, "__dict__", {}).pop("_reply_subshell_id", None)


class Explorer:
    """Controls over a picture. As a cell's last line it shows itself.

    controls: by the name of `draw`'s argument
    """

    def __init__(
        self, draw: Callable[..., Figure | Picture], **controls: ipywidgets.ValueWidget
    ) -> None:
        self.draw = draw
        self.controls = controls
        self._initial = {name: control.value for name, control in controls.items()}
        self.image = ipywidgets.HTML()
        self.reset_button = ipywidgets.Button(
            description="Reset", tooltip="Back to the first values"
        )
        self.reset_button.on_click(self.reset)
        # Every control draws the picture anew.
        for control in controls.values():
            control.observe(self.update, "value")
            control.style = LABELS
            control.layout = WIDE
        self.box = ipywidgets.VBox([*controls.values(), self.reset_button, self.image])
        # The first picture. `_paused` is True while `set` changes several controls.
        self._paused = False
        self.update()
        answers_at_once(*controls.values(), self.reset_button)

    @property
    def values(self) -> dict:
        """What the controls say now, by name."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **values: object) -> None:
        """Sets several controls and draws once, even if a control that is set calls `set` for
        others."""
        outer = self._paused
        self._paused = True
        try:
            for name, value in values.items():
                self.controls[name].value = value
        finally:
            self._paused = outer
        self.update()

    def reset(self, _: object = None) -> None:
        """Gives every control its first value."""
        self.set(**self._initial)

    def update(self, _: object = None) -> None:
        """Draws the picture anew."""
        if not self._paused:
            self.picture = _as_picture(self.draw(**self.values))
            self.image.value = self.picture.html

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict:
        live = self.box._repr_mimebundle_()
        return {**live, "text/html": self.picture.html, "text/plain": self.picture.text}


def _as_picture(drawn: Figure | Picture) -> Picture:
    return drawn if isinstance(drawn, Picture) else plots.show(drawn)
