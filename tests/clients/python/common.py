"""What the Python clients' checks share: where to connect, and the report."""
import hashlib
import os
import sys
import traceback

HOST = os.environ["E2E_HOST"]
PORT = int(os.environ["E2E_PORT"])
USER = os.environ["E2E_USER"]
PASSWORD = os.environ["E2E_PASSWORD"]
DATABASE = os.environ["E2E_DATABASE"]
OTHER_DATABASE = os.environ["E2E_OTHER_DATABASE"]
PREFIX = os.environ["E2E_PREFIX"]
# A sharded keyspace refuses an INSERT whose key comes from a sequence, yet.
SHA2_USER = os.environ["E2E_SHA2_USER"]
SHA2_PASSWORD = os.environ["E2E_SHA2_PASSWORD"]

BIG_ROWS = 100
BIG_BYTES = 1 << 20
LARGE = 32 << 20


def large_value():
    """32 MiB without a period that a frame's length could hide."""
    block = b"".join(hashlib.sha256(i.to_bytes(4, "big")).digest() for i in range(1 << 15))
    return b"".join(i.to_bytes(1, "big") + block[1:] for i in range(LARGE // len(block)))


def run(checks):
    """Runs all, prints one line each, ends with 1 if one has failed."""
    failed = 0
    for check in checks:
        name = check.__name__
        try:
            check()
            print("ok", name, flush=True)
        except Exception:
            failed += 1
            print("FAILED", name, flush=True)
            traceback.print_exc(file=sys.stdout)
    print("checks", len(checks), "failed", failed)
    sys.exit(1 if failed else 0)


def equal(got, wanted):
    if got != wanted:
        raise AssertionError(f"got {got!r:.500}, wanted {wanted!r:.500}")


def fails(code, action, code_of):
    try:
        action()
    except Exception as error:
        equal(code_of(error), code)
        return
    raise AssertionError(f"no error, wanted {code}")
