"""Drives the Python SDK for the tests: one JSON request a line on standard input, one JSON answer a line."""

import asyncio
import json
import sys
import time

import microsandbox
from microsandbox import Patch, Sandbox, Stdin, Volume

# Only from 0.7 on.
Snapshot = getattr(microsandbox, "Snapshot", None)
IMAGE = {"image": "starter", "cpus": 1, "memory": 256}
# The SDK ends a log stream of its own accord after 30 s; one that ends earlier is the server's fault.
OWN_LIMIT_SECONDS = 25

sandboxes = {}
followers = {}


async def connected(name):
    if name not in sandboxes:
        sandboxes[name] = await (await Sandbox.get(name)).connect()
    return sandboxes[name]


def output(result):
    return {"exitCode": result.exit_code, "stdout": result.stdout_text, "stderr": result.stderr_text}


async def create(name, workdir=None, env=None, labels=None, volumes=None):
    mounts = {path: Volume.named(volume) for path, volume in (volumes or {}).items()}
    options = {"workdir": workdir, "env": env, "labels": labels, "volumes": mounts}
    sandboxes[name] = await Sandbox.create(name, detached=True, **IMAGE, **options)


async def create_refused(name, refused):
    if refused == "bind mount":
        options = {"volumes": {"/x": Volume.bind("/etc")}}
    else:
        options = {"patches": [Patch.copy_file("/etc/hostname", "/x")]}
    await Sandbox.create(name, **IMAGE, **options)


async def execute(name, command, stdin=None, cwd=None, env=None):
    sandbox = await connected(name)
    data = None if stdin is None else stdin.encode()
    return output(await sandbox.exec(command[0], command[1:], stdin=data, cwd=cwd, env=env))


async def terminal(name, script, rows, columns, line):
    sandbox = await connected(name)
    handle = await sandbox.exec_stream("sh", ["-c", script], tty=True, stdin=Stdin.pipe())
    stdin = handle.take_stdin()
    text = b""
    typed = False
    async for event in handle:
        if event.event_type == "exited":
            return {"exitCode": event.code, "stdout": text.decode(), "stderr": ""}
        if event.event_type in ("stdout", "stderr"):
            text += event.data
        if b"\n" in text and not typed:
            typed = True
            await handle.resize(rows, columns)
            await stdin.write(line.encode() + b"\n")
    raise RuntimeError(f"the terminal ended without an exit code: {text}")


async def upload(name, source, target):
    with open(source, "rb") as file:
        await (await connected(name)).fs.write(target, file.read())


async def download(name, source, target):
    content = await (await connected(name)).fs.read(source)
    with open(target, "wb") as file:
        file.write(content)


async def list_sandboxes(labels=None):
    page = await (Sandbox.list_with(labels=labels) if labels else Sandbox.list())
    return [{"name": each.name, "status": str(each.status)} for each in page.sandboxes]


class Follower:
    def __init__(self, name):
        self.name = name
        self.cursor = None
        self.text = ""

    async def open(self):
        self.opened = time.monotonic()
        handle = await Sandbox.get(self.name)
        self.stream = await handle.log_stream(follow=True, from_cursor=self.cursor)
        return self

    async def next(self):
        while True:
            try:
                return await anext(self.stream)
            except StopAsyncIteration:
                return None
            except Exception:
                if time.monotonic() - self.opened < OWN_LIMIT_SECONDS:
                    raise
                await self.open()

    async def wait_for(self, text):
        while text not in self.text:
            entry = await self.next()
            if entry is None:
                raise RuntimeError(f"the log ended before {text!r}: {self.text}")
            self.cursor = entry.cursor
            self.text += entry.text()

    async def ended(self):
        while await self.next() is not None:
            pass


async def follow(name):
    followers[name] = await Follower(name).open()


async def resume(name):
    """Whether a stream that is opened again after the first entry goes on with the second one."""
    handle = await Sandbox.get(name)
    stream = await handle.log_stream(follow=True)
    first, second = await anext(stream), await anext(stream)
    again = await handle.log_stream(follow=True, from_cursor=first.cursor)
    return (await anext(again)).cursor == second.cursor


async def stop(name):
    await (await Sandbox.get(name)).stop()
    sandboxes.pop(name, None)


async def start(name):
    sandboxes[name] = await (await Sandbox.get(name)).start(detached=True)


async def remove(name):
    sandboxes.pop(name, None)
    await Sandbox.remove(name)


async def ephemeral(name, script):
    sandbox = await Sandbox.create(name, ephemeral=True, detached=True, **IMAGE)
    result = output(await sandbox.exec("sh", ["-c", script]))
    await sandbox.stop()
    return result


async def status(name):
    return str((await Sandbox.get(name)).status)


async def identity(name):
    return (await Sandbox.get(name)).id


async def volumes():
    return [volume.name for volume in await Volume.list()]


async def volume_files(name, operation, *args):
    fs = (await Volume.get(name)).fs
    if operation == "write":
        return await fs.write(args[0], args[1].encode())
    if operation == "list":
        return sorted(entry.path.lstrip("/") for entry in await fs.list(*args))
    if operation == "size":
        return (await fs.stat(*args)).size
    names = {"read": "read_text", "removeFile": "remove_file", "removeFolder": "remove_dir"}
    return await getattr(fs, names.get(operation, operation))(*args)


def captured(snapshot):
    shown = {"id": snapshot.id, "digest": snapshot.digest, "reference": snapshot.reference}
    for field in ("name", "labels"):
        value = getattr(snapshot, field, None)
        if value is not None:
            shown[field] = value
    return shown


async def create_snapshot(name, sandbox, labels):
    await Snapshot.create(name, from_sandbox=sandbox, labels=labels)


async def list_snapshots():
    return [captured(snapshot) for snapshot in await Snapshot.list()]


async def snapshot(called):
    # The handle has the name, what is opened has the labels.
    return captured(await Snapshot.get(called)) | captured(await Snapshot.open(called))


async def restore(called, name):
    sandboxes[name] = await Sandbox.restore(called, name=name, cpus=1, memory=256)


async def remove_snapshot(called):
    await Snapshot.remove(called)


OPERATIONS = {
    "create": create,
    "createRefused": create_refused,
    "exec": execute,
    "terminal": terminal,
    "upload": upload,
    "download": download,
    "list": list_sandboxes,
    "follow": follow,
    "waitFor": lambda name, text: followers[name].wait_for(text),
    "ended": lambda name: followers[name].ended(),
    "resume": resume,
    "stop": stop,
    "start": start,
    "remove": remove,
    "ephemeral": ephemeral,
    "status": status,
    "identity": identity,
    "createVolume": lambda name: Volume.create(name),
    "volumes": volumes,
    "removeVolume": lambda name: Volume.remove(name),
    "volumeFiles": volume_files,
    "createSnapshot": create_snapshot,
    "snapshots": list_snapshots,
    "snapshot": snapshot,
    "restore": restore,
    "removeSnapshot": remove_snapshot,
}
SILENT = ("createVolume", "removeVolume")


async def answer(request):
    reply = {"id": request["id"]}
    try:
        options = request.get("options") or {}
        result = await OPERATIONS[request["operation"]](*request["args"], **options)
        reply["result"] = None if request["operation"] in SILENT or result == () else result
    except Exception as error:  # whatever it is, the test wants to read it
        reply["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(reply), flush=True)


async def main():
    loop = asyncio.get_running_loop()
    tasks = set()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        # The set keeps the tasks alive: the loop holds no more than weak references.
        task = loop.create_task(answer(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.run(main())
