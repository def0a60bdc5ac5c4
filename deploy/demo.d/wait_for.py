"""Waits until these users listen at the NATS server: wait_for.py MONITORING_URL USER..."""
import json
import sys
import time
import urllib.request

WAIT_SECONDS = 20


def main(monitoring, *users):
    until = time.monotonic() + WAIT_SECONDS
    while True:
        missing = set(users) - listening(monitoring)
        if not missing:
            return
        if time.monotonic() > until:
            sys.exit(f"expected {', '.join(sorted(missing))} to listen within {WAIT_SECONDS} s: see their logs")
        time.sleep(0.1)


def listening(monitoring):
    with urllib.request.urlopen(f"{monitoring}/connz?auth=1", timeout=5) as answer:
        connections = json.load(answer)["connections"]
    return {connection.get("authorized_user") for connection in connections if connection["subscriptions"] > 0}


if __name__ == "__main__":
    main(*sys.argv[1:])
