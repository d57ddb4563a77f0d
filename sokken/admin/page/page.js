// The status page: reads /events, which tells all of it once a second, and shows what it is told.
// Everything is set as text or as an attribute, never as markup: names in the list are other people's.

const HISTORY = 60; // ticks that a chart shows
const ROWS = 50;
const SVG = "http://www.w3.org/2000/svg";
const TOKEN = "sokken-token"; // sessionStorage: of this tab alone, and never sent by the browser itself
const THEME = "sokken-theme";

const $ = (id) => document.getElementById(id);
const view = readView();
const rows = new Map(); // by key: { element, history, facts }
const totals = { up: [], down: [] };
let stream = null;
let failures = 0;
let role = ""; // server: its peers are clients; client: its peers are applications
let mayAbort = false;
let needsToken = false;
let shownSettings = false;

// Words and numbers

function bytes(count) {
  if (count == null) return "–";
  let unit = 0;
  while (count >= 999.5 && unit < 5) [count, unit] = [count / 1000, unit + 1];
  return `${unit && count < 99.95 ? count.toFixed(1) : Math.round(count)} ${["B", "kB", "MB", "GB", "TB", "PB"][unit]}`;
}

const rate = (count) => (count == null ? "–" : `${bytes(count)}/s`);
const number = (count) => count.toLocaleString("en");
const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor(s / 60) % 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

const ago = (seconds) => (seconds == null ? "not yet" : seconds < 2 ? "just now" : `${duration(seconds)} ago`);

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text; // what is selected stays selected
}

function make(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

// Charts

function remember(history, value) {
  history.push(value ?? 0);
  if (history.length > HISTORY) history.shift();
}

function points(history, most, width, height) {
  const step = width / (HISTORY - 1);
  const start = width - (history.length - 1) * step;
  return history.map((value, at) => {
    const y = height - 1.5 - (value / most) * (height - 4);
    return `${(start + at * step).toFixed(1)},${y.toFixed(1)}`;
  });
}

function draw(line, area, history, most, width, height) {
  const path = points(history, most, width, height);
  line.setAttribute("d", path.length > 1 ? `M${path.join("L")}` : "");
  const from = path.length > 1 ? path[0].split(",")[0] : 0;
  area?.setAttribute("d", path.length > 1 ? `M${from},${height}L${path.join("L")}L${width},${height}Z` : "");
}

function bar(element, parts) {
  const all = parts.reduce((sum, [count]) => sum + count, 0);
  let x = 0;
  element.replaceChildren(
    ...parts.filter(([count]) => count).map(([count, className]) => {
      const rect = document.createElementNS(SVG, "rect");
      const width = (count / all) * 100;
      for (const [name, value] of Object.entries({ x, width, height: 2, class: className })) rect.setAttribute(name, value);
      x += width;
      return rect;
    }),
  );
}

// The upper half

const WORDS = { serving: "Serving", draining: "Draining", connecting: "Connecting …" };

function showState(state, text = WORDS[state]) {
  const pill = $("state");
  pill.dataset.state = state;
  setText(pill, text);
  document.body.classList.toggle("stale", state === "lost" || state === "connecting");
  document.title = state === "serving" ? "sokken" : `${text} – sokken`;
}

function showNotice(status) {
  const notice = $("notice");
  let text = "";
  if (status.drain) {
    const left = Math.ceil(status.drain.remaining_s);
    text = status.drain.begins_in_s > 0
      ? `This ${status.role} has been asked to end. It goes on as before for ${duration(status.drain.begins_in_s)}, then it drains.`
      : `This ${status.role} is draining: nothing new comes in, and what is open has ${duration(left)} left.`;
  } else if (!status.ready) {
    text = `Not ready: ${status.not_ready}`;
  }
  notice.hidden = !text;
  setText(notice, text);
}

function showStatus(status) {
  const { connections } = status;
  showState(status.state);
  showNotice(status);
  setText($("role"), role);
  setText($("peers"), role === "client" ? "Application" : "Client");
  setText($("about"), `version ${status.version}, up for ${duration(status.uptime_s)}`);

  setText($("now"), number(connections.now));
  setText($("limit"), `of ${number(connections.limit)}`);
  const used = Math.min(1, connections.now / connections.limit);
  $("used").lastElementChild.setAttribute("width", used * 100);
  $("used").classList.toggle("full", used >= 1);
  setText($("phases"), `${number(connections.connecting)} connecting, ${number(connections.half_closed)} half-closed`);

  for (const way of ["up", "down"]) {
    setText($(`rate-${way}`), rate(connections[`rate_${way}`]));
    setText($(`bytes-${way}`), bytes(connections[`bytes_${way}`]));
    if (connections[`rate_${way}`] != null) remember(totals[way], connections[`rate_${way}`]);
  }
  for (const way of ["up", "down"]) {
    const [area, line] = $(`chart-${way}`).children;
    draw(line, area, totals[way], Math.max(1, ...totals[way]), 240, 44);
  }

  setText($("opened"), number(connections.opened));
  showEndings(status);
  showList($("servers"), $("checks"), status.servers, describeCheck);
  showList($("files"), $("reloads"), status.files, describeFile);
}

function showEndings(status) {
  const { completed = 0, ...others } = status.outcomes;
  const sum = (counts) => Object.values(counts).reduce((all, count) => all + count, 0);
  bar($("outcomes"), [[completed, "good"], [sum(others), "other"], [sum(status.failures), "failed"]]);
  const parts = [...Object.entries(status.outcomes), ...Object.entries(status.failures).map(([why, n]) => [`no tunnel: ${why}`, n])];
  const texts = parts.slice(0, 4).map(([why, count]) => [number(count), why.replaceAll("_", " ")]);
  if (parts.length > 4) texts.push([number(parts.slice(4).reduce((all, [, n]) => all + n, 0)), "others"]);
  const known = texts.flat().join();
  if ($("endings").dataset.shown === known) return;
  $("endings").dataset.shown = known;
  const items = texts.map(([count, why]) => make("li", "", make("b", "", count), ` ${why}`));
  $("endings").replaceChildren(...(items.length ? items : [make("li", "", "None has ended yet")]));
}

function showList(section, list, items, describe) {
  section.hidden = !items.length;
  while (list.children.length > items.length) list.lastChild.remove();
  items.forEach((item, at) => {
    const li = list.children[at] ?? list.appendChild(make("li", "", make("span", "tag"), make("code"), make("span", "muted")));
    const [className, tag, name, text] = describe(item);
    li.children[0].className = `tag ${className}`;
    setText(li.children[0], tag);
    setText(li.children[1], name);
    setText(li.children[2], text);
  });
}

function describeCheck(check) {
  if (check.passed) return ["good", "lets us in", check.server, `asked ${ago(check.asked_s_ago)}`];
  if (check.asked_s_ago == null) return ["", "not asked yet", check.server, ""];
  return ["bad", (check.outcome ?? "failed").replaceAll("_", " "), check.server, `${check.problem}; asked ${ago(check.asked_s_ago)}`];
}

function describeFile(file) {
  const words = { loaded: ["good", "loaded"], kept_last_good: ["bad", "kept the last good one"], unavailable: ["bad", "unavailable"] };
  const [className, tag] = words[file.result];
  const text = file.problem ?? `${file.files.join(", ")}, changed ${ago(file.changed_s_ago)}`;
  return [className, tag, file.setting, text];
}

// The list

function showConnections(list) {
  const seen = new Set();
  const order = list.connections.map((connection) => {
    const key = `${connection.id} ${connection.peer}`; // a client chooses its connections' ids
    seen.add(key);
    const row = rows.get(key) ?? addRow(key);
    showConnection(row, connection);
    return row;
  });
  const body = $("rows");
  for (const [key, row] of rows) {
    if (seen.has(key)) continue;
    row.element.remove();
    row.facts?.remove();
    rows.delete(key);
  }
  // Rows do not change places under a pointer or the keyboard: a button must be what it was when it was aimed at.
  const isInUse = body.matches(":hover") || body.contains(document.activeElement);
  const isPlaced = (row) => row.element.parentNode === body;
  let last = null;
  for (const row of order) {
    if (isInUse && isPlaced(row)) continue;
    const next = isInUse ? null : last ? last.nextSibling : body.firstChild;
    if (!isPlaced(row) || (!isInUse && row.element !== next)) body.insertBefore(row.element, next);
    last = row.element;
    if (row.facts) {
      if (last.nextSibling !== row.facts) last.after(row.facts);
      last = row.facts;
    }
  }
  $("empty").hidden = order.length > 0;
  setText($("empty"), list.filter ? "No connection matches this filter." : "Nobody is connected. Connections appear here as they come.");
  showRange(list);
}

function showRange(list) {
  const shown = list.connections.length;
  if (!shown && list.offset && list.matching) return turn(Math.floor((list.matching - 1) / ROWS) * ROWS);
  const from = shown ? list.offset + 1 : 0;
  const of = list.filter ? `${number(list.matching)} that match, of ${plural(list.total, "connection")}` : plural(list.total, "connection");
  setText($("range"), shown ? `${number(from)} to ${number(list.offset + shown)} of ${of}` : "");
  $("previous").disabled = list.offset === 0;
  $("next").disabled = list.offset + shown >= list.matching;
}

function addRow(key) {
  const element = $("row").content.firstElementChild.cloneNode(true);
  const parts = (selector) => element.querySelector(selector);
  const row = {
    element,
    facts: null,
    last: null,
    up: [],
    down: [],
    dot: parts(".dot"),
    name: parts(".name"),
    state: parts(".state"),
    peer: parts(".peer"),
    target: parts(".target-name"),
    forward: parts(".forward"),
    age: parts(".age"),
    more: parts(".more"),
    abort: parts(".abort"),
    spark: parts(".spark"),
  };
  for (const way of ["up", "down"]) {
    row[`rate_${way}`] = parts(`.number.${way} .rate`);
    row[`bytes_${way}`] = parts(`.number.${way} .bytes`);
  }
  row.more.addEventListener("click", () => toggleFacts(row));
  row.abort.addEventListener("click", () => askToAbort(row.last));
  rows.set(key, row);
  return row;
}

function showConnection(row, connection) {
  row.last = connection;
  const name = nameOf(connection);
  const isMoving = connection.rate_up > 0 || connection.rate_down > 0;
  row.dot.className = `dot ${connection.state !== "open" ? "waiting" : isMoving ? "moving" : ""}`;
  setText(row.name, name);
  row.state.hidden = connection.state === "open";
  setText(row.state, describeState(connection));
  const { peer, identity, identity_method: method, forward, tunnel } = connection;
  setText(row.peer, role === "client" ? forward : identity ? `${peer}, by ${method}` : peer);
  setText(row.target, connection.target ?? connection.server ?? "–");
  setText(row.forward, tunnel ?? "");
  setText(row.age, duration(connection.age_s));
  for (const way of ["up", "down"]) {
    const now = connection[`rate_${way}`];
    setText(row[`rate_${way}`], rate(now));
    row[`rate_${way}`].classList.toggle("idle", !now);
    setText(row[`bytes_${way}`], bytes(connection[`bytes_${way}`]));
    if (now != null) remember(row[way], now);
  }
  const [area, down, up] = row.spark.children;
  const most = Math.max(1, ...row.up, ...row.down);
  draw(down, area, row.down, most, 120, 28);
  draw(up, null, row.up, most, 120, 28);
  row.more.setAttribute("aria-label", `Details of ${name} to ${connection.target}`);
  row.abort.setAttribute("aria-label", `Abort ${name} to ${connection.target}`);
  row.abort.hidden = !mayAbort;
  if (row.facts) showFacts(row.facts.querySelector("dl"), connection);
}

function nameOf({ identity, client_id: claimed, peer }) {
  return role === "client" ? peer : (identity ?? claimed ?? "anonymous");
}

function describeState({ state, half_closed }) {
  if (state === "half_closed") return half_closed === "up" ? "application has ended" : "target has ended";
  return state;
}

function toggleFacts(row) {
  if (row.facts) {
    row.facts.remove();
    row.facts = null;
  } else {
    const cell = make("td", "", make("dl", "facts"));
    cell.colSpan = 7;
    cell.setAttribute("role", "cell");
    row.facts = make("tr", "facts-row", cell);
    row.facts.setAttribute("role", "row");
    showFacts(cell.firstChild, row.last);
    row.element.after(row.facts);
  }
  row.more.setAttribute("aria-expanded", String(row.facts !== null));
}

function showFacts(list, connection) {
  const identity = connection.identity && `${connection.identity} (proved by ${connection.identity_method})`;
  const facts = {
    "Connection id": connection.id,
    "Trace id": connection.trace_id,
    State: describeState(connection).replaceAll("_", " "),
    Identity: role === "client" ? null : (identity ?? "not proved"),
    "Client id": role === "client" ? null : connection.client_id && `${connection.client_id} (as it says)`,
    Tunnel: connection.tunnel,
    Peer: connection.via ? `${connection.peer}, told by ${connection.via}` : connection.peer,
    Target: connection.target,
    Forward: connection.forward,
    Server: connection.server,
  };
  showTerms(list, Object.entries(facts).filter(([, value]) => value));
}

function showTerms(list, terms) {
  while (list.children.length > terms.length * 2) list.lastChild.remove();
  terms.forEach(([term, text], at) => {
    const dt = list.children[at * 2] ?? list.appendChild(make("dt"));
    const dd = list.children[at * 2 + 1] ?? list.appendChild(make("dd"));
    setText(dt, term);
    setText(dd, text);
  });
}

// Configuration: asked for once, when somebody wants to see it

async function showSettings() {
  if (shownSettings || !$("configuration").open) return;
  const answer = await ask("statusz");
  if (!answer.ok) return;
  const { settings } = await answer.json();
  settings.sort((one, other) => other.given - one.given);
  $("settings").replaceChildren(
    ...settings.flatMap(({ variable, value, given }) => [
      make("dt", given ? "mono" : "mono unset", variable),
      make("dd", given ? "mono" : "mono unset", value || "–"),
    ]),
  );
  shownSettings = true;
}

// Aborting

let doomed = null;

function askToAbort(connection) {
  doomed = connection;
  showTerms($("confirm-what"), [
    [$("peers").textContent, nameOf(connection)],
    ["Peer", connection.peer],
    ["Target", connection.target ?? "–"],
    ["Age", duration(connection.age_s)],
  ]);
  setText($("confirm-problem"), "");
  $("confirm").showModal();
}

async function abort(event) {
  event.preventDefault();
  try {
    const answer = await ask(`connections/${encodeURIComponent(doomed.id)}/abort`, { method: "POST" });
    if (!answer.ok && answer.status !== 404) return setText($("confirm-problem"), (await answer.json()).detail);
    $("confirm").close();
  } catch {
    setText($("confirm-problem"), "The program did not answer.");
  }
}

// The way to the program

function ask(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  return fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
}

function show(message) {
  failures = 0;
  role = message.status.role;
  needsToken = message.status.token_required;
  mayAbort = needsToken; // who reads this has shown it
  $("forget").hidden = !needsToken;
  document.querySelector("footer").hidden = needsToken; // a link cannot carry a token
  showStatus(message.status);
  showConnections(message.list);
}

async function watch() {
  stream?.abort();
  const controller = (stream = new AbortController());
  try {
    const answer = await ask(`events?${new URLSearchParams({ ...view, limit: ROWS })}`, { signal: controller.signal });
    if (answer.status === 401) return askForToken();
    if (!answer.ok) throw new Error((await answer.json()).detail);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) throw new Error("the program has ended, or is about to");
      const events = (text + value).split("\n\n");
      text = events.pop();
      for (const event of events) show(JSON.parse(event.slice("data: ".length)));
    }
  } catch (error) {
    if (controller.signal.aborted) return;
    const seconds = Math.min(10, 2 ** failures++);
    const reason = error instanceof TypeError ? "" : `: ${error.message}`;
    showState("lost", `No connection${reason}. Trying again in ${seconds} s`);
    setTimeout(() => controller === stream && !document.hidden && watch(), seconds * 1000);
  }
}

function askForToken() {
  showState("connecting", "Needs a token");
  const had = sessionStorage.getItem(TOKEN);
  sessionStorage.removeItem(TOKEN);
  setText($("login-problem"), had ? "This is not the token." : "");
  $("token").value = "";
  if (!$("login").open) $("login").showModal();
}

function login(event) {
  event.preventDefault();
  const token = $("token").value.trim();
  if (!/^[A-Za-z0-9._~+/-]+=*$/.test(token)) return setText($("login-problem"), "A token has no spaces, and only A-Z a-z 0-9 . _ ~ + / - and =");
  sessionStorage.setItem(TOKEN, token);
  $("login").close();
  watch();
}

// What is looked at: kept in the address, so that it can be passed on and outlives a reload

function readView() {
  const given = new URLSearchParams(location.hash.slice(1));
  const one = (name, among, otherwise) => (among.includes(given.get(name)) ? given.get(name) : otherwise);
  return {
    sort: one("sort", ["rate", "bytes", "age"], "rate"),
    order: one("order", ["desc", "asc"], "desc"),
    filter: (given.get("filter") ?? "").slice(0, 100),
    offset: Math.max(0, Math.min(1e6, Math.floor(Number(given.get("offset"))) || 0)),
  };
}

function look(changes) {
  Object.assign(view, { offset: 0 }, changes);
  history.replaceState(null, "", `#${new URLSearchParams(view)}`);
  watch();
}

function turn(offset) {
  look({ offset: Math.max(0, offset) });
}

// The theme

function showTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  setText($("theme"), `Theme: ${theme}`);
}

function changeTheme() {
  const themes = ["auto", "light", "dark"];
  const next = themes[(themes.indexOf(localStorage.getItem(THEME) ?? "auto") + 1) % themes.length];
  localStorage.setItem(THEME, next);
  showTheme(next);
}

const chosen = localStorage.getItem(THEME);
showTheme(["light", "dark"].includes(chosen) ? chosen : "auto");

$("filter").value = view.filter;
$("sort").value = `${view.sort} ${view.order}`;
let typing;
$("filter").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => look({ filter: $("filter").value.trim() }), 250);
});
$("sort").addEventListener("change", () => {
  const [sort, order] = $("sort").value.split(" ");
  look({ sort, order });
});
$("previous").addEventListener("click", () => turn(view.offset - ROWS));
$("next").addEventListener("click", () => turn(view.offset + ROWS));
$("theme").addEventListener("click", changeTheme);
$("configuration").addEventListener("toggle", showSettings);
$("confirm-no").addEventListener("click", () => $("confirm").close());
$("confirm").querySelector("form").addEventListener("submit", abort);
$("login").querySelector("form").addEventListener("submit", login);
$("login").addEventListener("cancel", (event) => event.preventDefault());
$("forget").addEventListener("click", () => {
  sessionStorage.removeItem(TOKEN);
  location.reload();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stream?.abort(); // nobody looks: the program need not, either
  else if (!$("login").open) watch();
});
watch();
