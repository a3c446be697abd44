// The list of hits, and the panel that explains each.

import { element, intervalBar, swing, table } from "./dom.js";
import { feedbackOf } from "./feedback.js";
import { band, counted, direction, featureName, languageName, percent, signed } from "./words.js";

const HEADS = {
  same: "question and passage in one language",
  cross: "question and passage in different languages",
  pooled: "languages not known",
};

const isHybrid = (hit) => hit.lexical_score !== null;

export function hitItem(hit, candidates) {
  const item = element("li", "hit", headOf(hit), textOf(hit), numbersOf(hit));
  item.tabIndex = -1;
  if (hit.probability !== null && hit.probability < 0.1) item.classList.add("faded");
  if (hit.feedback_token) item.append(feedbackOf(hit));
  if (hit.explanation) item.append(explanationOf(hit, candidates));
  return item;
}

function headOf(hit) {
  const head = element("div", "head", element("span", "rank", hit.rank));
  if (hit.probability === null) {
    const why = isHybrid(hit) ? "hybrid search" : "no calibrator";
    head.append(element("span", "band low", `no probability: ${why}`));
  } else {
    const { word, colour } = band(hit.probability);
    head.append(
      element("span", `probability ${colour}`, percent(hit.probability)),
      intervalBar(hit.probability, hit.probability_interval, colour),
      element("span", `band ${colour}`, word),
    );
  }
  const badge = element("span", "badge", languageName(hit.language.code));
  badge.title = hit.language.code;
  head.append(badge);
  return head;
}

function textOf(hit) {
  const text = element("p", "text", hit.text ?? "");
  text.dir = direction(hit.language.code);
  if (hit.language.code !== "und") text.lang = hit.language.code;
  return text;
}

function numbersOf(hit) {
  const source = hit.probability_source + (hit.extrapolated ? ", extrapolated" : "");
  const small = element("p", "small");
  for (const part of [`score ${hit.score.toFixed(3)}`, source, hit.id]) {
    small.append(element("span", "", part));
  }
  if (isHybrid(hit)) small.append(element("span", "", `words ${hit.lexical_score.toFixed(2)}`));
  const interval = hit.probability_interval;
  if (interval) {
    const [low, high] = interval.map(percent);
    small.append(element("span", "", low === high ? `known as ${low}` : `between ${low} and ${high}`));
  }
  const metadata = Object.entries(hit.metadata ?? {});
  for (const [name, value] of metadata) {
    const shown = typeof value === "string" ? value : JSON.stringify(value);
    small.append(element("span", "", `${name}: ${shown}`));
  }
  return small;
}

function explanationOf(hit, candidates) {
  if (isHybrid(hit) && hit.probability === null) return fusionOf(hit, candidates);
  const details = element("details", "explanation", element("summary", "", "Why this probability?"));
  const { rank_before: before, language_weight: weight, heads, calibrator } = hit.explanation;
  const ranks = before === hit.rank
    ? `By similarity alone it would be at rank ${before} too`
    : `By similarity alone it would be at rank ${before} instead of ${hit.rank}`;
  const weighed = weight === 1 ? "" : ` Its language weighs ${weight.toFixed(2)} in the order.`;
  const ranked = counted(candidates, "candidate");
  const byWords = isHybrid(hit) ? ` By its words ${wordsOf(hit.explanation)}.` : "";
  details.append(element("p", "", `${ranks}, of ${ranked}.${byWords}${weighed}`));
  if (!calibrator) details.append(element("p", "", "There is no calibrator, so no probability."));
  for (const head of heads) details.append(headTable(head));
  if (heads.length > 1) details.append(element("p", "", mixed(heads, hit.probability)));
  return details;
}

const wordsOf = ({ lexical_rank: rank }) =>
  rank === null ? "it would be nowhere: it shares none with the question" : `it would be at rank ${rank}`;

function fusionOf(hit, candidates) {
  const { rank_before: bySimilarity, lexical_rank: byWords, fusion } = hit.explanation;
  const words = byWords === null
    ? "it shares no word with the question"
    : `rank ${byWords} by its words`;
  const ranks = `Rank ${bySimilarity} by similarity, ${words}, of ${counted(candidates, "candidate")}. `;
  const joined = `Joined (reciprocal rank fusion) they make ${fusion.toFixed(4)}, which orders and has no other meaning.`;
  return element("details", "explanation", element("summary", "", "Why this place?"), element("p", "", ranks + joined));
}

function headTable(head) {
  const largest = Math.max(...head.terms.map((term) => Math.abs(term.contribution)), 1e-9);
  const contribution = (amount) =>
    element("span", "amount", element("span", "", signed(amount)), swing(amount / largest, amount < 0 ? "low" : "high"));
  const rows = head.terms.map((term) => [
    featureName(term.feature),
    term.value.toFixed(3),
    signed(term.weight),
    contribution(term.contribution),
  ]);
  rows.push(["constant", "", "", contribution(head.intercept)]);
  const caption = element("caption", "", `Fitted for ${HEADS[head.head] ?? head.head}`);
  const made = table(["feature", "value", "weight", "adds"], rows);
  made.prepend(caption);
  const sum = `The sum is ${signed(head.logit)} on the logit scale, which is ${percent(head.probability)}.`;
  return element("div", "head-table", element("div", "wide", made), element("p", "", sum));
}

function mixed(heads, probability) {
  const parts = heads.map((head) => `${percent(head.share)} of ${percent(head.probability)}`);
  return `The language of the question is uncertain, so they are mixed: ${parts.join(" and ")} make ${percent(probability)}.`;
}
