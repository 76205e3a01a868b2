"""A program that a keeper takes for QEMU and its guest: it opens the sockets, speaks, and runs nothing.

    fake_qemu.py BEHAVIOUR QEMU'S-OPTIONS...      BEHAVIOUR: well | fails | silent | panics | stubborn

`run` of `echo WORDS` answers the words, of `sleep` waits for a signal; `poweroff`, `panic` and `fill` (the
disk) do that to the guest; anything else ends with 0.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import sys

CONSOLE = re.compile(r"file:(.*)")
SOCKET = re.compile(r"(?:socket,id=agent,path=|unix:)(.*),server=on,wait=off")
USERNET = "  TCP[HOST_FORWARD]  12  127.0.0.1 34567  10.0.2.15 22    0 0"


def say(writer: asyncio.StreamWriter, **message: object) -> None:
    writer.write(json.dumps(message).encode() + b"\n")


async def agent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        message = json.loads(line)
        number, op, argv = message["id"], message.get("op"), message.get("argv", [])
        if "signal" in message:
            say(writer, id=number, exit=128 + message["signal"])
        elif op == "off" and behaviour != "stubborn":
            say(writer, id=number, exit=0)
            os._exit(0)
        elif argv[:1] in (["poweroff"], ["panic"]):
            await tell("SHUTDOWN", reason="guest-shutdown" if argv[0] == "poweroff" else "guest-reset")
            os._exit(0)
        elif argv[:1] == ["fill"]:
            await tell("BLOCK_IO_ERROR", nospace=True)
            await tell("STOP")
        elif argv[:1] == ["echo"]:
            say(writer, id=number, out=base64.b64encode(" ".join(argv[1:]).encode()).decode())
            say(writer, id=number, exit=0)
        elif op is not None and op != "off" and argv[:1] != ["sleep"]:
            say(writer, id=number, exit=0)


async def tell(event: str, **data: object) -> None:
    """Tell an event to whoever is connected."""
    for writer in monitors:
        say(writer, event=event, data=data)
        await writer.drain()


async def monitor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    monitors.append(writer)
    say(writer, QMP={})
    while line := await reader.readline():
        command = json.loads(line)["execute"]
        if command == "cont":
            await tell("RESUME")
        say(writer, **{"return": USERNET if command == "human-monitor-command" else {}})


async def main(options: list[str]) -> None:
    found = {
        word: options[at + 1]
        for at, word in enumerate(options[:-1])
        if word in ("-qmp", "-serial", "-chardev")
    }
    paths = {
        word: match.group(1)
        for word, text in found.items()
        if (match := (SOCKET.match(text) or CONSOLE.match(text)))
    }
    with open(paths["-serial"], "w") as console:  # noqa: PTH123
        console.write("Kernel panic - not syncing: no init\n" if behaviour == "panics" else "guest: up\n")
    if behaviour == "fails":
        sys.exit("qemu: Could not set up host forwarding rule")
    if behaviour in ("silent", "panics"):
        await asyncio.sleep(1000)
    await asyncio.start_unix_server(agent, paths["-chardev"], limit=1 << 22)
    await asyncio.start_unix_server(monitor, paths["-qmp"])
    await asyncio.sleep(1000)


signal.signal(signal.SIGTERM, signal.SIG_IGN)
behaviour = sys.argv[1]
monitors: list[asyncio.StreamWriter] = []
asyncio.run(main(sys.argv[2:]))
