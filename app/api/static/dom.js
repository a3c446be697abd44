// Building blocks. Texts of passages come from whoever indexed them: they are only ever set as
// textContent, never as markup.

export const byId = (id) => document.getElementById(id);

export function element(tag, className, ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  for (const part of content) {
    made.append(typeof part === "number" ? String(part) : part);
  }
  return made;
}

/** A bar that is filled from its beginning; share is 0 to 1. It only repeats a number beside it. */
export function bar(share, className = "") {
  const track = element("span", `bar ${className}`);
  track.setAttribute("aria-hidden", "true");
  const filled = element("span");
  filled.style.width = `${Math.min(share * 100, 100)}%`;
  track.append(filled);
  return track;
}

/** The same with an interval drawn over its end; both only repeat numbers beside them. */
export function intervalBar(share, interval, className = "") {
  const track = bar(share, className);
  if (!interval) return track;
  const [low, high] = interval;
  const range = element("i", "interval");
  range.style.left = `${low * 100}%`;
  range.style.width = `${(high - low) * 100}%`;
  track.append(range);
  return track;
}

/** A bar that grows from the middle: to the end above zero, to the beginning below; -1 to 1. */
export function swing(share, className = "") {
  const track = element("span", `bar swing ${className}`);
  track.setAttribute("aria-hidden", "true");
  const filled = element("span", share < 0 ? "below" : "above");
  filled.style.width = `${Math.min(Math.abs(share), 1) * 50}%`;
  track.append(filled);
  return track;
}

/** A table; `columns` are its headings, `rows` lists of texts or elements. */
export function table(columns, rows) {
  const head = element("tr", "", ...columns.map((name) => scoped("col", name)));
  const body = rows.map(([first, ...rest]) =>
    element("tr", "", scoped("row", first), ...rest.map((cell) => element("td", "", cell))),
  );
  return element("table", "", element("thead", "", head), element("tbody", "", ...body));
}

function scoped(scope, content) {
  const cell = element("th", "", content);
  cell.scope = scope;
  return cell;
}
