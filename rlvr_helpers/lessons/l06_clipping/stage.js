// The stage itself: slopes, the range with its edges, tokens as dots, the axis below.

function buildStage(c) {
  const below = svg("svg", { "aria-hidden": true });
  const canvas = html("canvas", { "aria-hidden": true });
  const above = svg("svg", { class: "above", role: "group", "aria-label": c.words.stage });
  const count = html("p", { class: "count", "aria-live": "polite" });
  const frame = html("div", { class: "frame" }, below, canvas, above);
  c.scene = { below, canvas, above, frame };
  const lanes = c.words.lanes.map((name) => svg("text", { class: "tag", x: 4 }, name));
  const edges = ["clip_low", "clip_high"].map((name) => buildEdge(c, name));
  // After the edges, whose lines would cross the words.
  above.append(svg("g", {}, ...lanes));
  const parts = [buildSlopes(c), ...edges, buildChosenDot(c)];
  watchPointer(c);
  return {
    element: frame,
    count,
    update(now) {
      fitStage(c.scene);
      c.scene.cast = castOf(c.rollout, c.scene.places, now);
      c.scene.shown = flow(c, now.v);
      paint(c, now);
      lanes.forEach((name, side) => set(name, "y", side * c.scene.places.lane + 15));
      for (const part of parts) part.update(now);
      say(count, now.v.predicting ? c.words.count_hidden : countText(c, now));
    },
  };
}

function fitStage(scene) {
  // It has no size until it is in the page.
  const [width, height] = [scene.frame.clientWidth || 600, scene.frame.clientHeight || 300];
  if (scene.places?.width === width && scene.places?.height === height) return;
  scene.places = placesFor(width, height);
  for (const picture of [scene.below, scene.above]) dress(picture, { width, height });
  scene.before = null;
}

/** What the rule would stop of the recorded tokens, wherever the chosen dot was pulled. */
function countText({ words, rollout }, { v, recorded, advantage }) {
  const { rule, clip_low: low, clip_high: high } = v;
  const firsts = v.unit === "token" ? [...recorded.keys()] : rollout.starts;
  const passes = (test) => (i) => test(Math.exp(recorded[i]), advantage(i), low, high);
  const stopped = firsts.filter(passes(STOPS[rule])).length;
  const given = {
    after: fill(words.after[v.update === 1 ? "one" : "many"], { n: v.update }),
    stopped, all: firsts.length.toLocaleString("en"), share: percent(stopped / firsts.length),
    unit: words.units[v.unit], wrong: firsts.filter(passes(wentWrong)).length,
  };
  return fill(words.count[rule], given);
}

/** Under the dots: dead zones, the slopes, what there would be without a rule, the axis. */
function buildSlopes(c) {
  const { below } = c.scene;
  const axis = svg("g");
  const bar = svg("path", { class: "most" });
  const label = svg("text", { class: "label" });
  const lanes = [0, 1].map((side) => ({
    dead: svg("g", { class: "dead" }),
    plain: svg("path", { class: "plain" }),
    slope: svg("path", { class: `slope ${side ? "down" : "up"}` }),
  }));
  below.append(...lanes.flatMap((lane) => Object.values(lane)), axis, bar, label);
  return {
    update({ v, recorded }) {
      const { places } = c.scene;
      const { x, floor, middle, half } = places;
      const plain = { ...v, rule: "none" };
      const ruled = v.predicting ? plain : v;
      lanes.forEach((lane, side) => {
        set(lane.slope, "d", slopePath(places, side, ruled));
        set(lane.plain, "d", slopePath(places, side, plain));
        lane.dead.replaceChildren(...deadZones(places, side, ruled));
      });
      drawRatioAxis(axis, places, v);
      const q = c.words.symbols[v.unit];
      const [low, high] = v.predicting ? [0, 0] : mostOf(recorded);
      set(bar, "d", `M${x(low)} ${floor}H${x(high)}`);
      const span = { low: ratioText(Math.exp(low)), high: ratioText(Math.exp(high)) };
      say(label, fill(c.words[v.predicting ? "axis" : "axis_most"], { q, ...span }));
      dress(label, { x: middle - half, y: floor + 53 });
    },
  };
}

/** The log-ratios between which 98 % of the tokens lie. */
function mostOf(recorded) {
  const sorted = recorded.toSorted();
  return [0.01, 0.99].map((share) => sorted[Math.round(share * (sorted.length - 1))]);
}

/** Where the gradient is 0: rectangles beyond the edges. */
function deadZones({ x, middle, half, lane }, side, v) {
  const [low, high] = edgesOf(v).map(x);
  const box = (from, to) =>
    svg("rect", { x: from, width: Math.max(to - from, 0), y: side * lane, height: lane });
  const [left, right] = [box(middle - half, low), box(high, middle + half)];
  return { none: [], clamp: [left, right], minimum: [side ? left : right] }[v.rule];
}

/** The axis. The edges' own numbers stand in place of the ticks under them. */
function drawRatioAxis(group, { middle, half, floor, x }, v) {
  const edges = v.rule === "none" ? [] : edgesOf(v).map(x);
  const at = (tick) => {
    const [over, under = 1] = tick.split("/");
    return x(Math.log(over / under));
  };
  const covered = (tick) => edges.some((edge) => Math.abs(edge - at(tick)) < 14);
  const text = (tick) => (covered(tick) ? "" : tick);
  drawAxis(group, { start: middle - half, end: middle + half, at }, floor, { values: TICKS, text });
}

function buildEdge(c, name) {
  const { values, words, scene } = c;
  const side = name === "clip_low" ? -1 : 1;
  const tidy = (q) => Number(q.toPrecision(9));
  const write = (q) => setUp(c, { [name]: tidy(side * (q - 1)) });
  const read = () => tidy(1 + side * values.get(name));
  const grip = svg("rect", { class: "grip", width: 52, height: 20, rx: 4 });
  const text = svg("text", { "text-anchor": "middle" });
  const [line, wide] = ["line", "wide"].map((name) => svg("line", { class: name }));
  const element = svg("g", { class: "edge" }, wide, line, grip, text);
  scene.above.append(element);
  const tell = handle(element, {
    name: words[`edge_${name}`], read, write,
    values: EPSILONS.map((eps) => tidy(1 + side * eps)).sort((one, two) => one - two),
    text: (q) => fill(words.edge_value, { q: edgeText(q), eps: epsText(side * (q - 1)) }),
  });
  let held = 0; // pixels from the edge to where the grip was taken
  draggable(element, {
    frame: scene.frame,
    start: (x) => (held = x - scene.places.x(Math.log(read()))),
    move: (x) => write(1 + side * snapped(scene.places, x - held, side)),
  });
  return {
    update({ v }) {
      const { x: placeOf, floor } = scene.places;
      const x = placeOf(Math.log(read()));
      for (const part of [line, wide]) dress(part, { x1: x, x2: x, y1: 0, y2: floor + 22 });
      dress(grip, { x: side < 0 ? x - 52 : x, y: floor + 20 });
      dress(text, { x: x + 26 * side, y: floor + 34 });
      say(text, edgeText(read()));
      switchOff(element, v.rule === "none");
      tell();
    },
  };
}

/** The end of a range (a distance from 1) at a place of the axis. Usual values draw it in. */
function snapped(places, x, side) {
  const eps = side * (Math.exp(places.logRatio(x)) - 1);
  const near = SNAPS.find((usual) => Math.abs(places.x(Math.log(1 + side * usual)) - x) <= SNAP);
  return near ?? clamp(Number(eps.toPrecision(2)), EPSILONS[0], EPSILONS.at(-1));
}

/** The cast as shown: after a change of unit, update or rule as it was, on its way. */
function flow({ scene, redraw }, v) {
  const { cast, key } = scene;
  scene.key = `${v.unit} ${v.update} ${v.rule}`;
  if (key !== undefined && key !== scene.key && !lessMotion()) {
    scene.before = { ...scene.shown, since: performance.now() };
  }
  const { before } = scene;
  const part = before ? (performance.now() - before.since) / MOVE : 1;
  if (part >= 1) {
    scene.before = null;
    return cast;
  }
  redraw();
  const eased = part * part * (3 - 2 * part);
  const between = (from, to) => to.map((end, i) => from[i] + (end - from[i]) * eased);
  return { ...before, x: between(before.x, cast.x), y: between(before.y, cast.y) };
}

/** Draws trails, arrows and dots. While a guess is open only the chosen token is on the stage. */
function paint(c, { v, row }) {
  const { canvas, places, shown, before } = c.scene;
  const context = fit(canvas, places.width, places.floor + 2);
  if (v.predicting) return;
  const whole = v.unit !== "token" && !before;
  const all = whole ? c.rollout.starts : [...shown.x.keys()];
  const ink = coloursOf(c.root, "line", "up", "down", "ink");
  const groups = { line: [], up: [], down: [] };
  for (const i of all) groups[shown.stopped[i] ? "line" : ["up", "down"][shown.side[i]]].push(i);
  for (const [name, some] of Object.entries(groups)) {
    if (v.trails) drawTrails(c, context, some, ink[name]);
    if (name !== "line") drawArrows(context, some, c.scene, ink[name]);
    const [xs, ys] = [shown.x, shown.y].map((at) => some.map((i) => at[i]));
    dots(context, xs, ys, whole ? 4 : 2.1, ink[name]);
  }
  // Rings: in the colour of their lane the trapped ones, and those of the chosen completion.
  const trapped = groups.line.filter((i) => shown.wrong[i]);
  for (const [side, name] of ["up", "down"].entries()) {
    const here = trapped.filter((i) => shown.side[i] === side);
    rings(context, here, shown, whole ? 6.5 : 4.5, ink[name]);
  }
  if (!whole) rings(context, all.filter((i) => c.rollout.rows[i] === row), shown, 2.6, ink.ink);
}

/** An arrow's path, uphill along the slope. Its length grows with the square root of the push. */
function arrowPath(x, y, push, places, head) {
  const to = Math.sign(push);
  const length = 2 * head + Math.min(14 * Math.sqrt(Math.abs(push)), 64);
  const [endX, endY] = [x + to * length, y - (length * places.rise) / places.half];
  const back = endX - head * to;
  const barbs = `M${back} ${endY - head / 2}L${endX} ${endY}L${back} ${endY + head}`;
  return `M${x + to * head} ${y}L${endX} ${endY}${barbs}`;
}

/** The arrows of the lowest dot of each pile. */
function drawArrows(context, indices, { shown, cast, places }, ink) {
  const lowest = indices.filter((i) => shown.pile[i] <= 1 && cast.push[i] !== 0);
  const arrows = lowest.map((i) => arrowPath(shown.x[i], shown.y[i], shown.push[i], places, 3));
  Object.assign(context, { strokeStyle: ink, lineWidth: 1 });
  context.stroke(new Path2D(arrows.join("")));
}

function rings(context, indices, shown, radius, ink) {
  Object.assign(context, { strokeStyle: ink, lineWidth: 1.4 });
  context.beginPath();
  for (const i of indices) {
    context.moveTo(shown.x[i] + radius, shown.y[i]);
    context.arc(shown.x[i], shown.y[i], radius, 0, 2 * Math.PI);
  }
  context.stroke();
}

/** Comet tails: the way of each dot over the last three updates, at its height over the slope. */
function drawTrails(c, context, indices, ink) {
  const { v } = c.now;
  const { shown, places } = c.scene;
  const before = [1, 2, 3].map((back) => v.update - back).filter((update) => update >= 0);
  const steps = before.map((update) => unitLogRatios(c.rollout, v.unit, update));
  Object.assign(context, { strokeStyle: ink, lineWidth: 2, globalAlpha: 0.3 });
  context.beginPath();
  for (const i of indices) {
    const slope = (d) => slopeAt(places, shown.side[i], d, v);
    const rise = shown.y[i] - slope(places.logRatio(shown.x[i]));
    context.moveTo(shown.x[i], shown.y[i]);
    for (const d of steps) context.lineTo(places.x(d[i]), slope(d[i]) + rise);
  }
  context.stroke();
  context.globalAlpha = 1;
}

/** The token whose dot is nearest to a place, within 9 pixels, or -1. */
function nearestDot(c, x, y) {
  const { shown } = c.scene;
  let [best, at] = [81, -1];
  if (c.values.get("predicting")) return at;
  for (let i = 0; i < shown.x.length; i++) {
    const far = (shown.x[i] - x) ** 2 + (shown.y[i] - y) ** 2;
    if (far < best) [best, at] = [far, i];
  }
  return at;
}

/** Lights a token up, in the text and on the stage. -1: none. */
function pointAt(c, token) {
  if (token !== c.pointed) c.redraw();
  c.pointed = token;
}

/** A dot can be chosen and pulled. The one under the pointer lights up in the text. */
function watchPointer(c) {
  const { canvas } = c.scene;
  let pulled = false;
  canvas.addEventListener("pointermove", (event) => {
    pointAt(c, nearestDot(c, event.offsetX, event.offsetY));
    canvas.style.cursor = c.pointed < 0 ? "default" : "grab";
  });
  canvas.addEventListener("pointerleave", () => pointAt(c, -1));
  draggable(canvas, {
    start: (x, y) => {
      const at = nearestDot(c, x, y);
      pulled = at >= 0;
      if (pulled && at !== c.values.get("chosen")) choose(c, at);
    },
    move: (x) => pulled && pullTo(c, x),
  });
}

/** Pulls the chosen dot to a place of the axis. An edge of the range draws it in. */
function pullTo(c, x) {
  const { places } = c.scene;
  const edges = [...edgesOf(c.values.values), 0];
  const near = edges.find((edge) => Math.abs(places.x(edge) - x) <= SNAP);
  c.values.set("moved", Number((near ?? places.logRatio(x)).toFixed(5)));
}

/** The chosen dot as a handle, with its token beside it. It shows its push as a thick arrow. */
function buildChosenDot(c) {
  const { above, frame } = c.scene;
  const arrow = svg("path", { class: "push" });
  const ring = svg("circle", { r: 7 });
  const [text, pointed] = [0, 1].map(() => svg("text", { class: "tag" }));
  const element = svg("g", { class: "chosen" }, ring);
  const guess = svg("g", { class: "guess" }, svg("line"), svg("text", { class: "tag" }));
  above.append(arrow, guess, text, pointed, element);
  c.scene.dot = element;
  const tag = (words, q) => {
    const i = c.values.get("chosen");
    const n = c.rollout.lengths[c.rollout.rows[i]];
    return fill(words, { token: c.rollout.words[i], q: ratioText(q), n });
  };
  const tell = handle(element, {
    name: c.words.dot,
    text: (d) => tag(c.words.dot_value, Math.exp(d)),
    read: () => Number(Math.log(c.now?.q ?? 1).toFixed(3)),
    write: (d) => c.values.set("moved", d),
    ...{ min: -FAR, max: FAR, step: 0.02 },
  });
  draggable(element, { frame, move: (x) => pullTo(c, x) });
  return {
    update({ v, q, a }) {
      const { shown, cast, places } = c.scene;
      const x = shown.x[v.chosen];
      const y = v.predicting ? places.y(a > 0 ? 0 : 1, q) - 8 : shown.y[v.chosen];
      dress(ring, { cx: x, cy: y });
      element.classList.toggle("stopped", !v.predicting && shown.stopped[v.chosen] === 1);
      for (const part of [element, arrow]) part.classList.toggle("minus", a <= 0);
      const push = v.predicting ? 0 : cast.push[v.chosen];
      set(arrow, "d", push ? arrowPath(x, y, push, places, 7) : "M0 0");
      tagAt(text, x, y - 13, tag(c.words.tag[v.unit], q), places);
      const other = c.pointed === v.chosen ? -1 : c.pointed;
      const word = c.rollout.words[other] ?? "";
      tagAt(pointed, shown.x[other] ?? 0, (shown.y[other] ?? 0) - 8, word, places);
      guess.style.display = v.guess === null || v.predicting ? "none" : "";
      placeGuess(guess, v.guess, a > 0 ? 0 : places.lane, places, c.words.guess);
      tell();
    },
  };
}

/** What was guessed, as a line through its lane. */
function placeGuess({ firstChild: line, lastChild: text }, q, top, places, words) {
  const bottom = top + places.lane;
  const x = places.x(Math.log(q));
  dress(line, { x1: x, x2: x, y1: top + 18, y2: bottom });
  tagAt(text, x, bottom - 6, words, places);
}

/** Words over a place, or under it where the lane's name stands. */
function tagAt(text, x, y, words, { width, lane }) {
  say(text, words);
  const side = x < 70 ? "start" : x > width - 70 ? "end" : "middle";
  const under = x < 0.6 * width && (y < lane ? y : y - lane) < 30;
  dress(text, { x, y: under ? y + Math.min(37, lane / 2) : y, "text-anchor": side });
}
