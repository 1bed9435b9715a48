// What can be changed from here, and only by who gives the admin token. It is kept in this page's memory and nowhere else.
import { el, fill, marked, plural, put } from "./words.js";

const WAIT_MS = 15000;
const byId = (id) => document.getElementById(id);
let token = null;
let preset = null; // that is chosen in the list because it is in force
let state = null;
let unlocked = () => {};

/** Returns what the service says; throws with why it did not. */
async function post(path, body) {
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal: AbortSignal.timeout(WAIT_MS) });
  } catch (error) {
    throw new Error(error.name === "TimeoutError" ? "no answer; it may be done all the same, look above" : error.message);
  }
  const told = await answer.json().catch(() => ({ error: `the service answered ${answer.status}` }));
  if (!answer.ok) throw new Error(told.error);
  return told.said;
}

const say = (text) => fill(byId("admin-said"), text, () => marked(text));

async function act(path, body) {
  say("…");
  try {
    say(await post(path, body));
  } catch (error) {
    say(`Not done: ${error.message}`);
  }
}

/** `heard`: called when somebody may act from now on, or no longer. */
export function start(heard) {
  unlocked = heard;
  byId("ask-no").addEventListener("click", () => byId("ask").close());
}

function confirm(what, does, yes) {
  byId("ask-what").textContent = what;
  byId("ask-yes").textContent = does;
  byId("ask-yes").onclick = () => { byId("ask").close(); yes(); };
  byId("ask").showModal();
}

/** The buttons of one salon, in the element that they were in before; nothing while nobody may act. */
export function salonActions(salon, before) {
  if (!token) return null;
  const row = before ?? el("p", { className: "row" }, el("button", { type: "button" }));
  const button = row.firstElementChild;
  const { company, paused } = salon;
  put(button, paused ? "Resume this salon" : "Pause this salon");
  button.onclick = () => act(paused ? "api/resume" : "api/pause", { company });
  return row;
}

export function admin(it) {
  state = it;
  const { settings } = it;
  if (!settings) return;
  // Made anew for other presets or another token only: whoever is about to press a button finds it where it was.
  byId("acts").hidden = !settings.admin;
  if (!settings.admin) return;
  fill(byId("admin"), [token != null, settings.presets], () => (token == null ? locked() : controls(settings)));
  if (!byId("pause-all")) return;
  if (preset !== settings.preset) byId("preset").value = preset = settings.preset;
  const all = (it.paused ?? []).some((one) => one.company === 0);
  const some = (it.paused ?? []).filter((one) => one.company).length;
  // Not `disabled`: that takes the focus from whoever has just pressed it.
  byId("pause-all").ariaDisabled = String(all);
  byId("resume-all").ariaDisabled = String(!all && !some);
  put(byId("held"), all ? "All requests are held." : some ? `${plural(some, "salon")} held.` : "");
}

function locked() {
  const input = el("input", { type: "password", autocomplete: "off", required: true, id: "token" });
  const form = el("form", { id: "unlock", "aria-label": "Unlock" }, el("label", {}, "Admin token ", input), el("button", { type: "submit" }, "Unlock"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    token = input.value.trim();
    try {
      await post("api/admin", {});
      say("");
      admin(state);
      unlocked();
      byId("preset").focus();
    } catch (error) {
      token = null;
      say(error.message);
      input.focus();
    }
  });
  return [form];
}

function controls(settings) {
  const button = (id, text, does) => {
    const made = el("button", { type: "button", id }, text);
    made.addEventListener("click", () => made.ariaDisabled !== "true" && does());
    return made;
  };
  const pause = button("pause-all", "Pause all", () =>
    confirm("Hold all requests, of every salon and on every machine? The data ages until somebody resumes.", "Pause all", () => act("api/pause", { company: 0 })));
  const resume = button("resume-all", "Resume all", () =>
    confirm("Let all requests go again, also those of salons that are paused one by one?", "Resume all", () => act("api/resume", { company: 0 })));
  const choice = el("select", { id: "preset" }, ...settings.presets.map((name) => el("option", { value: name }, name)));
  preset = null;
  const use = button("use-preset", "Use this preset", () => act("api/preset", { preset: choice.value }));
  const lock = button("lock", "Lock", () => { token = null; say(""); admin(state); unlocked(); byId("token").focus(); });
  pause.classList.add("bad");
  return [el("div", { className: "row" }, pause, resume, el("label", {}, "Preset ", choice), use, lock), el("p", { id: "held" })];
}
