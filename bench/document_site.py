"""The least web site: one answer document for whoever asks. Usage: python -m bench.document_site PORT XML"""

from __future__ import annotations

import asyncio
import sys

from bench.carrier_node import answer


async def main() -> None:
    document = sys.argv[2].encode()
    server = await asyncio.start_server(
        lambda reader, writer: answer(document, reader, writer), "127.0.0.1", int(sys.argv[1])
    )
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
