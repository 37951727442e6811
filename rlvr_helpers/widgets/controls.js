// How explorers are operated: drag, keyboard, sliders, choices, play.

/** Lets an element be dragged: move(x, y, event) in pixels of `frame` (the element by default). */
function draggable(element, { start = () => {}, move, frame = element }) {
  const place = (event) => {
    const box = frame.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top, event];
  };
  element.style.touchAction = "none";
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    event.preventDefault();
    element.focus?.({ preventScroll: true });
    start(...place(event));
  });
  element.addEventListener("pointermove", (event) => {
    if (element.hasPointerCapture(event.pointerId)) move(...place(event));
  });
}

const ARROWS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };
const STEPS = { ...ARROWS, PageUp: 10, PageDown: -10 };

/** Makes any element a slider for keyboard and screen reader. Returns a function that tells the
 * screen reader about a value that changed elsewhere. name: what it is. text(value): its value in
 * words. min, max and step, or a list of `values`. */
function handle(element, { name, text, read, write, min, max, step = 1, values = null }) {
  const stops = values ? [values[0], values.at(-1)] : [min, max];
  const ends = { "aria-valuemin": stops[0], "aria-valuemax": stops[1] };
  dress(element, { role: "slider", tabindex: 0, "aria-label": name, ...ends });
  const update = () => {
    set(element, "aria-valuenow", read());
    set(element, "aria-valuetext", text(read()));
  };
  element.addEventListener("keydown", (event) => {
    const by = STEPS[event.key];
    const to = { Home: stops[0], End: stops[1] }[event.key];
    if (by === undefined && to === undefined) return;
    event.preventDefault();
    const further = () => clamp(roundTo(read() + by * step, step), min, max);
    write(to ?? (values ? nextOf(values, read(), by) : further()));
    update();
  });
  update();
  return update;
}

/** The value `by` stops further. From between two stops the first step ends on one. */
function nextOf(values, value, by) {
  const above = values.findIndex((v) => v >= value - 1e-12);
  const at = above < 0 ? values.length - 1 : above;
  const between = Math.abs(values[at] - value) > 1e-12 && by > 0 ? 1 : 0;
  return values[clamp(at + by - between, 0, values.length - 1)];
}

const roundTo = (x, step) => Number((Math.round(x / step) * step).toPrecision(12));

/** Tokens of several texts, counted through: each text's first token, and each token's text. */
const layoutOf = (lengths) => ({
  lengths,
  starts: lengths.map((_, row) => sum(lengths.slice(0, row))),
  rows: lengths.flatMap((n, row) => Array(n).fill(row)),
});

/** Arrows, Home and End inside `place` go along the tokens of several texts, and to the same place
 * of the text above or below. tokens: their elements, in order. */
function moveAlong(place, tokens, { lengths, starts, rows }, choose) {
  place.addEventListener("keydown", (event) => {
    const at = tokens.indexOf(event.target);
    if (at < 0) return;
    const [row, last] = [rows[at], lengths.length - 1];
    const inRow = (to) => starts[to] + Math.min(at - starts[row], lengths[to] - 1);
    const to = {
      ...{ ArrowRight: at + 1, ArrowLeft: at - 1 },
      ...{ ArrowDown: inRow(Math.min(row + 1, last)), ArrowUp: inRow(Math.max(row - 1, 0)) },
      ...{ Home: starts[row], End: starts[row] + lengths[row] - 1 },
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const token = clamp(to, 0, tokens.length - 1);
    choose(token);
    tokens[token].focus();
  });
}

/** A visible slider with name and value: { element, input, update }. Options: as of `handle`. */
function slider(options) {
  const { name, text, read } = options;
  const { input, move } = options.values ? stopsTrack(options) : nativeTrack(options);
  const shown = html("output", {});
  const update = () => {
    move();
    say(shown, text(read()));
  };
  update();
  const element = html("label", { class: "slider" }, html("span", {}, name), input, shown);
  return { element, input, update };
}

/** A range of numbers at equal steps: the browser's own slider. */
function nativeTrack({ name, text, read, write, min, max, step = 1 }) {
  const input = html("input", { type: "range", min, max, step, "aria-label": name });
  input.addEventListener("input", () => write(Number(input.value)));
  const move = () => {
    input.value = read();
    set(input, "aria-valuetext", text(read()));
  };
  return { input, move };
}

/** Values at equal distances. The browser's own slider would tell their numbers in the list. */
function stopsTrack(options) {
  const { values, read, write } = options;
  const last = values.length - 1;
  const place = (i) => `${6 + (88 * i) / last}%`; // of its width, which an explorer may set
  const nearest = (x) =>
    values.reduce((b, v, i) => (Math.abs(v - x) < Math.abs(values[b] - x) ? i : b), 0);
  const thumb = svg("circle", { cy: 10, r: 7, class: "thumb" });
  const line = svg("line", { x1: "6%", x2: "94%", y1: 10, y2: 10, class: "track" });
  const input = svg("svg", { width: 150, height: 20, class: "stops" }, line, thumb);
  const tell = handle(input, options);
  const to = (x) => {
    const part = (x / input.getBoundingClientRect().width - 0.06) / 0.88;
    write(values[clamp(Math.round(part * last), 0, last)]);
  };
  draggable(input, { start: to, move: to });
  const move = () => {
    set(thumb, "cx", place(nearest(read())));
    tell();
  };
  return { input, move };
}

/** A row of buttons of which one is chosen: { element, update }. options: [value, words] each. */
function choice({ name, options, read, write }) {
  const buttons = options.map(([value, words]) =>
    buttonOf(words, () => write(value), { role: "radio" }),
  );
  const update = () =>
    buttons.forEach((button, i) => {
      const chosen = options[i][0] === read();
      set(button, "aria-checked", chosen);
      set(button, "tabindex", chosen ? 0 : -1);
    });
  const onkeydown = (event) => {
    const [at, last] = [buttons.indexOf(event.target), buttons.length - 1];
    const [before, next] = [at ? at - 1 : last, at < last ? at + 1 : 0];
    // Arrow down goes on to the next, as in every group of radio buttons.
    const arrows = { ArrowRight: next, ArrowDown: next, ArrowLeft: before, ArrowUp: before };
    const to = { ...arrows, Home: 0, End: last }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    write(options[to][0]);
    buttons[to].focus();
  };
  update();
  const about = { role: "radiogroup", "aria-label": name, onkeydown };
  const shown = html("span", { "aria-hidden": true }, name);
  const element = html("span", { class: "choice" }, shown, html("span", about, ...buttons));
  return { element, update };
}

/** A button that calls step() every `every` ms until it is pressed again: { element, stop }. It
 * says `play` or `pause`, and calls begin() before it starts. */
function playButton(step, { play, pause, every, begin = () => {} }) {
  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    say(element, play);
  };
  const start = () => {
    begin();
    timer = setInterval(step, every);
    say(element, pause);
  };
  const element = buttonOf(play, () => (timer === null ? start() : stop()), { class: "play" });
  return { element, stop };
}

/** One that runs a value from update or step to the `last`, and after it from 0 again. linked: how
 * the value is read and written. */
function playThrough({ read, write }, last, { play, pause, every = 350 }) {
  const step = () => {
    write(Math.min(read() + 1, last));
    if (read() === last) button.stop();
  };
  const begin = () => read() === last && write(0);
  const time = lessMotion() ? Math.max(every, 900) : every;
  const button = playButton(step, { play, pause, begin, every: time });
  return button;
}

const lessMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
