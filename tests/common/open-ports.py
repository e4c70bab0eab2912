"""Prints every TCP port of an address that accepts a connection.

usage: open-ports.py ADDRESS

Every closed port must refuse, for silence tells nothing: it is an error. See
refusing-firewall.nix.
"""

import asyncio
import resource
import sys

AT_ONCE = 500


async def is_open(address: str, port: int, slots: asyncio.Semaphore) -> bool:
    async with slots:
        try:
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(address, port), timeout=60
            )
        except ConnectionRefusedError:
            return False
        writer.close()
        return True


async def main(address: str) -> None:
    slots = asyncio.Semaphore(AT_ONCE)
    ports = range(1, 65536)
    for port, found in zip(
        ports, await asyncio.gather(*(is_open(address, p, slots) for p in ports))
    ):
        if found:
            print(port)


resource.setrlimit(resource.RLIMIT_NOFILE, (AT_ONCE + 100, AT_ONCE + 100))
asyncio.run(main(sys.argv[1]))
