// The load of one run; bench/measure.py sets the environment and reads the summary.
//
//   BASE     the server
//   DATA     a JSON file: {tokens: [...], tiers: [...]}
//   KIND     what each customer does: one of `paths`
//   VUS      so many connections, each sending its next request when it has its answer
//   SECONDS  for so long
//   OUT      where the summary goes
import http from "k6/http";
import { Counter } from "k6/metrics";
import { SharedArray } from "k6/data";
import exec from "k6/execution";

const read = (name) => new SharedArray(name, () => JSON.parse(open(__ENV.DATA))[name]);
const tokens = read("tokens");
const tiers = read("tiers");

export const options = {
  discardResponseBodies: true,
  summaryTrendStats: ["med", "p(99)", "max"],
  scenarios: {
    load: {
      executor: "constant-vus",
      vus: Number(__ENV.VUS),
      duration: `${__ENV.SECONDS}s`,
      gracefulStop: "30s",
    },
  },
};

const paths = { book: "/api/v1/bookings", textbook: "/bench/textbook", nothing: "/bench/nothing" };

const answers = {};
for (const status of [0, 201, 202, 402, 409, 500, 503]) {
  answers[status] = new Counter(`answers_${status}`);
}
const others = new Counter("answers_other");

export default function () {
  const n = exec.scenario.iterationInTest; // every request is another customer's
  const body = JSON.stringify({
    ticketTierId: tiers[n % tiers.length],
    quantity: 1,
    idempotencyKey: crypto.randomUUID(),
  });
  const answer = http.post(__ENV.BASE + paths[__ENV.KIND], body, {
    headers: {
      "Content-Type": "application/json",
      Authorization: `Token ${tokens[n % tokens.length]}`,
    },
    timeout: "60s",
  });
  (answers[answer.status] || others).add(1);
}

export function handleSummary(summary) {
  return { [__ENV.OUT]: JSON.stringify(summary.metrics) };
}
