// The table of salons: the service finds, sorts and cuts, so that it is the same for one salon and for a thousand.
import { age, badge, el, marked, now, number, percent, plural, put, span, time } from "./words.js";
import { salonActions } from "./admin.js";

const PAGE = 50;
const WAIT_MS = 10000;
const view = { q: "", state: "", sort: "state", order: "asc", offset: 0 };
const rows = new Map(); // salon -> its row, its second row when it is open, and what they show
const open = new Set();
const byId = (id) => document.getElementById(id);
let streams = [];
let wanted = 0; // the version that the service has
let shown = -1;
let busy = false;
let again = false;
let matched = 0;

/** The service has another state of the table. */
export function changed(version) {
  wanted = version;
  if (wanted !== shown && !document.hidden) load();
}

/** Which streams there are, in their order. */
export function setStreams(names) {
  if (names.join() === streams.join()) return;
  streams = names;
  head();
  rows.clear();
  byId("table").tBodies[0].replaceChildren();
  shown = -1;
  load();
}

/** Ask for what the view shows; one question at a time. */
export async function load() {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  try {
    do {
      again = false;
      const answer = await fetch(`api/salons?${new URLSearchParams({ ...view, limit: PAGE })}`, { signal: AbortSignal.timeout(WAIT_MS) });
      if (!answer.ok) throw new Error((await answer.json()).error);
      const found = await answer.json();
      shown = found.version;
      render(found);
    } while (again);
  } catch (error) {
    put(byId("matched"), `The salons could not be asked for: ${error.message}`);
  } finally {
    busy = false;
  }
}

function render(found) {
  matched = found.matched;
  if (found.offset && !found.salons.length) return go(0);
  const body = byId("table").tBodies[0];
  const kept = new Set(found.salons.map((one) => one.company));
  for (const [company, row] of rows) {
    if (kept.has(company)) continue;
    row.main.remove();
    row.more?.remove();
    rows.delete(company);
  }
  let place = body.firstElementChild;
  for (const salon of found.salons) {
    const row = update(salon);
    for (const part of [row.main, row.more]) {
      if (!part) continue;
      // A row that is where it belongs is not moved: it may have the focus.
      if (part === place) place = place.nextElementSibling;
      else body.insertBefore(part, place);
    }
  }
  const last = Math.min(found.offset + PAGE, matched);
  put(byId("matched"), view.q || view.state ? `${plural(matched, "salon")} found` : plural(matched, "salon"));
  put(byId("where"), matched ? `${number(found.offset + 1)} to ${number(last)} of ${number(matched)}` : "");
  byId("before").disabled = !found.offset;
  byId("after").disabled = last >= matched;
  byId("pages").hidden = matched <= PAGE;
}

function update(salon) {
  let row = rows.get(salon.company);
  if (!row) {
    const button = el("button", { type: "button", className: "plain", "aria-expanded": "false" });
    button.addEventListener("click", () => toggle(salon.company));
    row = { button, main: el("tr", { role: "row" }), more: null, key: "" };
    rows.set(salon.company, row);
  }
  const isOpen = open.has(salon.company);
  const key = JSON.stringify([salon, isOpen]);
  if (row.key === key) return row;
  Object.assign(row, { key, salon });
  put(row.button, salon.title ? `${salon.title} · ${salon.company}` : `Salon ${salon.company}`);
  row.button.setAttribute("aria-expanded", String(isOpen));
  const cell = (label, ...content) => el("td", { role: "cell", "data-label": label }, ...content);
  const cells = [
    cell("State", badge(salon.state), salon.paused ? [" ", badge("paused"), salon.held ? ` ${salon.held} in YCLIENTS` : ""] : null),
    ...streams.map((name) => cell(name, brief(salon.streams.find((one) => one.stream === name)))),
    cell("Oldest", salon.oldest ? age(salon.oldest) : "never complete"),
    cell("Rows", rowsDone(salon)),
    cell("Requests", number(salon.requests)),
    cell("Quarantine", number(salon.quarantined)),
  ];
  if (!row.main.firstElementChild) row.main.append(el("th", { role: "rowheader", scope: "row" }, row.button));
  while (row.main.children.length > 1) row.main.lastElementChild.remove();
  row.main.append(...cells);
  const acting = row.actions?.contains(document.activeElement);
  const more = isOpen ? details(salon, cells.length + 1, row) : null;
  if (row.more && more) row.more.replaceWith(more);
  else row.more?.remove();
  row.more = more;
  if (acting && more) row.actions?.querySelector("button")?.focus(); // new figures are no reason to lose one's place
  return row;
}

function rowsDone(salon) {
  const text = salon.expected == null || salon.done === salon.expected ? number(salon.done) : `${number(salon.done)} of ${number(salon.expected)}`;
  if (salon.state !== "filling" || !salon.expected) return text;
  return [text, " ", el("progress", { max: salon.expected, value: salon.done, "aria-label": `${percent(salon.done / salon.expected)} stored` })];
}

/** One stream in one cell. */
function brief(one) {
  if (!one) return "–";
  if (one.state === "filling" && one.expected) return badge("filling", ` ${percent(one.done / one.expected)}`, one.eta_s ? `, ${span(one.eta_s)} left` : "");
  if (one.state === "filling" || one.state === "waiting") return badge(one.state, one.next_at ? nextIn(one.next_at) : "");
  if (one.state === "stopped") return badge("stopped"); // why, and how old its data is, stands below when it is opened
  return badge(one.state, one.proved_as_of ? [" ", age(one.proved_as_of)] : "", one.error ? ", error" : "");
}

function nextIn(instant) {
  const s = (Date.parse(instant) - now()) / 1000;
  return s > 5 ? `, next in ${span(s)}` : "";
}

function details(salon, width, row) {
  const line = (one) =>
    el("li", {}, el("b", {}, one.stream), " ", badge(one.state), ` ${number(one.done ?? 0)}${one.expected == null ? "" : ` of ${number(one.expected)}`} rows`,
      one.eta_s ? `, ${span(one.eta_s)} left` : "", one.proved_as_of ? [", everything before ", time(one.proved_as_of), " is there"] : ", never complete yet",
      one.next_at ? nextIn(one.next_at) : "", `, ${plural(one.requests ?? 0, "request")}`, one.quarantined ? `, ${number(one.quarantined)} in quarantine` : "",
      one.error ? el("p", {}, el("b", {}, "Since "), time(one.error_since), `, ${plural(one.failures ?? 0, "failure")} in a row: `, marked(one.error)) : null);
  row.actions = salonActions(salon, row.actions);
  return el("tr", { className: "more", role: "row" }, el("td", { colSpan: width, role: "cell", "aria-colspan": String(width) }, el("ul", {}, ...salon.streams.map(line)), row.actions));
}

function toggle(company) {
  if (!open.delete(company)) open.add(company);
  const row = rows.get(company);
  const before = row.more;
  update(row.salon);
  if (row.more && !before) row.main.after(row.more);
}

/** Who may act has changed: the open rows have other buttons. */
export function reopen() {
  for (const company of open) {
    const row = rows.get(company);
    if (row) {
      row.key = "";
      update(row.salon);
    }
  }
}

// --- what is asked ----------------------------------------------------------------------------------------------------

const SORTABLE = [["salon", "Salon"], ["state", "State"], null, ["lag", "Oldest proof"], ["progress", "Rows"], ["requests", "Requests"], ["quarantined", "Quarantine"]];

function head() {
  const made = SORTABLE.flatMap((each) => (each ? [heading(...each)] : streams.map((name) => el("th", { scope: "col", role: "columnheader" }, name))));
  byId("table").tHead.rows[0].replaceChildren(...made);
}

function heading(sort, text) {
  const button = el("button", { type: "button" }, text);
  button.addEventListener("click", () => {
    view.order = view.sort === sort && view.order === "asc" ? "desc" : "asc";
    view.sort = sort;
    go(0);
    byId("table").querySelector(`th[data-sort="${sort}"] button`).focus();
  });
  const sorted = view.sort === sort ? (view.order === "asc" ? "ascending" : "descending") : "none";
  return el("th", { scope: "col", role: "columnheader", "data-sort": sort, "aria-sort": sorted }, button);
}

function go(offset) {
  view.offset = offset;
  Object.assign(byId("sort"), { value: view.sort });
  byId("desc").checked = view.order === "desc";
  head();
  const kept = Object.entries(view).filter(([key, value]) => value && value !== { sort: "state", order: "asc" }[key]);
  history.replaceState(null, "", kept.length ? `#${new URLSearchParams(kept)}` : location.pathname);
  return load();
}

/** Hear the controls; begin with what the address says. */
export function start() {
  const said = new URLSearchParams(location.hash.slice(1));
  for (const key of ["q", "state", "sort", "order"]) if (said.get(key)) view[key] = said.get(key);
  const choices = (id) => [...byId(id).options].map((each) => each.value);
  if (!choices("show").includes(view.state)) view.state = "";
  if (!choices("sort").includes(view.sort)) view.sort = "state";
  if (view.order !== "desc") view.order = "asc";
  view.offset = PAGE * Math.floor((Number.parseInt(said.get("offset"), 10) || 0) / PAGE);
  byId("find").value = view.q;
  byId("show").value = view.state;
  byId("sort").value = view.sort;
  byId("desc").checked = view.order === "desc";
  let typing = 0;
  byId("find").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => { view.q = byId("find").value.trim(); go(0); }, 150);
  });
  byId("show").addEventListener("change", () => { view.state = byId("show").value; go(0); });
  byId("sort").addEventListener("change", () => { view.sort = byId("sort").value; go(0); });
  byId("desc").addEventListener("change", () => { view.order = byId("desc").checked ? "desc" : "asc"; go(0); });
  byId("filter").addEventListener("submit", (event) => event.preventDefault());
  const leaf = async (offset) => {
    await go(offset);
    byId("salons").scrollIntoView();
  };
  byId("before").addEventListener("click", () => leaf(Math.max(0, view.offset - PAGE)));
  byId("after").addEventListener("click", () => leaf(view.offset + PAGE));
}

/** Show only what is wrong. */
export function showTrouble() {
  view.state = byId("show").value = "trouble";
  go(0);
  byId("salons").focus();
}
