// What happens to a packet: the daemon's explanation as a tree.

import { fill, h } from '../dom.js';
import { post } from '../api.js';
import { withToken, words } from '../dialogs.js';

const PROTOCOLS = ['udp', 'tcp', 'icmp'];

/** The words of `floodgate explain` for what the form says. */
function wordsOf(form) {
  const value = (name) => form.querySelector(`#p-${name}`).value.trim();
  const end = (address, port) => (port ? (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`) : address);
  const ports = value('proto') !== 'icmp';
  return [
    value('proto'), end(value('from'), ports && value('sport')), end(value('to'), ports && value('dport')), value('more'),
  ].filter(Boolean).join(' ');
}

const leaf = (kind, title, ...more) => h('li', { class: kind }, h('span', { class: 'node' }, title), ...more);
const branch = (items) => (items.length ? h('ul', null, items) : null);

/** The explanation as a tree: in the order in which the data plane decides. */
function tree(explanation) {
  const { verdict, text, id, passed, missed, actions, protected: guard, inactive } = explanation;
  const steps = [];
  if (guard) {
    steps.push(leaf('good', `It is protected: ${guard}.`, branch([leaf('plain', 'No rule is looked at.')])));
  } else {
    if (missed.length) steps.push(leaf('plain', 'Earlier rules for this destination do not match', branch(missed.map((why) => leaf('plain', why)))));
    for (const rule of passed) steps.push(leaf('plain', 'This rule matches, and evaluation goes on', branch([leaf('plain', h('span', { class: 'rule-text' }, rule))])));
    steps.push(text
      ? leaf('bad', 'This rule matches and decides', branch([leaf('plain', h('a', { class: 'rule-text', href: `#/rules/${encodeURIComponent(id)}` }, text))]))
      : leaf('good', 'No rule ends the evaluation.'));
  }
  const end = leaf(verdict === 'accept' ? 'good' : 'bad', h('strong', null, `Verdict: ${verdict}`), branch(actions.map((action) => leaf('plain', action))));
  const note = inactive ? [leaf('warn', `Not in force now: ${inactive}.`)] : [];
  return h('ul', { class: 'tree' }, h('li', null, h('span', { class: 'node' }, explanation.described ?? 'The packet'), h('ul', null, steps, end, note)));
}

export function packet(root, { search }) {
  const answer = h('div', { id: 'explanation', 'aria-live': 'polite' });
  const field = (name, label, attributes) => h('div', { class: 'field' }, h('label', { for: `p-${name}` }, label),
    h('input', { id: `p-${name}`, type: 'text', autocomplete: 'off', spellcheck: 'false', value: search.get(name) ?? '', ...attributes }));
  const protocol = h('select', { id: 'p-proto' }, PROTOCOLS.map((name) => h('option', { value: name, selected: name === search.get('proto') }, name)));
  const hex = h('textarea', { id: 'p-hex', rows: 4, spellcheck: 'false', placeholder: '4500 0073 …' });
  const ask = async (text) => {
    fill(answer, h('p', { class: 'quiet' }, 'Asking …'));
    try {
      const explanation = await withToken(() => post('/v1/explain', { packet: text }));
      fill(answer, explanation ? tree(explanation) : h('p', { class: 'quiet' }, 'That needs the token.'));
    } catch (error) {
      fill(answer, h('pre', { class: 'problem' }, words(error)));
    }
  };
  const form = h('form', { class: 'card', onsubmit: (event) => {
    event.preventDefault();
    ask(wordsOf(form));
  } },
  h('h2', null, 'In words'),
  h('div', { class: 'fields' },
    h('div', { class: 'field' }, h('label', { for: 'p-proto' }, 'Protocol'), protocol),
    field('from', 'From address', { placeholder: '198.51.100.7' }), field('sport', 'From port', { inputmode: 'numeric', placeholder: '123' }),
    field('to', 'To address', { placeholder: '192.0.2.1' }), field('dport', 'To port', { inputmode: 'numeric', placeholder: '4000' }),
    field('more', 'More words', { placeholder: 'syn length 400 ttl 3' })),
  h('div', { class: 'buttons' }, h('button', { type: 'submit', class: 'primary' }, 'Explain')));
  const raw = h('form', { class: 'card', onsubmit: (event) => {
    event.preventDefault();
    ask(hex.value);
  } },
  h('h2', null, 'In hex'), h('label', { for: 'p-hex' }, 'An IP packet, or an Ethernet frame'), hex,
  h('div', { class: 'buttons' }, h('button', { type: 'submit', class: 'primary' }, 'Explain')));
  fill(root, h('h1', null, 'What happens to a packet'), h('div', { class: 'columns' }, form, raw), answer);
}
