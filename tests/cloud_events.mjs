// What tests/cloud_events.py recorded, read by CloudEvents' own library for JavaScript: cloud_events.mjs RECORD
import { readFileSync } from "node:fs";
import { HTTP } from "cloudevents";

const messages = JSON.parse(readFileSync(process.argv[2], "utf8")).filter(({ subject }) => !subject.startsWith("switchboard.rejection."));
for (const { subject, headers, body } of messages) {
  const plain = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  const event = HTTP.toEvent({ headers: plain, body });
  const kind = subject.split(".").slice(-2).join(".");
  // Throws where an attribute breaks the specification.
  if (!event.validate() || event.type !== `switchboard.${kind}` || JSON.stringify(event.data) !== JSON.stringify(JSON.parse(body).data)) {
    throw new Error(`${subject}: not as it was published: ${JSON.stringify(event)}`);
  }
}
console.log(`CloudEvents' library for JavaScript reads the same ${messages.length} messages`);
