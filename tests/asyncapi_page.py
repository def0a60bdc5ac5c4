"""The reference page: every request, answer and event on one page that needs no network and no tool to read."""
import json
import re

# Objects within others that have a table of their own.
OBJECTS = [
    "conversation", "conversation_head", "conversation_brief", "offer", "end_requested", "closed", "waiting_for", "affordances", "by",
    "error.error", "event_reference", "config", "config.settings", "config.integration", "config.channel",
]


def page(contract, document):
    parts = [
        "# Reference, version 1",
        "Made by `tests/asyncapi.py` from the schemas beside it; `asyncapi.yaml` says the same to programs. Words, errors and what to do "
        "about them: [README.md](README.md).",
        contents(contract),
        "## Requests",
        "Bodies are JSON; unknown fields are refused. Every command may carry the headers `Nats-Msg-Id` (the command id) and `traceparent`.",
        *(request_section(request, contract, document) for request in contract.requests),
        "## Answers",
        *(message_section(contract, name, document) for name in contract.schemas if name.startswith("reply/") or name == "error"),
        "## Published",
        *(f"**`{plain(channel['address'])}`** {channel['description']}\n\n{kinds_of(channel)}"
          for channel in document["channels"].values() if channel["address"] and "description" in channel),
        "Relayed messages are CloudEvents like the events, without `seq`. Every event carries in `data` also " + words(shared(document, "event_data")) + "; those of the configuration only "
        + words(shared(document, "config_event_data")) + ".",
        *(message_section(contract, name, document) for name in published(contract)),
        "## Objects",
        *(object_section(name, document) for name in OBJECTS),
    ]
    return "\n\n".join(parts) + "\n"


def contents(contract):
    roles = {}
    for request in contract.requests:
        roles.setdefault(request.role, []).append(f"[{request.verb}](#{anchor(request.name)})")
    return "\n".join(f"- {role}: {' '.join(links)}" for role, links in roles.items()) + "\n- [answers](#answers)\n- [published](#published)\n- [objects](#objects)"


def request_section(request, contract, document):
    schema = document["components"]["schemas"][f"request.{request.name}"]
    lines = [f"### {request.name}", f"{request.title}: `{plain(request.address)}`", request.summary,
             table(schema, document), example(contract, f"request/{request.name}"),
             f"Answer: [{request.reply}](#{anchor('reply.' + request.reply)})."
             + (f" Refusals of its own: {request.refusals}." if request.refusals else "")]
    return "\n\n".join(line for line in lines if line)


def message_section(contract, name, document):
    schema = contract.schemas[name]
    fields = table(document["components"]["schemas"][name.replace("/", ".")], document)
    heading = name.replace("/", ".") if name.startswith("reply/") else name.rsplit("/", 1)[-1]
    return "\n\n".join([f"### {heading}", f"{schema['title']}. {schema['description']}", fields, example(contract, name)])


def published(contract):
    return [f"event/{kind}" for kind in contract.events] + [f"relay/{kind}" for kind in contract.relays] + ["rejection"]


def kinds_of(channel):
    return "Carries " + ", ".join(f"[{kind}](#{anchor(kind)})" for kind in channel["messages"]) + "."


def table(schema, document):
    properties, required = {**schema.get("properties", {})}, set(schema.get("required", []))
    for part in schema.get("allOf", []):
        target = resolved(part, document)
        if "$ref" not in part:
            continue
        if part["$ref"].endswith("event_data"):
            # Said once, for all of them.
            properties = {name: field for name, field in properties.items() if name not in target["properties"]}
        else:
            properties, required = {**target.get("properties", {}), **properties}, required | set(target.get("required", []))
    rows = [f"| `{name}` | {kind(field, document)} | {'yes' if name in required else ''} | {meaning(field, document)} |"
            for name, field in properties.items() if field is not False]
    return "\n".join(["| field | type | required | meaning |", "|---|---|---|---|", *rows]) if rows else ""


def object_section(name, document):
    schema = document["components"]["schemas"][name]
    said = [schema.get("title"), schema.get("description")]
    return "\n\n".join([f"### {heading_of(name)}", " ".join(f"{text.rstrip('.')}." for text in said if text),
                        table(schema, document) or choices(schema, document)])


def choices(schema, document):
    return "\n".join(f"- {choice['title']}: " + ", ".join(f"`{name}` ({kind(field, document)})" for name, field in
                     choice["properties"].items() if field is not False) for choice in schema["oneOf"])


def heading_of(name):
    return f"object {name.replace('.', ' ')}"


def kind(field, document):
    """A field's type in a few words, or where it is said."""
    for part in [field, *field.get("allOf", [])]:
        name = part.get("$ref", "").rsplit("/", 1)[-1]
        if name in OBJECTS:
            return f"[object](#{anchor(heading_of(name))})"
    field = resolved(field, document)
    if "const" in field or "enum" in field:
        return ", ".join(f"`{json.dumps(value)}`" for value in field.get("enum", [field.get("const")]))
    for word in ("anyOf", "oneOf"):
        if word in field:
            return " or ".join(dict.fromkeys(kind(choice, document) for choice in field[word]))
    if "type" not in field and field.get("allOf"):
        return kind(field["allOf"][0], document)
    if field.get("type") == "array":
        return "list of " + kind(field.get("items", {}), document)
    return field.get("type", "any JSON")


def meaning(field, document):
    while isinstance(field, dict):
        if "description" in field:
            return field["description"].replace("|", "\\|")
        inner = [*field.get("allOf", []), *(choice for choice in field.get("anyOf", []) if choice != {"type": "null"})]
        field = resolved(field, document) if "$ref" in field else inner[0] if inner else None
    return ""


def resolved(node, document):
    while "$ref" in node:
        node = document["components"]["schemas"][node["$ref"].rsplit("/", 1)[1]]
    return node


def shared(document, name):
    return document["components"]["schemas"][name]["properties"]


def words(names):
    return ", ".join(f"`{name}`" for name in names)


def example(contract, name):
    return "```json\n" + contract.texts[name].strip() + "\n```"


def plain(address):
    return re.sub(r"{(\w+)}", r"<\1>", address)


def anchor(heading):
    return heading.lower().replace(".", "").replace(" ", "-")
