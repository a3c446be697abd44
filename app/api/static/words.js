// Numbers and codes in words.

const languageNames = new Intl.DisplayNames(["en"], { type: "language" });
const RIGHT_TO_LEFT = new Set(["ar", "arc", "ckb", "dv", "fa", "he", "ps", "sd", "ug", "ur", "yi"]);

// The footer of the page explains the same bands.
const BANDS = [
  [0.9, "very likely relevant", "high"],
  [0.7, "likely relevant", "high"],
  [0.4, "possibly relevant", "middle"],
  [0.1, "unlikely relevant", "low"],
  [0.0, "very unlikely relevant", "low"],
];

// app/core/calibration/feature_words.py has the same words; a test compares the two.
const FEATURES = {
  score: "similarity",
  background: "similarity of unrelated passages",
  log_corpus: "number of passages (log)",
  log_language_corpus: "number of passages in its language (log)",
  log_language_rank: "rank within its language (log)",
  language_lead: "lead over the next one in its language",
  language_lag: "distance from the best one in its language",
  log_lexical_rank: "rank by words (log)",
  gap: "lead over the next one",
  same: "same language as the question",
  query_language: "language of the question",
  passage_language: "language of the passage",
};

export function languageName(code) {
  if (code === "und") return "not known";
  try {
    return languageNames.of(code) ?? code;
  } catch {
    return code;
  }
}

export function direction(code) {
  if (code === "und") return "auto";
  return RIGHT_TO_LEFT.has(code.split("-")[0]) ? "rtl" : "ltr";
}

export function percent(share) {
  if (share > 0 && share < 0.01) return "< 1 %";
  if (share < 1 && share > 0.99) return "> 99 %";
  return `${Math.round(share * 100)} %`;
}

/** Three decimals and a sign that is a minus, not a hyphen. */
export function signed(number) {
  const sign = number < 0 ? "−" : "+";
  return `${sign}${Math.abs(number).toFixed(3)}`;
}

export function counted(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

// Bands are chosen by what is shown, so that no "40 %" is called less than possible.
const shown = (probability) => Math.round(probability * 100) / 100;

/** Probability to a description and the class of its colour. */
export function band(probability) {
  const [, word, colour] = BANDS.find(([from]) => shown(probability) >= from);
  return { word, colour };
}

/** A feature of the calibrator; one that is not known here keeps its own name. */
export function featureName(name) {
  const [left, right] = name.split("*");
  if (right === undefined) return FEATURES[left] ?? left;
  const word = FEATURES[right] ?? right;
  if (left === "same") return `${word}, if the language is the same`;
  return `${word}, for the ${FEATURES[left] ?? left}`;
}

/** What an answer says of the question as a whole: a sentence, and whether it is doubtful. */
export function verdict(answer) {
  const answerable = answer.answerable_probability;
  if (answer.outcome === "degraded") {
    return { doubtful: true, text: "The time was not enough for a whole answer." };
  }
  if (answerable === null) {
    const text = answer.warnings.some((warning) => warning.code === "no_hybrid_calibrator")
      ? "No probability: this was found by meaning and words together."
      : "Found by similarity alone: no calibrator says how likely it is.";
    return { doubtful: true, text };
  }
  if (answer.outcome === "no_confident_match" && answer.hits.length) {
    return { doubtful: true, text: "Nothing here answers this with confidence." };
  }
  // What words have found need not be similar, and only the most similar one is asked about.
  const found = answer.hits.filter((hit) => hit.lexical_score !== null).map((hit) => hit.probability);
  const likely = Math.max(answerable, ...found);
  if (shown(likely) < 0.4) return { doubtful: true, text: "Probably nothing here answers this." };
  if (shown(likely) < 0.7) return { doubtful: false, text: "Something here may answer this." };
  return { doubtful: false, text: "Something here probably answers this." };
}
