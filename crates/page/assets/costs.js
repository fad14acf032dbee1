// What a text means: the rule, its octets, and what each back end makes of it.

import { h } from './dom.js';
import { whole } from './format.js';

/** What each back end makes of a rule; the one in use first. */
export function costs(rule, inUse) {
  const planes = [...rule.backends].sort((a, b) => (b.backend === inUse) - (a.backend === inUse));
  return h('div', { class: 'costs' },
    rule.hazards.length ? h('p', { class: 'banner warn' }, `It takes ${rule.hazards.map((hazard) => hazard.what).join(' and ')}.`) : null,
    h('table', null,
      h('caption', { class: 'unseen' }, 'Cost of the rule in each back end'),
      h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'Back end'), h('th', { scope: 'col' }, 'Entries'), h('th', { scope: 'col' }, 'Remarks'))),
      h('tbody', null, planes.map((plane) => h('tr', { 'data-enforceable': String(plane.enforceable), 'data-backend': plane.backend },
        h('th', { scope: 'row' }, plane.backend, plane.backend === inUse ? h('span', { class: 'badge good' }, 'in use') : null),
        h('td', { class: 'number' }, plane.enforceable ? whole(plane.entries) : h('span', { class: 'badge bad' }, 'refused')),
        h('td', null, [plane.reason, ...(plane.limits ?? []), ...(plane.notes ?? [])].filter(Boolean).map((text) => h('p', null, text))))))));
}

/** A rule of a text, whole. */
export function inspected(rule, inUse) {
  const verb = rule.announced === true ? 'announced' : rule.announced === false ? 'withdrawn' : null;
  return h('article', { class: 'card inspected' },
    h('h2', { class: 'rule-text' }, rule.text),
    h('p', { class: 'quiet' }, `${rule.family} · ${rule.id}`, verb ? ` · ${verb} by this message` : ''),
    h('h3', null, 'Octets'),
    h('pre', { class: 'octets', tabindex: 0, 'aria-label': 'Octets of the NLRI' }, rule.nlri),
    h('h3', null, 'Components'),
    h('ul', null, rule.components.map((component) => h('li', null, component))),
    rule.actions.length ? [h('h3', null, 'Actions'), h('ul', null, rule.actions.map((action) => h('li', null, `${action.text} `, h('code', null, action.community))))] : null,
    h('h3', null, 'Cost'),
    costs(rule, inUse));
}
