"""The command line: ``python -m tinygrad_cnn``, and the program ``tinygrad-cnn``."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; without its extra, say how to install it, with exit status 2."""
    try:
        from tinygrad_cnn.cli import main as run
    except ModuleNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
