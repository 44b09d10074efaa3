"""Reads many slow poems at once on asyncio's protocols: `fan_in.py asyncio|uvloop ADDRESS COUNT` prints how many bytes
came."""

import asyncio
import sys


class Poem(asyncio.Protocol):
    received = 0

    def __init__(self, over):
        self.over = over

    def data_received(self, data):
        Poem.received += len(data)

    def connection_lost(self, error):
        if error is None:
            self.over.set_result(None)
        else:
            self.over.set_exception(error)


async def read_poem(loop, host, port):
    over = loop.create_future()
    await loop.create_connection(lambda: Poem(over), host, port)
    await over


async def main(address, count):
    host, port = address.split(":")
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(read_poem(loop, host, int(port)) for _ in range(int(count))))
    print(Poem.received)


if sys.argv[1] == "uvloop":
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
asyncio.run(main(*sys.argv[2:]))
