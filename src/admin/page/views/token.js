// Asks for the token of the admin listener. It is kept for this tab alone.

import { token } from '../api.js';
import { fill, h } from '../dom.js';

/** Shows the form; `go` is called when there is a token to try. */
export function tokenForm(main, refused, go) {
  document.title = 'Token · Outrigger';
  const input = h('input', { id: 'token', type: 'password', autocomplete: 'off', required: true, 'aria-describedby': 'token-note' });
  const form = h('form', { class: 'panel token' },
    h('h1', { tabindex: -1 }, 'This listener asks for its token'),
    refused ? h('p', { class: 'note bad', role: 'alert' }, 'That is not the token in force.') : null,
    h('p', { id: 'token-note' }, 'It is the value of ', h('code', {}, 'admin.token'), ' in outrigger.toml. It is kept until this tab is closed and sent nowhere else.'),
    h('p', { class: 'field' }, h('label', { for: 'token' }, 'Token'), input, h('button', { type: 'submit', class: 'primary' }, 'Open')));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (!input.value.trim()) return;
    token.set(input.value.trim());
    go();
  });
  fill(main, form);
  input.focus();
}
