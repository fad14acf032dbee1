#!/usr/bin/env python3
"""What the program is made of, as CycloneDX 1.5: prints it.

    scripts/packages/sbom.py SOURCE TRIPLE VERSION

Every crate that is compiled into the program for that machine, or compiles it, with its version, checksum and licence: from `cargo metadata`
and Cargo.lock, so that two runs print the same. SOURCE_DATE_EPOCH is its time.
"""
import datetime
import json
import os
import subprocess
import sys
import tomllib
import uuid

source, triple, version = sys.argv[1:]
metadata = json.loads(
    subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={triple}"],
        cwd=source, check=True, stdout=subprocess.PIPE,
    ).stdout
)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
with open(os.path.join(source, "Cargo.lock"), "rb") as lock:
    checksums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in tomllib.load(lock)["package"]}


def reference(identity):
    package = packages[identity]
    return f"pkg:cargo/{package['name']}@{package['version']}"


def needs(identity):
    """Without what only tests need."""
    return sorted(
        dependency["pkg"]
        for dependency in nodes[identity]["deps"]
        if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"])
    )


def component(identity):
    package = packages[identity]
    it = {"type": "library", "bom-ref": reference(identity), "name": package["name"], "version": package["version"]}
    # Crates of this repository are in no registry.
    if package["source"]:
        it["purl"] = reference(identity)
    if package["license"]:
        it["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        it["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return it


program = next(identity for identity in nodes if packages[identity]["name"] == "floodgate")
found, waiting = set(), [program]
while waiting:
    identity = waiting.pop()
    if identity not in found:
        found.add(identity)
        waiting.extend(needs(identity))
ordered = sorted(found, key=reference)
time = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
components = [component(identity) for identity in ordered if identity != program]
# Made of what it says, so that it is the same for the same content.
serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([version, triple, components], sort_keys=True))
json.dump(
    {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": component(program) | {"type": "application", "version": version},
            "properties": [{"name": "cargo:target", "value": triple}],
        },
        "components": components,
        "dependencies": [
            {"ref": reference(identity), "dependsOn": [reference(other) for other in needs(identity)]}
            for identity in ordered
        ],
    },
    sys.stdout,
    indent=1,
)
print()
