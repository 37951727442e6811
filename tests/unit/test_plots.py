"""Every figure on records of an ordinary run and on the odd ones: it draws, says its numbers, and
stays small."""

import random
import re
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from contrast import contrast
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rlvr_helpers import plots
from rlvr_helpers.evaluation import Evaluation
from rlvr_helpers.lessons.l09_train_all_three.figures import (
    difference_intervals,
    final_accuracy_intervals,
)
from rlvr_helpers.methods import DAPO, DR_GRPO, GRPO, GSPO, PAPER_SETTINGS
from rlvr_helpers.plots import histograms
from rlvr_helpers.records import Distribution, StepRecord
from rlvr_helpers.study.runs import Run
from rlvr_helpers.study.tables import paired_differences, table_rows
from rlvr_helpers.train_settings import TrainSettings

METHODS = {method.name: method for method in (GRPO, DR_GRPO, GSPO)}
STEPS = 30


def evaluation(share: float, problems: int = 200) -> Evaluation:
    """Strict accuracy is `share`; two more problems in a hundred are right by the lenient rule."""
    strict = [i < round(share * problems) for i in range(problems)]
    lenient = [i < round((share + 0.02) * problems) for i in range(problems)]
    return Evaluation(strict, lenient, strict, [30] * problems, [False] * problems)


def log_ratios(generator: torch.Generator, spread: float, count: int, spiky: bool) -> Distribution:
    """Gaussian, or as tokens have it: most near 0 and a fifth far out, with the same standard
    deviation."""
    values = torch.randn(count, generator=generator) * spread
    if spiky:
        sure = torch.rand(count, generator=generator) < 0.8
        values = torch.where(sure, values * 0.05, values * 5**0.5)
    return Distribution.of([values])


def make_records(method, seed: int, steps: int = STEPS) -> list[StepRecord]:
    """A run as `tiny` makes it: accuracy .15 to .95, token spread .15 to .09, sequence spread .05
    to .02."""
    generator, rng = torch.Generator().manual_seed(seed), random.Random(f"{method.name}/{seed}")
    first_clip, last_clip = (0.04, 0.01) if method.ratio_level == "token" else (0.25, 0.08)
    records = []
    for step in range(1, steps + 1):
        done, noise = step / STEPS, rng.gauss(0, 0.02)
        accuracy = min(0.99, 0.15 + 0.8 * (1 - 0.04**done) / 0.96 + noise)
        records.append(
            StepRecord(
                step=step,
                loss=0.01 * noise,
                reward_mean=0.8 * accuracy,
                reward_std=0.3,
                no_signal=0.2 + 0.5 * done,
                accuracy=0.8 * accuracy,
                lenient_accuracy=0.82 * accuracy,
                format_rate=0.9,
                length_mean=30.0,
                length_right=30 + 3 * rng.random(),
                length_wrong=20 + 18 * done + 4 * rng.random(),
                truncated=0.05 * (1 - done),
                clip_unit=method.clip_unit,
                clip_fraction=max(0.0, first_clip + (last_clip - first_clip) * done + noise / 4),
                clip_low=0.01,
                clip_high=0.01,
                clip_fraction_first=0.0,
                token_log_ratio=log_ratios(generator, 0.15 - 0.06 * done, 3000, spiky=True),
                sequence_log_ratio=log_ratios(generator, 0.05 - 0.03 * done, 120, spiky=False),
                entropy=0.1 + 0.4 * (1 - done),
                kl=0.25 * done,
                sampler_gap=1e-6,
                grad_norm=0.4,
                updates=8,
                tokens=3900,
                total_tokens=3900 * step + 10 * seed,
                eval=evaluation(accuracy) if step % 5 == 0 else None,
                start_eval=evaluation(0.15) if step == 1 else None,
            )
        )
    return records


RUNS = {name: [make_records(method, seed) for seed in range(3)] for name, method in METHODS.items()}
RESULTS = {
    name: [
        Run(METHODS[name], TrainSettings(seed=seed), records, {})
        for seed, records in enumerate(runs)
    ]
    for name, runs in RUNS.items()
}


def changed(runs, **fields):
    """The same runs with some fields of every record replaced."""
    return {
        name: [[replace(r, **fields) for r in records] for records in seeds]
        for name, seeds in runs.items()
    }


def cut(runs, steps: int, seeds: int = 1):
    return {
        name: [records[:steps] for records in of_method[:seeds]] for name, of_method in runs.items()
    }


ALL_ONE = Distribution.of([torch.zeros(50)])
SOMETIMES = {
    name: [
        [
            replace(r, length_right=None, kl=None) if r.step % 2 else replace(r, length_wrong=None)
            for r in s
        ]
        for s in ss
    ]
    for name, ss in RUNS.items()
}
EXPLODES = {
    name: [[*s[:-2], replace(s[-2], kl=float("inf"), entropy=float("nan")), s[-1]] for s in ss]
    for name, ss in RUNS.items()
}
ODD_RUNS = {
    "no methods": {},
    "no seeds": {"GRPO": []},
    "no records": {"GRPO": [[]], "GSPO": [[], []]},
    "one record": cut(RUNS, 1),
    "two records": cut(RUNS, 2),
    "one seed": cut(RUNS, STEPS),
    "one method": {"GSPO": RUNS["GSPO"]},
    "a method of one's own": {"GRPO, no clip": RUNS["GRPO"]},
    "unequal seeds": {**RUNS, "GRPO": [RUNS["GRPO"][0], RUNS["GRPO"][1][:7], []]},
    "nothing measured": changed(
        RUNS,
        length_right=None,
        length_wrong=None,
        entropy=None,
        kl=None,
        eval=None,
        start_eval=None,
        token_log_ratio=None,
        sequence_log_ratio=None,
    ),
    "now and then": SOMETIMES,
    "all ratios 1": changed(
        RUNS, token_log_ratio=ALL_ONE, sequence_log_ratio=ALL_ONE, clip_fraction=0.0
    ),
    "no start": changed(RUNS, start_eval=None),
    "all wrong": changed(RUNS, eval=evaluation(0.0), start_eval=evaluation(0.0)),
    "all right": changed(RUNS, eval=evaluation(1.0), start_eval=evaluation(1.0)),
    "infinite once": EXPLODES,
    "never a number": changed(RUNS, entropy=float("nan"), kl=float("inf")),
}
OF_RUNS = {
    "accuracy, steps": plots.accuracy_curves,
    "accuracy, tokens": lambda runs: plots.accuracy_curves(runs, x="tokens", what="lenient"),
    "ratios": lambda runs: plots.ratio_distributions(
        runs, {**METHODS, "GRPO, no clip": replace(GRPO, clip_low=np.inf)}
    ),
    "clip fraction": plots.clip_fraction_curves,
    "lengths": plots.length_curves,
    "entropy and KL": plots.entropy_kl_curves,
}
USUAL = {name: lambda draw=draw: draw(RUNS) for name, draw in OF_RUNS.items()} | {
    "finals": lambda: final_accuracy_intervals(table_rows(RESULTS)),
    "differences": lambda: difference_intervals(paired_differences(RESULTS)),
    "dashboard": lambda: plots.dashboard(RUNS["GSPO"][0], STEPS, GSPO),
    "reward_curve": lambda: plots.reward_curve(RUNS["GSPO"][0], STEPS, GSPO),
    "reward_curve of no step": lambda: plots.reward_curve([], STEPS, GSPO),
}


def pixels(figure: Figure) -> np.ndarray:
    """The figure as [height, width, 4] bytes, at 100 dots an inch."""
    figure.set_dpi(100)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def check_figure(figure: Figure) -> None:
    """It draws something, all of its texts lie within it, and its alternative text is fit to be
    read out."""
    assert pixels(figure)[..., 3].any()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    cut_off = {
        "left": -drawn.x0,
        "bottom": -drawn.y0,
        "right": drawn.x1 - width,
        "top": drawn.y1 - height,
    }
    assert max(cut_off.values()) <= 0, cut_off
    assert len(figure.alt) > 20 and not re.search(r"\bnan\b|None|\n|\.\.|\xa0", figure.alt), (
        figure.alt
    )


@pytest.mark.parametrize("name", USUAL)
def test_a_figure_of_an_ordinary_run(name):
    figure = USUAL[name]()
    check_figure(figure)
    assert re.search(r"\d", figure.alt), "the alternative text says no number"
    assert 6 <= figure.get_size_inches()[0] <= 7


@pytest.mark.slow
@pytest.mark.parametrize("odd", ODD_RUNS)
@pytest.mark.parametrize("name", OF_RUNS)
def test_gaps_in_the_data_do_no_harm(name, odd):
    check_figure(OF_RUNS[name](ODD_RUNS[odd]))


@pytest.mark.slow
@pytest.mark.parametrize("odd", ODD_RUNS)
def test_the_dashboard_takes_any_records(odd):
    records = [records for seeds in ODD_RUNS[odd].values() for records in seeds]
    check_figure(plots.dashboard(records[0] if records else [], STEPS, GSPO))


@pytest.mark.parametrize(
    "method", [None, DAPO, PAPER_SETTINGS["gspo"], replace(GRPO, clip_low=np.inf, clip_high=np.inf)]
)
def test_the_dashboard_takes_any_method(method):
    check_figure(plots.dashboard(RUNS["GRPO"][0], STEPS, method))
    check_figure(plots.dashboard([], STEPS, method))


@pytest.mark.parametrize("odd", [*ODD_RUNS, "no KL", "no right answer"])
def test_the_dashboard_names_only_curves_that_are_there(odd):
    runs = ODD_RUNS | {
        "no KL": changed(RUNS, kl=None),
        "no right answer": changed(RUNS, length_right=None),
    }
    records = next((records for seeds in runs[odd].values() for records in seeds), [])
    figure = plots.dashboard(records, STEPS, GSPO)
    named = [
        text for ax in figure.axes for text in ax.texts if text.get_text().startswith(("—", "- -"))
    ]
    for text in named:
        assert text.get_color() in {line.get_color() for line in text.axes.lines}, text.get_text()
        top = max([0, *(y for line in text.axes.lines for y in line.get_ydata() if np.isfinite(y))])
        assert text.get_window_extent().y0 >= text.axes.transData.transform((0, top))[1], (
            "a line runs through the key"
        )
    held_out = any(record.eval or record.start_eval for record in records)
    assert ("(dots)" in figure.axes[0].texts[0].get_text()) == held_out
    if not records:
        assert not named


def test_the_dashboard_shades_no_range_where_there_is_none():
    free = replace(GRPO, clip_low=np.inf, clip_high=np.inf)
    with_clip, without = (
        plots.dashboard(RUNS["GRPO"][0], STEPS, method).axes[1] for method in (GRPO, free)
    )
    assert len(with_clip.lines) == 2 and "clip range" in with_clip.texts[0].get_text()
    assert len(without.lines) == 0 and "no clip" in without.texts[0].get_text()


def test_the_dashboard_is_named_after_its_run():
    named = plots.dashboard(RUNS["GRPO"][0], STEPS, GRPO, "GRPO without the clip")
    assert named.alt.startswith("Training dashboard. GRPO without the clip, step 30 of 30")
    assert plots.dashboard(RUNS["GRPO"][0], STEPS, GRPO).alt.startswith(
        "Training dashboard. GRPO, step 30 of 30"
    )


def test_the_dashboard_does_not_jump():
    first, last = (plots.dashboard(RUNS["GRPO"][0][:n], STEPS, GRPO) for n in (1, STEPS))
    assert first.get_size_inches().tolist() == last.get_size_inches().tolist()
    assert [a.get_position().bounds for a in first.axes] == [
        a.get_position().bounds for a in last.axes
    ]


@pytest.mark.parametrize("rows", [[], table_rows({"GSPO": RESULTS["GSPO"][:1]})])
def test_finals_of_few_runs(rows):
    check_figure(final_accuracy_intervals(rows))


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        ({}, "No pairs"),
        ({"GRPO - GSPO": []}, "No pairs"),
        ({"GRPO - GSPO": [2.5]}, "One seed"),
        ({"GRPO - GSPO": [0.0, 0.0, 0.0]}, "No two methods"),
        (
            {"GRPO - GSPO": [5.0, 5.5, 4.5], "Dr. GRPO - GSPO": [-1.0, 2.0, 0.0]},
            "GRPO minus GSPO: mean +5.0 points",
        ),
        ({"GRPO - GSPO": [5.0, 5.5, 4.5]}, "Told apart"),
    ],
)
def test_differences_say_what_may_be_concluded(differences, said):
    figure = difference_intervals(differences)
    check_figure(figure)
    assert said in figure.alt


def test_titles_state_the_finding():
    # no-break spaces and line breaks alike
    title = " ".join(plots.accuracy_curves(RUNS).texts[0].get_text().split())
    assert re.match(
        r"All three reach [789]0 % in the mean over seeds: GRPO by step \d+, Dr. GRPO by step",
        title,
    )
    flat = changed(RUNS, eval=evaluation(0.15))
    assert (
        plots.accuracy_curves(flat)
        .texts[0]
        .get_text()
        .startswith("Held-out accuracy, start to end")
    )


def test_accuracy_numbers_are_those_of_the_records():
    alt = plots.accuracy_curves({"GRPO": [RUNS["GRPO"][0]]}).alt
    final = 100 * RUNS["GRPO"][0][-1].eval.accuracy
    low, high = (100 * x for x in RUNS["GRPO"][0][-1].eval.interval)
    numbers = [float(x) for x in re.findall(r"[\d.]*\d(?= %)", alt)]
    for number in (15, final, low, high):
        assert any(abs(number - x) < 0.051 for x in numbers), (number, alt)


def test_a_wrong_choice_of_axis_meets_a_clear_error():
    with pytest.raises(ValueError, match='"steps" or "tokens"'):
        plots.accuracy_curves(RUNS, x="seconds")


def test_histogram_shares_keep_the_mass():
    wide = histograms.shares_in_bins([RUNS["GRPO"][0][0].token_log_ratio], half=10.0)
    assert wide.sum() == pytest.approx(1.0)
    assert histograms.shares_in_bins([ALL_ONE], half=0.1).max() == pytest.approx(1.0)
    assert histograms.shares_in_bins([], half=0.1) is None


def test_shares_beyond_the_range_equal_a_count():
    values = torch.randn(20000, generator=torch.Generator().manual_seed(0)) * 0.05
    below, above = histograms.shares_outside([Distribution.of([values])], GSPO)
    assert below == pytest.approx(
        (values.exp() < 1 - GSPO.clip_low).double().mean().item(), abs=0.01
    )
    assert above == pytest.approx(
        (values.exp() > 1 + GSPO.clip_high).double().mean().item(), abs=0.01
    )
    assert histograms.shares_outside([ALL_ONE], GSPO) == (0.0, 0.0)


def test_labels_are_spread_without_leaving_the_axes():
    placed = plots.spread([0.5, 0.51, 0.52], gap=0.1, low=0, high=1)
    assert np.diff(placed).min() >= 0.1 - 1e-9 and np.mean(placed) == pytest.approx(0.51)
    assert plots.spread([0.98, 0.99, 1.0], gap=0.1, low=0, high=1) == pytest.approx([0.8, 0.9, 1.0])
    assert plots.spread([0.1, 0.9], gap=0.1, low=0, high=1) == [0.1, 0.9]
    assert plots.spread([], gap=0.1, low=0, high=1) == []


# -- colours


@pytest.mark.parametrize("background", ["#ffffff", "#111111"])
def test_colours_can_be_read_in_both_themes(background):
    assert contrast(plots.INK, background) >= 4.1
    for name in METHODS:
        assert contrast(plots.color_of(name), background) >= 3


def test_each_method_has_its_own_colour_line_and_marker():
    for part in ("color", "linestyle", "marker"):
        assert len({str(plots.STYLES[name][part]) for name in METHODS}) == 3


@pytest.mark.parametrize("name", USUAL)
def test_the_background_is_transparent(name):
    alpha = pixels(USUAL[name]())[..., 3]
    assert (alpha == 0).mean() > 0.5 and alpha[0].max() == alpha[-1].max() == 0


# -- bytes


@pytest.mark.slow
@pytest.mark.parametrize("name", USUAL)
def test_a_stored_figure_is_small_and_always_the_same(name):
    shown, again = plots.show(USUAL[name]()), plots.show(USUAL[name]())
    assert shown == again
    assert len(shown.html) < 100_000
    assert plots.to_png(USUAL[name](), dpi=60) == plots.to_png(USUAL[name](), dpi=60)


def test_a_shown_figure_has_alternative_text_everywhere():
    figure = plots.clip_fraction_curves(RUNS)
    figure.alt = 'a "quoted" <text> of 5 %'
    bundle = plots.show(figure, caption="Done & kept.")._repr_mimebundle_()
    assert 'alt="a &quot;quoted&quot; &lt;text&gt; of 5 %"' in bundle["text/html"]
    assert bundle["text/html"].count("<img ") == 1 and "Done &amp; kept." in bundle["text/html"]
    assert bundle["text/plain"] == 'a "quoted" <text> of 5 % Done & kept.'
    assert re.search(r'width="650" height="\d+"', bundle["text/html"])


def test_svg_keeps_its_text_and_numbers():
    figure = plots.ratio_distributions(RUNS, {**METHODS, "GSPO": PAPER_SETTINGS["gspo"]})
    svg = plots.to_svg(figure).decode()
    assert "range 0.9997 to 1.0004" in svg and "<dc:date>" not in svg


@pytest.mark.slow
def test_pyplot_stays_out_of_it():
    code = "import sys; from rlvr_helpers import plots; plots.to_png(plots.dashboard([], 3)); "
    code += "print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
def test_the_dashboard_is_quick():
    """Prints how long a live picture takes; how long it may take depends on the machine."""
    plots.to_png(plots.dashboard(RUNS["GSPO"][0], STEPS, GSPO), dpi=90)
    for form, render in (
        ("PNG", lambda figure: plots.to_png(figure, dpi=90)),
        ("SVG", plots.to_svg),
    ):
        times = []
        for _ in range(5):
            start = time.process_time()
            render(plots.dashboard(RUNS["GSPO"][0], STEPS, GSPO))
            times.append(time.process_time() - start)
        print(f"dashboard as {form}: {1000 * sorted(times)[2]:.0f} ms of CPU time")


def test_the_title_names_the_highest_clip_fraction_of_the_mean_over_seeds():
    # by step 0.1, 0.2, 0.15; the fourth step is one seed's alone
    shares = [0.1, 0.3, 0.2], [0.1, 0.1, 0.1, 0.9]
    records = [
        [replace(RUNS["GRPO"][0][i], clip_fraction=share) for i, share in enumerate(seed)]
        for seed in shares
    ]
    figure = plots.clip_fraction_curves({"GRPO": records, "GSPO": [RUNS["GSPO"][0][:1]]})
    title = figure.texts[0].get_text().replace("\n", " ").replace("\xa0", " ")
    assert title.startswith("Largest share clipped in any step: GRPO 20 % of tokens; GSPO ")


def test_the_title_of_the_table_s_figure_says_how_far_the_intervals_reach():
    rows = table_rows({"GSPO": RESULTS["GSPO"][:2]})
    low, high = (
        min(row.final_interval[0] for row in rows),
        max(row.final_interval[1] for row in rows),
    )
    title = (
        final_accuracy_intervals(rows).texts[0].get_text().replace("\n", " ").replace("\xa0", " ")
    )
    assert title.endswith(f"intervals within {low:.1f} and {high:.1f}")
