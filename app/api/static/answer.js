// Shows answers and problems.

import { key } from "./api.js";
import { answerBias } from "./bias.js";
import { byId, element } from "./dom.js";
import { curlCommand } from "./form.js";
import { hitItem } from "./hits.js";
import { counted, languageName, percent, verdict } from "./words.js";

/** Show one page of an answer; `body` is the search that anybody could repeat. */
export function showAnswer(answer, body, { hasPrevious }) {
  byId("status").textContent = statusLine(answer);
  showVerdict(answer);
  byId("warnings").replaceChildren(...answer.warnings.map((w) => element("li", "", w.detail)));
  byId("hits").replaceChildren(...answer.hits.map((hit) => hitItem(hit, answer.page.candidates)));
  showPaging(answer, hasPrevious);
  byId("facts").textContent = facts(answer);
  byId("curl").textContent = curlCommand(body, key.get() !== null);
  const language = answer.diagnostics?.language;
  byId("answerBias").replaceChildren(...(language && answer.hits.length ? [answerBias(language)] : []));
  byId("error").hidden = true;
  byId("answer").hidden = false;
}

export function hideAnswer() {
  byId("answer").hidden = true;
  byId("error").hidden = true;
  byId("status").textContent = "";
}

export function showProblem(problem) {
  const box = byId("error");
  box.replaceChildren(element("strong", "", problem.title ?? "Error"));
  box.append(element("p", "", problem.detail ?? ""));
  const items = (problem.errors ?? []).filter((item) => item.detail !== problem.detail);
  if (items.length) {
    const lines = items.map((item) => `${item.pointer || "request"}: ${item.detail}`);
    box.append(element("ul", "", ...lines.map((line) => element("li", "", line))));
  }
  if (problem.request_id) box.append(element("p", "", `Request ${problem.request_id}`));
  box.hidden = false;
  box.scrollIntoView({ block: "nearest" });
  byId("status").textContent = "";
}

function statusLine(answer) {
  const { code, confidence, source } = answer.query_language;
  const sure = source === "declared" ? "as chosen" : `${percent(confidence)} sure`;
  const understood =
    code === "und"
      ? "question in a language that is not known"
      : `question in ${languageName(code)} (${sure})`;
  return `${counted(answer.hits.length, "passage")} in ${answer.took_ms.toFixed(0)} ms · ${understood}`;
}

function showVerdict(answer) {
  const box = byId("verdict");
  const { doubtful, text } = verdict(answer);
  box.className = doubtful ? "notice doubtful" : "notice";
  box.replaceChildren(element("strong", "", text));
  if (answer.answerable_probability === null) return;
  const expected = answer.expected_relevant.toFixed(1);
  const parts = [
    `${percent(answer.answerable_probability)} that the most similar passage is an answer`,
    `${expected} relevant expected among those shown`,
  ];
  const dropped = answer.page.dropped_below_min_probability;
  if (dropped) parts.push(`${dropped} below the chosen probability left out`);
  box.append(element("p", "", `${parts.join("; ")}.`));
  if (answer.answer_threshold) box.append(promise(answer));
}

function promise({ answerable_probability: stated, answer_threshold: threshold }) {
  const reached = stated >= threshold.value ? "reached" : "not reached";
  const line = element("p", "promise", `Answer threshold ${percent(threshold.value)} ${reached}. `);
  line.append(threshold.guarantee);
  line.title = `Chosen on ${threshold.n} queries: ${threshold.scope}`;
  return line;
}

function showPaging(answer, hasPrevious) {
  const { offset, returned, next_cursor: next } = answer.page;
  byId("paging").hidden = !hasPrevious && !next;
  byId("previous").disabled = !hasPrevious;
  byId("next").disabled = !next;
  byId("place").textContent = returned ? `${offset + 1} to ${offset + returned}` : "none";
}

function facts(answer) {
  const stages = Object.entries(answer.diagnostics?.timing ?? {}).map(
    ([stage, ms]) => `${stage} ${ms.toFixed(1)} ms`,
  );
  const ranked = `${counted(answer.page.candidates, "passage")} ranked`;
  return [...stages, ranked, `bundle ${answer.model.bundle}`].join(" · ");
}
