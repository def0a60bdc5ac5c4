// An agents' desk in a terminal: shows what is offered and held, and does what the agent types.
//
//   NATS_URL=… AGENTS_PASSWORD=… AGENT=nora node desk.mjs
//
//   list · accept C · decline C · take C · say C text… · pass C [to] · done C
//
// It keeps nothing of its own: after a restart `list` shows the same. Its `on_end` is "hold", so when an end user ends,
// the conversation stays here, ending, until the agent passes it on or is done.
import { createInterface } from "node:readline";
import { Client, Refused, kind } from "./client.mjs";

const actor = process.env.AGENT ?? "somebody";
const desk = await Client.connect("integration", "agents");

const verbs = {
  list: () => list(),
  accept: (conversation) => desk.command("accept", conversation, { actor }),
  decline: (conversation, reason) => desk.command("decline", conversation, { actor, ...(reason && { reason }) }),
  take: (conversation) => desk.command("take", conversation, { actor }),
  say: (conversation, text) => desk.command("reply", conversation, { actor, content: { text } }),
  pass: (conversation, to) => desk.command("pass", conversation, { actor, to: to || "next" }),
  done: (conversation) => desk.command("release", conversation, { actor }),
};

const shown = {
  "message.received": ({ content }) => `says: ${content?.text ?? "(no text)"}`,
  "control.offered": ({ to, from, reason }) => to === desk.name ? `offered by ${from}: ${reason ?? "no reason given"}` : `offered to ${to}`,
  "control.offer_withdrawn": ({ to, cause }) => `offer to ${to} withdrawn (${cause})`,
  "control.assigned": ({ to }) => moved(to),
  "control.accepted": ({ to }) => moved(to),
  "control.passed": ({ to, reason }) => moved(to) + (reason ? ` (${reason})` : ""),
  "control.released": ({ cause }) => `released (${cause})`,
  "conversation.end_requested": ({ conversation, deadline }) =>
    `end requested${conversation.owner === desk.name && deadline ? `: yours until ${deadline}` : ""}`,
  "conversation.closed": ({ cause }) => `closed (${cause})`,
};

function moved(to) {
  return to === desk.name ? "is yours" : `went to ${to}`;
}

async function list() {
  let after;
  do {
    const page = await desk.ask(`integration.${desk.name}.list`, after ? { after } : {});
    for (const { id, owner, status, offer } of page.conversations) {
      console.log(`${id} ${owner === desk.name ? `held, ${status}` : `offered by ${owner}${offer?.reason ? `: ${offer.reason}` : ""}`}`);
    }
    after = page.next;
  } while (after);
}

async function hear() {
  for await (const event of desk.inbox()) {
    const line = shown[kind(event)]?.(event.data);
    if (line) console.log(`${event.subject} ${line}`);
  }
}

async function obey(line) {
  const [, verb, conversation, rest] = /^(\w*)\s*(\S*)\s*(.*)$/.exec(line);
  if (!Object.hasOwn(verbs, verb) || (verb !== "list" && !/^[\w=:+@~-]+$/.test(conversation))) {
    console.log(`expected one of ${Object.keys(verbs).join(", ")}, and a conversation`);
    return;
  }
  try {
    await verbs[verb](conversation, rest);
  } catch (fault) {
    if (!(fault instanceof Refused)) throw fault;
    console.log(`${conversation} ${fault.code}: ${fault.error.message}`);
  }
}

hear();
await desk.nc.flush(); // the server knows of the subscription before the list is asked for, so nothing falls between
await list();
console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim()) await obey(line.trim());
}
await desk.nc.drain();
