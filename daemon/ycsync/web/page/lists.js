// Tiles, streams, batches, errors, quarantine and settings: each drawn again when its part of the state is new.
import { age, badge, el, fill, marked, number, plural, put, salonName, span, time } from "./words.js";

const byId = (id) => document.getElementById(id);

function tile(name, value, small, meter) {
  const bar = meter && el("meter", { min: 0, max: meter.limit, high: meter.limit * 0.98, value: Math.min(meter.value, meter.limit), "aria-label": name });
  return el("div", {}, el("dt", {}, name), el("dd", {}, value, bar || null, el("small", {}, small)));
}

export function tiles(state) {
  const { requests, hour, salons, quarantine } = state;
  if (!requests) return;
  const { fresh = 0 } = salons.states;
  const waits = requests.blocked_until ? ["nothing is sent until ", time(requests.blocked_until)] : requests.throttled_at ? ["the last one at ", time(requests.throttled_at)] : "never";
  fill(byId("tiles"), [requests, hour, salons, quarantine.total, state.rows_s], () => [
    tile("In the last minute", number(requests.minute), `of ${number(requests.preset_minute)} that the preset takes`, { value: requests.minute, limit: requests.preset_minute }),
    tile("In the last second", number(requests.second), `of ${number(requests.preset_second)} that the preset takes`, { value: requests.second, limit: requests.preset_second }),
    tile("Refused (429)", number(requests.throttled), waits),
    tile("Salons fresh", `${number(fresh)} / ${number(salons.total)}`, Object.entries(salons.states).filter(([name]) => name !== "fresh").map(([name, n]) => `${number(n)} ${name}`).join(", ") || "all of them"),
    tile("Speed", state.rows_s == null ? "–" : `${number(state.rows_s)} rows/s`, state.rows_s == null ? "nothing is being filled" : "of what is being filled"),
    tile("In the last hour", plural(hour.rows, "row"), [plural(hour.batches, "batch").replace("batchs", "batches"), ` ended with them, ${number(hour.failed)} failed; ${number(hour.working)} at work`]),
    tile("In quarantine", number(quarantine.total), "rows that could not be stored"),
  ]);
}

export function streams(list) {
  fill(document.querySelector("#streams tbody"), list, () => list.map((one) =>
    el("tr", {}, el("th", { scope: "row" }, one.stream),
      el("td", {}, ...Object.entries(one.states).flatMap(([state, n]) => [badge(state, ` ${number(n)}`), " "])),
      el("td", { className: "n" }, number(one.rows)),
      el("td", {}, one.oldest ? age(one.oldest, "", " old") : "not all are complete yet"),
      el("td", {}, one.median ? age(one.median) : "–"),
      el("td", {}, `every ${span(one.every_s)}`))));
}

const OUTCOMES = { stopped: "interrupted" }; // by a stop of the service: nothing is wrong

export function batches({ at_work, ended }) {
  const row = (one) => {
    const took = one.finished_at ? span((Date.parse(one.finished_at) - Date.parse(one.started_at)) / 1000) : age(one.started_at);
    const figures = [one.requests, one.rows, one.errors].map((each) => el("td", { className: "n" }, one.finished_at ? number(each) : "–"));
    return el("tr", {}, el("td", {}, time(one.started_at)), el("td", {}, salonName(one.company, one.title)), el("td", {}, one.stream),
      el("td", {}, badge(OUTCOMES[one.outcome] ?? one.outcome ?? "running"), one.throttled ? ` ${number(one.throttled)} refused` : null, one.detail ? el("div", { className: "quiet" }, one.detail) : null),
      el("td", { className: "n" }, took), ...figures, el("td", {}, one.preset));
  };
  fill(document.querySelector("#batches tbody"), [at_work, ended], () => [...at_work, ...ended].map(row));
}

export function hour(it) {
  put(byId("hour"), `In the last hour ${number(it.batches)} ended (${number(it.failed)} failed) with ${plural(it.requests, "request")} and ${plural(it.errors, "error")}; ${number(it.throttled)} refused (429); ${number(it.working)} at work.`);
}

export function errors({ total, groups, shown }, showAll) {
  fill(byId("errors"), [total, groups, shown], () => {
    if (!total) return [el("p", {}, badge("fresh").firstChild, "None: the last try of every stream went well.")];
    const more = (one) => (one.more ? ` (and ${number(one.more)} more, of ${plural(one.salons, "salon")} in all)` : "");
    const items = shown.map((one) => el("li", {}, badge(one.state), " ", marked(one.error), `: ${salonName(one.company, one.title)}, ${one.stream}${more(one)}, since `, time(one.since), ` (`, age(one.since), `), ${plural(one.failures, "failure")} in a row`));
    const rest = el("p", {}, groups > shown.length ? `${plural(groups - shown.length, "other cause")}. ` : "");
    const button = el("button", { type: "button" }, "Show these salons");
    button.addEventListener("click", showAll);
    rest.append(button);
    return [el("ul", {}, ...items), rest];
  });
}

export function quarantine({ total, shown }) {
  fill(byId("quarantine"), [total, shown], () => {
    if (!total) return [el("p", {}, "Empty.")];
    const items = shown.map((one) =>
      el("li", {}, `${salonName(one.company, one.title)}, ${one.stream}: ${one.reason}; first seen `, time(one.first_seen), ", last ", time(one.last_seen),
        el("details", {}, el("summary", {}, `Its shape (row ${one.id} of the table, ${number(one.bytes)} bytes)`), el("code", {}, one.shape))));
    return [el("ul", {}, ...items), total > shown.length ? el("p", {}, `${number(total - shown.length)} more`) : ""];
  });
}

export function settings(it) {
  const chosen = it.chosen_at ? [" (chosen here at ", time(it.chosen_at), `; config.yaml says ${it.file_preset}, and holds again after a reload or restart)`] : null;
  const reload = !it.reload ? "none since the start"
    : it.reload.problem ? [badge("failed"), " at ", time(it.reload.at), ": ", marked(it.reload.problem), ". The settings from before hold."]
    : [badge("fresh").firstChild, "taken at ", time(it.reload.at), it.reload.restart_needed.length ? `; waits for a restart: ${it.reload.restart_needed.join(", ")}` : ""];
  fill(byId("settings"), it, () => [
    el("dl", { className: "keys" }, el("dt", {}, "Preset"), el("dd", {}, el("b", {}, it.preset), ...(chosen ?? [])),
      ...Object.entries(it.keys).flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, value)]),
      el("dt", {}, "Last reload"), el("dd", { id: "reload" }, ...[reload].flat(Infinity))),
    it.admin ? "" : el("p", { className: "quiet" }, "This page only shows. To pause, resume or change the preset from here, write a token of your own into ", el("code", {}, "credentials/admin_token"), " beside config.yaml and restart."),
  ]);
}

export function services(list) {
  fill(document.querySelector("#services tbody"), list, () => list.map((one) =>
    el("tr", {}, el("th", { scope: "row" }, `${one.role} ${one.pid}`), el("td", {}, one.version), el("td", {}, one.preset ?? "–"), el("td", {}, one.egress), el("td", {}, time(one.started_at)))));
}
