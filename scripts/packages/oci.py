#!/usr/bin/env python3
"""An OCI image of the program with glibc, and nothing else: no shell, no users, no package manager. Writes an archive of the OCI layout.

    scripts/packages/oci.py PROGRAM ARCH LIBC VERSION OUT

LIBC is a directory with the content of Debian's package libc6 for that architecture. The same input makes the same archive; SOURCE_DATE_EPOCH
is the time of everything in it. docker, podman, skopeo and containerd read the archive.
"""
import datetime
import glob
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile

program, arch, libc, version, out = sys.argv[1:]
time = int(os.environ["SOURCE_DATE_EPOCH"])
created = datetime.datetime.fromtimestamp(time, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
# Where the program looks for the loader and its libraries.
loader, libraries = {
    "amd64": ("lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu"),
    "arm64": ("lib/ld-linux-aarch64.so.1", "lib/aarch64-linux-gnu"),
}[arch]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def in_libc(name):
    found = glob.glob(os.path.join(libc, "**", name), recursive=True)
    if not found:
        sys.exit(f"oci: libc6 has no {name}")
    return read(os.path.realpath(found[0]))


needed = re.findall(r"NEEDED +(\S+)", subprocess.run(["objdump", "-p", program], check=True, capture_output=True, text=True).stdout)
files = {"usr/bin/floodgate": (read(program), 0o755), loader: (in_libc(os.path.basename(loader)), 0o755)}
# libc.so.6 itself: what the others need of it.
for name in sorted({"libc.so.6", *needed} - {os.path.basename(loader)}):
    files[f"{libraries}/{name}"] = (in_libc(name), 0o755)
here = os.path.dirname(os.path.abspath(__file__)) + "/../.."
for name in ["LICENSE-MIT", "LICENSE-APACHE"]:
    files[f"usr/share/doc/floodgate/{name}"] = (read(f"{here}/{name}"), 0o644)
files["usr/share/doc/libc6/copyright"] = (in_libc("copyright"), 0o644)
files["usr/share/doc/floodgate/examples/floodgate.toml"] = (read(f"{here}/packaging/floodgate.toml"), 0o644)
directories = {"etc/floodgate": 0o750, "run/floodgate": 0o755, "var/lib/floodgate": 0o700, "sys": 0o755, "proc": 0o755, "dev": 0o755}


def archive(members):
    """A tar of (name, content or None for a directory, mode), the same for the same members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content, mode in members:
            info = tarfile.TarInfo(name)
            info.mode, info.mtime = mode, time
            if content is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


parents = {}
for path in [*files, *directories]:
    while "/" in path:
        path = path.rsplit("/", 1)[0]
        parents[path] = 0o755
folders = parents | directories
members = [(name, None, folders[name]) for name in sorted(folders)]
members += [(name, *files[name]) for name in sorted(files)]
layer = archive(members)
packed = gzip.compress(layer, mtime=0)

blobs = {}


def blob(content):
    digest = hashlib.sha256(content).hexdigest()
    blobs[digest] = content
    return {"digest": f"sha256:{digest}", "size": len(content)}


def text(value):
    return json.dumps(value, indent=1, sort_keys=True).encode()


labels = {
    "org.opencontainers.image.title": "floodgate",
    "org.opencontainers.image.description": "BGP FlowSpec enforcement for Linux",
    "org.opencontainers.image.version": version,
    "org.opencontainers.image.revision": os.environ.get("FLOODGATE_COMMIT", ""),
    "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
}
second = 1_000_000_000
config = blob(
    text(
        {
            "created": created,
            "architecture": arch,
            "os": "linux",
            "config": {
                "Entrypoint": ["/usr/bin/floodgate"],
                "Cmd": ["run"],
                "Env": ["PATH=/usr/bin"],
                "Labels": labels,
                "StopSignal": "SIGTERM",
                # Not of OCI's specification: Docker reads it, the others have options of their own.
                "Healthcheck": {"Test": ["CMD", "/usr/bin/floodgate", "health"], "Interval": 10 * second, "Timeout": 5 * second,
                                "StartPeriod": 30 * second, "Retries": 3},
            },
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
            "history": [{"created": created, "created_by": "scripts/packages/oci.py"}],
        }
    )
)
media = "application/vnd.oci.image"
manifest = blob(
    text(
        {
            "schemaVersion": 2,
            "mediaType": f"{media}.manifest.v1+json",
            "config": {"mediaType": f"{media}.config.v1+json"} | config,
            "layers": [{"mediaType": f"{media}.layer.v1.tar+gzip"} | blob(packed)],
            "annotations": labels,
        }
    )
)
tag = version.replace("~", "-").replace("+", "-")
index = text(
    {
        "schemaVersion": 2,
        "mediaType": f"{media}.index.v1+json",
        "manifests": [
            {
                "mediaType": f"{media}.manifest.v1+json",
                "platform": {"architecture": arch, "os": "linux"},
                # What an image is called after it was loaded: containerd has a word of its own for that.
                "annotations": {"io.containerd.image.name": f"localhost/floodgate:{tag}", "org.opencontainers.image.ref.name": f"floodgate:{tag}"},
            }
            | manifest
        ],
    }
)
layout = [("blobs", None, 0o755), ("blobs/sha256", None, 0o755)]
layout += [(f"blobs/sha256/{digest}", blobs[digest], 0o644) for digest in sorted(blobs)]
layout += [("index.json", index, 0o644)]
# The form that Docker had before OCI, of the same blobs: `docker load` reads this one.
names = {name: "blobs/sha256/" + described["digest"].split(":")[1] for name, described in [("config", config), ("layer", blob(packed))]}
docker = text([{"Config": names["config"], "RepoTags": [f"floodgate:{tag}"], "Layers": [names["layer"]]}])
layout += [("manifest.json", docker, 0o644), ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}', 0o644)]
with open(out, "wb") as file:
    file.write(archive(layout))
