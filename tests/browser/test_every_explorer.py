"""What holds for every live explorer, whatever it shows: random use, less motion, forced colours."""

import pytest
from explorers import CELLS, make
from live import PLACE, contrasts, heap

pytestmark = pytest.mark.browser
MOVES, MORE_MB, HEIGHT = 2000, 20, 640
# Widths of an explorer in pixels, both sides of where its parts change places. Pixels of its height
# are left for other fonts: a line more of DejaVu, the widest of the usual ones, is 18.
WIDTHS, SPARE = (1060, 992, 900, 899, 732, 700), 15

# Uses controls in a random order: sliders are set, everything else that can be pressed is clicked.
# Answers with the largest height seen, how many different controls were used, how many states were
# seen, and what jumped: buttons and sliders that moved, and the explorer if its height changed.
USE = """async ([moves, seed]) => {
    const {root, values} = PLACE;
    let state = seed;
    const random = () => (state = (1103515245 * state + 12345) % 2147483648) / 2147483648;
    const frame = () => new Promise(requestAnimationFrame);
    const [used, states] = [new Set(), new Set()];
    const first = new Map();
    const jumped = new Set();
    const look = () => {
        const all = root.getBoundingClientRect();
        const places = [[root, [0, all.height]]];
        for (const one of root.querySelectorAll('button, input, .stops')) {
            const box = one.getBoundingClientRect();
            const inText = one.closest('.scroller, .sentence');
            if (box.width && !inText) places.push([one, [box.left - all.left, box.top - all.top]]);
        }
        for (const [one, place] of places) {
            if (!first.has(one)) first.set(one, place);
            const far = place.map((x, i) => Math.abs(x - first.get(one)[i]));
            if (Math.max(...far) > 1.5) jumped.add(one.getAttribute('aria-label') ?? one.textContent);
        }
        return all.height;
    };
    let highest = 0;
    for (let k = 0; k < moves; k++) {
        const every = [...root.querySelectorAll('input, button, select, [role], [tabindex="0"]')]
            .filter((one) => one.getBoundingClientRect().width > 0);
        const one = every[Math.floor(random() * every.length)];
        used.add(one.getAttribute('aria-label') ?? one.textContent);
        if (one.matches('input[type=range]')) {
            const [low, high] = [Number(one.min), Number(one.max)];
            one.value = low + random() * (high - low);
            for (const event of ['input', 'change']) one.dispatchEvent(new Event(event, {bubbles: true}));
        } else if (k % 2) {
            const keys = ['ArrowRight', 'ArrowLeft', 'ArrowUp', 'ArrowDown', 'Home', 'End', 'Enter', ' '];
            const key = keys[Math.floor(random() * keys.length)];
            one.focus?.();
            one.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, composed: true}));
        } else {
            one.dispatchEvent(new MouseEvent('click', {bubbles: true, composed: true}));
        }
        if (k % 10 === 0) {
            await frame();
            highest = Math.max(highest, look());
            states.add(JSON.stringify(values.values));
        }
    }
    return [highest, used.size, states.size, [...jumped].map((name) => name.slice(0, 60))];
}""".replace("PLACE", PLACE)

MOVING = f"""() => {{
    const {{root}} = {PLACE};
    return [...root.querySelectorAll('*')].filter((one) => {{
        const style = getComputedStyle(one);
        const seconds = [style.transitionDuration, style.animationDuration].join().split(',');
        return seconds.some((time) => parseFloat(time) > 0.01);
    }}).map((one) => one.outerHTML.slice(0, 80));
}}"""


@pytest.fixture(scope="module", params=CELLS)
def exported(request):
    return make(request.param).page(request.param)


def test_two_thousand_random_moves_break_nothing_and_leave_the_memory_as_it_was(pages, exported):
    page = pages(exported)
    page.evaluate(USE, [200, 1])
    before = heap(page)
    highest, used, states, jumped = page.evaluate(USE, [MOVES, 2])
    assert used >= 4 and states >= 10 and highest <= HEIGHT and jumped == []
    assert heap(page) - before < MORE_MB
    assert page.faults == []


def test_everything_is_seen_at_once_at_every_width(pages, exported):
    page = pages(exported)
    for width in WIDTHS:
        style = {"width": f"{width}px", "maxWidth": "none", "padding": 0}
        page.evaluate("style => Object.assign(document.body.style, style)", style)
        highest, *_, jumped = page.evaluate(USE, [40, width])
        assert highest <= HEIGHT - SPARE and jumped == [], (width, jumped)


def test_less_motion_means_no_animation(pages, exported):
    page = pages(exported, reduced_motion="reduce")
    assert page.evaluate(MOVING) == []
    page.evaluate(USE, [50, 3])
    assert page.evaluate(MOVING) == [] and page.faults == []


def test_every_text_can_be_read_in_forced_colours(pages, exported):
    page = pages(exported, forced_colors="active")
    faint = [(round(ratio, 1), text) for ratio, text in contrasts(page) if ratio < 4.5]
    assert faint == [] and page.faults == []
