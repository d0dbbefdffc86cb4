// A request as a command for a shell: sh, bash and zsh. What is masked becomes a variable; what an event holds cannot leave its
// quotes, nor do anything to a terminal that it is pasted into.

const LEFT_OUT = new Set(['host', 'content-length', 'connection', 'transfer-encoding']);
const MASK = '***';
// Controls but line feed, directions, and what has no width. Joiners stay: scripts and emoji need them.
const RISKY = String.raw`(?![\n\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]`;
const ANY_RISKY = new RegExp(RISKY, 'u');
const EACH_ESCAPED = new RegExp(String.raw`[\\'!^]|${RISKY}`, 'gu');

const octal = (mark) => Array.from(new TextEncoder().encode(mark), (byte) => `\\0${byte.toString(8).padStart(3, '0')}`).join('');

/** Whether a shell may look for its history in a text: some do in every line but the first, whatever is quoted. */
const recalls = (text) => text.includes('\n') && /[!^]/.test(text);

/** A text that the shell takes as it is; `guarded` where the whole that it is a piece of may call up history. */
function quoted(text, guarded = recalls(text)) {
  if (!guarded && !ANY_RISKY.test(text)) return `'${text.replaceAll("'", String.raw`'\''`)}'`;
  // What a command says loses the line feeds at its end.
  let end = text.length;
  while (text[end - 1] === '\n') end -= 1;
  const said = `"$(printf %b '${text.slice(0, end).replace(EACH_ESCAPED, octal)}')"`;
  return end < text.length ? `${said}'${text.slice(end)}'` : said;
}

/** The command; secrets are variables that it names first. */
export function curl(request) {
  const secrets = new Map();
  let unsure = false;
  const variable = (name) => {
    const number = (secrets.get(name) ?? 0) + 1;
    secrets.set(name, number);
    return number === 1 ? name : `${name}_${number}`;
  };
  /** The same with each mask as a variable, which stands for the mask itself until it is set where an event may have said it. */
  const masked = (text, of, sure) => {
    const [first, ...rest] = text.split(MASK);
    const guarded = recalls(text);
    const name = `SECRET_${of.toUpperCase().replace(/[^A-Z0-9]+/g, '_')}`;
    unsure ||= rest.length > 0 && !sure;
    const pieces = rest.map((piece) => `"\${${variable(name)}${sure ? '' : `-${MASK}`}}"${piece && quoted(piece, guarded)}`);
    return (first && quoted(first, guarded)) + pieces.join('');
  };
  const lines = [`curl --globoff --request ${quoted(request.method)} --url ${masked(request.url, 'url', true)}`];
  for (const [name, value] of request.headers) {
    if (LEFT_OUT.has(name.toLowerCase())) continue;
    // With nothing behind its colon a header is left out; this one is sent empty.
    lines.push(`  --header ${value === '' ? quoted(`${name};`) : masked(`${name}: ${value}`, name, value === MASK)}`);
  }
  if (request.body) lines.push(`  --data-raw ${masked(request.body, 'body', false)}`);
  const names = Array.from(secrets, ([name, most]) => (most === 1 ? name : `${name} to ${name}_${most}`));
  const notes = [];
  if (names.length) notes.push(`Secrets are not shown: set ${names.join(', ')} first.`);
  if (unsure) notes.push(`A variable with -${MASK} is either a secret or a ${MASK} of the event itself: leave it unset then.`);
  if (request.truncated) notes.push(`The body is cut: it had ${request.body_bytes} bytes.`);
  // Not every shell takes a # for the beginning of a comment; to all of them this is a command that does nothing.
  return [...notes.map((note) => `: ${quoted(note)}`), lines.join(' \\\n')].join('\n');
}
