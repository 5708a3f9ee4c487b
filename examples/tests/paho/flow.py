"""A client that takes one message at a time, and one that is cut off in the middle (5.0; 3.1.1 the latter)."""

import paho.mqtt.client as mqtt

from common import VERSION, Inbox, connect, cut, make, publish, start, stop

publisher, _ = start("publisher")


def manual(name, clean, **more):
    """A client that acknowledges when it is told to."""
    client = make(name, clean)
    client.manual_ack_set(True)
    inbox = Inbox(client)
    mids = []
    keep = inbox.on_message

    def on_message(client, userdata, message):
        mids.append((message.mid, message.qos, message.dup))
        keep(client, userdata, message)

    client.on_message = on_message
    connect(client, clean, 1000, **more)
    client.loop_start()
    inbox.wait(lambda: inbox.connected is not None)
    return client, inbox, mids


# Not acknowledged when the connection broke: the same again, with DUP, and in order.
for qos in (1, 2):
    name, topic = f"cut-{VERSION}-{qos}", f"cut/{qos}"
    client, inbox, mids = manual(name, False)
    client.subscribe(topic, qos)
    inbox.wait(lambda: inbox.subscribed == 1)
    for number in range(3):
        publish(publisher, topic, f"message {number}", qos)
    expected = [(topic, f"message {number}", qos, False) for number in range(3)]
    assert inbox.wait_messages(3) == expected, inbox.messages
    cut(client)
    client, inbox, again = manual(name, False)
    assert inbox.connected.session_present
    if qos == 1:
        assert inbox.wait_messages(3) == expected, inbox.messages
        assert again == [(mid, qos, True) for mid, _, _ in mids], (mids, again)
        for mid, qos, _ in again:
            client.ack(mid, qos)
    else:
        # It is only the end of each that was missing.
        publish(publisher, topic, "mark", 0)
        assert inbox.wait_messages(1) == [(topic, "mark", 0, False)], inbox.messages
    stop(client)

if VERSION == mqtt.MQTTv5:
    client, inbox, mids = manual("one-at-a-time", True, ReceiveMaximum=1)
    client.subscribe("flow", 1)
    inbox.wait(lambda: inbox.subscribed == 1)
    for number in range(3):
        publish(publisher, "flow", f"message {number}", 1)
    for number in range(3):
        # QoS 0 is not held back, so it says when the next would have come.
        publish(publisher, "flow", f"mark {number}", 0)
        got = inbox.wait_messages(2 * number + 2)
        assert sorted(payload for _, payload, _, _ in got[2 * number:]) == [f"mark {number}", f"message {number}"], got
        client.ack(mids[[payload for _, payload, _, _ in got].index(f"message {number}")][0], 1)
    stop(client)

stop(publisher)
