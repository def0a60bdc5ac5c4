// Reads schemas/asyncapi.yaml by AsyncAPI's own parser, every reference followed: asyncapi.mjs FILE
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
// Severity 0 and 1 are errors and warnings; the rest is advice, such as to add tags or a contact.
const faults = diagnostics.filter((fault) => fault.severity < 2);
for (const fault of faults) console.error(`asyncapi.yaml: ${fault.path.join(".")}: ${fault.message} (${fault.code})`);
if (faults.length || !document) process.exit(1);
console.log(`AsyncAPI's own parser reads ${document.operations().length} operations and ${document.allMessages().length} messages`);
