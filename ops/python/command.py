"""What the exporters' command lines have in common."""
from __future__ import annotations

import argparse
import sys
from typing import Callable


class Refused(Exception):
    """What a user gave cannot be used; the text is one line that says why and what to do."""


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 1 up")
    return int(text)


def pixels(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"'{text}': expected HEIGHTxWIDTH such as 384x128")
    return int(height), int(width)


def three_numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        raise argparse.ArgumentTypeError(f"'{text}': expected three numbers such as "
                                         "0.485,0.456,0.406")
    return numbers


def add_training(p: argparse.ArgumentParser) -> None:
    """How the encoder was trained, as far as its weights do not say it."""
    p.add_argument("--mean", type=three_numbers, metavar="R,G,B",
                   help="taken from pixels between 0 and 1 (default 0,0,0, as the reference)")
    p.add_argument("--std", type=three_numbers, metavar="R,G,B",
                   help="what they are divided by then (default 1,1,1, as the reference)")
    p.add_argument("--heads", type=positive, metavar="N",
                   help="of the encoder's attention, the reference's --nhead (default 1)")
    p.add_argument("--channels", type=positive, metavar="N",
                   help="of a token; asked only for a QAConv without a neck")


def run(command: Callable[[argparse.Namespace], None], args: argparse.Namespace, name: str) -> int:
    """The exit code of a command; what goes wrong becomes one line."""
    try:
        command(args)
        return 0
    except Refused as e:
        text = str(e)
    except OSError as e:
        text = f"{e.filename}: {e.strerror}" if e.filename else str(e)
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        return 130
    except ImportError as e:
        text = (f"{sys.executable} has no {e.name} (Debian: python3-numpy python3-torch "
                "python3-pil, for /usr/bin/python3)")
    print(f"{name}: {text}", file=sys.stderr)
    return 1
