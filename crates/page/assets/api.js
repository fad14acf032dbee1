// Requests to the daemon. Nothing else is ever asked.

/** The daemon refused a request; `status` is 0 if there was no answer. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const TOKEN = 'floodgate-token';
let token = sessionStorage.getItem(TOKEN) ?? '';
/** The daemon's clock less ours, in milliseconds. */
let skew = 0;

export const hasToken = () => token !== '';

/** Keeps the token until the tab is closed; the empty one forgets it. */
export function setToken(text) {
  token = text;
  if (text) sessionStorage.setItem(TOKEN, text);
  else sessionStorage.removeItem(TOKEN);
}

/** Now, by the daemon's clock. */
export const now = () => Date.now() + skew;

/** Seconds from now until a time of the daemon. */
export const until = (text) => (new Date(text).getTime() - now()) / 1000;

async function request(path, options, patience) {
  let response;
  try {
    response = await fetch(path, { ...options, cache: 'no-store', credentials: 'omit', signal: AbortSignal.timeout(patience) });
  } catch (error) {
    const late = error.name === 'TimeoutError';
    throw new ApiError(0, late ? `the daemon did not answer within ${patience / 1000} s` : 'the daemon cannot be reached');
  }
  const date = Date.parse(response.headers.get('date') ?? '');
  if (!Number.isNaN(date)) {
    // The header has whole seconds; a smaller difference is none.
    const difference = date + 500 - Date.now();
    skew = Math.abs(difference) > 1500 ? difference : 0;
  }
  let body = null;
  try {
    body = await response.json();
  } catch {
    if (response.ok) throw new ApiError(0, 'the answer broke off');
  }
  if (!response.ok) throw new ApiError(response.status, body?.error?.message ?? `status ${response.status}`);
  return body;
}

export const get = (path) => request(path, { headers: { accept: 'application/json' } }, 8000);

/** A change, or a question that needs the token. */
export function post(path, body = {}) {
  const headers = { 'content-type': 'application/json' };
  if (token) headers.authorization = `Bearer ${token}`;
  return request(path, { method: 'POST', headers, body: JSON.stringify(body) }, 20000);
}

/** The query of a request; what is empty is left out. */
export function query(values) {
  const known = Object.entries(values).filter(([, value]) => value !== '' && value !== null && value !== undefined);
  return known.length ? `?${new URLSearchParams(known)}` : '';
}
