// Rules and octets: what they mean, and what they cost in each back end.

import { fill, h } from '../dom.js';
import { post } from '../api.js';
import { withToken, words } from '../dialogs.js';
import { live } from '../live.js';
import { inspected } from '../costs.js';

const FAMILIES = ['ipv4', 'ipv6', 'vpnv4', 'vpnv6'];

export function paste(root) {
  const text = h('textarea', { id: 'paste', rows: 8, spellcheck: 'false', placeholder: 'dst 192.0.2.1/32 proto udp sport 123 then discard\n\n0c0120c000020103811106817b\n\n0000  ff ff ff ff …' });
  const family = h('select', { id: 'family' }, FAMILIES.map((name) => h('option', { value: name }, name)));
  const answer = h('div', { id: 'inspection', 'aria-live': 'polite' });
  const form = h('form', { class: 'card', onsubmit: async (event) => {
    event.preventDefault();
    fill(answer, h('p', { class: 'quiet' }, 'Reading …'));
    try {
      const inspection = await withToken(() => post('/v1/inspect', { text: text.value, family: family.value }));
      if (!inspection) fill(answer, h('p', { class: 'quiet' }, 'That needs the token.'));
      else {
        fill(answer, inspection.errors.map((error) => h('pre', { class: 'problem' }, error)),
          inspection.notes.map((note) => h('p', { class: 'quiet' }, note)),
          inspection.rules.map((rule) => inspected(rule, live.status?.backend)));
      }
    } catch (error) {
      fill(answer, h('pre', { class: 'problem' }, words(error)));
    }
  } },
  h('label', { for: 'paste' }, 'Rules one a line, octets in hex, or a dump of tcpdump -x, Wireshark, xxd or hexdump -C'),
  text,
  h('div', { class: 'buttons' },
    h('label', { for: 'family' }, 'Family of bare NLRIs'), family,
    h('button', { type: 'submit', class: 'primary' }, 'Read')));
  fill(root, h('h1', null, 'Read rules and octets'), form, answer);
}
