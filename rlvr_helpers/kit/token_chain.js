// The chain of the token lens: every number of the calculation of one token, term by term.

/** The terms of the chain in their order: what is lit in the text when the pointer is on a term. */
const TERMS = {
  ...{ R: "completion", mean: "group", A: "completion" },
  ...{ logp_old: "token", logp_new: "token", ratio: "ratio", clip: "binds", min: "token" },
  ...{ weight: "completion", loss: "token", gradient: "token", did: "token" },
};

/** Every number of the calculation for token i under one method. */
function chainOf(group, verdict, i, rewards) {
  const { method, old, now, next, total } = verdict;
  const r = group.rows[i];
  const [ratio, A, weight] = [verdict.ratio[i], verdict.advantages[r], verdict.weights[r]];
  const [low, high] = [1 - method.clip_low, 1 + method.clip_high];
  const min = objective(ratio, A, method.clip_low, method.clip_high);
  return {
    ...{ R: rewards[r], mean: mean(rewards), std: std(rewards), size: rewards.length, A },
    ...{ logp_old: old[i], logp_new: now[i], ratio },
    ...{ low, high, clip: clamp(ratio, low, high), min, binds: Boolean(verdict.binds[i]) },
    ...{ length: group.lengths[r], tokens: group.rows.length, budget: group.maxTokens },
    ...{ weight, loss: -weight * min, gradient: verdict.gradient[i] },
    share: total ? Math.abs(verdict.gradient[i]) / total : 0,
    before: Math.exp(now[i]),
    after: next ? Math.exp(next[i]) : null,
  };
}

/** The formula of each term with its numbers, from the words' templates. */
function formulas(chain, method, words, { update, recorded }) {
  const f = words.formulas;
  const { size, length, tokens, budget, logp_old, logp_new } = chain;
  const written = ([k, v]) => [k, typeof v === "number" ? number(v) : v];
  const [p_old, p_new] = [logp_old, logp_new].map((logp) => percent(Math.exp(logp)));
  const given = {
    ...Object.fromEntries(Object.entries(chain).map(written)),
    ...{ size, length, tokens, budget, update, p_old, p_new },
    d: number(logp_new - logp_old, 4),
    clipped: number(chain.clip * chain.A),
    plain: number(chain.ratio * chain.A),
    R: number(chain.R, 2),
    weight: number(chain.weight, 5),
    share: percent(chain.share),
    before: percent(chain.before),
    after: percent(chain.after ?? 0),
  };
  const same = Math.abs(chain.clip - chain.ratio) < 1e-12;
  const wins = same ? "same" : chain.binds ? "clipped" : "unclipped";
  const did = chain.after === null ? "last" : recorded ? "done" : "flipped";
  const forms = {
    ...{ R: f.R, mean: f.mean, logp_old: f.logp_old, logp_new: f.logp_new, clip: f.clip },
    A: chain.A === 0 ? f.A_none : f[`A_${method.advantage_scale}`],
    ratio: f[`ratio_${method.ratio_level}`],
    min: f[`min_${wins}`],
    weight: f[`weight_${method.aggregation}`],
    loss: f.loss,
    gradient: chain.binds ? f.gradient_binds : f.gradient,
    did: f[`did_${did}`],
  };
  return Object.fromEntries(Object.entries(forms).map(([k, text]) => [k, fill(text, given)]));
}

/** Digits of each term, of the terms that show their sign last. */
const DIGITS = {
  ...{ R: 2, logp_old: 3, logp_new: 3, ratio: 4, clip: 4, min: 4, weight: 5 },
  ...{ A: 3, loss: 5, gradient: 5 },
};

/** What stands at the right of each term. */
function results(chain, recorded, short) {
  const signed = ["A", "loss", "gradient"];
  const written = ([term, n]) => [term, number(chain[term], n, signed.includes(term))];
  return {
    ...Object.fromEntries(Object.entries(DIGITS).map(written)),
    mean: [chain.mean, chain.std].map((x) => number(x, short ? 2 : 3)).join(", "),
    did: chain.after === null || !recorded ? "–" : percent(chain.after),
  };
}

function buildChain(methods, words, light) {
  const head = html("h3", {});
  const names = methods.map(({ name, colour, dash }) =>
    html("th", { scope: "col" }, swatch(colour, dash), name),
  );
  const columns = html("tr", {}, html("th", {}), html("th", { class: "formula" }), ...names);
  const body = Object.entries(TERMS).map(([term, scope]) => {
    const symbol = html("th", { scope: "row" });
    const formula = html("td", { class: "formula" });
    const values = methods.map(() => html("td", { class: "value" }));
    const lit = { onpointerenter: () => light(scope), onpointerleave: () => light(null) };
    const line = html("tr", lit, symbol, formula, ...values);
    return { term, line, symbol, formula, values };
  });
  const lines = html("tbody", {}, ...body.map(({ line }) => line));
  const table = html("table", {}, html("thead", {}, columns), lines);
  const element = html("section", { class: "chain", "aria-label": words.chain }, head, table);
  return { element, head, columns, body };
}

/** Writes the numbers of the chosen token into the chain. One method alone has formulas. */
function writeChain(panel, group, verdicts, i, words, state) {
  const one = verdicts.length === 1;
  say(panel.head, fill(words.chosen, whereIs(group, i)));
  const chains = verdicts.map((verdict) => chainOf(group, verdict, i, state.rewards));
  const texts = formulas(chains[0], verdicts[0].method, words, state);
  const shown = chains.map((chain) => results(chain, state.recorded, !one));
  panel.columns.hidden = one;
  const levels = new Set(verdicts.map(({ method }) => method.ratio_level));
  const ratio = levels.size > 1 ? "ratio_both" : `ratio_${[...levels][0]}`;
  for (const { term, symbol, formula, values } of panel.body) {
    const key = term === "ratio" ? ratio : term;
    const flipped = term === "did" && !state.recorded;
    say(symbol, words.terms[key]);
    const means = flipped ? words.formulas.did_flipped : words.means[key];
    say(formula, one ? texts[term] : means);
    values.forEach((cell, m) => {
      cell.hidden = m >= verdicts.length;
      if (m >= verdicts.length) return;
      say(cell, shown[m][term]);
      cell.classList.toggle("binds", chains[m].binds && ["clip", "min", "gradient"].includes(term));
    });
  }
}
