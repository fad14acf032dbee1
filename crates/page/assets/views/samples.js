// Sampled packets as they come, and who sends most of them.

import { fill, h } from '../dom.js';
import { short, time } from '../format.js';

const SHOWN = 40;
/** Packets that the shares are of. */
const KEPT = 2000;

/** Addresses, protocol and ports of the octets of a frame. */
export function read(hex) {
  const octets = Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  let at = 12;
  let type = (octets[at] << 8) | octets[at + 1];
  while (type === 0x8100 || type === 0x88a8) {
    at += 4;
    type = (octets[at] << 8) | octets[at + 1];
  }
  at += 2;
  const v4 = (from) => octets.slice(from, from + 4).join('.');
  const v6 = (from) => Array.from({ length: 8 }, (_, n) => ((octets[from + 2 * n] << 8) | octets[from + 2 * n + 1]).toString(16)).join(':').replace(/(^|:)0(:0)+(:|$)/, '::');
  const known = type === 0x0800 ? { protocol: octets[at + 9], from: v4(at + 12), to: v4(at + 16), next: at + 4 * (octets[at] & 15) }
    : type === 0x86dd ? { protocol: octets[at + 6], from: v6(at + 8), to: v6(at + 24), next: at + 40 } : null;
  if (!known || known.protocol === undefined) return null;
  const port = (from) => (from + 1 < octets.length ? (octets[from] << 8) | octets[from + 1] : null);
  const ports = [6, 17, 132].includes(known.protocol) ? [port(known.next), port(known.next + 2)] : [null, null];
  return { ...known, protocol: { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmpv6' }[known.protocol] ?? `proto ${known.protocol}`, sport: ports[0], dport: ports[1] };
}

function top(packets, key) {
  const counts = new Map();
  for (const packet of packets) {
    const name = key(packet);
    if (name !== null) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, 8);
}

function talkers(title, packets, key) {
  const rows = top(packets, key);
  return h('section', { class: 'card' }, h('h2', null, title), rows.length
    ? h('table', null, h('caption', { class: 'unseen' }, title), h('tbody', null, rows.map(([name, count]) => h('tr', null, h('th', { scope: 'row' }, name), h('td', { class: 'number' }, `${Math.round((100 * count) / packets.length)} %`)))))
    : h('p', { class: 'quiet' }, 'None yet.'));
}

export function samples(root) {
  const packets = [];
  const rows = h('tbody');
  const shares = h('div', { class: 'columns' });
  const state = h('p', { class: 'quiet', 'aria-live': 'polite' }, 'Waiting for packets of rules with the action sample.');
  let lost = 0;
  let changed = true;
  fill(root, h('h1', null, 'Samples'), state, shares,
    h('section', { class: 'card' }, h('h2', null, 'Latest packets'),
      h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Latest packets' },
        h('table', null, h('caption', { class: 'unseen' }, 'Latest packets'),
          h('thead', null, h('tr', null, ['Time', 'Rule', 'Interface', 'Octets', 'Packet'].map((name) => h('th', { scope: 'col' }, name)))), rows))));
  const draw = () => {
    if (!changed) return;
    changed = false;
    fill(shares, talkers('Sources', packets, (packet) => packet.read?.from ?? null), talkers('Source ports', packets, (packet) => (packet.read?.sport == null ? null : `${packet.read.protocol} ${packet.read.sport}`)), talkers('Destinations', packets, (packet) => packet.read?.to ?? null));
    fill(rows, packets.slice(-SHOWN).reverse().map(({ sample, read: known }) => h('tr', null,
      h('td', null, time(sample.time)),
      h('td', null, sample.rule ? h('a', { href: `#/rules/${encodeURIComponent(sample.rule)}` }, sample.rule) : '–'),
      h('td', null, sample.interface), h('td', { class: 'number' }, sample.length),
      h('td', null, known ? `${known.protocol} ${known.from}${known.sport === null ? '' : ` port ${known.sport}`} → ${known.to}${known.dport === null ? '' : ` port ${known.dport}`}` : 'not IP'))));
    if (packets.length) fill(state, `The latest ${short(packets.length)} packets${lost ? `; ${short(lost)} more were not read in time` : ''}.`);
  };
  const timer = setInterval(draw, 1000);
  const ended = new AbortController();
  const follow = async () => {
    const response = await fetch('/v1/samples', { signal: ended.signal, cache: 'no-store', credentials: 'omit' });
    if (!response.ok) {
      const body = await response.json().catch(() => null);
      fill(state, body?.error?.message ?? `status ${response.status}`);
      return;
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const parts = (text + value).split('\n\n');
      text = parts.pop();
      for (const part of parts) {
        const line = (name) => part.split('\n').find((some) => some.startsWith(`${name}:`))?.slice(name.length + 1).trim();
        if (line('event')) lost += Number(line('data')) || 0;
        else if (line('data')) {
          const sample = JSON.parse(line('data'));
          packets.push({ sample, read: read(sample.octets) });
          if (packets.length > KEPT) packets.splice(0, packets.length - KEPT);
        }
        changed = true;
      }
    }
    fill(state, 'The daemon ended the stream.');
  };
  follow().catch((error) => {
    if (error.name !== 'AbortError') fill(state, 'The daemon cannot be reached.');
  });
  return {
    leave() {
      clearInterval(timer);
      ended.abort();
    },
  };
}
