#!/usr/bin/env python3
"""Takes away what enforces a statement, in a copy, and looks whether the test that shows it goes red.

    python3 docs/conformance/break.py --seed 20261126 --count 60

picks statements by the seed among all that are enforced (docs/conformance/*.txt), plays the block of
breaks.txt for each, and prints a table. Exits with 1 unless every one of them went red. Needs cargo and
some minutes: each break is compiled. `--all` plays every block instead, `--only` those of some statements
(`--only 5:MQTT-4.3.2-1 3:MQTT-3.3.1-1`).
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def enforced():
    """All statements that are not elsewhere, with their words."""
    found = {}
    for version, name in (("5", "mqtt5.txt"), ("3", "mqtt311.txt")):
        for line in (HERE / name).read_text().splitlines():
            if not line.startswith("#"):
                number, _, role, words = (part.strip() for part in line.split(" | ")[:4])
                if role != "elsewhere":
                    found[f"{version}:{number}"] = words
    return found


def shown_by():
    """The tests of each statement, from the ledger."""
    found, version = {}, None
    for line in (HERE.parent / "conformance.md").read_text().splitlines():
        if line.startswith("## MQTT"):
            version = "5" if "5.0" in line else "3"
        elif version and re.match(r"\| \d", line):
            columns = line.strip(" |").split(" | ")
            found[f"{version}:MQTT-{columns[0]}"] = columns[-1]
    return found


class Break:
    def __init__(self, block):
        head, test, file, *edits = block
        self.statements = re.findall(r"\[([53]:MQTT-[0-9.]+-[0-9]+)\]", head)
        self.test = test.removeprefix("test ").split()
        self.file = file.removeprefix("file ")
        self.old = [line[1:].strip() for line in edits if line.startswith("-")]
        self.new = [line[2:] for line in edits if line.startswith("+")]

    def name(self):
        return " ".join(self.test[1:2] + self.test[-1:])

    def apply(self, copy):
        """Answers what to write back afterwards."""
        path = copy / self.file
        before = path.read_text()
        lines = before.splitlines()
        words = [line.strip() for line in lines]
        size = len(self.old)
        places = [at for at in range(len(words)) if words[at : at + size] == self.old]
        if len(places) != 1:
            return None, f"the line stands {len(places)} times in {self.file}"
        lines[places[0] : places[0] + size] = self.new
        path.write_text("\n".join(lines) + "\n")
        return before, None

    def play(self, copy, target):
        before, fault = self.apply(copy)
        if fault:
            return fault
        environment = {
            **os.environ,
            "CARGO_TARGET_DIR": str(target),
            "CARGO_PROFILE_DEV_DEBUG": "0",
            "CARGO_PROFILE_TEST_DEBUG": "0",
            "RUST_BACKTRACE": "0",
        }
        command = ["cargo", "test", "-q", "--locked", *self.test]
        child = subprocess.Popen(
            command,
            cwd=copy,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, err = child.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            # With the test, which cargo would leave behind.
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            return "hangs"
        finally:
            (copy / self.file).write_text(before)
        if "error: could not compile" in err:
            print(err, file=sys.stderr)
            return "does not compile"
        if re.search(r"test result: FAILED", out):
            return "red"
        ran = sum(map(int, re.findall(r"test result: ok\. (\d+) passed", out)))
        return "stays green" if ran else "no such test"


def blocks():
    text = (HERE / "breaks.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [Break(block.splitlines()) for block in re.split(r"\n\s*\n", "\n".join(lines).strip())]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=20261126)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--target", default=str(ROOT / "target" / "conformance"))
    args = parser.parse_args()

    words, ledger, known = enforced(), shown_by(), blocks()
    of = {}
    for number, block in enumerate(known):
        for statement in block.statements:
            of.setdefault(statement, []).append(number)
    if args.only:
        picked = args.only
    elif args.all:
        picked = sorted(of)
    else:
        picked = sorted(random.Random(args.seed).sample(list(words), args.count))

    results, copy = {}, Path(tempfile.mkdtemp(prefix="conformance-"))
    try:
        skip = shutil.ignore_patterns("target", ".git", "corpus", "artifacts")
        shutil.copytree(ROOT, copy, dirs_exist_ok=True, ignore=skip)
        print("| statement | test | result |\n|---|---|---|", flush=True)
        red = 0
        for statement in picked:
            # Where it is enforced in several places, each of them.
            all_red = statement in of
            for number in of.get(statement, [None]):
                if number is None:
                    test, result = "", "no break written"
                else:
                    block = known[number]
                    test = block.name()
                    if number not in results:
                        results[number] = block.play(copy, Path(args.target))
                    result = results[number]
                    if block.test[-1] not in ledger[statement]:
                        result += ", and the ledger does not name this test"
                all_red &= result == "red"
                print(f"| [{statement}] | `{test}` | {result} |", flush=True)
            red += all_red
        print(f"\n{red} of {len(picked)} red.")
        return 0 if red == len(picked) else 1
    finally:
        shutil.rmtree(copy)


if __name__ == "__main__":
    sys.exit(main())
