// Numbers, times and names as people read them.

const UNITS = ['', 'k', 'M', 'G', 'T', 'P'];

/** 1234567 as "1.23 M". */
export function short(number) {
  if (number === null || number === undefined || Number.isNaN(number)) return '–';
  let unit = 0;
  while (Math.abs(number) >= 1000 && unit < UNITS.length - 1) {
    number /= 1000;
    unit += 1;
  }
  const digits = unit === 0 && Number.isInteger(number) ? 0 : Math.abs(number) >= 100 ? 0 : Math.abs(number) >= 10 ? 1 : 2;
  const text = number.toFixed(digits);
  return UNITS[unit] ? `${text} ${UNITS[unit]}` : text;
}

export const packets = (rate) => (rate === null || rate === undefined ? '–' : `${short(rate)} p/s`);

/** "1.2 Mbit/s" */
export function bits(rate) {
  if (rate === null || rate === undefined) return '–';
  const text = short(rate);
  return /[a-zA-Z]$/.test(text) ? `${text}bit/s` : `${text} bit/s`;
}

export function octets(number) {
  if (number === null || number === undefined) return '–';
  const text = short(number);
  return /[a-zA-Z]$/.test(text) ? `${text}B` : `${text} B`;
}

export const whole = (number) => (number === null || number === undefined ? '–' : number.toLocaleString('en'));

/** Seconds as "2 d 3 h", "4 min 5 s". */
export function duration(seconds) {
  seconds = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [size, name] of [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']]) {
    const count = Math.floor(seconds / size);
    if (count > 0 || (size === 1 && parts.length === 0)) parts.push(`${count} ${name}`);
    seconds -= count * size;
    if (parts.length === 2) break;
  }
  return parts.join(' ');
}

/** Seconds as "29:41", or "1:02:03". */
export function countdown(seconds) {
  seconds = Math.max(0, Math.ceil(seconds));
  const two = (number) => String(number).padStart(2, '0');
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** RFC 3339 as the time of this browser, with the day if it is not today. */
export function time(text) {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return '–';
  const clock = date.toLocaleTimeString('en-GB');
  return date.toDateString() === new Date().toDateString() ? clock : `${date.toLocaleDateString('en-CA')} ${clock}`;
}

/** "1 rule", "2 rules". */
export const counted = (count, one, many = `${one}s`) => `${whole(count)} ${count === 1 ? one : many}`;

/** States in which a rule is announced and not enforced. */
export const UNENFORCED = ['refused', 'guarded', 'infeasible', 'over-capacity', 'failed'];

/** How a state is coloured. */
export function kindOfState(state) {
  if (state === 'installed') return 'good';
  if (state === 'stale' || state === 'pending') return 'warn';
  if (state === 'shadowed') return 'plain';
  return UNENFORCED.includes(state) ? 'bad' : 'plain';
}

/** The part of a rule's text before its actions, and the actions. */
export function parts(text) {
  const at = text.indexOf(' then ');
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 6)];
}
