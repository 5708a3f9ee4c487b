"""Shared subscriptions: each message once in a group, to members that are there."""

import threading

from common import VERSION, cut, publish, start, stop

publisher, _ = start("publisher")
everyone, everything = start("everyone", ["jobs/#"])
group = {"clean": False, "expiry": 1000, "changed": threading.Condition()}
one, first = start(f"one-{VERSION}", [f"$share/workers-{VERSION}/jobs/#"], **group)
two, second = start(f"two-{VERSION}", [f"$share/workers-{VERSION}/jobs/#"], **group)
other, others = start("other", ["$share/others/jobs/#"])


def payloads(inbox):
    return [payload for _, payload, _, _ in list(inbox.messages)]


def both(start):
    return sorted(payload for payload in payloads(first) + payloads(second) if payload.startswith(start))


def wait_both(start, count):
    first.wait(lambda: len(both(start)) >= count)


expected = [f"job {number}" for number in range(20)]
for job in expected:
    publish(publisher, "jobs/a", job, 2)
everything.wait_messages(20)
others.wait_messages(20)
wait_both("job", 20)
assert payloads(everything) == expected and payloads(others) == expected
assert sorted(payloads(first) + payloads(second)) == sorted(expected), (payloads(first), payloads(second))
assert payloads(first) and payloads(second), "both have their turn"
assert payloads(first) == [job for job in expected if job in payloads(first)], "in order for each member"

# Who is away has no turn while others are there.
cut(two)
before = len(payloads(first))
for number in range(10):
    publish(publisher, "jobs/b", f"more {number}", 1)
first.wait_messages(before + 10)
assert payloads(first)[before:] == [f"more {number}" for number in range(10)]

# When nobody is there, somebody's session keeps them.
cut(one)
for number in range(10):
    publish(publisher, "jobs/c", f"late {number}", 1)
one, first = start(f"one-{VERSION}", **group)
two, second = start(f"two-{VERSION}", **group)
wait_both("late", 10)
late = both("late")
assert late == [f"late {number}" for number in range(10)], late

for client in (one, two, other, everyone, publisher):
    stop(client)
