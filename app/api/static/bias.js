// The language-bias panel: of one answer, and of the last answers together.

import { bar, element, table } from "./dom.js";
import { counted, languageName, percent, signed } from "./words.js";

const PAIRS_SHOWN = 6;

/** Exposure against corpus share, by language, for one page of hits. */
export function answerBias(diagnostics) {
  const size = counted(diagnostics.filtered_corpus_size, "eligible passage");
  const panel = element("div", "", element("h3", "", "These hits"));
  panel.append(element("p", "", `Share of each language among these hits, beside its share of the ${size}.`));
  panel.append(exposureTable(diagnostics));
  const agreement = diagnostics.rank_agreement_with_score_order;
  if (agreement !== null) {
    const words = `Orders by probability and by similarity agree by ${signed(agreement)} (Kendall; +1 is the same order).`;
    panel.append(element("p", "", words));
  }
  panel.append(...offsets(diagnostics.score_offset));
  return panel;
}

/** The same over the last answers, and how translations of one text were ordered. */
export function windowBias(report) {
  const panel = element("div", "", element("h3", "", "The last answers"));
  if (!report.answers) {
    panel.append(element("p", "", "There are none yet."));
    return panel;
  }
  const all = `Mean shares over ${counted(report.answers, "answer")} (at most ${report.capacity} are kept).`;
  panel.append(element("p", "", all), exposureTable(report), ...offsets(report.score_offset));
  panel.append(element("h3", "", "Translations of one text"));
  panel.append(translations("similarity (the encoder)", report.by_score));
  panel.append(translations("probability (after calibration)", report.by_probability));
  return panel;
}

function exposureTable({ exposure, corpus_share: corpus, exposure_lift: lift }) {
  const codes = [...new Set([...Object.keys(exposure), ...Object.keys(corpus)])];
  codes.sort((a, b) => (exposure[b] ?? 0) - (exposure[a] ?? 0) || a.localeCompare(b));
  // With many languages all shares are small: bars are drawn against the largest.
  const largest = Math.max(...Object.values(exposure), ...Object.values(corpus));
  const rows = codes.map((code) => [
    languageName(code),
    share(exposure[code] ?? 0, largest, "shown"),
    share(corpus[code] ?? 0, largest, "eligible"),
    lift[code] === undefined ? "" : `${lift[code].toFixed(1)} ×`,
  ]);
  return element("div", "wide", table(["language", "shown", "eligible", "ratio"], rows));
}

function share(value, largest, className) {
  return element("span", "amount", element("span", "", percent(value)), bar(value / largest, className));
}

function offsets(pairs) {
  const largest = Object.entries(pairs).sort(([, a], [, b]) => Math.abs(b) - Math.abs(a));
  if (!largest.length) return [];
  const shown = largest.slice(0, PAIRS_SHOWN).map(([pair, offset]) => {
    const [query, passage] = pair.split(">").map(languageName);
    return `${query} to ${passage} ${signed(offset)}`;
  });
  const of = largest.length > PAIRS_SHOWN ? ` (the largest ${PAIRS_SHOWN} of ${largest.length})` : "";
  const meaning = "Score against that of an equally probable hit in the question's language";
  return [element("p", "", `${meaning}, by question and passage${of}: ${shown.join(", ")}.`)];
}

function translations(order, bias) {
  const part = element("p", "");
  part.append(element("strong", "", `By ${order}: `));
  if (!bias.comparisons) {
    part.append("no answer had translations of one text among its first ten candidates.");
    return part;
  }
  part.append(`${counted(bias.comparisons, "comparison")}. `);
  const { same_language: same, languages, z_threshold: needed } = bias;
  if (same) part.append(`${preference("The question's language", same)}. `);
  const flagged = Object.entries(languages).filter(([, found]) => found.flagged);
  for (const [code, found] of flagged) part.append(`${preference(languageName(code), found)}. `);
  part.append(
    bias.flagged
      ? `Flagged: chance is ruled out (|z| of ${needed.toFixed(1)} or more).`
      : `Nothing is flagged: chance is not ruled out (that takes |z| of ${needed.toFixed(1)}).`,
  );
  if (bias.flagged) part.classList.add("flagged");
  return part;
}

function preference(name, { advantage, z }) {
  const place = advantage > 0 ? "before" : "behind";
  return `${name} stands ${place} the others by ${Math.abs(advantage).toFixed(2)} (of 1), z ${z.toFixed(1)}`;
}
