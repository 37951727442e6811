// What else a token could have been: the number line of its alternatives, the noise as a needle
// that chose one of them, and bars.

function buildAlternatives(words) {
  const head = html("h3", {});
  const drawing = svg("svg", { width: 400, height: 96, role: "img" });
  const note = html("p", {});
  const bars = html("div", {});
  const about = { class: "chain", "aria-label": words.alternatives };
  return { element: html("section", about, head, drawing, note, bars), head, drawing, note, bars };
}

/** Shows token i of a group: the words before it, its piece of the line, and the other pieces. */
function writeAlternatives(panel, group, data, i, words) {
  const place = i - group.starts[group.rows[i]];
  const before = group.words.slice(i - Math.min(place, 4), i).join(" ") || words.nothing;
  say(panel.head, fill(words.after, { before: (place > 4 ? "… " : "") + before }));
  const noise = data.noise?.[i];
  const pieces = data.alternatives[i].map(([word, start, p]) => ({
    word: data.vocabulary[word],
    taken: data.vocabulary[word] === group.words[i],
    start: start * data.probability_unit,
    p: p * data.probability_unit,
  }));
  const taken = pieces.find((piece) => piece.taken);
  const [start, end] = [taken.start, taken.start + taken.p].map((x) => number(x, 4));
  const told = { p: percent(taken.p), surprise: number(-Math.log(taken.p), 2) };
  const template = noise === undefined ? words.interval : words.chose;
  const text = fill(template, { token: taken.word, start, end, ...told });
  say(panel.note, text);
  set(panel.drawing, "aria-label", text);
  panel.drawing.replaceChildren(...numberLine(pieces, noise, words));
  pieces.sort((one, other) => other.p - one.p);
  panel.bars.replaceChildren(...pieces.map(bar));
}

/** From 0 to 1, in the order of the vocabulary: a piece for each word, as long as it is likely. */
function numberLine(pieces, noise, words) {
  const axis = scale(0, 1, 8, 392);
  const drawn = pieces.flatMap(({ word, taken, start, p }) => {
    const x = axis.at(start);
    const width = Math.max(1, axis.at(start + p) - x - 1);
    const look = { y: 30, height: 26, rx: 2, class: taken ? "taken" : "other" };
    const label = { x: x + width / 2, y: 47, "text-anchor": "middle", class: "inside" };
    const fits = width > 7.5 * word.length;
    return [svg("rect", { x, width, ...look }), ...(fits ? [svg("text", label, word)] : [])];
  });
  const line = svg("g");
  drawAxis(line, axis, 62, { values: [0, 0.25, 0.5, 0.75, 1] });
  const rest = svg("rect", { x: 8, y: 30, width: 384, height: 26, rx: 2, class: "rest" });
  const shown = noise === undefined ? [] : needle(axis.at(noise), noise, words);
  return [rest, ...drawn, line, ...shown];
}

function needle(x, noise, words) {
  const label = { x: clamp(x, 40, 360), y: 6, "text-anchor": "middle", class: "label" };
  const text = fill(words.noise, { noise: number(noise, 4) });
  const arrow = svg("path", { d: `M${x} 58V20l-5 -9h10l-5 9`, class: "needle" });
  return [arrow, svg("text", label, text)];
}

function bar({ word, taken, p }) {
  const length = html("i", { style: `width:${(180 * p).toFixed(1)}px` });
  const about = { class: taken ? "bar taken" : "bar" };
  return html("div", about, html("span", {}, word), length, html("b", {}, percent(p)));
}
