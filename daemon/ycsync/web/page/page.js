// The page: hears the service's events, keeps the state, and has each part drawn when its section of it is new.
import { admin, start as startAdmin } from "./admin.js";
import { add, load as loadTraffic, redraw, setLimits } from "./charts.js";
import { batches, errors, hour, quarantine, services, settings, streams, tiles } from "./lists.js";
import { changed, load as loadSalons, reopen, setStreams, showTrouble, start as startSalons } from "./salons.js";
import { age, clock, el, fill, marked, number, percent, put, range, setClock, span, tick, time, zone } from "./words.js";

const SILENCE_MS = 8000; // the service says something every two seconds
const AGAIN_MS = 5000;
const UNSEEN_MS = 10 * 60 * 1000; // a browser has few connections to one service: a page that nobody looks at gives its own back
const state = {};
const byId = (id) => document.getElementById(id);
let heard = Date.now(); // silence counts from the beginning: what the page began with may be old
let lost = false;
let source = null;
let leaving = 0;

function connect() {
  clearTimeout(leaving);
  source?.close();
  source = new EventSource("api/events");
  source.onmessage = (event) => hear(JSON.parse(event.data));
  source.onerror = () => {
    // The browser tries again by itself unless it was refused.
    if (source?.readyState === EventSource.CLOSED) setTimeout(connect, AGAIN_MS);
  };
}

function hear(news) {
  const back = lost;
  heard = Date.now();
  lost = false;
  Object.assign(state, news);
  document.querySelector("main").hidden = false;
  if (news.clock) setClock(news.clock);
  if (news.requests) setLimits(news.requests);
  if (news.traffic?.at.length) add(news.traffic);
  if (news.streams) {
    streams(news.streams);
    setStreams(news.streams.map((one) => one.stream).filter((name) => name !== "companies"));
  }
  if (news.errors) errors(news.errors, showTrouble);
  if (news.salons) changed(news.salons.version);
  if (news.batches) batches(news.batches);
  if (news.quarantine) quarantine(news.quarantine);
  if (news.settings) settings(news.settings);
  if (news.services) services(news.services);
  if (news.hour) hour(news.hour);
  admin(state);
  tiles(state);
  head();
  tick();
  if (back) {
    loadTraffic();
    loadSalons();
  }
}

function head() {
  const { service, verdict } = state;
  byId("link").dataset.on = lost ? "no" : "yes";
  put(byId("link"), lost ? "no connection" : `live, ${clock(heard)}`);
  if (service) {
    fill(byId("about"), [service, state.settings?.preset], () => [`${service.version}, up `, age(service.started_at), `, preset ${state.settings.preset}`]);
  }
  put(byId("as-of"), state.as_of ? `The database was read at ${clock(state.as_of)}.` : "");
  put(byId("zone"), `yours (${zone})`);
  if (lost) {
    show("lost", `No answer from the service since ${clock(heard)}`, ["What is shown was so then. Is it running? ", el("code", {}, "systemctl status ycsync"), "; it is asked again by itself."], heard);
  } else if (verdict) {
    show(verdict.state, said(verdict), more(verdict), [verdict, state.streams]);
    share(verdict);
    troubles(verdict.troubles, verdict.state);
  }
}

function said(verdict) {
  return verdict.state === "filling" && verdict.share != null ? `${verdict.said}: ${percent(verdict.share)}` : verdict.said;
}

function more(verdict) {
  if (verdict.state === "trouble") {
    const since = verdict.since ? ["since ", time(verdict.since), " (", age(verdict.since), ")"] : [];
    const share = verdict.share == null ? "" : `: ${percent(verdict.share)}`;
    return verdict.meanwhile ? [since, since.length ? "; " : "", `meanwhile ${verdict.meanwhile}${share}`, left(verdict, ", ")] : since;
  }
  if (verdict.state === "paused") return ["since ", time(verdict.since), " (", age(verdict.since), "); what is stored ages"];
  if (verdict.state === "filling") {
    return verdict.eta_s == null ? ["How long it takes is not known yet."] : left(verdict);
  }
  const quick = (state.streams ?? []).filter((one) => one.every_s <= 3600 && one.oldest);
  if (verdict.state !== "complete" || !quick.length) return [];
  const oldest = quick.map((one) => one.oldest).sort()[0];
  return [`Everything that changed in ${quick.map((one) => one.stream).join(" and ")} before `, time(oldest), " (", age(oldest, "", " ago"), ") is in the database."];
}

function left(verdict, before = "") {
  if (verdict.eta_s == null) return [];
  const ends = new Date(Date.now() + verdict.eta_s * 1000).toISOString();
  return [`${before}about ${verdict.eta_range_s ? range(verdict.eta_range_s) : span(verdict.eta_s)} left, until `, time(ends)];
}

function show(kind, text, content, key) {
  byId("verdict").dataset.state = kind;
  document.body.dataset.state = kind;
  const sign = { complete: "✓", filling: "↓", paused: "Ⅱ", trouble: "!", lost: "?" }[kind] ?? "…";
  if (document.title !== `${sign} ycsync`) document.title = `${sign} ycsync`;
  fill(byId("said"), text, () => marked(text));
  fill(byId("said-more"), key, () => content);
  // Who hears the page is told of another state, not of every figure.
  put(byId("announce"), kind === "filling" ? "Filling" : text.replaceAll("`", ""));
  if (kind === "lost") byId("share").hidden = byId("troubles").hidden = true;
}

function share(verdict) {
  byId("share").hidden = verdict.share == null;
  if (verdict.share != null) byId("share").value = verdict.share;
}

function troubles(list, verdict) {
  byId("troubles").hidden = !list.length;
  fill(byId("troubles"), [list, verdict], () => list.map((one, n) =>
    // The headline says the first one already.
    el("li", {}, n || verdict !== "trouble" ? [marked(one.what), one.more ? ` (and ${number(one.more)} more)` : "", one.since ? [", since ", time(one.since)] : "", el("br")] : null, el("b", {}, "What to do: "), marked(one.todo))));
}

function leave() {
  source?.close();
  source = null;
  document.title = "ycsync";
}

function watch() {
  if (source && !lost && Date.now() - heard > SILENCE_MS) {
    lost = true;
    head();
    connect(); // a connection that says nothing may be dead without a word
  }
  tick();
}

startSalons();
startAdmin(reopen);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
document.addEventListener("visibilitychange", () => {
  clearTimeout(leaving);
  if (document.hidden) {
    leaving = setTimeout(leave, UNSEEN_MS);
    return;
  }
  if (!source) {
    heard = Date.now();
    lost = true; // so that what was missed is asked for
    connect();
  }
  redraw();
  loadSalons();
});
setInterval(watch, 1000);
// The verdict stands in the page: it is painted before the rest is asked for. A hidden page is not painted at all.
if (document.hidden) connect();
else requestAnimationFrame(() => setTimeout(connect));
