// How is a number, an instant or a state said? Times are the viewer's, ages are by the database's clock.

const grouped = new Intl.NumberFormat("en");
const hour = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long" });

let ahead = 0; // of this browser's clock, milliseconds

export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** `seconds`: the database's clock now. */
export function setClock(seconds) {
  ahead = seconds * 1000 - Date.now();
}

/** Now, by the database's clock, in milliseconds. */
export const now = () => Date.now() + ahead;

export const number = (value) => (value == null ? "–" : grouped.format(value));

export const percent = (share) => (share == null ? "" : `${Math.floor(share * 100)} %`);

export const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;

/** A time span, short: 8 s, 3 min, 2 h 5 min, 3 d. */
export function span(seconds) {
  if (seconds == null) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  const m = Math.round(s / 60);
  if (m < 90) return `${m} min`;
  const h = Math.floor(m / 60);
  if (h < 48) return m % 60 && h < 10 ? `${h} h ${m % 60} min` : `${h} h`;
  return `${Math.round(h / 24)} d`;
}

/** When a span ends or what it ranges over: "2 to 4 min". */
export function range(pair) {
  const [low, high] = pair.map((each) => span(each));
  if (low === high) return low;
  const [a, unit] = low.split(/ (.*)/);
  return high.endsWith(` ${unit}`) && !/ .* /.test(high) ? `${a} to ${high}` : `${low} to ${high}`;
}

export function clock(instant) {
  const at = new Date(instant);
  return new Date().toDateString() === at.toDateString() ? hour.format(at) : day.format(at);
}

/** The time of day alone, to the minute: for what is no older than an hour or so. */
export const hhmm = (instant) => hour.format(new Date(instant)).slice(0, 5);

/** An element: properties, then children; text is only ever text. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value == null || value === false) continue;
    if (name in made && typeof value !== "string") made[name] = value;
    else made.setAttribute(name === "className" ? "class" : name, value);
  }
  made.append(...children.flat(Infinity).filter((each) => each != null && each !== false));
  return made;
}

/** A text of the service's with its commands, which it puts between backticks, as code. */
export const marked = (text) => String(text ?? "").split("`").map((part, n) => (n % 2 ? el("code", {}, part) : part));

/** An instant as the viewer's time of day; the whole of it where one looks closer. */
export function time(instant) {
  return instant == null ? "–" : el("time", { datetime: instant, title: full.format(new Date(instant)) }, clock(instant));
}

/** The age of an instant; it grows by itself, see `tick`. `before` and `after`: words around it. */
export function age(instant, before = "", after = "") {
  if (instant == null) return "–";
  const made = el("time", { datetime: instant, title: full.format(new Date(instant)), "data-age": before, "data-after": after });
  made.textContent = aged(made);
  return made;
}

const aged = (made) => made.dataset.age + span((now() - Date.parse(made.dateTime)) / 1000) + made.dataset.after;

/** Bring all ages up to date. */
export function tick() {
  for (const made of document.querySelectorAll("time[data-age]")) put(made, aged(made));
}

/** Set a text, unless it is that already. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const KINDS = {
  fresh: ["good", "✓"], proved: ["good", "✓"], more: ["good", "→"], turn: ["good", "→"],
  filling: ["busy", "↓"], running: ["busy", "↓"],
  waiting: ["off", "…"], paused: ["warn", "Ⅱ"], stale: ["warn", "▲"], lost: ["warn", "▲"], fenced: ["warn", "▲"],
  interrupted: ["off", "–"], stopped: ["bad", "✕"], failed: ["bad", "✕"], denied: ["bad", "✕"], off: ["off", "–"],
};

/** A state or outcome: colour, a sign for who sees no colour, and its word. */
export function badge(state, ...more) {
  const [kind, sign] = KINDS[state] ?? ["off", "·"];
  return el("span", { className: `s ${kind}` }, el("span", { "aria-hidden": "true" }, `${sign} `), state, ...more);
}

/** Put rows into a table's body; nothing is touched while they are the same. */
export function fill(body, key, rows) {
  const said = JSON.stringify(key);
  if (body.dataset.key === said) return;
  body.dataset.key = said;
  body.replaceChildren(...rows());
}

export const salonName = (company, title) => (company ? (title ? `${title} (${company})` : `Salon ${company}`) : "the list of salons");
