"""A session that goes away and comes back, a will, a retained message, a take-over."""

import socket

import paho.mqtt.client as mqtt

from common import VERSION, publish, start, stop

publisher, _ = start("publisher-1")

for qos in (1, 2):
    name, topic = f"away-{VERSION}-{qos}", f"news/{VERSION}/{qos}"
    subscriber, inbox = start(name, [topic], clean=False, expiry=1000, qos=qos)
    assert not inbox.connected.session_present
    stop(subscriber)
    for number in range(30):
        publish(publisher, topic, f"missed {number}", qos)
    subscriber, inbox = start(name, clean=False, expiry=1000)
    assert inbox.connected.session_present
    got = inbox.wait_messages(30)
    publish(publisher, topic, "live", qos)
    got = inbox.wait_messages(31)
    assert got == [(topic, f"missed {number}", qos, False) for number in range(30)] + [(topic, "live", qos, False)], got
    stop(subscriber)

watcher, inbox = start("watcher", ["status/#"])
doomed, _ = start("doomed", prepare=lambda client: client.will_set("status/doomed", "gone", 1, True))
doomed.on_disconnect = None
doomed._reconnect_on_failure = False
doomed.socket().shutdown(socket.SHUT_RDWR)
assert inbox.wait_messages(1) == [("status/doomed", "gone", 1, False)], inbox.messages
polite, _ = start("polite", prepare=lambda client: client.will_set("status/polite", "gone", 1))
stop(polite)
publish(publisher, "status/end", "end")
assert inbox.wait_messages(2)[1][0] == "status/end", "a goodbye takes the will back"
stop(watcher)

late, inbox = start("late", ["status/doomed"])
assert inbox.wait_messages(1) == [("status/doomed", "gone", 1, True)], inbox.messages
stop(late)
publish(publisher, "status/doomed", b"", 1, True)
later, inbox = start("later", ["status/doomed", "status/end"])
publish(publisher, "status/end", "end")
assert inbox.wait_messages(1) == [("status/end", "end", 1, False)], inbox.messages
stop(later)

ends = []
first, first_inbox = start("twin")
first._reconnect_on_failure = False


def on_disconnect(client, userdata, flags, reason_code, properties):
    with first_inbox.changed:
        ends.append(reason_code)
        first_inbox.changed.notify_all()


first.on_disconnect = on_disconnect
second, _ = start("twin")
first_inbox.wait(lambda: ends)
if VERSION == mqtt.MQTTv5:
    assert ends[0].value == 0x8E, ends
first.loop_stop()
stop(second)
stop(publisher)
