"use strict";

// Texts of passages come from whoever indexed them: they are only ever set as textContent.

const EXAMPLES = [
  ["de", "Wie finde ich das Loch im Fahrradschlauch?"],
  ["en", "Why is putting ice on a burn a bad idea?"],
  ["ar", "كم دقيقة يجب تبريد حرق صغير بالماء الجاري؟"],
  ["es", "¿Qué alimentos estropean una sartén de hierro?"],
  ["hi", "जले हुए पर बर्फ़ क्यों नहीं लगानी चाहिए?"],
  ["ru", "Как найти прокол в велосипедной камере?"],
  ["th", "ทำไมไม่ควรเอาน้ำแข็งประคบแผลไหม้"],
  ["zh", "哪些食物会破坏铸铁锅的油膜？"],
  ["de", "Wer schrieb die Oper Der Freischütz?"],
];

// The same bands are explained in the footer of the page.
const BANDS = [
  [0.9, "very likely relevant", "high"],
  [0.7, "likely relevant", "high"],
  [0.4, "possibly relevant", "middle"],
  [0.1, "unlikely relevant", "low"],
  [0.0, "very unlikely relevant", "low"],
];

const RIGHT_TO_LEFT = new Set(["ar", "arc", "ckb", "dv", "fa", "he", "ps", "sd", "ug", "ur", "yi"]);
const languageNames = new Intl.DisplayNames(["en"], { type: "language" });
const byId = (id) => document.getElementById(id);

let bundle = null;
let running = null;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function languageName(code) {
  if (code === "und") return "language not known";
  try {
    return languageNames.of(code) ?? code;
  } catch {
    return code;
  }
}

function direction(code) {
  if (code === "und") return "auto";
  return RIGHT_TO_LEFT.has(code.split("-")[0]) ? "rtl" : "ltr";
}

function percent(probability) {
  if (probability > 0 && probability < 0.01) return "< 1 %";
  if (probability < 1 && probability > 0.99) return "> 99 %";
  return `${Math.round(probability * 100)} %`;
}

function band(probability) {
  return BANDS.find(([from]) => probability >= from);
}

function requestBody() {
  const body = { query: byId("query").value, limit: Number(byId("limit").value) };
  const passages = [...document.querySelectorAll("#languages input:checked")].map((box) => box.value);
  if (passages.length) body.language = { passages };
  if (byId("minimum").value) body.min_probability = Number(byId("minimum").value);
  if (byId("order").value !== "probability") body.rank_by = byId("order").value;
  body.diagnostics = ["timing"];
  return body;
}

function curlCommand(body) {
  const quoted = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  return `curl -s ${location.origin}/v1/search \\\n  -H 'Content-Type: application/json' \\\n  -d '${quoted}'`;
}

async function search() {
  running?.abort();
  const mine = (running = new AbortController());
  const body = requestBody();
  byId("status").textContent = "Searching …";
  byId("error").hidden = true;
  try {
    const response = await fetch("/v1/search", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: mine.signal,
    });
    const answer = await response.json();
    if (response.ok) showAnswer(answer, body);
    else showProblem(answer);
  } catch (error) {
    if (mine.signal.aborted) return;
    showProblem({ title: "No answer", detail: `The service could not be reached. ${error.message}` });
  }
  const url = new URL(location.href);
  url.searchParams.set("q", body.query);
  history.replaceState(null, "", url);
}

function showProblem(problem) {
  const box = byId("error");
  box.replaceChildren(element("strong", "", problem.title ?? "Error"));
  box.append(element("p", "", problem.detail ?? ""));
  if (problem.errors?.length > 1) {
    const list = element("ul");
    for (const item of problem.errors) {
      list.append(element("li", "", `${item.pointer || "request"}: ${item.detail}`));
    }
    box.append(list);
  }
  if (problem.request_id) box.append(element("p", "", `Request ${problem.request_id}`));
  box.hidden = false;
  byId("answer").hidden = true;
  byId("status").textContent = "";
}

function showAnswer(answer, body) {
  const language = answer.query_language;
  const understood =
    language.code === "und"
      ? "question in a language that is not known"
      : `question in ${languageName(language.code)} (${percent(language.confidence)} sure)`;
  const count = answer.hits.length === 1 ? "1 passage" : `${answer.hits.length} passages`;
  byId("status").textContent = `${count} in ${answer.took_ms.toFixed(1)} ms · ${understood}`;
  showVerdict(answer);
  byId("warnings").replaceChildren(...answer.warnings.map((w) => element("li", "", w.detail)));
  byId("hits").replaceChildren(...answer.hits.map(hitItem));
  byId("facts").textContent = facts(answer);
  byId("curl").textContent = curlCommand(body);
  byId("answer").hidden = false;
}

function showVerdict(answer) {
  const box = byId("verdict");
  const answerable = answer.answerable_probability;
  let verdict = "Found by similarity alone: no calibrator is loaded, so nothing says how likely it is.";
  let doubtful = true;
  if (answerable !== null) {
    doubtful = answerable < 0.4;
    verdict = doubtful
      ? "Probably nothing here answers this."
      : answerable < 0.7
        ? "Something here may answer this."
        : "Something here probably answers this.";
  }
  box.className = doubtful ? "notice doubtful" : "notice";
  box.replaceChildren(element("strong", "", verdict));
  if (answerable === null) return;
  const dropped = answer.page.dropped_below_min_probability;
  const left = dropped ? ` ${dropped} below the chosen probability left out.` : "";
  box.append(
    element(
      "p",
      "",
      `${percent(answerable)} that the best match is an answer; ` +
        `${answer.expected_relevant.toFixed(1)} relevant passages expected among those shown.${left}`,
    ),
  );
}

function hitItem(hit) {
  const item = element("li", "hit");
  const head = element("div", "head");
  if (hit.probability === null) {
    head.append(element("span", "band low", "no probability"));
  } else {
    const [, word, colour] = band(hit.probability);
    head.append(element("span", `probability ${colour}`, percent(hit.probability)));
    const bar = element("span", `bar ${colour}`);
    bar.setAttribute("aria-hidden", "true");
    const filled = element("span");
    filled.style.width = `${Math.max(hit.probability * 100, 1)}%`;
    bar.append(filled);
    head.append(bar, element("span", `band ${colour}`, word));
    if (hit.probability < 0.1) item.classList.add("faded");
  }
  const badge = element("span", "badge", languageName(hit.language.code));
  badge.title = hit.language.code;
  head.append(badge);

  const text = element("p", "text", hit.text);
  text.dir = direction(hit.language.code);
  if (hit.language.code !== "und") text.lang = hit.language.code;

  const small = element("p", "small");
  small.append(
    element("span", "", `score ${hit.score.toFixed(3)}`),
    element("span", "", hit.probability_source + (hit.extrapolated ? ", extrapolated" : "")),
    element("span", "", hit.id),
  );
  item.append(head, text, small);
  return item;
}

function facts(answer) {
  const stages = Object.entries(answer.diagnostics?.timing ?? {}).map(
    ([stage, ms]) => `${stage} ${ms.toFixed(1)} ms`,
  );
  return [...stages, `${answer.page.candidates} passages considered`, `bundle ${answer.model.bundle}`].join(" · ");
}

function showExamples() {
  for (const [code, question] of EXAMPLES) {
    const chip = element("button", "", question);
    chip.type = "button";
    chip.lang = code;
    chip.dir = direction(code);
    chip.addEventListener("click", () => {
      byId("query").value = question;
      search();
    });
    byId("examples").append(chip);
  }
}

async function showBundle() {
  const response = await fetch("/v1/bundle");
  const answer = await response.json();
  if (!response.ok) {
    showProblem(answer);
    return;
  }
  bundle = answer;
  byId("bundle").textContent = `Bundle ${bundle.name}@${bundle.id.slice(0, 12)}.`;
  for (const code of bundle.languages) {
    const label = element("label");
    const box = element("input");
    box.type = "checkbox";
    box.value = code;
    label.append(box, languageName(code));
    byId("languages").append(label);
  }
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
for (const id of ["languages", "limit", "minimum", "order"]) {
  byId(id).addEventListener("change", () => {
    if (byId("query").value.trim()) search();
  });
}
byId("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(byId("curl").textContent);
  byId("copy").textContent = "Copied";
  setTimeout(() => (byId("copy").textContent = "Copy"), 1500);
});

showExamples();
showBundle().catch((error) => showProblem({ title: "No answer", detail: error.message }));
const asked = new URL(location.href).searchParams.get("q");
if (asked) {
  byId("query").value = asked;
  search();
}
