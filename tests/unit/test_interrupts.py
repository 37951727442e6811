"""An interrupt is heard between two steps, in a loop and in the dashboard of a notebook; a second
one at once."""

import signal
import threading

import pytest

from rlvr_helpers.engine.interrupts import finishing_steps
from rlvr_helpers.kit.recorded import recorded_runs
from rlvr_helpers.methods import GRPO
from rlvr_helpers.widgets import TrainingDashboard


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_the_first_interrupt_is_noted_and_the_second_raises():
    before, said = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt):
        with finishing_steps(lambda: said.append("stopping")) as interrupted:
            assert not interrupted()
            interrupt()
            assert interrupted() and said == ["stopping"]
            interrupt()
    assert signal.getsignal(signal.SIGINT) is before and said == ["stopping"]


def test_outside_the_main_thread_nothing_changes():
    heard = []

    def work():
        with finishing_steps() as interrupted:
            heard.append((interrupted(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [(False, signal.getsignal(signal.SIGINT))]


@pytest.mark.parametrize("presses", [1, 2])
def test_the_dashboard_ends_after_the_step_in_which_it_was_interrupted(presses):
    """The generator that trains is closed between two steps, which saves what is not saved yet; a
    second interrupt breaks into the step."""
    records, ended = recorded_runs()["GRPO"][0].records[:5], []

    def steps():
        try:
            for record in records:
                for _ in range(presses if record.step == 3 else 0):
                    interrupt()
                yield record
        except BaseException as error:
            ended.append(type(error))
            raise

    seen = list(TrainingDashboard(total_steps=5, method=GRPO).watch(steps()))
    assert [record.step for record in seen] == ([1, 2, 3] if presses == 1 else [1, 2])
    assert ended == [GeneratorExit if presses == 1 else KeyboardInterrupt]
