// The token lens: a group of completions as text, each token tinted by what the next update does to
// it, and the whole calculation of the token that is chosen. What each method says of the tokens is
// in token_push.js, the calculation in token_chain.js, the simplest form in what_else.js.

const STRIP = 4; // pixels of a method's strip below a token
const ALL = "all";

/** The completions as text over a canvas. choose(i) takes a token, flip(row) turns a reward. */
function buildText(group, data, words, { choose, flip, hover, ask }) {
  const about = { class: "token", role: "option", tabindex: -1, "aria-selected": false };
  const tokens = group.words.map((word) => html("span", about, word));
  const rows = group.lengths.map((n, r) => {
    const reward = buttonOf("", () => flip(r), { class: "reward" });
    const about = html("span", { class: "about" });
    const name = fill(words.completion, { row: r + 1, tokens: n });
    const text = html("div", { class: "words", role: "listbox", "aria-label": name });
    text.append(...tokens.slice(group.starts[r], group.starts[r] + n));
    const title = html("span", { class: "name" }, data.names?.[r] ?? `${r + 1}`);
    const side = html("div", { class: "side" }, title, reward, about);
    return { element: html("div", { class: "row" }, side, text), reward, about };
  });
  const canvas = html("canvas", { "aria-hidden": true });
  const elements = rows.map((row) => row.element);
  const scroller = html("div", { class: "scroller", onscroll: ask }, ...elements);
  const element = html("div", { class: "text" }, canvas, scroller);
  const tokenAt = (event) => tokens.indexOf(event.target.closest?.(".token"));
  scroller.addEventListener("click", (event) => tokenAt(event) >= 0 && choose(tokenAt(event)));
  scroller.addEventListener("pointerover", (event) => hover(tokenAt(event)));
  scroller.addEventListener("pointerleave", () => hover(-1));
  moveAlong(scroller, tokens, group, choose);
  return { element, canvas, scroller, tokens, rows, places: [] };
}

/** Where every token stands in the scrolled text: measured once for each layout. */
function measure(text) {
  text.places = text.tokens.map((token) => {
    const { offsetLeft: x, offsetTop: y, offsetWidth: w, offsetHeight: h } = token;
    return { x, y, w, h };
  });
  text.size = [text.element.clientWidth, text.element.clientHeight];
}

/** Paints tint, strike and frame of every token that is in sight. */
function paint(text, colours, { verdicts, struck, tints, framed, lit, chosen, hovered }) {
  const [width, height] = text.size;
  const context = fit(text.canvas, width, height);
  const top = text.scroller.scrollTop;
  const one = verdicts.length === 1;
  text.places.forEach(({ x, y, w, h }, i) => {
    if (y - top > height || y + h < top) return;
    const at = y - top;
    verdicts.forEach((verdict, m) => {
      const box = one ? [x, at, w, h] : [x, at + h + 1 + m * (STRIP + 1), w, STRIP];
      const strength = tints[m][i];
      const none = one ? 0 : 0.12;
      context.globalAlpha = strength ? 0.08 + (one ? 0.52 : 0.92) * Math.abs(strength) : none;
      context.fillStyle = strength > 0 ? colours.up : strength < 0 ? colours.down : colours.line;
      context.fillRect(...box);
      context.globalAlpha = 1;
      context.fillStyle = colours.ink;
      if (struck && verdict.binds[i])
        context.fillRect(box[0], box[1] + box[3] / 2 - 0.5, box[2], one ? 1.5 : 1);
    });
    if (lit?.(i)) outline(context, x, at, w, h, colours.soft, 1);
    if (framed[i]) outline(context, x, at, w, h, colours.line, 1);
    if (i === hovered) outline(context, x, at, w, h, colours.focus, 1.5);
    if (i === chosen) outline(context, x, at, w, h, colours.focus, 2.5);
  });
}

function outline(context, x, y, w, h, colour, width) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.strokeRect(x - 0.5, y - 0.5, w + 1, h + 1);
}

function explorer(root, values, data, words) {
  const group = readGroup(data);
  const simple = Boolean(data.alternatives);
  const links = new Values({ hovered: -1, scope: null });
  const ask = onFrame(root, () => draw());
  const text = buildText(group, data, words, {
    ask,
    choose: (i) => values.set("token", [group.rows[i], i - group.starts[group.rows[i]]]),
    flip: (r) => values.set("rewards", flipped(values.get("rewards"), data.rewards, r)),
    hover: (i) => links.set("hovered", i),
  });
  const light = (scope) => links.set("scope", scope);
  const panel = simple ? buildAlternatives(words) : buildChain(data.methods, words, light);
  const controls = simple ? null : buildControls(values, group, data, words);
  const keys = buildLegend(data, words, simple);
  const shown = () => data.methods.filter(({ name }) => [name, ALL].includes(values.get("method")));
  let colours = {};
  const draw = () => {
    const state = readState(group, values, data, shown());
    const { verdicts, chosen, recorded } = state;
    const tints = simple ? [surprise(group)] : strengths(verdicts, values.get("shows"), recorded);
    const lit = scopeOf(group, verdicts[0], chosen, links.get("scope"));
    const hovered = links.get("hovered");
    const marks = { struck: !simple, framed: differs(verdicts), lit, hovered };
    paint(text, colours, { verdicts, tints, chosen, ...marks });
    if (simple) writeAlternatives(panel, group, data, chosen, words);
    else writeChain(panel, group, verdicts, chosen, words, state);
    writeText(text, group, state, words, simple);
    keys.update(verdicts.length === 1, values.get("shows"));
    controls?.update();
  };
  const layout = () => {
    colours = coloursOf(root, "up", "down", "ink", "soft", "line", "focus");
    root.classList.toggle("compare", shown().length > 1);
    measure(text);
    ask();
  };
  root.classList.toggle("simple", simple);
  root.append(html("p", { class: "question" }, fill(words.question, data)));
  if (controls) root.append(controls.element);
  root.append(html("div", { class: "main" }, text.element, panel.element), keys.element);
  values.on((name) => (name === "method" ? layout() : ask()));
  links.on(ask);
  // Once at the beginning, too, and when a row grows, such as by the first words beside it.
  const observer = new ResizeObserver(layout);
  for (const { element } of [text, ...text.rows]) observer.observe(element);
  return layout;
}

/** The rewards with that of one completion turned: to 0, and back to the recorded one, or 1. */
const flipped = (rewards, recorded, r) =>
  rewards.with(r, rewards[r] > 0 ? 0 : Math.max(recorded[r], 0) || 1);

/** What is shown now: rewards, update, the chosen token, and what each shown method says of all. */
function readState(group, values, data, methods) {
  const [rewards, update] = [values.get("rewards"), values.get("update")];
  const [row, place] = values.get("token");
  return {
    ...{ rewards, update, chosen: group.starts[row] + place },
    recorded: JSON.stringify(rewards) === JSON.stringify(data.rewards),
    verdicts: methods.map((method) => judge(group, method, update, rewards)),
  };
}

/** In the simplest form a token is tinted by its surprise: 5 nats and more are the strongest. */
const surprise = (group) =>
  logprobsOf(group, { name: "*" })[0].map((x) => Math.sqrt(Math.min(1, -x / 5)) || 0);

/** Which tokens a term of the chain concerns, as a function of a token's number. */
function scopeOf(group, verdict, chosen, scope) {
  const completion = (i) => group.rows[i] === group.rows[chosen];
  const token = (i) => i === chosen;
  const ratio = verdict.method.ratio_level === "sequence" ? completion : token;
  return { completion, ratio, token, group: () => true, binds: (i) => verdict.binds[i] }[scope];
}

/** What the text says beside its colours: at each completion, and of the chosen token. */
function writeText(text, group, state, words, simple) {
  // Every update leaves the sides as they are. Hundreds of them would take most of a frame.
  const methods = state.verdicts.map(({ method }) => method.name).join();
  if (text.rewards !== state.rewards || text.methods !== methods) {
    writeSides(text, group, state.verdicts, state, words, simple);
  }
  Object.assign(text, { rewards: state.rewards, methods });
  nameChosen(text, group, state.verdicts, state.chosen, words, simple);
}

/** Reward, advantage and length beside each completion. */
function writeSides(text, group, verdicts, { rewards }, words, simple) {
  text.rows.forEach(({ reward, about }, r) => {
    say(reward, fill(words.reward, { reward: number(rewards[r], rewards[r] % 1 ? 2 : 0) }));
    set(reward, "aria-label", fill(words.flip, { row: r + 1, reward: number(rewards[r], 2) }));
    reward.hidden = simple;
    const given = { tokens: group.lengths[r], a: number(verdicts[0].advantages[r], 2, true) };
    const one = verdicts.length === 1 && !simple;
    say(about, fill(one ? words.advantage : words.length, given));
    reward.classList.toggle("correct", rewards[r] > 0);
  });
}

/** One token can be reached by Tab, and tells a screen reader everything that its colours say. */
function nameChosen(text, group, verdicts, i, words, simple) {
  const before = text.named;
  if (before !== undefined && before !== i) {
    dress(text.tokens[before], { tabindex: -1, "aria-selected": false, "aria-label": null });
    reveal(text, i);
  }
  text.named = i;
  const says = verdicts.map((verdict) => {
    const g = verdict.gradient[i];
    const way = g > 0 ? words.pushed_up : g < 0 ? words.pushed_down : words.no_push;
    const share = percent(verdict.total ? Math.abs(g) / verdict.total : 0);
    const given = { method: verdict.method.name, share };
    return fill(words.says, { ...given, way: verdict.binds[i] ? words.clip_binds : way });
  });
  const p = percent(Math.exp(verdicts[0].now[i]));
  const where = fill(words.token, { ...whereIs(group, i), p });
  const name = [where, ...(simple ? [] : says)].join(" ");
  dress(text.tokens[i], { tabindex: 0, "aria-selected": true, "aria-label": name });
}

/** A token and its place, counted from 1. */
function whereIs({ words, rows, starts, lengths }, i) {
  const r = rows[i];
  return { token: words[i], place: i - starts[r] + 1, length: lengths[r], row: r + 1 };
}

/** Scrolls the text, never the page, until a token is in sight. */
function reveal(text, i) {
  const { y, h } = text.places[i] ?? { y: 0, h: 0 };
  const [top, height] = [text.scroller.scrollTop, text.scroller.clientHeight];
  if (y < top + 4) text.scroller.scrollTop = y - 12;
  else if (y + h + 20 > top + height) text.scroller.scrollTop = y + h + 28 - height;
}

function buildControls(values, group, data, words) {
  const names = [...data.methods.map(({ name }) => [name, name]), [ALL, words.all]];
  const kinds = ["push", "change"].map((name) => [name, words[name]]);
  const methods = choice({ name: words.method, options: names, ...values.linked("method") });
  const shows = choice({ name: words.tint, options: kinds, ...values.linked("shows") });
  const when = (n) => data.moments?.[n] ?? fill(n === 1 ? words.one_update : words.updates, { n });
  const [last, linked] = [group.updates, values.linked("update")];
  const update = slider({ name: words.update, text: when, min: 0, max: last, ...linked });
  const play = playThrough(linked, last, { play: words.play, pause: words.stop });
  const restart = () => {
    play.stop();
    values.reset();
  };
  const reset = buttonOf(words.reset, restart);
  const parts = [methods, shows, update];
  const elements = [...parts.map((part) => part.element), play.element, reset];
  const element = html("div", { class: "controls" }, ...elements);
  return { element, update: () => parts.forEach((part) => part.update()) };
}

/** What the colours mean. Returns the element and a function that fits it to what is shown. */
function buildLegend(data, words, simple) {
  const key = (name, text = words[`key_${name}`] ?? "") =>
    html("span", {}, html("i", { class: `key ${name}` }), html("b", {}, text));
  const element = html("p", { class: "legend" });
  if (simple) {
    element.append(key("up", words.key_surprise));
    return { element, update() {} };
  }
  const [up, down, clipped, framed] = ["up", "down", "clipped", "framed"].map((name) => key(name));
  const methods = data.methods.map(({ name }) => name).join(", ");
  const strips = html("span", {}, fill(words.strips, { methods }));
  element.append(up, down, clipped, framed, strips);
  const update = (one, shows) => {
    say(up.lastChild, words[`key_up_${shows}`]);
    say(down.lastChild, words[`key_down_${shows}`]);
    framed.hidden = strips.hidden = one;
  };
  return { element, update };
}

const style = `
  .controls output { min-width: 118px; }
  .controls input[type=range] { width: 130px; }
  .main { display: grid; grid-template-columns: minmax(0, 1fr) 432px; gap: 14px; height: 508px; }
  .simple .main { height: 400px; }
  .text { position: relative; border: 1px solid var(--faint); border-radius: 6px; min-height: 0; }
  .text canvas { position: absolute; inset: 0; pointer-events: none; }
  .scroller { position: absolute; inset: 0; overflow: auto; padding: 6px 8px; }
  .row { display: grid; grid-template-columns: 90px minmax(0, 1fr); padding: 4px 0; }
  .row + .row { border-top: 1px solid var(--faint); }
  .side { display: grid; grid-template-columns: auto auto; gap: 1px 6px; align-content: start;
    justify-content: start; }
  .side .name { grid-column: 1; font-weight: 600; align-self: center; }
  .side .about { grid-column: 1 / 3; font-size: 12px; color: var(--soft); }
  .rlvr .reward { padding: 0 6px; min-height: 22px; line-height: 18px; font-size: 12px; }
  .rlvr .reward.correct { border-color: var(--up); border-width: 2px; font-weight: 600; }
  .words { line-height: 23px; }
  .compare .words { line-height: 36px; margin: -7px 0 3px; }
  .token { display: inline-block; line-height: 18px; padding: 0 3px; margin: 0 1px;
    cursor: pointer; border-radius: 2px; white-space: pre; }
  .chain { min-width: 0; border: 1px solid var(--faint); border-radius: 6px; padding: 8px 12px;
    overflow: hidden; }
  .chain h3 { margin: 0 0 4px; }
  .chain table { table-layout: fixed; }
  .chain th { text-align: left; font-weight: 600; padding: 0; width: 92px; vertical-align: middle; }
  .chain td, .chain th { height: 36px; border-top: 1px solid var(--faint); }
  .chain thead th { height: 34px; border: 0; font-size: 12px; }
  .chain .formula { font-size: 12px; color: var(--soft); line-height: 1.25; padding: 0 6px 0 0;
    width: auto; }
  .chain .value { text-align: right; width: 92px; }
  .compare .chain .value, .compare .chain thead th + th + th { width: 71px; text-align: right; }
  .compare .chain th { width: 76px; }
  .compare .chain td, .compare .chain tbody th { height: 35px; font-size: 12.5px; }
  .chain tbody tr:hover { background: var(--raised); }
  .chain .value.binds { color: var(--down-text); font-weight: 600; }
  .swatch { margin-left: auto; margin-bottom: 3px; }
  .chain p { padding: 4px 0 8px; min-height: 62px; }
  .chain .rest { fill: var(--faint); }
  .chain .other { fill: var(--soft); }
  .chain .taken { fill: var(--up); }
  .rlvr svg text.inside { fill: var(--page); font-size: 11px; }
  .needle { stroke: var(--ink); fill: var(--ink); stroke-width: 2; }
  .bar { display: grid; grid-template-columns: 110px 190px auto; align-items: center;
    height: 26px; }
  .bar i { height: 14px; background: var(--soft); border-radius: 2px; }
  .bar.taken { font-weight: 600; }
  .bar.taken i { background: var(--up); }
  .legend { display: flex; flex-wrap: wrap; gap: 4px 18px; padding-top: 7px;
    color: var(--soft); font-size: 12px; }
  .legend span { display: inline-flex; align-items: center; }
  .bar b, .legend b { font-weight: 400; }
  .key { display: inline-block; width: 22px; height: 13px; margin-right: 6px; border-radius: 2px; }
  .key.up { background: color-mix(in srgb, var(--up) 50%, transparent); }
  .key.down { background: color-mix(in srgb, var(--down) 50%, transparent); }
  .key.clipped { background: linear-gradient(var(--ink), var(--ink)) center / 100% 2px no-repeat; }
  .key.framed { border: 1px solid var(--line); }
  @container explorer (max-width: 1040px) {
    .main { height: 480px; }
    .legend { min-height: 46px; align-content: flex-start; }
  }
  @container explorer (max-width: 899px) {
    .main { grid-template-columns: minmax(0, 1fr) 396px; gap: 10px; height: 456px; }
    .chain th { width: 82px; }
    .chain .value { width: 86px; }
    .row { grid-template-columns: minmax(0, 1fr); }
    .side { grid-auto-flow: column; align-items: center; }
    .side .about { grid-column: auto; }
    .chain td, .chain th { height: 34px; }
    .compare .chain td, .compare .chain tbody th { height: 30px; }
    .compare .chain .formula { display: none; }
  }
`;
