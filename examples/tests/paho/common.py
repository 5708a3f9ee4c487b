"""What the scripts share: a paho client for a version, and waiting with patience."""

import socket
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


def properties_of(packet, **values):
    """Properties of a packet."""
    properties = Properties(packet)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def connect(client, clean=True, expiry=0, **more):
    """Connects, with a session that the broker keeps if asked to, and further properties."""
    if VERSION == mqtt.MQTTv5:
        properties = properties_of(PacketTypes.CONNECT, SessionExpiryInterval=expiry, **more)
        client.connect("127.0.0.1", PORT, clean_start=clean, properties=properties)
    else:
        client.connect("127.0.0.1", PORT)


class Inbox:
    """The messages of a client, as (topic, payload, qos, retain). Several may tell of changes together."""

    def __init__(self, client, changed=None):
        self.messages = []
        self.changed = changed or threading.Condition()
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


def start(name, filters=(), clean=True, expiry=0, qos=2, prepare=None, changed=None, **more):
    """A client that is connected, subscribed, and runs in the background."""
    client = make(name, clean)
    inbox = Inbox(client, changed)
    if prepare:
        prepare(client)
    connect(client, clean, expiry, **more)
    client.loop_start()
    inbox.wait(lambda: inbox.connected is not None)
    for number, topic_filter in enumerate(filters):
        client.subscribe(topic_filter, qos)
        inbox.wait(lambda: inbox.subscribed > number)
    return client, inbox


def cut(client):
    """The network fails, and the client does not come back by itself."""
    client._reconnect_on_failure = False
    client.socket().shutdown(socket.SHUT_RDWR)
    client.loop_stop()


def stop(client):
    client.disconnect()
    client.loop_stop()


def publish(client, topic, payload, qos=1, retain=False, **more):
    client.publish(topic, payload, qos, retain, **more).wait_for_publish(PATIENCE)


def will(topic, payload, delay=0, qos=1):
    """Sets a will before the client connects; a delay is for version 5.0."""
    def prepare(client):
        if VERSION == mqtt.MQTTv5:
            properties = properties_of(PacketTypes.WILLMESSAGE, WillDelayInterval=delay)
            client.will_set(topic, payload, qos, False, properties)
        else:
            client.will_set(topic, payload, qos)
    return prepare


def let_pass(secs):
    """Waits until the broker has seen so many seconds pass: a will that is delayed by them has come (5.0)."""
    watcher, inbox = start("clock-watcher", ["clock"])
    clock, _ = start("clock", expiry=1000, prepare=will("clock", "tick", secs))
    cut(clock)
    inbox.wait_messages(1)
    stop(watcher)
