// "Does this answer?": two buttons on every hit. The first label of a hit counts.

import { Problem, call } from "./api.js";
import { element } from "./dom.js";

const given = new Map(); // Token to the label that counts, so that turning pages keeps it shown.

/** The buttons of a hit. */
export function feedbackOf(hit) {
  const group = element("div", "feedback");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", `Does passage ${hit.rank} answer the question?`);
  const said = element("span", "said");
  said.setAttribute("role", "status");
  const buttons = [button("Relevant", true), button("Not relevant", false)];
  group.append(...buttons, said);
  for (const one of buttons) {
    one.addEventListener("click", () => send(hit.feedback_token, one.value === "true", buttons, said));
  }
  if (given.has(hit.feedback_token)) show(given.get(hit.feedback_token), buttons, said);
  return group;
}

function button(text, relevant) {
  const made = element("button", "", text);
  made.type = "button";
  made.value = String(relevant);
  made.setAttribute("aria-pressed", "false");
  return made;
}

async function send(token, relevant, buttons, said) {
  // Not `disabled`: that would take the focus away from whoever uses the keyboard.
  if (buttons.some((one) => one.getAttribute("aria-disabled") === "true")) return;
  for (const one of buttons) one.setAttribute("aria-disabled", "true");
  said.textContent = "Sending …";
  try {
    const kept = await call("/v1/feedback", { body: { token, relevant } });
    given.set(token, kept.relevant);
    show(kept.relevant, buttons, said);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    said.textContent = error.message;
    for (const one of buttons) one.removeAttribute("aria-disabled");
  }
}

function show(relevant, buttons, said) {
  for (const one of buttons) {
    one.setAttribute("aria-pressed", String(one.value === String(relevant)));
    one.setAttribute("aria-disabled", "true");
  }
  said.textContent = "Thank you.";
}
