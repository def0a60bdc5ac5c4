// A web channel: serves a chat page, takes what end users type to the switchboard and its news back to them.
//
//   NATS_URL=… WEB_PASSWORD=… node web_channel.mjs [PORT]
//
// Whoever knows a conversation's id may see it, so the page makes one that nobody guesses. What the page shows, the End
// button too, follows the affordances that the switchboard sends; the page decides nothing.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { Client, Refused, kind } from "./client.mjs";

const BODY_BYTES_MAX = 16_384;
// An id goes into a subject, so it must be of this form and no other.
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const channel = await Client.connect("channel", "web");
const watchers = new Map(); // conversation -> the open pages that show it

const actions = {
  start: ({ continued_from }) => ["start", { continued_from: continued_from ?? null }],
  say: ({ text, id }) => ["message", { message_id: id, sent_at: new Date().toISOString(), content: { text } }],
  end: () => ["end", { reason: "chose End conversation" }],
};

const server = createServer(async (request, response) => {
  const [, what, conversation] = request.url.split(/[/?]/);
  try {
    if (request.method === "GET" && !what) {
      return response.setHeader("Content-Type", "text/html; charset=utf-8").end(await readFile(new URL("web_channel.html", import.meta.url)));
    }
    if (!ID.test(conversation)) return response.writeHead(404).end();
    if (request.method === "GET" && what === "news") return await watch(conversation, response);
    if (request.method !== "POST" || !Object.hasOwn(actions, what)) return response.writeHead(404).end();
    const asked = JSON.parse(await text(request));
    const [verb, body] = actions[what](asked);
    const fields = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
    // The page's own id makes the command id: a request that the browser repeats counts once.
    const answer = await channel.command(verb, conversation, fields, asked.id);
    response.end(JSON.stringify(shown(answer.conversation)));
  } catch (fault) {
    const status = fault instanceof Refused ? 409 : fault instanceof SyntaxError || fault instanceof RangeError ? 400 : 500;
    if (response.headersSent) return response.end();
    response.writeHead(status).end(JSON.stringify({ refused: fault.code ?? fault.message }));
  }
});

/** Server-sent events: how the conversation stands, then all that is new. */
async function watch(conversation, response) {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  const pages = watchers.get(conversation) ?? new Set();
  watchers.set(conversation, pages.add(response));
  response.on("close", () => pages.delete(response) && pages.size === 0 && watchers.delete(conversation));
  try {
    tell(response, shown((await channel.command("state", conversation)).conversation));
  } catch (fault) {
    if (fault.code !== "conversation_not_found") throw fault;
    response.write(": nothing said yet\n\n");
  }
}

function shown({ status, owner, affordances }) {
  return { status, owner, affordances };
}

function tell(response, news) {
  response.write(`data: ${JSON.stringify(news)}\n\n`);
}

async function text(request) {
  const parts = [];
  let bytes = 0;
  for await (const part of request) {
    if ((bytes += part.length) > BODY_BYTES_MAX) throw new RangeError(`expected at most ${BODY_BYTES_MAX} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

server.listen(Number(process.argv[2] ?? 8000), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
for await (const event of channel.inbox()) {
  const { by, content, conversation } = event.data;
  const news = kind(event) === "message.sent" ? { from: by.name, text: content?.text ?? "" } : shown(conversation);
  for (const response of watchers.get(event.subject) ?? []) tell(response, news);
}
