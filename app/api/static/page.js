// The search page: what happens when.

import { Problem, call, key } from "./api.js";
import { hideAnswer, showAnswer, showProblem } from "./answer.js";
import { windowBias } from "./bias.js";
import { byId } from "./dom.js";
import { question, readAddress, showCollection, showExamples, suitRetrieval, writeAddress } from "./form.js";
import { listen } from "./keyboard.js";

const TYPING_PAUSE_MS = 250;

// What the page shows of an answer beyond what a plain search returns. It changes no hit.
const SHOWN = { explain: "full", diagnostics: ["language", "timing"] };

let running = null;
let typing = 0;
let described = false;
let asked = null; // The search that is shown.
let pages = []; // Its answers so far, first page first.
let at = 0; // The one that is shown.

function cancel() {
  clearTimeout(typing);
  running?.abort();
  running = null;
  byId("answer").ariaBusy = "false";
}

function clear() {
  cancel();
  asked = null;
  pages = [];
  hideAnswer();
  writeAddress();
}

async function search() {
  cancel();
  if (!described) return byId("access").hidden ? begin() : undefined;
  if (!byId("query").value.trim()) return clear();
  writeAddress();
  let body;
  try {
    body = question();
  } catch (error) {
    return report(error, { keepAnswer: false });
  }
  await ask(body, {
    keepAnswer: false,
    show(answer) {
      asked = body;
      pages = [answer];
      at = 0;
    },
  });
}

async function nextPage() {
  if (at + 1 < pages.length) return turnTo(at + 1);
  cancel();
  const cursor = pages[at].page.next_cursor;
  await ask({ ...asked, cursor }, {
    keepAnswer: true,
    show(answer) {
      pages.push(answer);
      at += 1;
      byId("verdict").scrollIntoView({ block: "nearest" });
    },
  });
}

function turnTo(place) {
  cancel();
  at = place;
  show();
  byId("verdict").scrollIntoView({ block: "nearest" });
}

function show() {
  showAnswer(pages[at], asked, { hasPrevious: at > 0 });
  if (byId("bias").open) showWindow();
}

/** Ask, and show the answer unless another search has begun meanwhile. */
async function ask(body, { keepAnswer, show: take }) {
  const mine = (running = new AbortController());
  byId("status").textContent = "Searching …";
  byId("answer").ariaBusy = "true";
  try {
    const answer = await call("/v1/search", { body: { ...body, ...SHOWN }, signal: mine.signal });
    if (mine !== running) return;
    take(answer);
    show();
  } catch (error) {
    if (mine === running) report(error, { keepAnswer });
  } finally {
    if (mine === running) cancel();
  }
}

/** Show an error; where an API key is wanted, ask for it. */
function report(error, { keepAnswer }) {
  if (!(error instanceof Problem)) throw error;
  if (!keepAnswer) hideAnswer();
  if (error.status === 401) askForKey(error);
  else showProblem(error.document);
}

function askForKey(problem) {
  byId("keyReason").textContent = key.get() ? problem.document.detail : "";
  byId("status").textContent = "";
  byId("access").hidden = false;
  byId("key").focus();
}

function submitKey(event) {
  event.preventDefault();
  if (!key.keep(byId("key").value)) {
    byId("keyReason").textContent = "A key has no spaces, and no letters other than those of ASCII.";
    return;
  }
  byId("key").value = "";
  byId("access").hidden = true;
  begin();
}

function forgetKey() {
  key.forget();
  location.reload();
}

async function showWindow() {
  try {
    const report = await call("/v1/diagnostics/languages");
    byId("windowBias").replaceChildren(windowBias(report));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    byId("windowBias").textContent = error.message;
  }
}

async function describe() {
  const { model } = await call("/health/ready");
  showCollection(await call(`/v1/collections/${encodeURIComponent(model.collection)}`));
  byId("bundle").textContent = `Bundle ${model.bundle}.`;
  if (model.collection.startsWith("demo-")) {
    showExamples((text) => {
      byId("query").value = text;
      search();
    });
  }
  readAddress();
  described = true;
}

/** Describe the collection, and search where there is a question already. */
async function begin() {
  byId("forget").hidden = key.get() === null;
  byId("error").hidden = true;
  try {
    if (!described) await describe();
  } catch (error) {
    return report(error, { keepAnswer: false });
  }
  if (byId("query").value.trim()) await search();
}

function later(event) {
  cancel();
  if (!event.isComposing) typing = setTimeout(search, TYPING_PAUSE_MS);
}

async function copyCommand() {
  await navigator.clipboard.writeText(byId("curl").textContent);
  byId("copy").textContent = "Copied";
  setTimeout(() => (byId("copy").textContent = "Copy"), 1500);
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
byId("query").addEventListener("input", later);
byId("query").addEventListener("compositionend", later);
byId("options").addEventListener("change", () => {
  suitRetrieval();
  search();
});
byId("previous").addEventListener("click", () => turnTo(at - 1));
byId("next").addEventListener("click", nextPage);
byId("copy").addEventListener("click", copyCommand);
byId("bias").addEventListener("toggle", () => byId("bias").open && showWindow());
byId("access").addEventListener("submit", submitKey);
byId("forget").addEventListener("click", forgetKey);
listen({ cancel, clear });
begin();
