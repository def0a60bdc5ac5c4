// A client of the switchboard: asks, and hears its own inbox. web_channel.mjs and desk.mjs share it; it knows no rules.
//
// It does what every careful client does: an inbox prefix of its own, the same command id when it repeats (the
// switchboard carries it out once), and each event once (they are published at least once).
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, headers } from "@nats-io/transport-node";

const REPEAT_FOR_MS = 20_000;
const SEEN_MAX = 10_000;

/** The switchboard said no: `code` says why, `error` has the facts. */
export class Refused extends Error {
  constructor(subject, error) {
    super(`${subject}: ${error.code}: ${error.message}`);
    this.code = error.code;
    this.error = error;
  }
}

/** One connection of one user: a channel or an integration. */
export class Client {
  static async connect(role, name) {
    const pass = process.env[`${name.toUpperCase().replaceAll("-", "_")}_PASSWORD`];
    const nc = await connect({
      servers: process.env.NATS_URL, user: name, pass, name, inboxPrefix: `_INBOX.${name}`, maxReconnectAttempts: -1,
    });
    return Object.assign(new Client(), { role, name, nc });
  }

  /** One command, or `state`, of this caller on one conversation: the answer, or `Refused`. */
  command(verb, conversation, body = {}, commandId = randomUUID()) {
    return this.ask(`${this.role}.${this.name}.${verb}.${conversation}`, body, commandId);
  }

  /** Asks until there is an answer. The command id stays the same, so nothing is carried out twice. */
  async ask(what, body = {}, commandId = randomUUID()) {
    const subject = `switchboard.${what}`;
    const until = Date.now() + REPEAT_FOR_MS;
    const asked = headers();
    asked.set("Nats-Msg-Id", commandId);
    for (;;) {
      const answer = await this.nc.request(subject, JSON.stringify(body), { timeout: 5000, headers: asked }).then(
        (message) => message.json(),
        (fault) => ({ error: { code: "no answer", message: fault.message } }),
      );
      if (!answer.error) return answer;
      if (!["busy", "no answer"].includes(answer.error.code) || Date.now() > until) throw new Refused(subject, answer.error);
      await sleep(200);
    }
  }

  /** Listens from this call on; `for await` gives each event and message that concerns this client once. */
  inbox() {
    return eachOnce(this.nc.subscribe(`switchboard.inbox.${this.role}.${this.name}.>`));
  }
}

async function* eachOnce(subscription) {
  const seen = new Set();
  for await (const message of subscription) {
    const event = message.json();
    if (seen.has(event.id)) continue;
    seen.add(event.id);
    if (seen.size > SEEN_MAX) seen.delete(seen.values().next().value);
    yield event;
  }
}

/** `control.passed` for `switchboard.control.passed`. */
export function kind(event) {
  return event.type.slice(event.type.indexOf(".") + 1);
}
