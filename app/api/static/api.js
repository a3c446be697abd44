// Calls to the service, and the API key they are made with.

const KEPT_AS = "isoglot-api-key";
const KEY_FORM = /^[\x21-\x7e]+$/;

/** An answer that is a problem document, or none at all. */
export class Problem extends Error {
  constructor(document) {
    super(document.detail ?? document.title);
    this.document = document;
  }

  get status() {
    return this.document.status;
  }
}

// The key lives as long as the tab, and is never part of an address.
export const key = {
  get: () => sessionStorage.getItem(KEPT_AS),
  forget: () => sessionStorage.removeItem(KEPT_AS),
  /** Keep a key; returns whether it can be one: a header holds visible ASCII only. */
  keep(text) {
    const trimmed = text.trim();
    if (!KEY_FORM.test(trimmed)) return false;
    sessionStorage.setItem(KEPT_AS, trimmed);
    return true;
  },
};

/** Call the service; throws `Problem`, or an AbortError where `signal` says so. */
export async function call(path, { body, signal } = {}) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  const response = await reach(path, {
    method: body === undefined ? "GET" : "POST",
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal,
  });
  const answer = await response.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    const detail = `The answer with status ${response.status} is not JSON.`;
    throw new Problem({ title: "No answer", status: response.status, detail });
  });
  if (!response.ok) throw new Problem(answer);
  return answer;
}

async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "No answer", detail: `The service cannot be reached: ${error.message}.` });
  }
}
