// The chain of the token lens: every number of the calculation of one token, term by term.
// Joined in front of token_lens.js.

/** The terms of the chain in their order: what is lit in the text when the pointer is on a term. */
const TERMS = {
  R: "completion",
  mean: "group",
  A: "completion",
  logp_old: "token",
  logp_new: "token",
  ratio: "ratio",
  clip: "binds",
  min: "token",
  weight: "completion",
  loss: "token",
  gradient: "token",
  did: "token",
};

/** Every number of the calculation for token i under one method. */
function chainOf(group, verdict, i, rewards) {
  const { method, advantages, weights, old, now, next } = verdict;
  const r = group.rows[i];
  const q = verdict.ratio[i];
  const a = advantages[r];
  const limits = [1 - method.clip_low, 1 + method.clip_high];
  const clipped = clamp(q, ...limits);
  const value = objective(q, a, method.clip_low, method.clip_high);
  return {
    R: rewards[r],
    mean: mean(rewards),
    std: std(rewards),
    A: a,
    logp_old: old[i],
    logp_new: now[i],
    ratio: q,
    low: limits[0],
    high: limits[1],
    clip: clipped,
    min: value,
    weight: weights[r],
    loss: -weights[r] * value,
    gradient: verdict.gradient[i],
    binds: Boolean(verdict.binds[i]),
    share: verdict.total ? Math.abs(verdict.gradient[i]) / verdict.total : 0,
    before: Math.exp(now[i]),
    after: next ? Math.exp(next[i]) : null,
    size: rewards.length,
    length: group.lengths[r],
    tokens: group.rows.length,
    budget: group.maxTokens,
  };
}

/** The formula of each term with its numbers, from the words' templates. */
function formulas(chain, method, words, { update, recorded }) {
  const f = words.formulas;
  const n = (x, digits = 3) => number(x, digits);
  const terms = { clipped: n(chain.clip * chain.A), plain: n(chain.ratio * chain.A) };
  const given = {
    d: n(chain.logp_new - chain.logp_old, 4),
    ...Object.fromEntries(
      Object.entries(chain).map(([k, v]) => [k, typeof v === "number" ? n(v) : v]),
    ),
    ...terms,
    size: chain.size,
    length: chain.length,
    tokens: chain.tokens,
    budget: chain.budget,
    update,
    R: n(chain.R, 2),
    mean: n(chain.mean, 3),
    weight: number(chain.weight, 5),
    p_old: percent(Math.exp(chain.logp_old)),
    p_new: percent(Math.exp(chain.logp_new)),
    share: percent(chain.share),
    before: percent(chain.before),
    after: chain.after === null ? "" : percent(chain.after),
  };
  const same = Math.abs(chain.clip - chain.ratio) < 1e-12;
  const wins = same ? "same" : chain.binds ? "clipped" : "unclipped";
  const did = chain.after === null ? "last" : recorded ? "done" : "flipped";
  const forms = {
    R: f.R,
    mean: f.mean,
    A: chain.A === 0 ? f.A_none : f[`A_${method.advantage_scale}`],
    logp_old: f.logp_old,
    logp_new: f.logp_new,
    ratio: f[`ratio_${method.ratio_level}`],
    clip: f.clip,
    min: f[`min_${wins}`],
    weight: f[`weight_${method.aggregation}`],
    loss: f.loss,
    gradient: chain.binds ? f.gradient_binds : f.gradient,
    did: f[`did_${did}`],
  };
  return Object.fromEntries(Object.entries(forms).map(([k, text]) => [k, fill(text, given)]));
}

/** What stands at the right of each term. */
function results(chain, recorded, short) {
  const d = short ? 2 : 3;
  return {
    R: number(chain.R, 2),
    mean: `${number(chain.mean, d)}, ${number(chain.std, d)}`,
    A: number(chain.A, 3, true),
    logp_old: number(chain.logp_old),
    logp_new: number(chain.logp_new),
    ratio: number(chain.ratio, 4),
    clip: number(chain.clip, 4),
    min: number(chain.min, 4),
    weight: number(chain.weight, 5),
    loss: number(chain.loss, 5, true),
    gradient: number(chain.gradient, 5, true),
    did: chain.after === null || !recorded ? "–" : percent(chain.after),
  };
}

function buildChain(methods, words, light) {
  const head = html("h3", {});
  const names = methods.map((method) => html("th", { scope: "col" }, swatch(method), method.name));
  const columns = html("tr", {}, html("th", {}), html("th", { class: "formula" }), ...names);
  const body = Object.entries(TERMS).map(([term, scope]) => {
    const symbol = html("th", { scope: "row" });
    const formula = html("td", { class: "formula" });
    const values = methods.map(() => html("td", { class: "value" }));
    const line = html(
      "tr",
      { onpointerenter: () => light(scope), onpointerleave: () => light(null) },
      symbol,
      formula,
      ...values,
    );
    return { term, line, symbol, formula, values };
  });
  const table = html(
    "table",
    {},
    html("thead", {}, columns),
    html("tbody", {}, ...body.map(({ line }) => line)),
  );
  return {
    element: html("section", { class: "chain", "aria-label": words.chain }, head, table),
    head,
    columns,
    body,
  };
}

/** Writes the numbers of the chosen token into the chain. One method alone has formulas. */
function writeChain(panel, group, verdicts, i, words, state) {
  const one = verdicts.length === 1;
  const row = group.rows[i];
  say(
    panel.head,
    fill(words.chosen, {
      token: group.words[i],
      place: i - group.starts[row] + 1,
      length: group.lengths[row],
      row: row + 1,
    }),
  );
  const chains = verdicts.map((verdict) => chainOf(group, verdict, i, state.rewards));
  const texts = formulas(chains[0], verdicts[0].method, words, state);
  const shown = chains.map((chain) => results(chain, state.recorded, !one));
  panel.columns.hidden = one;
  for (const { term, symbol, formula, values } of panel.body) {
    const levels = new Set(verdicts.map(({ method }) => method.ratio_level));
    const key =
      term !== "ratio" ? term : levels.size > 1 ? "ratio_both" : `ratio_${[...levels][0]}`;
    say(symbol, words.terms[key]);
    say(
      formula,
      one
        ? texts[term]
        : term === "did" && !state.recorded
          ? words.formulas.did_flipped
          : words.means[key],
    );
    values.forEach((cell, m) => {
      cell.hidden = m >= verdicts.length;
      if (m >= verdicts.length) return;
      say(cell, shown[m][term]);
      cell.classList.toggle("binds", chains[m].binds && ["clip", "min", "gradient"].includes(term));
    });
  }
}

/** A method's line style and colour, as in every figure of the course. */
function swatch(method) {
  const line = svg("line", {
    x1: 0,
    x2: 22,
    y1: 4,
    y2: 4,
    stroke: `var(${method.colour})`,
    "stroke-width": 3,
    "stroke-dasharray": method.dash,
  });
  return svg("svg", { width: 22, height: 8, "aria-hidden": true, class: "swatch" }, line);
}
