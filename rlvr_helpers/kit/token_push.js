// What the next update does to every token of a group, method by method, as flat arrays.

/** The group as flat arrays: token i is in completion `rows[i]`. Log-probs by method, update. */
function readGroup(data) {
  const layout = layoutOf(data.rows.map((row) => row.length));
  const logprobs = {};
  for (const [name, steps] of Object.entries(data.logprobs)) {
    const changes = steps.map((step) => step.flat());
    logprobs[name] = summedUp(layout.rows.length, changes, data.unit).slice(1);
  }
  const updates = Object.values(logprobs)[0].length - 1;
  const words = data.rows.flat();
  return { ...layout, words, logprobs, updates, maxTokens: data.max_tokens };
}

/** Log-probs under a method's own recorded training, or those that all methods share. */
const logprobsOf = (group, method) => group.logprobs[method.name] ?? group.logprobs["*"];

/** What one method says of every token at an update: ratio, whether the clip binds, gradient. */
function judge(group, method, update, rewards) {
  const { clip_low: low, clip_high: high } = method;
  const advantages = groupAdvantages(rewards, method.advantage_scale);
  const weights = tokenWeights(group.lengths, method.aggregation, group.maxTokens);
  const moments = logprobsOf(group, method);
  const [old, now, next] = [moments[0], moments[update], moments[update + 1]];
  const ratio = ratiosOf(group, method, old, now);
  const [push, binds] = [new Float64Array(ratio.length), new Uint8Array(ratio.length)];
  let total = 0;
  for (let i = 0; i < ratio.length; i++) {
    const r = group.rows[i];
    push[i] = weights[r] * gradient(ratio[i], advantages[r], low, high);
    binds[i] = clipBinds(ratio[i], advantages[r], low, high);
    total += Math.abs(push[i]);
  }
  return { method, advantages, weights, old, now, next, ratio, gradient: push, binds, total };
}

/** rho of every token, or s of its completion. */
function ratiosOf(group, method, old, now) {
  const ratio = now.slice();
  const each = method.ratio_level === "token";
  for (let i = 0; i < ratio.length; i++) {
    ratio[i] = each ? Math.exp(now[i] - old[i]) : now[i] - old[i];
  }
  if (each) return ratio;
  group.starts.forEach((start, r) => {
    const end = start + group.lengths[r];
    ratio.fill(sequenceRatio(ratio.subarray(start, end)), start, end);
  });
  return ratio;
}

/** How strongly each token is tinted, -1 to 1: share of the gradient, or change of log-prob, which
 * is known only of the recorded rewards. */
function strengths(verdicts, shows, recorded) {
  let top = 1e-9;
  const raw = verdicts.map(({ gradient: push, total, now, next }) => {
    const of = new Float64Array(push.length);
    for (let i = 0; i < of.length; i++) {
      of[i] = shows === "push" ? push[i] / (total || 1) : recorded && next ? next[i] - now[i] : 0;
      top = Math.max(top, Math.abs(of[i]));
    }
    return of;
  });
  // A square root, so that a tenth of the strongest is still seen.
  for (const of of raw) {
    for (let i = 0; i < of.length; i++) of[i] = Math.sign(of[i]) * Math.sqrt(Math.abs(of[i]) / top);
  }
  return raw;
}

/** 1 for each token on which the clip binds under some of the methods and not under all. */
function differs([{ binds: first }, ...others]) {
  const found = new Uint8Array(first.length);
  for (const { binds } of others) {
    for (let i = 0; i < found.length; i++) found[i] |= binds[i] !== first[i];
  }
  return found;
}
