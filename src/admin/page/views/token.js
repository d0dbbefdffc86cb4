// Asks for the token of the admin listener. It is kept for this tab alone.

import { token } from '../api.js';
import { fill, h } from '../dom.js';

/** Shows the form; `go` is called when there is a token to try. */
export function tokenForm(main, refused, go) {
  document.title = 'Token · Outrigger';
  const input = h('input', { id: 'token', type: 'password', autocomplete: 'off', required: true, 'aria-describedby': 'token-note' });
  const button = h('button', { type: 'submit', class: 'primary' }, 'Open');
  const note = h('p', { class: 'note bad', role: 'alert', hidden: !refused }, 'That is not the token in force.');
  const form = h('form', { class: 'panel token' },
    h('h1', { tabindex: -1 }, 'This listener asks for its token'),
    note,
    h('p', { id: 'token-note' }, 'It is the value of ', h('code', {}, 'admin.token'), ' in outrigger.toml. It is kept until this tab is closed and sent nowhere else.'),
    h('p', { class: 'field' }, h('label', { for: 'token' }, 'Token'), input, button));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    if (!/^[!-~]+$/.test(text)) {
      fill(note, 'That is no token: one has visible ASCII characters only, without blanks.').hidden = false;
      return;
    }
    // Until it is known whether it is right: one token is tried at a time.
    for (const control of [input, button]) control.disabled = true;
    token.set(text);
    go();
  });
  fill(main, form);
  input.focus();
}
