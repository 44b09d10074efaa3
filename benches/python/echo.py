"""Echo on asyncio's protocols, on its own loop or on uvloop: `echo.py asyncio|uvloop echo`."""

import asyncio
import socket
import sys

BACKLOG = 4096


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def main():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    server = await asyncio.get_running_loop().create_server(Echo, sock=listener, backlog=BACKLOG)
    print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    await server.serve_forever()


if sys.argv[2:] != ["echo"]:
    sys.exit("expected asyncio or uvloop, and the role echo")
if sys.argv[1] == "uvloop":
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
asyncio.run(main())
