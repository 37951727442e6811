// The clip stage: tokens of a real rollout on the slopes of the clipped objective, over one axis of
// log-ratios, and beside them what training did under the recorded ranges.

/** The state of the stage now. Parts draw themselves from it. */
function stateOf({ values, rollout, data }) {
  const v = { ...values.values };
  const { rows } = rollout;
  const row = rows[v.chosen];
  const recorded = unitLogRatios(rollout, v.unit, v.update);
  const pulled = (i) => i === v.chosen || (v.unit !== "token" && rows[i] === row);
  const d = v.moved === null ? recorded : recorded.map((at, i) => (pulled(i) ? v.moved : at));
  const advantages = rollout.advantages[v.advantage_scale];
  const advantage = (i) => advantages[rows[i]];
  const chosen = { row, a: advantages[row], q: Math.exp(d[v.chosen]) };
  return { v, d, recorded, advantage, ...chosen, nearest: nearestArm(data.record.arms, v) };
}

/** Sets several values. A dot that was pulled goes back, and a guess is over. */
const setUp = (c, changes) =>
  c.values.setAll({ moved: null, guess: null, predicting: false, ...changes });

/** What a control needs to read a value and to set it up. */
const linkedOf = (c, name) =>
  ({ read: () => c.values.get(name), write: (value) => setUp(c, { [name]: value }) });
const choose = (c, token) => setUp(c, { chosen: token });

function buildControls(c) {
  const { words, data } = c;
  const pick = (name, ...given) => {
    const options = given.map((value) => [value, words[`${name}_${value}`]]);
    return choice({ name: words[name], options, ...linkedOf(c, name) });
  };
  const rule = pick("rule", "none", "clamp", "minimum");
  const unit = pick("unit", "token", "sequence", "product");
  const presets = data.presets.map(({ name, ...changes }) => ({
    changes,
    element: buttonOf(name, () => setUp(c, changes)),
  }));
  const group = { class: "choice", role: "group", "aria-label": words.presets };
  const methods = html("span", group, words.presets, ...presets.map((preset) => preset.element));
  const first = { ...c.values.first, predicting: false };
  const reset = buttonOf(words.reset, () => setUp(c, first), { class: "end" });
  return {
    element: html("div", { class: "controls" }, methods, rule.element, unit.element, reset),
    update({ v }) {
      rule.update();
      unit.update();
      for (const { changes, element } of presets) {
        const same = Object.entries(changes).every(([name, value]) => v[name] === value);
        set(element, "aria-pressed", same);
      }
    },
  };
}

function buildSliders(c) {
  const { values, words } = c;
  const linked = (name, more) => slider({ name: words[name], ...linkedOf(c, name), ...more });
  const low = linked("clip_low", { text: epsText, values: EPSILONS });
  const high = linked("clip_high", { text: epsText, values: EPSILONS });
  const time = linked("update", { text: String, min: 0, max: c.data.rollout.updates });
  const onchange = () => values.set("trails", trails.checked);
  const trails = html("input", { type: "checkbox", onchange });
  const label = html("label", { class: "slider" }, trails, words.trails);
  const frames = { ...words, every: MOVE + 60 };
  const play = playThrough(linkedOf(c, "update"), c.data.rollout.updates, frames);
  const first = html("div", {}, play.element, time.element, label);
  const second = html("div", {}, low.element, high.element);
  return {
    element: html("div", { class: "sliders" }, first, second),
    update({ v }) {
      for (const part of [low, high, time]) part.update();
      for (const { input } of [low, high]) switchOff(input, v.rule === "none");
      trails.checked = v.trails;
    },
  };
}

function explorer(root, values, data, words) {
  const rollout = readRollout(data.rollout);
  const c = { root, values, data, words, rollout, pointed: -1 };
  let parts = [];
  c.drawNow = () => {
    c.now = stateOf(c);
    for (const part of parts) part.update(c.now);
  };
  const stage = buildStage(c);
  const controls = buildControls(c);
  const left = [stage, buildSliders(c), buildAccount(c)];
  const right = [buildText(c), buildRecord(c)];
  parts = [controls, ...left, ...right];
  const column = (name, found) =>
    html("div", { class: name }, ...found.map((part) => part.element));
  const grid = html("div", { class: "grid" }, column("left", left), column("right", right));
  const intro = html("p", { class: "intro soft" }, words.intro);
  root.append(intro, controls.element, stage.count, grid);
  return (c.redraw = keepDrawn(root, values, c.drawNow));
}

const style = `
  .intro { margin-bottom: 6px; }
  .controls .end { margin-left: auto; }
  .controls .choice { gap: 4px; }
  button[aria-pressed=true], .strong { background: var(--ink) !important;
    color: var(--page) !important; border-color: var(--ink); }
  .grid, .left, .right { display: grid; gap: 6px 20px; align-content: start; }
  .left, .right { min-width: 0; }
  .count { font-weight: 600; margin-bottom: 4px; }
  .wins { font-weight: 600; }
  .account td:last-child, caption { color: var(--soft); }
  .frame { position: relative; height: 176px; }
  .frame > * { position: absolute; left: 0; top: 0; }
  .above { pointer-events: none; }
  .slope, .plain, .push { fill: none; stroke-width: 2; }
  .slope.up, .push { stroke: var(--up); }
  .slope.down, .push.minus { stroke: var(--down); }
  .plain { stroke: var(--line); stroke-width: 1; stroke-dasharray: 3 4; }
  .most { stroke: var(--ink); stroke-width: 4; }
  .dead rect { fill: var(--raised); }
  .edge, .chosen { pointer-events: auto; cursor: ew-resize; }
  .edge .line, .guess line { stroke: var(--ink); stroke-width: 1.5; }
  .guess line { stroke-dasharray: 5 3; }
  .edge .wide { stroke: transparent; stroke-width: 9; }
  .edge .grip { fill: var(--ink); }
  .rlvr svg .edge text { fill: var(--page); font-weight: 600; pointer-events: none; }
  .edge[aria-disabled=true] { opacity: 0.35; pointer-events: none; }
  .edge:focus-visible .grip { stroke: var(--focus); stroke-width: 3; }
  .chosen circle { fill: var(--up); stroke: var(--page); stroke-width: 2; }
  .chosen.minus circle { fill: var(--down); }
  .chosen.stopped circle { fill: var(--line); }
  .chosen:focus-visible circle { stroke: var(--focus); stroke-width: 4; }
  .push { stroke-width: 3; stroke-linejoin: round; }
  .rlvr svg text.tag { fill: var(--ink); font-weight: 600; paint-order: stroke;
    stroke: var(--page); stroke-width: 4px; }
  .sliders > div { display: flex; flex-wrap: wrap; gap: 4px 18px; align-items: center;
    min-height: 28px; }
  .sliders output { min-width: 56px; }
  .head { display: flex; gap: 8px; align-items: center; }
  .head button { padding: 0 8px; min-height: 24px; }
  .head .title { flex: 1; text-align: center; }
  .problem { color: var(--soft); margin: 3px 0; min-height: 54px; }
  .tokens { line-height: 1.4; height: 138px; overflow-y: auto; padding: 3px; margin: 0 -3px; }
  .tokens span { padding: 0 3px; border-radius: 3px; cursor: pointer; display: inline-block; }
  .tokens .stopped { text-decoration: line-through; color: var(--soft); }
  .tokens .pointed { box-shadow: 0 0 0 1.5px var(--line); }
  .tokens [aria-selected=true] { box-shadow: 0 0 0 2px var(--ink); }
  th { text-align: left; font-weight: 400; }
  td, th { padding: 0; line-height: 18px; white-space: nowrap; }
  .account { display: flex; gap: 20px; min-height: 90px; }
  .account > * { flex: 1; align-self: start; }
  .account > table { flex: 1.25; }
  .account th { width: 72px; }
  .account td:nth-child(2) { text-align: right; width: 62px; padding-right: 10px; }
  .says { margin: 0 0 4px; min-height: 55px; }
  .buttons { display: flex; gap: 6px; }
  .record > p:first-child { min-height: 54px; }
  .record table { font-size: 12px; }
  caption { text-align: left; }
  .record td { padding-left: 6px; }
  .record td.now { font-weight: 600; background: var(--raised); }
  .record button { padding: 0 6px; min-height: 18px; line-height: 16px; }
  @container (min-width: 900px) {
    .grid { grid-template-columns: 1fr 368px; }
    .frame { height: 348px; }
  }
  @container (max-width: 980px) {
    .account { min-height: 103px; gap: 10px; }
    .account > table { flex: 0 0 314px; width: 314px; }
  }
  @container (max-width: 899px) {
    .rlvr > * { font-size: 12px; }
    .intro { display: none; }
    .controls { gap: 6px 12px; }
    .count { font-weight: 400; }
    .account { min-height: 90px; gap: 20px; }
    .account > table { flex: 1.25; }
    .right { min-height: 228px; }
    .record > p:first-child { min-height: 51px; }
    .grid, .left { row-gap: 4px; }
    .right { grid-template-columns: 1fr 1fr; align-content: stretch; }
    .text { display: flex; flex-direction: column; }
    .tokens { flex: 1; contain: size; min-height: 62px; }
    .sliders { display: flex; justify-content: space-between; }
    .rlvr .sliders input[type=range], .rlvr .sliders .stops { width: 60px; }
    .sliders output { min-width: 24px; }
    .sliders > :last-child output { min-width: 51px; }
    .sliders > div { gap: 4px 12px; }
  }
  @container (max-width: 660px) {
    .frame { height: 226px; }
    .count { min-height: 34px; }
    .record td, .record th { line-height: 16px; }
    .record button { min-height: 16px; line-height: 14px; }
    .right { grid-template-columns: 1fr 1.2fr; }
  }
`;
