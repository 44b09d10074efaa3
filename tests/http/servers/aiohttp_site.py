"""A site on aiohttp, for the tests: prints its port, and serves until it is ended."""

import asyncio

from aiohttp import web


async def chunked(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for number in range(100):
        await response.write(b"piece %d\n" % number)
        await asyncio.sleep(0)
    await response.write_eof()
    return response


async def packed(request):
    response = web.StreamResponse()
    response.enable_compression()
    await response.prepare(request)
    for _ in range(100):
        await response.write(b"running on, " * 100)
    await response.write_eof()
    return response


def redirect(status, to):
    # Without a body, which would come in a second segment: a client that does not wait for it opens a new connection.
    return web.Response(status=status, headers={"Location": to})


async def login(request):
    form = await request.post()
    if form.get("name") != "ann":
        return web.Response(status=401)
    answer = redirect(303, "/members")
    answer.set_cookie("room", "42", httponly=True)
    return answer


async def members(request):
    return web.Response(text="room " + request.cookies.get("room", "none"))


async def echo(request):
    return web.Response(body=await request.read())


async def moved(_):
    return redirect(307, "/echo")


async def cut(request):
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"part")
    request.transport.close()
    return response


async def main():
    app = web.Application(client_max_size=64 << 20)
    app.router.add_get("/chunked", chunked)
    app.router.add_get("/packed", packed)
    app.router.add_post("/login", login)
    app.router.add_get("/members", members)
    app.router.add_route("*", "/echo", echo)
    app.router.add_put("/moved", moved)
    app.router.add_get("/cut", cut)
    runner = web.AppRunner(app, keepalive_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
