// Questions, and what was done.

import { fill, h } from './dom.js';
import { ApiError, hasToken, post, setToken } from './api.js';

/** Opens a dialog with this content; `decide` closes it with an answer. Escape answers null. */
export function dialog(title, build) {
  return new Promise((answer) => {
    const before = document.activeElement;
    const box = h('dialog', { 'aria-labelledby': 'dialog-title' });
    const decide = (value) => {
      answer(value);
      box.close();
    };
    fill(box, h('h2', { id: 'dialog-title' }, title), build(decide));
    box.addEventListener('close', () => {
      answer(null);
      box.remove();
      before?.focus?.();
    });
    document.body.append(box);
    box.showModal();
  });
}

/** Asks yes or no. The answer that changes nothing has the focus. */
export function confirm(title, lines, yes, dangerous = false) {
  return dialog(title, (decide) => h('div', { class: 'dialog-body' },
    lines.map((line) => (line instanceof Node ? line : h('p', null, line))),
    h('div', { class: 'buttons' },
      h('button', { type: 'button', class: 'cancel', autofocus: true, onclick: () => decide(null) }, 'Cancel'),
      h('button', { type: 'button', class: dangerous ? 'danger confirm' : 'primary confirm', onclick: () => decide(true) }, yes))));
}

const toasts = () => document.getElementById('toasts');

/** Says what was done, with a way to undo it. */
export function toast(message, undo = null, kind = 'good') {
  const box = h('div', { class: `toast ${kind}`, role: kind === 'bad' ? 'alert' : 'status' }, h('p', null, message));
  const close = () => box.remove();
  if (undo) {
    const button = h('button', { type: 'button', class: 'undo', onclick: async () => {
      button.disabled = true;
      try {
        toast((await undo()).message);
        close();
      } catch (error) {
        button.disabled = false;
        toast(words(error), null, 'bad');
      }
    } }, 'Undo');
    box.append(button);
  }
  box.append(h('button', { type: 'button', class: 'close', 'aria-label': 'Close this message', onclick: close }, '×'));
  toasts().append(box);
  while (toasts().children.length > 4) toasts().firstElementChild.remove();
  setTimeout(close, undo ? 120000 : kind === 'bad' ? 30000 : 8000);
}

/** An error as a sentence. */
export const words = (error) => (error instanceof ApiError ? error.message : `unexpected: ${error}`);

const tokenChanged = () => dispatchEvent(new Event('floodgate-token'));

export function forgetToken() {
  setToken('');
  tokenChanged();
  toast('The token is forgotten.');
}

/** A packet that a token is tried with: explaining it changes nothing. */
const PROBE = '45000014000000004011000000000000c0000201';

/** Asks for the token and tries it. True if there is one then. */
export function askForToken(why = 'It is kept in this tab until it is closed, and sent to this daemon alone.') {
  return dialog('Token', (decide) => {
    const input = h('input', { type: 'password', id: 'token-input', autocomplete: 'off', required: true, autofocus: true });
    const problem = h('p', { class: 'problem', role: 'alert' });
    return h('form', {
      class: 'dialog-body',
      onsubmit: async (event) => {
        event.preventDefault();
        setToken(input.value.trim());
        try {
          await post('/v1/explain', { packet: PROBE });
          tokenChanged();
          decide(true);
        } catch (error) {
          setToken('');
          fill(problem, error.status === 401 ? 'This is not the token.' : words(error));
          input.select();
        }
      },
    },
    h('p', null, 'Changes need the token of [api] in the configuration. ', why),
    h('label', { for: 'token-input' }, 'Token'), input, problem,
    h('div', { class: 'buttons' },
      h('button', { type: 'button', onclick: () => decide(null) }, 'Cancel'),
      h('button', { type: 'submit', class: 'primary' }, 'Use it')));
  });
}

/** Does this with the token, which is asked for if there is none, or a wrong one; undefined if
    nobody gives one. */
export async function withToken(action) {
  if (!hasToken() && !(await askForToken())) return undefined;
  try {
    return await action();
  } catch (error) {
    if (error.status !== 401) throw error;
    setToken('');
    tokenChanged();
    return (await askForToken('The daemon refused the one that was used.')) ? action() : undefined;
  }
}

/** Does this with the token; errors are told. */
export async function attempt(action) {
  try {
    return await withToken(action);
  } catch (error) {
    toast(words(error), null, 'bad');
    return undefined;
  }
}
