// What can be changed from here, and only by who gives the admin token. It is kept in this page's memory and nowhere else.
import { el, fill, plural } from "./words.js";

const byId = (id) => document.getElementById(id);
let token = null;
let state = null;
let unlocked = () => {};

/** Returns what the service says; throws with why it did not. */
async function post(path, body) {
  const answer = await fetch(path, { method: "POST", headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told.said;
}

async function act(path, body) {
  const said = byId("admin-said");
  said.textContent = "…";
  try {
    said.textContent = await post(path, body);
  } catch (error) {
    said.textContent = `Not done: ${error.message}`;
  }
}

/** `heard`: called when somebody may act from now on. */
export function start(heard) {
  unlocked = heard;
  byId("ask-no").addEventListener("click", () => byId("ask").close());
}

function confirm(what, yes) {
  byId("ask-what").textContent = what;
  byId("ask-yes").onclick = () => { byId("ask").close(); yes(); };
  byId("ask").showModal();
}

/** The buttons of one salon; nothing while nobody may act. */
export function salonActions(salon) {
  if (!token) return null;
  const label = salon.paused ? "Resume this salon" : "Pause this salon";
  const button = el("button", { type: "button" }, label);
  button.addEventListener("click", () => act(salon.paused ? "api/resume" : "api/pause", { company: salon.company }));
  return el("p", { className: "row" }, button);
}

export function admin(it) {
  state = it;
  if (!it.settings) return;
  const all = (it.paused ?? []).some((one) => one.company === 0);
  const some = (it.paused ?? []).filter((one) => one.company).length;
  fill(byId("admin"), [it.settings.admin, token != null, it.settings.presets, it.settings.preset, all, some], () => {
    if (!it.settings.admin) return [el("p", { className: "quiet" }, "This page only shows. To pause, resume or change the preset from here, write a token of your own into ", el("code", {}, "credentials/admin_token"), " beside config.yaml and restart.")];
    return token == null ? locked() : controls(it.settings, all, some);
  });
}

function locked() {
  const input = el("input", { type: "password", autocomplete: "off", required: true, id: "token" });
  const form = el("form", { id: "unlock", "aria-label": "Unlock" }, el("label", {}, "Admin token ", input), el("button", { type: "submit" }, "Unlock"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    token = input.value.trim();
    try {
      await post("api/admin", {});
      admin(state);
      unlocked();
      byId("pause-all").focus();
    } catch (error) {
      token = null;
      byId("admin-said").textContent = error.message;
      input.focus();
    }
  });
  return [form, el("p", { id: "admin-said", role: "status" })];
}

function controls(settings, all, some) {
  const pause = el("button", { type: "button", id: "pause-all", className: all ? "" : "bad" }, all || some ? "Resume all" : "Pause all");
  pause.addEventListener("click", () => {
    if (all || some) act("api/resume", { company: 0 });
    else confirm("Hold all requests, of every salon and on every machine? The data ages until somebody resumes.", () => act("api/pause", { company: 0 }));
  });
  const choice = el("select", { id: "preset" }, ...settings.presets.map((name) => el("option", { value: name, selected: name === settings.preset }, name)));
  const use = el("button", { type: "button" }, "Use this preset");
  use.addEventListener("click", () => act("api/preset", { preset: choice.value }));
  const lock = el("button", { type: "button" }, "Lock");
  lock.addEventListener("click", () => { token = null; admin(state); unlocked(); });
  const held = all ? "All requests are held." : some ? `${plural(some, "salon")} held.` : "";
  return [el("div", { className: "row" }, pause, el("label", {}, "Preset ", choice), use, lock), el("p", {}, held), el("p", { id: "admin-said", role: "status" })];
}
