"""What the scripts share: a paho client for a version, and waiting with patience."""

import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.packettypes import PacketTypes

PORT = int(sys.argv[1])
VERSION = mqtt.MQTTv5 if sys.argv[2] == "5" else mqtt.MQTTv311
PATIENCE = 30


def make(name, clean=True):
    """A client that is not connected."""
    if VERSION == mqtt.MQTTv5:
        return mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=VERSION)
    return mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=VERSION, clean_session=clean)


def connect(client, clean=True, expiry=0):
    """Connects, with a session that the broker keeps if asked to."""
    if VERSION == mqtt.MQTTv5:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = expiry
        client.connect("127.0.0.1", PORT, clean_start=clean, properties=properties)
    else:
        client.connect("127.0.0.1", PORT)


class Inbox:
    """The messages of a client, as (topic, payload, qos, retain)."""

    def __init__(self, client):
        self.messages = []
        self.changed = threading.Condition()
        self.subscribed = 0
        self.connected = None
        client.on_message = self.on_message
        client.on_subscribe = self.on_subscribe
        client.on_connect = self.on_connect

    def on_connect(self, client, userdata, flags, reason_code, properties):
        with self.changed:
            self.connected = flags
            self.changed.notify_all()

    def on_message(self, client, userdata, message):
        with self.changed:
            self.messages.append((message.topic, message.payload.decode(), message.qos, message.retain))
            self.changed.notify_all()

    def on_subscribe(self, client, userdata, mid, reason_codes, properties):
        with self.changed:
            assert all(code.value < 0x80 for code in reason_codes), reason_codes
            self.subscribed += 1
            self.changed.notify_all()

    def wait(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE), (self.messages, self.subscribed, self.connected)

    def wait_messages(self, count):
        self.wait(lambda: len(self.messages) >= count)
        return list(self.messages)


def start(name, filters=(), clean=True, expiry=0, qos=2, prepare=None):
    """A client that is connected, subscribed, and runs in the background."""
    client = make(name, clean)
    inbox = Inbox(client)
    if prepare:
        prepare(client)
    connect(client, clean, expiry)
    client.loop_start()
    inbox.wait(lambda: inbox.connected is not None)
    for number, topic_filter in enumerate(filters):
        client.subscribe(topic_filter, qos)
        inbox.wait(lambda: inbox.subscribed > number)
    return client, inbox


def stop(client):
    client.disconnect()
    client.loop_stop()


def publish(client, topic, payload, qos=1, retain=False, **more):
    client.publish(topic, payload, qos, retain, **more).wait_for_publish(PATIENCE)
