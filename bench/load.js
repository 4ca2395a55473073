// The load of one run; bench/measure.py sets the environment and reads the summary.
//
//   BASE     the server
//   DATA     a JSON file: {tokens: [...], tiers: [...], concerts: [...]}
//   KIND     what each customer does: one of `acts`
//   VUS      so many connections, each sending its next request when it has its answer …
//   RATE     … or, if set, so many new requests a second on at most VUS connections
//   SECONDS  for so long
//   OUT      where the summary goes
import http from "k6/http";
import { Counter, Trend } from "k6/metrics";
import { SharedArray } from "k6/data";
import exec from "k6/execution";

const read = (name) => new SharedArray(name, () => JSON.parse(open(__ENV.DATA))[name]);
const tokens = read("tokens");
const tiers = read("tiers");
const concerts = read("concerts");

const closed = { executor: "constant-vus", vus: Number(__ENV.VUS) };
const open_ = {
  executor: "constant-arrival-rate",
  rate: Number(__ENV.RATE),
  preAllocatedVUs: Number(__ENV.VUS),
};

export const options = {
  discardResponseBodies: true,
  summaryTrendStats: ["med", "p(99)", "max"],
  scenarios: {
    load: {
      ...(__ENV.RATE ? open_ : closed),
      duration: `${__ENV.SECONDS}s`,
      gracefulStop: "30s",
    },
  },
};

const pick = (all, n) => all[n % all.length];

function post(path) {
  return (n) => {
    const body = JSON.stringify({
      ticketTierId: pick(tiers, n),
      quantity: 1,
      idempotencyKey: crypto.randomUUID(),
    });
    return http.post(__ENV.BASE + path, body, {
      headers: { "Content-Type": "application/json", Authorization: `Token ${pick(tokens, n)}` },
      timeout: "60s",
    });
  };
}

function get(address, authorized = false) {
  return (n) =>
    http.get(__ENV.BASE + address(n), {
      headers: authorized ? { Authorization: `Token ${pick(tokens, n)}` } : {},
      timeout: "60s",
    });
}

const acts = {
  book: post("/api/v1/bookings"),
  textbook: post("/bench/textbook"),
  nothing: post("/bench/nothing"),
  list: get(() => "/api/v1/concerts"),
  detail: get((n) => `/api/v1/concerts/${pick(concerts, n)}`),
  availability: get((n) => `/api/v1/concerts/${pick(concerts, n)}/availability`),
  page: get((n) => `/concerts/${pick(concerts, n)}/`),
  // Twelve concerts, and an address that nobody has asked for before: no copy can answer it.
  newlist: get((n) => `/api/v1/concerts?limit=12&dateFrom=2020-01-01T00:00:00.${100000 + n}Z`),
  mine: get(() => "/api/v1/bookings", true),
};

const answers = {};
for (const status of [0, 200, 201, 202, 400, 401, 402, 404, 409, 429, 500, 502, 503]) {
  answers[status] = new Counter(`answers_${status}`);
}
const others = new Counter("answers_other");
const times = { 201: new Trend("time_201"), 409: new Trend("time_409") };

export default function () {
  const answer = acts[__ENV.KIND](exec.scenario.iterationInTest); // each another customer's
  (answers[answer.status] || others).add(1);
  if (times[answer.status]) times[answer.status].add(answer.timings.duration);
}

export function handleSummary(summary) {
  const { metrics, state } = summary;
  return { [__ENV.OUT]: JSON.stringify({ metrics, seconds: state.testRunDurationMs / 1000 }) };
}
