"""Random conversations with our broker and with mosquitto, side by side.

main.py OUR_BROKER [--seeds N] [--from N] [--steps N] [--threads N] [--trace]
"""

import argparse
import multiprocessing
import os
import random
import socket
import sys
import tempfile
import time

from sides import Side
from talk import Talk


def free_port():
    while True:
        port = random.SystemRandom().randrange(10000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def conversation(job):
    seed, broker, steps, trace = job
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
        config.write(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nsys_interval 0\nset_tcp_nodelay true\n"
            "max_inflight_messages 20\nmax_packet_size 1048576\n"
        )
        config.flush()
        sides = [
            Side("ours", [broker, "--bind", "127.0.0.1:0"], None),
            Side("mosquitto", ["mosquitto", "-c", config.name], port),
        ]
    try:
        talk = Talk(seed, sides, trace)
        differs = talk.run(steps)
        return seed, differs, talk.log, talk.met
    finally:
        for side in sides:
            side.end()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("broker")
    arguments.add_argument("--seeds", type=int, default=100)
    arguments.add_argument("--from", type=int, default=0, dest="first")
    arguments.add_argument("--steps", type=int, default=60)
    arguments.add_argument("--threads", type=int, default=4)
    arguments.add_argument("--trace", action="store_true")
    asked = arguments.parse_args()
    jobs = [(seed, asked.broker, asked.steps, asked.trace) for seed in range(asked.first, asked.first + asked.seeds)]
    started, steps, failures, met = time.monotonic(), 0, 0, {}
    with multiprocessing.Pool(asked.threads) as pool:
        for seed, differs, log, explained in pool.imap_unordered(conversation, jobs):
            steps += len(log)
            for why, count in explained.items():
                met[why] = met.get(why, 0) + count
            # A line now and then says that it goes on.
            print(f"seed {seed}: {len(log)} steps", flush=True)
            if differs:
                failures += 1
                done, label, what, heard = differs
                print(f"seed {seed} step {done}: {log[-1]}")
                for (name, kind), (ours, theirs) in what.items():
                    print(f"    {name} {kind}\n        ours      {ours}\n        mosquitto {theirs}")
    for why, count in sorted(met.items()):
        print(f"explained {count:6} {why}")
    print(f"{asked.seeds} conversations, {steps} steps, {failures} differ, {time.monotonic() - started:.0f} s")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
