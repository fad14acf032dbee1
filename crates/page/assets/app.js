// The page: which view is shown, and what is always in sight.

import { fill, h, setText } from './dom.js';
import { hasToken } from './api.js';
import { alsoRead, live, start, subscribe } from './live.js';
import { askForToken, forgetToken } from './dialogs.js';
import { drawStrip } from './strip.js';
import { overview } from './views/overview.js';
import { rules } from './views/rules.js';
import { rule } from './views/rule.js';
import { peers } from './views/peers.js';
import { packet } from './views/packet.js';
import { paste } from './views/paste.js';
import { samples } from './views/samples.js';
import { events } from './views/events.js';
import { history } from './views/history.js';

/** Each view is a function of its place and the parts of its address; it may return what it reads
    again with each status, and what ends it. */
const VIEWS = [
  ['', 'Overview', overview],
  ['rules', 'Rules', rules],
  ['peers', 'Peers', peers],
  ['packet', 'Packet', packet],
  ['paste', 'Decode', paste],
  ['samples', 'Samples', samples],
  ['events', 'Events', events],
  ['history', 'History', history],
];

const content = document.getElementById('content');
let shown = { name: null, leave: null };

/** `#/rules/ID?filter=x` as its view, the rest of its path, and its query. */
function place() {
  const [path, search] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, ...rest] = path.split('/').map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return { name, rest, search: new URLSearchParams(search ?? '') };
}

function show() {
  const { name, rest, search } = place();
  const known = VIEWS.find(([address]) => address === name) ?? VIEWS[0];
  const view = name === 'rules' && rest[0] ? rule : known[2];
  shown.leave?.();
  const root = h('div', { class: 'view' });
  fill(content, root);
  const { read, leave, title } = view(root, { id: rest[0], search }) ?? {};
  alsoRead(read ?? null);
  shown = { name: known[0], leave };
  document.title = `${title ?? known[1]} – Floodgate`;
  for (const link of document.querySelectorAll('#views a')) {
    if (link.dataset.view === known[0]) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  read?.().catch(() => {});
  window.scrollTo(0, 0);
}

const THEMES = ['system', 'light', 'dark'];

function theme() {
  const stored = localStorage.getItem('floodgate-theme');
  return THEMES.includes(stored) ? stored : 'system';
}

function applyTheme() {
  document.documentElement.dataset.theme = theme();
}

function drawTools() {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  fill(document.getElementById('tools'),
    h('button', {
      type: 'button', class: 'ghost', id: 'theme', title: `Colours: ${theme()}`, 'aria-label': `Colours: ${theme()}; change to ${next}`,
      onclick: () => {
        localStorage.setItem('floodgate-theme', next);
        applyTheme();
        drawTools();
        document.getElementById('theme').focus();
      },
    }, theme() === 'dark' ? '☾' : theme() === 'light' ? '☀' : '◐'),
    hasToken()
      ? h('button', { type: 'button', class: 'ghost', id: 'token', onclick: () => forgetToken() }, 'Forget token')
      : h('button', { type: 'button', class: 'ghost', id: 'token', onclick: () => askForToken() }, 'Token'));
}

applyTheme();
drawTools();
addEventListener('floodgate-token', drawTools);
fill(document.getElementById('views'), h('ul', null, VIEWS.map(([address, name]) =>
  h('li', null, h('a', { href: `#/${address}`, 'data-view': address }, name)))));
// The link's address is no view.
document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault();
  content.focus();
});
addEventListener('hashchange', () => {
  show();
  content.focus({ preventScroll: true });
});

let said = '';
subscribe(() => {
  const words = drawStrip(live);
  // Only a change is told to readers of the screen.
  if (words !== said) {
    said = words;
    setText(document.getElementById('announcer'), words);
  }
});
setInterval(() => drawStrip(live), 1000);

show();
start();
