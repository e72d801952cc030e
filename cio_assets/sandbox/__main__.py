"""`python -m cio_assets.sandbox`: the sandbox as a process of its own."""

import argparse

from cio_assets.sandbox import add_arguments, options_from_args, serve

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="cio_assets.sandbox", description="A local Customer.io: App API and Track API."
    )
    add_arguments(parser)
    serve(options_from_args(parser.parse_args()))
