"""More of version 5.0: retain handling, expiry, aliases, take-over, what is refused."""

import sys

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from common import Inbox, connect, let_pass, make, properties_of, publish, start, stop, will

publisher, _ = start("publisher")


def retain_handling():
    publish(publisher, "kept", "value", 1, True)
    client, inbox = start("retain-handling")
    # Handling, whether it is greeted the first time, and again.
    for count, (handling, first, again) in enumerate([(0, 1, 1), (1, 1, 0), (2, 0, 0)]):
        for time, greetings in enumerate((first, again)):
            with inbox.changed:
                inbox.messages.clear()
            subscribed = inbox.subscribed
            client.subscribe("kept", options=SubscribeOptions(qos=1, retainHandling=handling))
            inbox.wait(lambda: inbox.subscribed > subscribed)
            publish(publisher, "kept", f"mark {count} {time}", 0)
            got = inbox.wait_messages(greetings + 1)
            expected = [("kept", "value", 1, True)] * greetings + [("kept", f"mark {count} {time}", 0, False)]
            assert sorted(got) == sorted(expected), (handling, got)
        client.unsubscribe("kept")
        client.on_unsubscribe = None
    stop(client)
    publish(publisher, "kept", b"", 1, True)


def no_local():
    client, inbox = start("no-local")
    client.subscribe("chat", options=SubscribeOptions(qos=2, noLocal=True))
    inbox.wait(lambda: inbox.subscribed == 1)
    for qos in (0, 1, 2):
        client.publish("chat", "mine", qos)
    publish(client, "chat", "mine too", 2)
    publish(publisher, "chat", "theirs", 2)
    assert inbox.wait_messages(1) == [("chat", "theirs", 2, False)], inbox.messages
    stop(client)


def retain_as_published():
    client, inbox = start("as-published")
    client.subscribe("rap/#", options=SubscribeOptions(qos=1, retainAsPublished=True))
    inbox.wait(lambda: inbox.subscribed == 1)
    publish(publisher, "rap/a", "kept", 1, True)
    publish(publisher, "rap/a", "passing", 1, False)
    publish(publisher, "rap/a", b"", 1, True)
    assert inbox.wait_messages(3) == [("rap/a", "kept", 1, True), ("rap/a", "passing", 1, False), ("rap/a", "", 1, True)]
    stop(client)


def expiry():
    watcher, gone = start("watcher", ["gone"])
    client, _ = start("sleeper", ["late"], clean=False, expiry=1000, prepare=will("gone", "sleeper"))
    # What goes to a client that is there does not expire, and its will tells that the broker knows it is gone.
    client.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=0x04))
    client.loop_stop()
    gone.wait_messages(1)
    stop(watcher)
    for payload, secs in (("short", 1), ("long", 1000)):
        publish(publisher, "late", payload, 1, properties=properties_of(PacketTypes.PUBLISH, MessageExpiryInterval=secs))
        publish(publisher, f"kept/{payload}", payload, 1, True,
                properties=properties_of(PacketTypes.PUBLISH, MessageExpiryInterval=secs))
    let_pass(3)
    client = make("sleeper")
    inbox = Inbox(client)
    left = []
    keep = inbox.on_message

    def on_message(client, userdata, message):
        left.append(message.properties.MessageExpiryInterval)
        keep(client, userdata, message)

    client.on_message = on_message
    connect(client, clean=False, expiry=1000)
    client.loop_start()
    assert inbox.wait_messages(1) == [("late", "long", 1, False)], inbox.messages
    client.subscribe("kept/#", 1)
    assert inbox.wait_messages(2)[1:] == [("kept/long", "long", 1, True)], inbox.messages
    assert all(990 <= secs <= 997 for secs in left), left
    stop(client)


def session_expiry():
    client, _ = start("short-lived", ["short"], clean=False, expiry=1)
    stop(client)
    client, _ = start("long-lived", ["long"], clean=False, expiry=1000)
    stop(client)
    let_pass(3)
    for name, is_there in (("short-lived", False), ("long-lived", True)):
        client, inbox = start(name, clean=False, expiry=1000)
        assert inbox.connected.session_present == is_there, name
        stop(client)


def aliases():
    # From the client: with a topic once, without it from then on.
    client, inbox = start("aliases", ["a/long/topic/#"])
    alias = properties_of(PacketTypes.PUBLISH, TopicAlias=1)
    sender, _ = start("sender")
    publish(sender, "a/long/topic/name", "1", 1, properties=alias)
    publish(sender, "", "2", 1, properties=alias)
    publish(sender, "a/long/topic/other", "3", 1, properties=alias)
    publish(sender, "", "4", 1, properties=alias)
    got = [(topic, payload) for topic, payload, _, _ in inbox.wait_messages(4)]
    name, other = "a/long/topic/name", "a/long/topic/other"
    assert got == [(name, "1"), (name, "2"), (other, "3"), (other, "4")], got
    stop(sender)
    stop(client)
    # To the client, no more than it takes; paho hands them on as they are.
    client = make("takes-aliases")
    inbox = Inbox(client)
    seen = []

    def on_message(client, userdata, message):
        with inbox.changed:
            seen.append((message.topic, getattr(message.properties, "TopicAlias", None)))
            inbox.changed.notify_all()

    client.on_message = on_message
    connect(client, TopicAliasMaximum=1)
    client.loop_start()
    inbox.wait(lambda: inbox.connected is not None)
    client.subscribe("a/long/topic/#", 1)
    inbox.wait(lambda: inbox.subscribed == 1)
    for _ in range(3):
        publish(publisher, name, "x", 1)
    inbox.wait(lambda: len(seen) == 3)
    assert {alias for _, alias in seen} <= {None, 1}, seen
    assert ("", 1) in seen, seen
    assert seen[0][0] == name, seen
    stop(client)


def take_over():
    ends = []
    first, inbox = start("taken", ["taken"], expiry=1000)
    first._reconnect_on_failure = False

    def on_disconnect(client, userdata, flags, reason_code, properties):
        with inbox.changed:
            ends.append(reason_code.value)
            inbox.changed.notify_all()

    first.on_disconnect = on_disconnect
    second, second_inbox = start("taken", clean=False, expiry=1000)
    inbox.wait(lambda: ends)
    assert ends[0] == 0x8E and second_inbox.connected.session_present, ends
    publish(publisher, "taken", "still subscribed", 2)
    assert second_inbox.wait_messages(1) == [("taken", "still subscribed", 2, False)]
    first.loop_stop()
    stop(second)


def authentication_method():
    # The example has none: 0x8C, and not a connection without authentication.
    client = make("enhanced")
    client._reconnect_on_failure = False
    inbox = Inbox(client)
    codes = []

    def on_connect(client, userdata, flags, reason_code, properties):
        with inbox.changed:
            codes.append(reason_code.value)
            inbox.changed.notify_all()

    client.on_connect = on_connect
    connect(client, AuthenticationMethod="SCRAM-SHA-256", AuthenticationData=b"n,,n=user,r=nonce")
    client.loop_start()
    inbox.wait(lambda: codes)
    assert codes == [0x8C], codes
    client.loop_stop()


globals()[sys.argv[3]]()
stop(publisher)
