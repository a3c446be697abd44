// The form: what is asked, and how it is written into the address of the page.

import { byId, element } from "./dom.js";
import { Problem } from "./api.js";
import { counted, direction, languageName, percent } from "./words.js";

// Element of the form to parameter of the address.
const PARAMETERS = { query: "q", retrieval: "retrieval", mode: "mode", asked: "asked", limit: "limit", minimum: "min", order: "order", filter: "filter" };

// What needs a probability, which hybrid retrieval has none of where it has no calibrator.
const NEEDS_PROBABILITY = ["mode", "minimum"];

const NOT_INDEXED =
  "Words are not indexed here. Whoever runs the service can start it with ISOGLOT_HYBRID=true, which " +
  "indexes them; then passages are found by words, too.";
const WITHOUT_PROBABILITY =
  "By meaning and words nothing has a probability: choices that need one are off.";

let hybridCalibrated = false;

const COVERAGE = {
  labels: "probabilities were fitted on labels in this language",
  fallback: "no labels in this language: probabilities come from the others",
  pooled: "language not known: probabilities are those of all together",
  none: "no calibrator",
};

const EXAMPLES = [
  ["de", "Wie finde ich das Loch im Fahrradschlauch?"],
  ["en", "How many satellites does a GPS receiver need for a fix?"],
  ["ar", "كم دقيقة يجب تبريد حرق صغير بالماء الجاري؟"],
  ["es", "¿Qué alimentos estropean una sartén de hierro?"],
  ["hi", "साइकिल का पंक्चर कैसे ठीक करें?"],
  ["ru", "Как найти прокол в велосипедной камере?"],
  ["th", "ทำไมไม่ควรเอาน้ำแข็งประคบแผลไหม้"],
  ["zh", "哪些食物会破坏铸铁锅的油膜？"],
  ["de", "Wer schrieb die Oper Der Freischütz?"],
];

/** The search that the form describes; throws `Problem` where the filter is not JSON. */
export function question() {
  const body = { query: byId("query").value, limit: Number(byId("limit").value) };
  const language = languageOptions();
  if (Object.keys(language).length) body.language = language;
  if (byId("retrieval").value !== "dense") body.retrieval = byId("retrieval").value;
  if (chosen("minimum")) body.min_probability = Number(chosen("minimum"));
  if (byId("order").value !== "probability") body.rank_by = byId("order").value;
  if (byId("filter").value.trim()) body.filter = parsedFilter(byId("filter").value);
  return body;
}

function languageOptions() {
  const options = {};
  const passages = chosenLanguages();
  if (passages.length) options.passages = passages;
  if (chosen("mode") && chosen("mode") !== "any") options.mode = chosen("mode");
  if (byId("asked").value) options.query = byId("asked").value;
  return options;
}

/** The value of a field; empty where the way of retrieval turns it off. */
function chosen(id) {
  return byId(id).disabled ? "" : byId(id).value;
}

/** Turn off what the chosen way of retrieval has no use for, and say why. */
export function suitRetrieval() {
  const bare = byId("retrieval").value === "hybrid" && !hybridCalibrated;
  for (const id of NEEDS_PROBABILITY) byId(id).disabled = bare;
  const [first] = byId("order").options;
  first.textContent = bare ? "words and meaning" : "probability";
  const [, withWords] = byId("retrieval").options;
  byId("words").textContent = withWords.disabled ? NOT_INDEXED : bare ? WITHOUT_PROBABILITY : "";
}

function chosenLanguages() {
  return [...document.querySelectorAll("#languages input:checked")].map((box) => box.value);
}

function parsedFilter(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Problem({ title: "The filter is not JSON", detail: error.message });
  }
}

export function curlCommand(body, withKey) {
  const quoted = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  const lines = [`curl -s ${location.origin}/v1/search`, "-H 'Content-Type: application/json'"];
  if (withKey) lines.push('-H "Authorization: Bearer $ISOGLOT_API_KEY"');
  return [...lines, `-d '${quoted}'`].join(" \\\n  ");
}

/** Write the form into the address, so that it can be kept and sent. */
export function writeAddress() {
  const url = new URL(location.href);
  for (const [id, parameter] of Object.entries(PARAMETERS)) {
    const value = byId(id).value;
    if (value && value !== standard(byId(id))) url.searchParams.set(parameter, value);
    else url.searchParams.delete(parameter);
  }
  url.searchParams.delete("in");
  for (const code of chosenLanguages()) url.searchParams.append("in", code);
  history.replaceState(null, "", url);
}

/** Fill in the form from the address; languages need `showCollection` first. */
export function readAddress() {
  const parameters = new URL(location.href).searchParams;
  for (const [id, parameter] of Object.entries(PARAMETERS)) {
    const given = parameters.get(parameter);
    const field = byId(id);
    if (given === null || (id === "query" && field.value)) continue; // Somebody types already.
    const options = [...(field.options ?? [])];
    if (!options.length || options.some((option) => option.value === given)) field.value = given;
  }
  for (const box of document.querySelectorAll("#languages input")) {
    box.checked = parameters.getAll("in").includes(box.value);
  }
  suitRetrieval();
}

function standard(field) {
  return field.options ? [...field.options].find((option) => option.defaultSelected)?.value : "";
}

/** Offer the languages and the fields of the collection, and its words where they are indexed. */
export function showCollection(collection) {
  byId("languages").replaceChildren(...collection.languages.map(languageChip));
  byId("asked").replaceChildren(byId("asked").options[0]);
  for (const { code } of collection.languages) {
    if (code !== "und") byId("asked").append(new Option(languageName(code), code));
  }
  const fields = Object.entries(collection.fields).map(([name, kind]) => `${name} (${kind})`);
  byId("retrieval").options[1].disabled = !collection.words_indexed;
  hybridCalibrated = collection.hybrid_calibrator !== null;
  byId("fields").textContent = `Fields: ${fields.join(", ")}.`;
}

function languageChip({ code, passages, share, calibration }) {
  const box = element("input");
  box.type = "checkbox";
  box.value = code;
  const label = element("label", "", box, languageName(code), " ", element("small", "", passages));
  label.title = `${counted(passages, "passage")}, ${percent(share)}; ${COVERAGE[calibration]}`;
  return label;
}

/** Offer questions that the demo corpus answers, and one that it does not. */
export function showExamples(choose) {
  byId("examples").replaceChildren(
    ...EXAMPLES.map(([code, text]) => {
      const chip = element("button", "", text);
      chip.type = "button";
      chip.lang = code;
      chip.dir = direction(code);
      chip.addEventListener("click", () => choose(text));
      return chip;
    }),
  );
}
