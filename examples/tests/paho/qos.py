"""paho on both sides of the broker, at every pair of QoS."""

from common import publish, start, stop

publisher, _ = start("publisher-1")
for granted in (0, 1, 2):
    subscriber, inbox = start(f"subscriber-{granted}", ["qos/#"], qos=granted)
    expected = []
    for published in (0, 1, 2):
        for number in range(50):
            publish(publisher, f"qos/{published}", f"message {number}", published)
            expected.append((f"qos/{published}", f"message {number}", min(published, granted), False))
    got = inbox.wait_messages(len(expected))
    assert got == expected, (granted, got)
    stop(subscriber)
large = "x" * 500_000
subscriber, inbox = start("subscriber-large", ["large"])
publish(publisher, "large", large, 2)
assert inbox.wait_messages(1) == [("large", large, 2, False)]
stop(subscriber)
stop(publisher)
