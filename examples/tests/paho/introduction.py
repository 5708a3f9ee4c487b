"""The introduction of every MQTT tutorial: publisher-1 switches the light on, subscriber-1 sees it.

All six callbacks have to fire, however the client is driven: loop(), loop_forever() or
loop_start() and loop_stop().
"""

import sys
import time

from common import PATIENCE, PORT, connect, make, start, stop

way = sys.argv[3]
fired = []
lines = []
subscriber = make("subscriber-1")
publisher, _ = start("publisher-1")


def on_connect(client, userdata, flags, reason_code, properties):
    assert reason_code == 0, reason_code
    fired.append("on_connect")
    client.subscribe("house/light", 1)


def on_subscribe(client, userdata, mid, reason_codes, properties):
    fired.append("on_subscribe")
    publisher.publish("house/light", "on", 1)
    client.publish("house/door", "open", 1)


def on_publish(client, userdata, mid, reason_code, properties):
    fired.append("on_publish")


def on_message(client, userdata, message):
    fired.append("on_message")
    lines.append(f"{message.payload.decode()} {message.topic} {message.qos} {message.retain}")
    client.unsubscribe("house/light")


def on_unsubscribe(client, userdata, mid, reason_codes, properties):
    fired.append("on_unsubscribe")


def on_disconnect(client, userdata, flags, reason_code, properties):
    fired.append("on_disconnect")


ALL = {"on_connect", "on_subscribe", "on_publish", "on_message", "on_unsubscribe", "on_disconnect"}
subscriber.on_connect = on_connect
subscriber.on_subscribe = on_subscribe
subscriber.on_publish = on_publish
subscriber.on_message = on_message
subscriber.on_unsubscribe = on_unsubscribe
subscriber.on_disconnect = on_disconnect

deadline = time.monotonic() + PATIENCE
connect(subscriber)


def done():
    return ALL - set(fired) == {"on_disconnect"}


if way == "loop":
    while not done():
        assert time.monotonic() < deadline, fired
        subscriber.loop(0.1)
    subscriber.disconnect()
    while "on_disconnect" not in fired:
        assert time.monotonic() < deadline, fired
        subscriber.loop(0.1)
elif way == "loop_forever":
    first = subscriber.on_unsubscribe
    second = subscriber.on_publish

    def leave(callback):
        def called(client, *more):
            callback(client, *more)
            if done():
                client.disconnect()
        return called

    subscriber.on_unsubscribe = leave(first)
    subscriber.on_publish = leave(second)
    subscriber.loop_forever()
else:
    subscriber.loop_start()
    while not done():
        assert time.monotonic() < deadline, fired
        time.sleep(0.01)
    subscriber.disconnect()
    subscriber.loop_stop()

stop(publisher)
print(*lines, sep="\n")
assert set(fired) == ALL, fired
assert lines == ["on house/light 1 False"], lines
