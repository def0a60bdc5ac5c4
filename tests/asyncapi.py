"""The AsyncAPI document and the reference page, made from the schemas so that they cannot tell anything else.

    tests/asyncapi.py            writes schemas/asyncapi.yaml and schemas/REFERENCE.md
    tests/asyncapi.py --check    says what in them, or in the code, is not as the schemas say

Subject, answer and refusals of a request stand in its schema's description, and are read from there. The document holds
the schemas themselves, in the dialect that AsyncAPI's own tools know (draft 7): they neither resolve names (`urn:…`)
nor read what stands beside a `$ref`.
"""
import json
import re
import sys
from pathlib import Path

import yaml
from jsonschema import Draft7Validator

import asyncapi_page

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ROOT / "schemas"
NAMES = "urn:switchboard:schema:1:"
DOCUMENT, PAGE = SCHEMAS / "asyncapi.yaml", SCHEMAS / "REFERENCE.md"
MADE = "# Made by tests/asyncapi.py from the schemas beside it: change those, and run it again.\n"

CONTROL = "conversation and control events of the conversation"
# Published subjects: name, address, what it is, which nouns go there, with which messages relayed.
PUBLISHED = [
    ("event", "switchboard.event.{conversation}.{noun}.{verb}",
     "Each event, once, in log order; those of the configuration under `_config`. At least once on the wire: drop repeats by `id`.",
     ("conversation", "control", "settings", "integration", "channel")),
    ("inbox.integration", "switchboard.inbox.integration.{integration}.{conversation}.{noun}.{verb}",
     f"Copies for an integration concerned: it owned control or was offered it before, during or after the decision. The {CONTROL}, "
     "and the messages for the owner.", ("conversation", "control", "message.received")),
    ("inbox.channel", "switchboard.inbox.channel.{channel}.{conversation}.{noun}.{verb}",
     f"Copies for the channel: the {CONTROL}, and the replies to its end users.", ("conversation", "control", "message.sent")),
    ("standby", "switchboard.standby.{integration}.{conversation}.{noun}.{verb}",
     f"Copies for every other enabled integration with `standby = true`: the {CONTROL}, and the messages.",
     ("conversation", "control", "message.received", "message.sent")),
]
REJECTED = ("rejection", "switchboard.rejection.{conversation}.{verb}")
PARAMETERS = {
    "conversation": "The conversation's id, chosen by its channel; `_config` for events of the configuration.",
    "channel": "The name of the channel.", "integration": "The name of the integration.",
    "operator": "The name of the operator.", "noun": "What the event is about.", "verb": "What happened, or was refused.",
}
ANSWERS = "answer"
JETSTREAM_HEADERS = {"Switchboard-After-Seq": {
    "description": "With `--events jetstream`: the `seq` of the last event before this message.", "type": "string"}}


def main(arguments):
    schemas = {relative(path): load(path) for path in sorted(SCHEMAS.rglob("*.json")) if "examples" not in path.parts}
    texts = {relative(path).split("/", 1)[1]: path.read_text(encoding="utf-8") for path in sorted((SCHEMAS / "examples").rglob("*.json"))}
    contract = Contract(schemas, texts, (SCHEMAS / "README.md").read_text(encoding="utf-8"))
    made = document(contract)
    files = {DOCUMENT: MADE + written(made), PAGE: asyncapi_page.page(contract, made)}
    if arguments != ["--check"]:
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
        return
    faults = [f"{path.relative_to(ROOT)} is not what tests/asyncapi.py makes: run it" for path, text in files.items()
              if not path.exists() or path.read_text(encoding="utf-8") != text]
    faults += faults_of_code(contract, files[DOCUMENT]) + faults_of_examples(made)
    if faults:
        sys.exit("\n".join(faults))
    print(f"{len(made['operations'])} operations and {len(made['components']['messages'])} messages are as the schemas say")


class Contract:
    """What the schemas folder says."""

    def __init__(self, schemas, texts, readme):
        self.schemas, self.texts = schemas, texts
        self.examples = {name: json.loads(text) for name, text in texts.items()}
        table = readme.split("## Errors")[1]
        self.errors = [tuple(cell.strip(" `") for cell in row.strip("|").split("|"))
                       for row in table.splitlines() if row.startswith("| `")]
        self.requests = [Request(name.split("/")[1], schema) for name, schema in schemas.items() if name.startswith("request/")]
        self.events = sorted(name.split("/")[1] for name in schemas if name.startswith("event/") and name != "event/cloudevent")
        self.relays = sorted(name.split("/")[1] for name in schemas if name.startswith("relay/"))


class Request:
    def __init__(self, name, schema):
        said = re.fullmatch(r"On `(\S.*?)`\.(.*) Answer: reply/([a-z.]+)\.(?: Refusals of its own: (.*?)\.)?(?: Those of .*)?",
                            schema["description"])
        if not said:
            sys.exit(f"request/{name}: expected 'On `subject`. … Answer: reply/….' in its description")
        self.name, self.title = name, schema["title"]
        self.role, self.verb = name.split(".")
        self.address = re.sub(r"<(\w+)[^>]*>", r"{\1}", said[1])
        self.summary, self.reply, self.refusals = said[2].strip(), said[3], said[4]
        # What changes nothing has no use for a command id.
        self.is_command = self.role != "query" and self.verb not in ("state", "list", "export")


# --- the document ----------------------------------------------------------------------------------------------------

def document(contract):
    channels, operations, messages = {}, {}, common_messages(contract)
    for request in contract.requests:
        add_request(request, contract, channels, operations, messages)
    for kind in contract.events + contract.relays:
        messages[kind] = event_message(contract, kind)
    for name, address, says, kinds in PUBLISHED:
        fitting = [kind for kind in contract.events + contract.relays if kind in kinds or kind.split(".")[0] in kinds]
        add_published(name, address, says, fitting, channels, operations)
    rejected = contract.schemas["rejection"]
    add_published(*REJECTED, rejected["description"], ["rejection"], channels, operations)
    channels[REJECTED[0]]["parameters"]["verb"] = {"description": PARAMETERS["verb"]}
    channels[ANSWERS] = {
        "address": None, "title": "Answers",
        "description": "The request's reply subject; its first token starts with `_INBOX` (`--reply-prefix`), else the request is dropped.",
        "messages": references(sorted(name for name in messages if name.startswith("reply.")) + ["error"], "#/components/messages/"),
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "switchboard", "version": "1.0.0", "license": {"name": "Apache-2.0"},
            "description": "Who holds a conversation: requests and events over NATS. `switchboard` is the default prefix. Callers are "
                           "known by the subject alone, which the server's permissions guard. Within version 1 only fields, types and "
                           "codes are added: ignore what you do not know.",
        },
        "defaultContentType": "application/json",
        "servers": {"nats": {"host": "127.0.0.1:4222", "protocol": "nats", "security": [{"type": "userPassword"}]}},
        "channels": channels, "operations": operations,
        "components": {"messages": messages, "schemas": bundled(contract.schemas)},
    }


def add_request(request, contract, channels, operations, messages):
    channels[request.name] = {"address": request.address, "title": request.title, **parameters(request.address),
                              "messages": references([request.name], "#/components/messages/")}
    answers = [f"reply.{request.reply}", "error"]
    operations[request.name] = {
        "action": "receive", "title": request.title, "channel": {"$ref": f"#/channels/{request.name}"},
        "description": " ".join(part for part in (request.summary, request.refusals and f"Refusals of its own: {request.refusals}.") if part),
        "messages": [{"$ref": f"#/channels/{request.name}/messages/{request.name}"}],
        "reply": {"channel": {"$ref": f"#/channels/{ANSWERS}"},
                  "messages": [{"$ref": f"#/channels/{ANSWERS}/messages/{name}"} for name in answers]},
    }
    message = {"name": request.name, "title": request.title, "payload": {"$ref": f"#/components/schemas/request.{request.name}"},
               "examples": [{"name": request.name, "payload": contract.examples[f"request/{request.name}"]}]}
    if request.is_command:
        message["headers"] = headers({
            "Nats-Msg-Id": {"description": "The command id, of this caller on this conversation: a repeat is carried out once.",
                            "allOf": [{"$ref": "#/components/schemas/command_id"}]},
            "traceparent": {"description": "Carried onto every event that the command causes.",
                            "allOf": [{"$ref": "#/components/schemas/traceparent"}]}}, [])
    messages[request.name] = message


def common_messages(contract):
    found = {}
    for name, schema in contract.schemas.items():
        if name.startswith("reply/") or name in ("error", "rejection"):
            key = name.replace("/", ".")
            found[key] = {"name": key, "title": schema["title"], "summary": schema["description"],
                          "payload": {"$ref": f"#/components/schemas/{key}"},
                          "examples": [{"name": key, "payload": contract.examples[name]}]}
    rows = "\n".join(f"- `{code}` ({status}): {means}. To do: {do}." for code, status, means, do in contract.errors)
    found["error"]["description"] = f"Checked in this order; the first that applies is the answer.\n\n{rows}"
    statuses = sorted({int(status) for _, status, *_ in contract.errors})
    found["error"]["headers"] = headers({
        "Nats-Service-Error-Code": {"type": "string", "enum": [str(status) for status in statuses]},
        "Nats-Service-Error": {"description": "The text of `error.message`, on one line.", "type": "string"},
    }, ["Nats-Service-Error-Code", "Nats-Service-Error"])
    return found


def event_message(contract, kind):
    name = f"relay/{kind}" if kind in contract.relays else f"event/{kind}"
    schema, example = contract.schemas[name], envelope(contract, name)
    return {
        "name": kind, "title": schema["title"], "summary": schema["description"], "contentType": "application/cloudevents+json",
        "headers": headers({
            "Content-Type": {"const": "application/cloudevents+json"},
            **(JETSTREAM_HEADERS if kind in contract.relays else {}),
            "Nats-Msg-Id": {"description": "The event's `id` on switchboard.event; on copies `<id>/integration.<name>`, "
                                           "`<id>/channel.<name>` or `<id>/standby.<name>`.", "type": "string"},
        }, ["Content-Type", "Nats-Msg-Id"]),
        "payload": {"allOf": [{"$ref": "#/components/schemas/event.cloudevent"}], "type": "object", "properties": {
            "type": {"const": f"switchboard.{kind}"}, "dataschema": {"const": NAMES + kind},
            "data": {"$ref": f"#/components/schemas/{name.replace('/', '.')}"}}},
        "examples": [{"name": kind, "payload": example}],
    }


def envelope(contract, name):
    """The example of one kind as it goes over the wire."""
    whole, data, kind = dict(contract.examples["event/cloudevent"]), contract.examples[name], name.split("/")[1]
    log = whole["source"].rsplit("/", 1)[1]
    whole.update(type=f"switchboard.{kind}", dataschema=NAMES + kind, data=data, time=data.get("last_activity_at", whole["time"]),
                 id=f"{log}-{data['seq']}-9c41d07e" if "seq" in data else f"{log}-m-9c41d07e9c41d07e",
                 subject=whole["subject"] if "epoch" in data else "_config")
    whole.pop("traceparent")
    return whole


def add_published(name, address, says, kinds, channels, operations):
    channels[name] = {"address": address, "description": says, **parameters(address, kinds),
                      "messages": references(kinds, "#/components/messages/")}
    operations[name] = {"action": "send", "description": says, "channel": {"$ref": f"#/channels/{name}"},
                        "messages": [{"$ref": f"#/channels/{name}/messages/{kind}"} for kind in kinds]}


def parameters(address, kinds=()):
    found = {word: {"description": PARAMETERS[word]} for word in re.findall(r"{(\w+)}", address)}
    for place, word in enumerate(("noun", "verb")):
        if word in found and kinds:
            found[word]["enum"] = sorted({kind.split(".")[place] for kind in kinds if "." in kind})
    return {"parameters": found} if found else {}


def references(names, where):
    return {name: {"$ref": where + name} for name in names}


def headers(properties, required):
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


# --- the schemas, in draft 7 -----------------------------------------------------------------------------------------

def bundled(schemas):
    found = {}
    for name, schema in schemas.items():
        key = name.replace("/", ".")
        body = {word: value for word, value in schema.items() if word not in ("$schema", "$id", "$defs")}
        if name == "event/cloudevent":
            # Here each message names its data itself, and tools that follow every branch need a fifth of the time.
            body["allOf"] = [part for part in body["allOf"] if "dataschema" not in part["then"]["properties"]]
        if name != "common":
            found[key] = {"x-schema": schema["$id"], **translated(body, key, schemas)}
        for word, definition in schema.get("$defs", {}).items():
            found[word if name == "common" else f"{key}.{word}"] = translated(definition, key, schemas)
    return found


def translated(node, here, schemas):
    if isinstance(node, list):
        return [translated(item, here, schemas) for item in node]
    if not isinstance(node, dict):
        return node
    rest = {word: translated(value, here, schemas) for word, value in node.items() if word not in ("$ref", "unevaluatedProperties")}
    if "$ref" not in node:
        return rest
    reference = {"$ref": f"#/components/schemas/{component(node['$ref'], here, schemas)}"}
    if "unevaluatedProperties" in node:
        target = schemas[here]["$defs"][node["$ref"].rsplit("/", 1)[1]]
        rest["propertyNames"] = {"enum": list(target["properties"])}
    if not rest:
        return reference
    return {**rest, "allOf": [reference, *rest.get("allOf", [])]}


def component(reference, here, schemas):
    """The name of what `reference` means, in a document whose names are flat."""
    document_id, _, path = reference.partition("#/$defs/")
    if document_id:
        here = next(name for name, schema in schemas.items() if schema["$id"] == document_id).replace("/", ".")
    return here if not path else path if here == "common" else f"{here}.{path}"


def written(document):
    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, _data):
            return True
    return yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=130)


# --- checks ----------------------------------------------------------------------------------------------------------

def faults_of_code(contract, text):
    """The code's own lists of verbs, codes, events and headers, against the schemas."""
    source = {path: (ROOT / "src" / path).read_text(encoding="utf-8") for path in
              ("edge/subjects.rs", "domain/refusal.rs", "domain/event.rs", "domain/config/change.rs")}
    arms = re.findall(r"Endpoint::(\w+) => (?:\{\s*)?&\[([^\]]*)\]", source["edge/subjects.rs"])
    verbs = {f"{role.lower()}.{verb}" for role, list_ in arms for verb in re.findall(r'"(\w+)"', list_)}
    codes = set(re.findall(r'=> \("(\w+)", (\d+)\)', source["domain/refusal.rs"]))
    events = set(re.findall(r'"switchboard\.(\w+\.\w+)"', source["domain/event.rs"] + source["domain/config/change.rs"]))
    edge = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src" / "edge").rglob("*.rs")))
    fields = set(re.findall(r'HeaderName::from_static\("([\w-]+)"\)|: &str = "(?=Switchboard-)([\w-]+)"', edge))
    fields = {name for found in fields for name in found if name}
    named = set(re.findall(r"^ +([\w-]+):$", text, re.MULTILINE))
    stated = " ".join(re.findall(r'"((?:channel|integration|operator|config)\.<.*?)"', source["edge/subjects.rs"])).split()
    addresses = {asyncapi_page.plain(request.address).removeprefix("switchboard.") for request in contract.requests}
    forms = {form.replace("<verb>", verb) for form in stated for role, list_ in arms if form.startswith(role.lower())
             for verb in re.findall(r'"(\w+)"', list_) if form.endswith("conversation>") != (verb in ("list", "put", "export"))}
    pairs = [
        ("subjects", forms, {address for address in addresses if not address.startswith("query.")}),
        ("verbs", verbs, {request.name for request in contract.requests}),
        ("error codes", codes, {(code, status) for code, status, *_ in contract.errors}),
        ("events", events, set(contract.events)),
        ("headers", fields, fields & named),
    ]
    return [f"{what}: only the code knows {sorted(code - said)}, only the schemas {sorted(said - code)}"
            for what, code, said in pairs if code != said or not code]


def faults_of_examples(document):
    """Translated schemas must still say what they said: examples fit, and an unknown field of a request does not."""
    faults = []
    for name, message in document["components"]["messages"].items():
        check = Draft7Validator({**message["payload"], "components": document["components"]})
        example = message["examples"][0]["payload"]
        faults += [f"asyncapi, {name}: {error.json_path}: {error.message[:300]}" for error in check.iter_errors(example)]
        wrong = {**example, "colour": "red"} if "/request." in message["payload"].get("$ref", "") else {}
        if name != "query.config" and check.is_valid(wrong) and (wrong or "reply" in name):
            faults.append(f"asyncapi, {name}: expected {wrong} to be refused")
    return faults


def relative(path):
    return path.relative_to(SCHEMAS).with_suffix("").as_posix()


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(sys.argv[1:])
