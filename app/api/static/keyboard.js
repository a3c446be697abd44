// Keys: "/" to the question, arrows through the hits, Enter explains one, Escape goes back.

import { byId } from "./dom.js";

const WRITES = "input:not([type=checkbox]), textarea, select, [contenteditable]";

/** Listen; `cancel` ends the search under way, `clear` is called when the question was emptied. */
export function listen({ cancel, clear }) {
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const used = act(event, { cancel, clear });
    if (used) event.preventDefault();
  });
}

function act(event, { cancel, clear }) {
  const { key, target } = event;
  const inQuestion = target === byId("query");
  if (key === "/" && !target.matches(WRITES)) return focusQuestion();
  if (key === "Escape") return escape(target, inQuestion, { cancel, clear });
  const hit = target.closest(".hit");
  if (!inQuestion && !hit) return false;
  if (key === "ArrowDown") return focusHit(hit ? hit.nextElementSibling : byId("hits").firstElementChild);
  if (key === "ArrowUp" && hit) return focusHit(hit.previousElementSibling) || focusQuestion();
  if (key === "Enter" && hit === target) return toggle(hit);
  return false;
}

function escape(target, inQuestion, { cancel, clear }) {
  cancel();
  if (target.matches(WRITES) && !inQuestion) return false;
  if (!inQuestion) return focusQuestion();
  byId("query").value = "";
  clear();
  return true;
}

function focusQuestion() {
  byId("query").focus();
  byId("query").select();
  return true;
}

function focusHit(hit) {
  if (!hit || byId("answer").hidden) return false;
  hit.focus();
  return true;
}

function toggle(hit) {
  const details = hit.querySelector("details");
  if (details) details.open = !details.open;
  return details !== null;
}
