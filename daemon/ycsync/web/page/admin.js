// What can be changed from here, and only by who gives the admin token. It is kept in this page's memory and nowhere else.
import { el, fill, plural, put } from "./words.js";

const WAIT_MS = 15000;
const byId = (id) => document.getElementById(id);
let token = null;
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

const say = (text) => put(byId("admin-said"), text);

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
  // Made anew for another preset or token only: whoever is about to press a button finds it where it was.
  fill(byId("admin"), [settings.admin, token != null, settings.presets, settings.preset], () => {
    if (!settings.admin) return [el("p", { className: "quiet" }, "This page only shows. To pause, resume or change the preset from here, write a token of your own into ", el("code", {}, "credentials/admin_token"), " beside config.yaml and restart.")];
    return token == null ? locked() : controls(settings);
  });
  if (!byId("pause-all")) return;
  const all = (it.paused ?? []).some((one) => one.company === 0);
  const some = (it.paused ?? []).filter((one) => one.company).length;
  byId("pause-all").disabled = all;
  byId("resume-all").disabled = !all && !some;
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
    made.addEventListener("click", does);
    return made;
  };
  const pause = button("pause-all", "Pause all", () =>
    confirm("Hold all requests, of every salon and on every machine? The data ages until somebody resumes.", "Pause all", () => act("api/pause", { company: 0 })));
  const resume = button("resume-all", "Resume all", () =>
    confirm("Let all requests go again, also those of salons that are paused one by one?", "Resume all", () => act("api/resume", { company: 0 })));
  const choice = el("select", { id: "preset" }, ...settings.presets.map((name) => el("option", { value: name, selected: name === settings.preset }, name)));
  const use = button("use-preset", "Use this preset", async () => {
    await act("api/preset", { preset: choice.value });
    byId("use-preset")?.focus();
  });
  const lock = button("lock", "Lock", () => { token = null; say(""); admin(state); unlocked(); byId("token").focus(); });
  pause.classList.add("bad");
  return [el("div", { className: "row" }, pause, resume, el("label", {}, "Preset ", choice), use, lock), el("p", { id: "held" })];
}
