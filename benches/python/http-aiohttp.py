"""Small GETs on aiohttp: `http-aiohttp.py aiohttp URL COUNT LANES`. A task for each lane, all with one session."""

import asyncio
import resource
import sys
import time

import aiohttp


async def run_lane(session, url, gets):
    received = 0
    for _ in range(gets):
        async with session.get(url) as response:
            received += len(await response.read())
    return received


async def run_lanes(session, url, lanes, each):
    return sum(await asyncio.gather(*(run_lane(session, url, each) for _ in range(lanes))))


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main():
    url, count, lanes = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=lanes)) as session:
        await run_lanes(session, url, lanes, 1)
        begun, before = time.monotonic(), cpu()
        received = await run_lanes(session, url, lanes, count // lanes)
        print(received, round((time.monotonic() - begun) * 1e6), round((cpu() - before) * 1e6))


asyncio.run(main())
