"""What version 5.0 adds: properties, subscription options and identifiers, assigned identifiers."""

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from common import Inbox, connect, make, publish, start, stop

publisher, _ = start("publisher-1")

# Properties come through unchanged and in order.
subscriber = make("subscriber-1")
inbox = Inbox(subscriber)
received = []
keep = inbox.on_message


def on_message(client, userdata, message):
    received.append(message.properties)
    keep(client, userdata, message)


subscriber.on_message = on_message
connect(subscriber)
subscriber.loop_start()
inbox.wait(lambda: inbox.connected is not None)
identifier = Properties(PacketTypes.SUBSCRIBE)
identifier.SubscriptionIdentifier = 7
subscriber.subscribe("request/#", options=SubscribeOptions(qos=1), properties=identifier)
inbox.wait(lambda: inbox.subscribed == 1)
identifier = Properties(PacketTypes.SUBSCRIBE)
identifier.SubscriptionIdentifier = 300
subscriber.subscribe("request/one", options=SubscribeOptions(qos=2), properties=identifier)
inbox.wait(lambda: inbox.subscribed == 2)

properties = Properties(PacketTypes.PUBLISH)
properties.PayloadFormatIndicator = 1
properties.MessageExpiryInterval = 100
properties.ContentType = "text/plain"
properties.ResponseTopic = "answer"
properties.CorrelationData = b"\x01\x02"
properties.UserProperty = ("b", "2")
properties.UserProperty = ("a", "1")
publish(publisher, "request/one", "question", 2, properties=properties)
assert inbox.wait_messages(1) == [("request/one", "question", 2, False)], inbox.messages
got = received[0]
assert got.PayloadFormatIndicator == 1 and got.ContentType == "text/plain" and got.ResponseTopic == "answer", got
assert got.CorrelationData == b"\x01\x02" and 98 <= got.MessageExpiryInterval <= 100, got
assert got.UserProperty == [("b", "2"), ("a", "1")], got.UserProperty
assert sorted(got.SubscriptionIdentifier) == [7, 300], got.SubscriptionIdentifier
stop(subscriber)

# No Local, Retain As Published, Retain Handling.
publish(publisher, "door", "open", 1, True)
client = make("options")
inbox = Inbox(client)
connect(client)
client.loop_start()
inbox.wait(lambda: inbox.connected is not None)
client.subscribe("door", options=SubscribeOptions(qos=1, retainHandling=2, retainAsPublished=True, noLocal=True))
inbox.wait(lambda: inbox.subscribed == 1)
publish(client, "door", "mine", 1, True)
publish(publisher, "door", "theirs", 1, True)
assert inbox.wait_messages(1) == [("door", "theirs", 1, True)], inbox.messages
stop(client)

# An identifier is assigned to a client without one.
nameless = make("")
inbox = Inbox(nameless)
assigned = []
keep_connect = inbox.on_connect


def on_connect(client, userdata, flags, reason_code, properties):
    assigned.append(properties.AssignedClientIdentifier)
    keep_connect(client, userdata, flags, reason_code, properties)


nameless.on_connect = on_connect
connect(nameless)
nameless.loop_start()
inbox.wait(lambda: inbox.connected is not None)
assert assigned[0], assigned
stop(nameless)
stop(publisher)
