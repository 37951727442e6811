// The sampler. The line from 0 to 1 is cut in pieces, one for each word, and the noise is a needle
// that chooses one. Below stand the sentence, word by word, and the branches that were left.
// Log-probs come from Python: recorded for some beginnings, from the kernel for every other one.

const LINE = { from: 10, to: 990, top: 34, height: 44 }; // pixels
const NAMED = 0.012; // pieces from this share on are drawn one by one
const KEPT = 5; // branches
const TINTS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];

/** Log-probs in nats from base64 of 16-bit whole numbers, a thousandth of a nat each. */
function readLogprobs(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return Array.from(new Int16Array(bytes.buffer), (x) => x / 1000);
}

function explorer(root, values, data, words) {
  const known = new Map(data.nodes.map(([prefix, logprobs]) => [prefix, readLogprobs(logprobs)]));
  const draws = random(7);
  const branches = [];
  const word = (token) => data.vocabulary[token];
  const ended = (prefix) => data.ends.includes(prefix.at(-1)) || prefix.length >= data.budget;

  /** What the model says after the sentence so far, undefined if it has not been asked. */
  const now = () => {
    const prefix = values.get("prefix").join(" ");
    const [asked, logprobs] = values.get("more");
    if (logprobs && !known.has(asked)) known.set(asked, readLogprobs(logprobs));
    return ended(values.get("prefix")) ? null : known.get(prefix);
  };
  const picked = () => {
    const logprobs = now();
    if (!logprobs) return null;
    const probabilities = softmax(logprobs, values.get("temperature"));
    const { token, start } = pickToken(probabilities, values.get("noise"));
    return { probabilities, token, start, p: probabilities[token] };
  };

  const next = () => {
    const found = picked();
    if (!found) return;
    values.set("prefix", [...values.get("prefix"), found.token]);
    values.set("noise", Number(draws().toFixed(4)));
    if (ended(values.get("prefix"))) leave(values.get("prefix"));
  };
  const leave = (sentence) => {
    const text = sentence.map(word).join(" ");
    if (branches.some((branch) => branch.startsWith(text))) return;
    branches.splice(0, KEPT, text, ...branches.slice(0, KEPT - 1));
  };
  const goTo = (length) => {
    clearInterval(run);
    if (length === values.get("prefix").length) return;
    leave(values.get("prefix"));
    values.set("prefix", values.get("prefix").slice(0, length));
  };
  let run = null;
  const finish = () => {
    clearInterval(run);
    if (!picked()) return;
    next();
    run = setInterval(() => (ended(values.get("prefix")) ? clearInterval(run) : next()), 90);
  };

  const nextButton = buttonOf(words.next, next);
  const finishButton = buttonOf(words.finish, finish);
  const restart = buttonOf(words.restart, () => goTo(1));
  const places = { min: 0, max: 0.9999, step: 0.01, text: (x) => number(x, 2) };
  const noise = slider({ name: words.noise, ...places, ...values.linked("noise") });
  const heat = { name: words.temperature, ...values.linked("temperature") };
  const temperature = slider({ ...heat, min: 0.1, max: 2, step: 0.1, text: (x) => number(x, 1) });
  const ghost = html("span", { class: "ghost" });
  const about = { class: "sentence", role: "group", "aria-label": words.sentence };
  const sentence = html("div", about, ghost);
  const said = []; // a button for each word: the same one as long as the word stands there
  const drawing = svg("svg", { viewBox: "0 0 1000 112", class: "line" });
  const axis = scale(0, 1, LINE.from, LINE.to);
  const [pieces, ticksOf] = [svg("g"), svg("g")];
  drawAxis(ticksOf, axis, LINE.top + LINE.height + 4, { values: [0, 0.25, 0.5, 0.75, 1] });
  const needle = svg("g", { class: "needle" }, svg("path", { d: "M0 82V24l-7 -12h14l-7 12" }));
  drawing.append(pieces, ticksOf, needle);
  const tell = handle(needle, { name: words.needle, ...places, ...values.linked("noise") });
  const drag = (x) => {
    const shown = (1000 * x) / drawing.getBoundingClientRect().width;
    values.set("noise", clamp(Number(axis.value(shown).toFixed(4)), 0, 0.9999));
  };
  draggable(needle, { move: drag, frame: drawing });
  drawing.addEventListener("pointerdown", (event) => {
    if (!needle.contains(event.target)) drag(event.clientX - drawing.getBoundingClientRect().left);
  });
  const note = html("p", { class: "note", "aria-live": "polite" });
  const list = html("ol", { class: "branches", "aria-label": words.branches });
  const controls = (...some) => html("div", { class: "controls" }, ...some);
  root.append(html("p", { class: "question" }, fill(words.question, data)), sentence, drawing);
  root.append(controls(noise.element, temperature.element));
  root.append(controls(nextButton, finishButton, restart));
  root.append(note, html("h3", {}, words.branches), list);

  const draw = () => {
    const prefix = values.get("prefix");
    const found = picked();
    drawSentence(prefix, found);
    const at = axis.at(values.get("noise"));
    set(needle, "transform", `translate(${at.toFixed(1)} 0)`);
    pieces.replaceChildren(...(found ? drawPieces(found) : []));
    for (const control of [noise, temperature]) control.update();
    tell();
    for (const button of [nextButton, finishButton]) set(button, "aria-disabled", !found);
    say(note, noteOf(prefix, found));
    const text = prefix.map(word).join(" ");
    list.replaceChildren(...branches.map((branch) => branchOf(branch, text)));
  };
  const noteOf = (prefix, found) => {
    if (ended(prefix)) return words.ended;
    if (!found) return values.model ? words.waiting : words.unrecorded;
    const [start, end] = [found.start, found.start + found.p].map((x) => number(x, 3));
    const told = { p: percent(found.p), logp: number(Math.log(found.p), 2) };
    return fill(words.picked, { token: word(found.token), start, end, ...told });
  };

  /** The sentence as buttons that go back, and the word that the noise points at. */
  function drawSentence(prefix, found) {
    const within = sentence.matches(":focus-within");
    while (said.length > prefix.length) said.pop().remove();
    while (said.length < prefix.length) {
      const to = Math.max(said.length, 1);
      said.push(buttonOf("", () => goTo(to), { class: "said" }));
      ghost.before(said.at(-1));
    }
    prefix.forEach((token, i) => {
      say(said[i], word(token));
      set(said[i], "title", fill(words.back, { token: word(token) }));
    });
    say(ghost, found ? word(found.token) : "");
    if (within && !sentence.matches(":focus-within")) said.at(-1).focus();
  }

  /** Pieces in the order of the vocabulary. The rare ones between them share one grey piece. */
  function drawPieces({ probabilities, token }) {
    const drawn = [];
    let start = 0;
    let rare = 0;
    const box = (from, share, more) => {
      const size = { y: LINE.top, height: LINE.height };
      const width = Math.max(0, axis.at(from + share) - axis.at(from) - 1);
      drawn.push(svg("rect", { x: axis.at(from), width, ...size, ...more }));
      return width;
    };
    probabilities.forEach((p, i) => {
      if (p < NAMED && i !== token) rare += p;
      else {
        if (rare > 0) box(start - rare, rare, { class: "rare" });
        rare = 0;
        const tint = `${TINTS[i % TINTS.length]}52`; // a third of the colour
        const about = { class: i === token ? "taken" : "", style: `fill:${tint}` };
        const width = box(start, p, about);
        const label = { x: axis.at(start) + width / 2, y: 61, "text-anchor": "middle" };
        if (width > 8.2 * word(i).length) drawn.push(svg("text", label, word(i)));
      }
      start += p;
    });
    if (rare > 0) box(start - rare, rare, { class: "rare" });
    return drawn;
  }

  /** A branch that was left: what it shares with the sentence now, and its own end. */
  function branchOf(branch, text) {
    const own = branch.split(" ");
    const here = text.split(" ");
    const same = own.findIndex((each, i) => each !== here[i]);
    const cut = same < 0 ? own.length : same;
    const [shared, rest] = [own.slice(0, cut), own.slice(cut)].map((some) => some.join(" "));
    return html("li", {}, shared, html("b", {}, ` ${rest}`));
  }

  return keepDrawn(root, values, draw);
}

const style = `
  .sentence { display: flex; flex-wrap: wrap; gap: 3px; height: 60px; overflow: auto;
    align-content: flex-start; padding: 3px; }
  .rlvr .said { padding: 1px 5px; min-height: 24px; border-color: var(--faint); }
  .ghost { padding: 2px 6px; border: 1px dashed var(--up); color: var(--up-text);
    font-weight: 600; border-radius: 4px; height: 24px; line-height: 18px; }
  .line { width: 100%; cursor: pointer; touch-action: none; }
  .rlvr svg.line text { fill: var(--ink); font-size: 13px; pointer-events: none; }
  .rare { fill: var(--faint); }
  .taken { stroke: var(--ink); stroke-width: 2.5; }
  .needle { cursor: ew-resize; }
  .needle path { fill: var(--ink); stroke: var(--ink); stroke-width: 2.5; }
  .controls { padding: 6px 0; }
  .controls input[type=range] { width: 240px; }
  .note { min-height: 26px; padding: 4px 0; }
  .branches { margin: 4px 0 0; padding-left: 24px; height: 104px; overflow: auto;
    color: var(--soft); }
  .branches b { color: var(--ink); font-weight: 600; }
`;
