// What the daemon says now: asked again each two seconds while the page can be seen. After a
// failure it is asked less often, so that many open pages do not keep a busy daemon busy.

import { ApiError, get } from './api.js';

const PERIOD = 2000;
const SLOWEST = 15000;
/** How often what was dropped in a day is asked for. */
const DAY_PERIOD = 60000;
/** Readings that curves show: ten minutes. */
const KEPT = 300;

/** The latest status, and when it came; `error` while there is no answer. */
export const live = { status: null, at: 0, error: null, failures: 0, day: null };

/** Of each thing that was seen a while: its rates, [time, packets, bits, dropped]. */
const series = new Map();
const listeners = new Set();
/** What the view that is shown asks for each time. */
let also = null;
let timer = null;
let running = null;

export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Remembers a rate for its curve. */
export function record(key, rate, at = Date.now()) {
  if (!rate) return;
  let points = series.get(key);
  if (!points) series.set(key, (points = []));
  if (points.length && at - points[points.length - 1][0] < PERIOD / 2) return;
  points.push([at, rate.packets_per_second, rate.bits_per_second, rate.dropped_per_second]);
  if (points.length > KEPT) points.shift();
}

export const curve = (key) => series.get(key) ?? [];

let dayRead = 0;

/** What was dropped in the last 24 hours, where the daemon has a history on disk. */
async function readDay() {
  if (Date.now() - dayRead < DAY_PERIOD) return;
  dayRead = Date.now();
  try {
    const buckets = await get('/v1/rates?since=1d');
    live.day = buckets.reduce((sum, bucket) => sum + bucket.dropped, 0);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    live.day = null;
  }
}

/** Forgets what has not been seen for ten minutes. */
function forget() {
  const before = Date.now() - KEPT * PERIOD;
  for (const [key, points] of series) if (points[points.length - 1][0] < before) series.delete(key);
}

async function read() {
  try {
    const status = await get('/v1/status');
    Object.assign(live, { status, at: Date.now(), error: null, failures: 0 });
    record('all', status.traffic?.rate ?? { packets_per_second: 0, bits_per_second: 0, dropped_per_second: 0 });
    forget();
  } catch (error) {
    live.error = error instanceof ApiError ? error.message : String(error);
    live.failures += 1;
  }
  // Nobody waits for it.
  if (!live.error) readDay();
  if (!live.error && also) {
    try {
      await also();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }
  listeners.forEach((listener) => listener(live));
}

function plan() {
  clearTimeout(timer);
  if (document.hidden) return;
  const wait = Math.min(PERIOD * 2 ** Math.min(live.failures, 3), SLOWEST);
  // Pages that were opened together do not ask together.
  timer = setTimeout(refresh, wait * (0.9 + Math.random() * 0.2));
}

/** Asks now. */
export function refresh() {
  clearTimeout(timer);
  running ??= read().finally(() => {
    running = null;
    plan();
  });
  return running;
}

/** The view that is shown needs this, too. */
export function alsoRead(reader) {
  also = reader;
}

export function start() {
  document.addEventListener('visibilitychange', () => (document.hidden ? clearTimeout(timer) : refresh()));
  return refresh();
}
