// "Does this answer?": two buttons on every hit. The latest answer counts; the pressed button takes it back.

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
  for (const one of buttons) one.addEventListener("click", () => send(hit.feedback_token, one, buttons, said));
  show(given.get(hit.feedback_token) ?? null, buttons);
  return group;
}

function button(text, relevant) {
  const made = element("button", "", text);
  made.type = "button";
  made.value = String(relevant);
  return made;
}

async function send(token, chosen, buttons, said) {
  // Not `disabled`: that would take the focus away from whoever uses the keyboard.
  if (buttons.some((one) => one.getAttribute("aria-disabled") === "true")) return;
  for (const one of buttons) one.setAttribute("aria-disabled", "true");
  said.textContent = "Sending …";
  const relevant = chosen.getAttribute("aria-pressed") === "true" ? null : chosen.value === "true";
  try {
    const kept = await call("/v1/feedback", { body: { token, relevant } });
    given.set(token, kept.relevant);
    show(kept.relevant, buttons);
    if (kept.relevant !== relevant) said.textContent = "An assessor has judged this.";
    else said.textContent = relevant === null ? "Taken back." : "Thank you.";
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    said.textContent = error.message;
  } finally {
    for (const one of buttons) one.removeAttribute("aria-disabled");
  }
}

function show(relevant, buttons) {
  for (const one of buttons) {
    const pressed = one.value === String(relevant);
    one.setAttribute("aria-pressed", String(pressed));
    one.title = pressed ? "Press again to take it back" : "";
  }
}
