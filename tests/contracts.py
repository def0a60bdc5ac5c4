"""Holds the contract against a validator that nobody here wrote: every schema, every example, the sample configuration.

    tests/contracts.py                each schema is one, and its example fits it
    tests/contracts.py SNAPSHOT...    what deploy/demo.d/snapshot.py recorded of a running switchboard fits too
"""
import json
import sys
from pathlib import Path

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ROOT / "schemas"
NAMES = "urn:switchboard:schema:1:"


def main(snapshots):
    schemas = {path.relative_to(SCHEMAS): load(path) for path in sorted(SCHEMAS.rglob("*.json"))
               if SCHEMAS / "examples" not in path.parents}
    registry = Registry().with_resources((schema["$id"], Resource.from_contents(schema)) for schema in schemas.values())
    check = Check(registry)
    if snapshots:
        for path in snapshots:
            check_snapshot(check, load(Path(path)))
    else:
        check_schemas(check, schemas)
        check_sample(check)
    if check.faults:
        sys.exit("\n".join(check.faults))
    print(f"{check.count} documents fit their schemas")


class Check:
    def __init__(self, registry):
        self.registry, self.faults, self.count = registry, [], 0

    def fits(self, what, document, name):
        validator = Draft202012Validator({"$ref": NAMES + name}, registry=self.registry)
        self.count += 1
        for error in validator.iter_errors(document):
            self.faults.append(f"{what}: {error.json_path}: {error.message[:300]}")


def check_schemas(check, schemas):
    for path, schema in schemas.items():
        Draft202012Validator.check_schema(schema)
        example = SCHEMAS / "examples" / path
        if example.exists():
            check.fits(example.relative_to(ROOT), load(example), schema["$id"][len(NAMES):])
        elif path.name != "common.json":
            check.faults.append(f"{path}: expected an example in schemas/examples, and there is none")


def check_sample(check):
    try:
        import tomllib
    except ImportError:
        print("deploy/switchboard.toml is left out: reading TOML needs Python 3.11")
        return
    sample = ROOT / "deploy" / "switchboard.toml"
    check.fits(sample.relative_to(ROOT), tomllib.loads(sample.read_text(encoding="utf-8")), "config")


def check_snapshot(check, snapshot):
    for state in snapshot["conversations"]:
        check.fits(state["id"], {"conversation": state}, "reply:state")
    for events in snapshot["histories"].values():
        for event in events:
            check.fits(event["id"], event, "cloudevent")
            check.fits(event["id"], event["data"], event["type"].split(".", 1)[1])


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(sys.argv[1:])
