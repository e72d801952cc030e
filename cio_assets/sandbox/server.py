"""Runs a sandbox: builds the world, binds a port on 127.0.0.1 and says when it accepts connections."""

import gc
import os
import socket
import sys
import threading
import time

import uvicorn

from cio_assets.sandbox.app import App
from cio_assets.sandbox.clock import Clock
from cio_assets.sandbox.options import SandboxOptions, parse_time
from cio_assets.sandbox.world import World


class Server(uvicorn.Server):
    """A uvicorn server that prints one line once it accepts connections."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then say so."""
        await super().startup(sockets)
        if sockets:
            scheme = "https" if self.config.is_ssl else "http"
            print(f"sandbox ready on {scheme}://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)


def serve(options: SandboxOptions) -> None:
    """Serve until interrupted. Nothing about requests or people is logged."""
    if parent := os.environ.get("CIO_SANDBOX_PARENT"):
        threading.Thread(target=_follow, args=(int(parent),), daemon=True).start()
    # Bind first: a taken port is told before a big world is built.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", options.port))
    # The event loop must get its turn while the worker renders, or arrival times would be late.
    sys.setswitchinterval(0.0005)
    clock = Clock(time.time() if options.now is None else parse_time(options.now), options.freeze)
    app = App(options, World(options, clock))
    # A million people are no garbage: looking through them again and again would stop everything.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    config = uvicorn.Config(
        app, lifespan="off", access_log=False, log_level="critical", date_header=False, server_header=False,
        timeout_keep_alive=60, timeout_graceful_shutdown=1,
        ssl_certfile=options.tls_certificate, ssl_keyfile=options.tls_key,
    )  # fmt: skip
    Server(config).run(sockets=[listener])


def _follow(parent: int) -> None:
    """End with the process that launched this one, even if that was killed and could not say so."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)
