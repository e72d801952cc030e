"""A strict local Customer.io, App API and Track API, over real HTTP, for the demo and the tests.

It is an independent second reading of the references and imports nothing from the rest of the package.
Importing it is cheap: numpy, starlette and uvicorn load only when a server starts.
"""

from importlib import import_module

from cio_assets.sandbox.launch import Sandbox, launch
from cio_assets.sandbox.options import SandboxOptions, add_arguments, options_from_args


def serve(options: SandboxOptions) -> None:
    """Run the sandbox in this process until it is interrupted; prints one line when it accepts connections."""
    import_module("cio_assets.sandbox.server").serve(options)


__all__ = ["Sandbox", "SandboxOptions", "add_arguments", "launch", "options_from_args", "serve"]
