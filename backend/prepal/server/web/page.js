// Fetches what the project page tells and puts it there, as text only; then again, three seconds after each answer, sooner while a round is due.
"use strict";

const PAUSE_MS = 3000;
const ROUND_PAUSE_MS = 1000;
const GIVEN_UP_MS = 10000;
const project = document.body.dataset.project;
const ADVICE = { "keep going": "Keep labelling", close: "Nearly there", "you can stop": "You can stop" };
const QUEUES = { learn: "Rounds that wait", sync: "Readings of Label Studio that wait", embed: "Batches of texts that wait for the encoder", adapt: "Trainings of an encoder that wait" };
const PHASES = { load: "read what is new", fit: "train", rank: "rank", publish: "reorder in Label Studio" };
let shown = "";
let chart = "";
let answeredAt = null;
let upToDate = true;

const at = (id) => document.getElementById(id);
const count = (number) => number.toLocaleString("en");
const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;
const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
const seconds = (s) => (s < 1 ? `${Math.round(1000 * s)} ms` : `${s.toFixed(1)} s`);

function age(s) {
  if (s < 60) return `${Math.round(s)} s ago`;
  if (s < 3600) return `${Math.round(s / 60)} min ago`;
  return s < 172800 ? `${Math.round(s / 3600)} h ago` : `${Math.round(s / 86400)} days ago`;
}

function put(id, text) {
  if (at(id).textContent !== text) at(id).textContent = text;
}

function make(tag, content, kind) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (content instanceof Node) made.append(content);
  else made.textContent = content;
  return made;
}

function row(head, ...cells) {
  const made = document.createElement("tr");
  const first = make("th", head);
  first.scope = "row";
  made.append(first, ...cells);
  return made;
}

function rows(id, made) {
  at(id).replaceChildren(...made);
  const none = document.getElementById(`${id}-none`);
  if (none) {
    none.hidden = made.length > 0;
    at(id).parentElement.hidden = made.length === 0;
  }
}

function link(entry) {
  const made = make("a", `Task ${entry.task}`);
  made.href = entry.url;
  return made;
}

function lines(texts) {
  const made = document.createDocumentFragment();
  texts.forEach((text, place) => made.append(...(place ? [document.createElement("br")] : []), text));
  return made;
}

function bar(value, total, kind, what) {
  const cell = make("td", "", kind);
  if (value === null) {
    cell.textContent = "not yet";
    return cell;
  }
  const box = make("div", make("span", `${count(value)} (${percent(total ? value / total : 0)})`), "bar");
  const drawn = document.createElement("progress");
  drawn.max = 1;
  drawn.value = total ? value / total : 0;
  drawn.setAttribute("aria-label", what);
  box.append(drawn);
  cell.append(box);
  return cell;
}

function showAdvice(told) {
  const advice = told.advice;
  at("advice").className = advice && advice.word === "you can stop" ? "stop" : "";
  if (told.problem) put("advice-word", "This project cannot be served");
  else if (advice) put("advice-word", ADVICE[advice.word] || advice.word);
  else put("advice-word", "Getting ready");
  put("forecast", told.forecast && !told.problem ? told.forecast.told : "");
  put("advice-reason", told.problem ? "" : advice ? advice.reason : "The first texts are being embedded; you can label meanwhile, in random order.");
}

function showFigures(told) {
  const { accuracy, round } = told;
  put("labelled", count(told.labelled));
  const twins = told.twins.labelled;
  put("labelled-of", `of ${plural(told.tasks, "task")}${twins ? `, and ${count(twins)} with the same text` : ""}`);
  put("accuracy", accuracy ? percent(accuracy.estimate) : "–");
  put("accuracy-band", accuracy
    ? `${percent(accuracy.low)} to ${percent(accuracy.high)}, by ${accuracy.audit_tasks} random tasks and by how sure it is`
    : "not enough random tasks yet");
  put("embedded", count(told.embedded));
  const left = Object.values(told.not_embeddable).reduce((sum, n) => sum + n, 0);
  put("embedded-of", [
    told.waiting ? `${count(told.waiting)} waiting` : "none waiting",
    ...(left ? [`${count(left)} without a usable text`] : []),
  ].join(", "));
  put("round", round ? seconds(Object.values(round.seconds).reduce((sum, s) => sum + s, 0)) : "–");
  put("round-of", round ? `round ${count(told.rounds)}, ${age(round.age_s)}` : "none yet");
}

function showTables(told) {
  rows("accuracies", told.accuracies.slice().reverse().map((known) => row(count(known.labels),
    ...[known.estimate, known.low, known.high].map((share) => make("td", percent(share, 1), "number")))));
  for (const head of at("accuracies").querySelectorAll("th")) head.className = "number";
  const unlabelled = told.round ? told.round.ranked : 0;
  const { questions } = told;
  at("questions-section").hidden = questions.length < 2;
  rows("questions", questions.map((one) => row(one.question,
    make("td", count(one.labelled), "number"),
    make("td", one.accuracy ? percent(one.accuracy.estimate) : "–", "number"),
    make("td", one.accuracy ? `${percent(one.accuracy.low)} to ${percent(one.accuracy.high)}, by ${one.accuracy.audit_tasks} random tasks and by how sure it is` : "not enough random tasks yet"),
    make("td", one.advice ? `${ADVICE[one.advice.word] || one.advice.word}: ${one.advice.reason}` : "–"))));
  // With several questions each choice, label and answer is told with the one that it is of.
  const of = (question, text) => (questions.length < 2 ? text : `${question.question}: ${text}`);
  const each = (name, make) => questions.flatMap((question) => question[name].map((entry) => make(question, entry)));
  rows("choices", each("choices", (question, one) => row(of(question, one.choice),
    bar(one.labelled, question.labelled, "", `labelled ${of(question, one.choice)}`),
    bar(one.predicted, unlabelled, "predicted", `predicted ${of(question, one.choice)}`))));
  rows("next", told.next.map((entry) => row(link(entry),
    make("td", lines(entry.said.map((said) => of(said, said.choices.join(", ") || (said.confidence === null ? "–" : "none of the choices"))))),
    make("td", lines(entry.said.map((said) => (said.confidence === null ? "–" : percent(said.confidence)))), "number"),
    make("td", entry.why))));
  for (const kind of ["suspected", "disputed", "twins", "passed"]) {
    at(`tab-${kind}`).hidden = !told.tabs[kind];
    if (told.tabs[kind]) at(`tab-${kind}`).href = told.tabs[kind];
  }
  rows("suspected", each("suspected", (question, entry) => row(link(entry), make("td", of(question, entry.choices.join(", ") || "none of the choices")))));
  rows("disputed", each("disputed", (question, entry) => row(link(entry),
    make("td", of(question, entry.votes.map((vote) => vote.join(" + ") || "none of the choices").join(" or "))))));
  rows("contradicted", told.contradicted.map(([first, ...others]) => row(link(first), ...others.map((entry) => make("td", link(entry))))));
}

function showPeople({ annotators, agreement }) {
  const names = new Map(annotators.map((one) => [one.annotator, one.name || `Annotator ${one.annotator}`]));
  const cells = (...values) => values.map((value) => make("td", value, "number"));
  const beside = (what) => (what ? `${percent(what.agreed)} (${percent(what.expected)}) of ${count(what.tasks)}` : "–");
  const kappa = (how) => (how.kappa === null ? "–" : how.kappa.toFixed(2));
  rows("people", annotators.map((one) => row(names.get(one.annotator), ...cells(
    count(one.annotations), count(one.passed), one.seconds === null ? "–" : seconds(one.seconds), beside(one.shown), beside(one.hidden),
    one.truth ? `${percent(one.truth.agreed)} of ${count(one.truth.tasks)}, kappa ${kappa(one.truth)}` : "–"))));
  rows("pairs", agreement.map((pair) => row(pair.people.map((person) => names.get(person)).join(" and "),
    ...cells(count(pair.tasks), percent(pair.agreed), kappa(pair)))));
}

function showWork(told) {
  const { round } = told;
  const lines = [];
  if (round) {
    const steps = Object.entries(round.seconds).map(([phase, s]) => `${PHASES[phase] || phase} ${seconds(s)}`);
    lines.push(["Last round", `${plural(round.labels, "label")}, ${plural(round.ranked, "task")} ranked`]);
    lines.push(["Its time", steps.join(", ")]);
    if (round.changed !== null) lines.push(["Predictions that it changed", percent(round.changed, 1)]);
    lines.push(["Strategy", told.strategy]);
  }
  for (const [name, length] of Object.entries(told.queues)) lines.push([QUEUES[name] || name, count(length)]);
  const { passed, acceptance } = told;
  if (passed.tasks) {
    lines.push(["Tasks that people passed", `${count(passed.tasks)}: ${count(passed.left_to_others)} are left to others, ${count(passed.left_to_nobody)} to nobody; ${count(passed.audit_tasks)} had been drawn to measure accuracy, and others were drawn instead`]);
  }
  if (acceptance) {
    const { shown: seen, hidden } = acceptance;
    lines.push(["Labels that agree with the prediction", `${percent(seen.agreed)} of ${count(seen.tasks)} that people saw (expected: ${percent(seen.expected)}), ${percent(hidden.agreed)} of ${count(hidden.tasks)} that were hidden (expected: ${percent(hidden.expected)})`]);
  }
  for (const [reason, tasks] of Object.entries(told.not_embeddable)) lines.push(["Tasks without a usable text", `${count(tasks)}: ${reason}`]);
  lines.push(["Encoder", told.encoder]);
  rows("work", lines.map(([name, value]) => row(name, make("td", value))));
}

function showFocus(told) {
  const { focus } = told;
  put("focus", focus ? focus.told : "The ordinary order is served.");
  at("focus-end").hidden = !(focus && focus.is_on);
  const select = at("focus-form").elements.choice;
  const names = told.choices.map((one) => one.choice);
  // What somebody is choosing stays chosen.
  if (JSON.stringify([...select.options].map((option) => option.value)) === JSON.stringify(names)) return;
  const before = select.value;
  select.replaceChildren(...names.map((name) => new Option(name, name, false, name === before)));
}

async function ask(kind, value, labels) {
  let said = kind ? "Asked for: the next round serves by it." : "Ended: the next round serves the ordinary order.";
  try {
    const answer = await fetch(`${project}/focus`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ kind, value, labels }),
      signal: AbortSignal.timeout(GIVEN_UP_MS),
    });
    if (!answer.ok) said = (await answer.json()).error;
  } catch {
    said = "The backend does not answer: try again.";
  }
  put("focus-said", said);
  await refresh();
}

function expectation({ labels, accuracy }) {
  const when = labels ? `with its first ${plural(labels, "label")}` : "before the first label, from the names of the choices";
  return `Dashed: what the classifier expected of itself ${when} (${percent(accuracy)}).`;
}

function showChart(told) {
  const last = told.accuracies.at(-1);
  at("accuracy-none").hidden = Boolean(last);
  at("expected").hidden = !told.expected;
  if (told.expected) put("expected", expectation(told.expected));
  at("accuracy-chart").hidden = !last;
  const now = JSON.stringify([told.accuracies.length, last]);
  if (!last || now === chart) return;
  chart = now;
  const name = `${told.accuracies.length}-${last.labels}-${last.estimate}`;
  for (const source of document.querySelectorAll("picture > *")) {
    const { theme, width } = source.dataset;
    const address = `${project}/accuracy.svg?theme=${theme}&width=${width}&of=${encodeURIComponent(name)}`;
    if (source.tagName === "IMG") source.src = address;
    else source.srcset = address;
  }
}

function show(told) {
  const title = told.title || `Project ${told.project}`;
  put("title", title);
  document.title = `${title} – PRepAL`;
  at("label-studio").href = told.label_studio_url;
  at("label-studio").hidden = false;
  const wrong = [told.problem, ...told.troubles.map((trouble) => trouble.told)].filter(Boolean);
  at("problem").hidden = !wrong.length;
  put("problem", wrong.join(" "));
  at("state").className = told.up_to_date ? "current" : "behind";
  put("state", told.up_to_date ? "Up to date" : told.round ? `A round follows: ${plural(told.facts_behind, "change")} since the last one` : "No round yet");
  showFigures(told);
  // Tables keep their place and their focus while nothing in them changes.
  const { round, troubles, ...others } = told;
  const now = JSON.stringify([others, round && { ...round, age_s: 0 }]);
  if (now === shown) return;
  shown = now;
  at("notes").hidden = !told.notes.length;
  at("notes").replaceChildren(...told.notes.map((note) => make("li", note)));
  showAdvice(told);
  showTables(told);
  showPeople(told.people);
  showFocus(told);
  showWork(told);
  showChart(told);
}

function lost(reason) {
  at("state").className = "lost";
  const since = answeredAt ? ` Figures are of ${answeredAt.toLocaleTimeString()}.` : "";
  put("state", `${reason}${since}`);
}

async function refresh() {
  try {
    const answer = await fetch(`${project}.json`, { cache: "no-store", signal: AbortSignal.timeout(GIVEN_UP_MS) });
    const told = await answer.json();
    if (answer.ok) {
      answeredAt = new Date();
      upToDate = told.up_to_date;
      show(told);
    } else lost(told.error);
  } catch {
    upToDate = true;
    lost("The backend does not answer.");
  }
}

async function follow() {
  for (;;) {
    if (!document.hidden) await refresh();
    await new Promise((resume) => setTimeout(resume, upToDate ? PAUSE_MS : ROUND_PAUSE_MS));
  }
}

at("focus-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const { elements } = event.target;
  const kind = elements.kind.value;
  ask(kind, kind === "doubt" ? "" : elements[kind].value, Number(elements.labels.value));
});
at("focus-end").addEventListener("click", () => {
  // The button is about to go, and with it the place of whoever uses a keyboard.
  at("asking").querySelector("summary").focus();
  ask("", "", 0);
});
// Who fills in a field means it.
at("focus-form").addEventListener("input", ({ target }) => {
  const means = [...at("focus-form").elements.kind].find((radio) => radio.value === target.name);
  if (means) means.checked = true;
});
document.addEventListener("visibilitychange", () => document.hidden || refresh());
follow();
