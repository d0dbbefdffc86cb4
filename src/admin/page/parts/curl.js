// A request as a command for a shell. What is masked becomes a variable; what an event holds cannot leave its quotes, nor do
// anything to a terminal that it is pasted into.

const LEFT_OUT = new Set(['host', 'content-length', 'connection', 'transfer-encoding']);
// Controls but line feed and tab, directions, and what has no width.
// eslint-disable-next-line no-control-regex
const RISKY = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/;
const EACH_RISKY = new RegExp(RISKY.source, 'g');

/** A text that the shell takes as it is. */
function quoted(text) {
  if (!RISKY.test(text)) return `'${text.replaceAll("'", String.raw`'\''`)}'`;
  const escaped = text.replace(/[\\']/g, String.raw`\$&`)
    .replace(EACH_RISKY, (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return `$'${escaped}'`;
}

/** The same with what is masked as a variable of the shell. */
function masked(text, variable) {
  return text.split('***').map((piece) => (piece === '' ? '' : quoted(piece))).join(`"$${variable}"`) || "''";
}

const variable = (name) => name.toUpperCase().replace(/[^A-Z0-9]+/g, '_');

/** The command; secrets are variables that it names first. */
export function curl(request) {
  const secrets = [];
  const secret = (text, name) => {
    if (text.includes('***') && !secrets.includes(name)) secrets.push(name);
    return masked(text, name);
  };
  const lines = [`curl --globoff --request ${quoted(request.method)} --url ${secret(request.url, 'SECRET_URL')}`];
  for (const [name, value] of request.headers) {
    if (LEFT_OUT.has(name.toLowerCase())) continue;
    lines.push(`  --header ${secret(`${name}: ${value}`, `SECRET_${variable(name)}`)}`);
  }
  if (request.body) lines.push(`  --data-raw ${secret(request.body, 'SECRET_BODY')}`);
  const notes = [];
  if (secrets.length) notes.push(`# Secrets are not shown; set ${secrets.join(', ')} first.`);
  if (request.truncated) notes.push(`# The body is cut: it had ${request.body_bytes} bytes.`);
  return [...notes, lines.join(' \\\n')].join('\n');
}
