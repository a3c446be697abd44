// The calibration page: what GET /v1/calibration says, drawn.

import { Problem, call } from "./api.js";
import { byId, element, table } from "./dom.js";
import { counted, featureName, languageName, percent, signed } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const SIDE = 200;
const EDGE = 26;
const FOLDED = 24;
const SLICES = {
  all: "All hits",
  same: "Question and passage in one language",
  cross: "In different languages",
  "rank 1": "First hits",
};
const HEADS = {
  hit: "Hits whose languages are known",
  pooled: "Hits one of whose languages is not known",
  first_hit: "“Does the first hit answer?”",
};

function drawn(name, attributes, ...content) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
}

const x = (share) => EDGE + share * SIDE;
const y = (share) => EDGE / 2 + (1 - share) * SIDE;

function diagram(name, after, before) {
  const hits = after.reduce((sum, bin) => sum + bin.hits, 0);
  const svg = drawn("svg", { viewBox: `0 0 ${SIDE + EDGE * 1.5} ${SIDE + EDGE * 1.5}`, role: "img" });
  svg.setAttribute("aria-label", `${sliceName(name)}: ${spoken(after)}`);
  for (const tick of [0, 0.5, 1]) {
    svg.append(
      drawn("path", { class: "grid", d: `M${x(0)} ${y(tick)}H${x(1)}M${x(tick)} ${y(0)}V${y(1)}` }),
      drawn("text", { x: x(0) - 4, y: y(tick) + 3, "text-anchor": "end" }, String(tick * 100)),
      drawn("text", { x: x(tick), y: y(0) + 12, "text-anchor": "middle" }, String(tick * 100)),
    );
  }
  svg.append(drawn("path", { class: "ideal", d: `M${x(0)} ${y(0)}L${x(1)} ${y(1)}` }));
  svg.append(...curve(before, "before"), ...curve(after, "after"));
  const caption = element("figcaption", "", `${sliceName(name)} `);
  caption.append(element("small", "", `(${counted(hits, "hit")})`));
  return element("figure", "", caption, svg);
}

/** "same/de" is the slice of questions in German with passages in German. */
function sliceName(name) {
  const [relation, language] = name.split("/");
  if (language === undefined) return SLICES[name] ?? name;
  const passages = relation === "same" ? "passages in it" : "passages in other languages";
  return `Questions in ${languageName(language)}, ${passages}`;
}

const spoken = (bins) =>
  bins.map((bin) => `stated ${percent(bin.stated)}, found ${percent(bin.found.value)}`).join("; ");

function curve(bins, kind) {
  if (!bins.length) return [];
  const points = bins.map((bin) => `${x(bin.stated)},${y(bin.found.value)}`).join(" ");
  const parts = [drawn("polyline", { class: `curve ${kind}`, points })];
  for (const { stated, found, hits } of bins) {
    if (found.low !== null && kind === "after") {
      const d = `M${x(stated)} ${y(found.low)}V${y(found.high)}`;
      parts.push(drawn("path", { class: `spread ${kind}`, d }));
    }
    const said = `${counted(hits, "hit")}: stated ${percent(stated)}, found ${percent(found.value)}`;
    const point = drawn("circle", { class: kind, cx: x(stated), cy: y(found.value), r: 3 });
    point.append(drawn("title", {}, said));
    parts.push(point);
  }
  return parts;
}

function figure(estimate, digits = 3) {
  if (!estimate) return "–";
  const text = estimate.value.toFixed(digits);
  if (estimate.low === null || estimate.low === undefined) return text;
  return `${text} (${estimate.low.toFixed(digits)} to ${estimate.high.toFixed(digits)})`;
}

function titled(title, hint, made) {
  const rows = made.querySelectorAll("tbody tr").length;
  const shown = rows > FOLDED ? folded(`${rows} rows`, made) : made;
  return element("section", "", element("h2", "", title), element("p", "hint", hint), element("div", "wide", shown));
}

function folded(title, ...content) {
  return element("details", "", element("summary", "", title), ...content);
}

function tables({ heads, evidence, metrics, score_pieces: pieces }) {
  const made = [];
  if (evidence?.compared.length) {
    const rows = evidence.compared.map((c) => [c.name, figure(c.nll), figure(c.ece), figure(c.expected_observed)]);
    made.push(titled("Beside others", "On the same held-out hits. Log loss: lower is better. Expected / found: 1 is right.",
      table(["calibrator", "log loss", "calibration error", "expected / found"], rows)));
  }
  const slices = Object.entries(metrics?.held_out_documents ?? {});
  if (slices.length) {
    const rows = slices.map(([name, m]) => [SLICES[name] ?? name, m.hits, figure(m.base_rate), figure(m.ece), figure(m.expected_observed)]);
    made.push(titled("Held-out documents", "The share that is relevant belongs beside every calibration error: a low one makes it small.",
      table(["hits", "number", "relevant", "calibration error", "expected / found"], rows)));
  }
  if (evidence?.growth.length) {
    const rows = evidence.growth.map((g) => [g.calibrator, g.relation, g.corpus.toLocaleString("en"), figure(g.expected_observed), figure(g.ece)]);
    made.push(titled("When the corpus grows", "Expected relevant hits divided by those found; 1 is right.",
      table(["calibrator", "relation", "passages", "expected / found", "calibration error"], rows)));
  }
  if (evidence?.pairs.length) {
    const rows = evidence.pairs.map((p) => [`${languageName(p.query)} to ${languageName(p.passage)}`, p.hits, p.relevant, figure(p.expected_observed, 2), figure(p.ece)]);
    made.push(titled("Language pairs", "Language of the question, then of the passage.",
      table(["pair", "hits", "relevant", "expected / found", "calibration error"], rows)));
  }
  if (pieces) made.push(readThrough(pieces));
  for (const [name, head] of Object.entries(heads)) made.push(parameters(name, head));
  return made;
}

function readThrough({ knots, slopes }) {
  const ends = knots.map((knot) => knot.toFixed(3));
  const rows = slopes.map((slope, n) => [ends[n - 1] ?? "–", ends[n] ?? "–", slope.toFixed(2)]);
  return titled("How similarity is read", "A step of similarity counts so many times in each range. The weights below are those of the similarity that was read so.",
    table(["from", "to", "counts"], rows));
}

function parameters(name, { features, coef, intercept, standard_errors: errors }) {
  const values = [...features.map((f, n) => [featureName(f), coef[n]]), ["constant", intercept]];
  const rows = values.map(([label, value], n) => [label, signed(value), errors ? errors[n].toFixed(3) : "–"]);
  return titled(HEADS[name] ?? name, "Weights of the logit, and their standard errors where they are known.",
    table(["feature", "weight", "standard error"], rows));
}

function threshold(name, { value, guarantee, n, scope }) {
  const line = element("p", "notice", element("strong", "", `${name}: ${percent(value)}. `), guarantee);
  line.append(element("br"), element("small", "", `Chosen on ${counted(n, "question")}: ${scope}.`));
  return line;
}

async function show() {
  const hybrid = new URL(location.href).searchParams.get("retrieval") === "hybrid";
  const place = hybrid ? "/v1/calibration?retrieval=hybrid" : "/v1/calibration";
  byId("json").href = place;
  const said = await call(place);
  if (said.calibrator === null) {
    byId("status").textContent = hybrid
      ? "There is no calibrator of what is found by meaning and words, so no probability of it is stated."
      : "There is no calibrator, so no probability is stated.";
    return;
  }
  const { fit, thresholds, evidence } = said;
  const towards = fit.towards ? `, moved from calibrator ${fit.towards}` : "";
  const fitted = fit.fitted ? ` on ${fit.fitted}` : "";
  byId("facts").textContent =
    `Calibrator ${said.calibrator} (${said.kind}), from ${fit.source}${towards}${fitted}: ` +
    `${counted(fit.hits, "hit")} of ${counted(fit.queries, "question")} in ` +
    `${counted(fit.languages.length, "language")}, ` +
    `${Math.min(...fit.corpus_sizes).toLocaleString("en")} to ${Math.max(...fit.corpus_sizes).toLocaleString("en")} passages. ` +
    (evidence ? `Measured on ${evidence.data}.` : "Its document carries no diagrams.");
  const promised = [["Answer threshold", thresholds.answer], ["Hit threshold", thresholds.hits]];
  byId("thresholds").replaceChildren(...promised.filter(([, t]) => t).map(([name, t]) => threshold(name, t)));
  const slices = Object.entries(evidence?.reliability ?? {});
  const drawing = ([name, bins]) => diagram(name, bins, evidence.before[name] ?? []);
  byId("replaced").hidden = !Object.keys(evidence?.before ?? {}).length;
  byId("diagrams").replaceChildren(...slices.filter(([name]) => !name.includes("/")).map(drawing));
  const languages = slices.filter(([name]) => name.includes("/")).map(drawing);
  const grid = element("div", "diagrams", ...languages);
  byId("languages").replaceChildren(...(languages.length ? [folded("By language of the question", grid)] : []));
  byId("tables").replaceChildren(...tables(said));
  byId("status").textContent = "";
  byId("content").hidden = false;
}

show().catch((error) => {
  if (!(error instanceof Problem)) throw error;
  byId("status").textContent =
    error.status === 401 ? "This service asks for an API key: give it on the search page first." : error.message;
});
