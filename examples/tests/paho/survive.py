"""Publishes and subscribes through a broker that goes away without a warning, and comes back: whatever
was acknowledged has come, at QoS 2 once."""

import re
import sys
import threading
from collections import Counter

from common import PATIENCE, make, connect

TOTAL = int(sys.argv[3])
WINDOW = 20

changed = threading.Condition()
got = Counter()
acknowledged = []
subscribed = False
# Whoever was told that it is connected has a session from then on.
known = set()
lost = []


def qos_of(number):
    return 1 + number % 2


def say(*words):
    print(*words, flush=True)


def on_message(client, userdata, message):
    with changed:
        number = int(message.payload)
        got[number] += 1
        changed.notify_all()
    say("got", number)


def on_subscribe(client, userdata, mid, reason_codes, properties):
    global subscribed
    with changed:
        subscribed = True
        changed.notify_all()


def on_connect(client, userdata, flags, reason_code, properties):
    with changed:
        if client in known and not flags.session_present:
            lost.append(client._client_id)
        known.add(client)
        if not subscribed and client is reader:
            client.subscribe("load/#", 2)


def on_publish(client, userdata, mid, reason_code, properties):
    with changed:
        acknowledged.append(mid)
        changed.notify_all()


# paho-mqtt 2.1 begins some QoS 2 messages anew in 3.1.1, although it has sent their PUBREL; a broker has to
# take them for new ones. [3:MQTT-4.3.3-1]
released = set()
begun_anew = set()


def on_log(client, userdata, level, text):
    if release := re.match(r"Sending PUBREL \(Mid: (\d+)\)", text):
        released.add(release[1])
    elif publish := re.match(r"Sending PUBLISH \(d\d, q2, r0, m(\d+)\), 'b'load/(\d+)''", text):
        if publish[1] in released:
            begun_anew.add(int(publish[2]))
    elif complete := re.match(r"Received PUBCOMP \(Mid: (\d+)\)", text):
        released.discard(complete[1])


def start(name):
    client = make(name, clean=False)
    # As soon as it may.
    client.reconnect_delay_set(0.02, 0.1)
    client.on_connect, client.on_message = on_connect, on_message
    client.on_subscribe, client.on_publish = on_subscribe, on_publish
    return client


def wait(condition, what):
    with changed:
        last = None
        while not condition():
            state = (sum(got.values()), len(acknowledged))
            assert state != last, f"{what}: {state}, {lost}"
            last = state
            changed.wait_for(lambda: condition() or (sum(got.values()), len(acknowledged)) != last, PATIENCE)


reader, publisher = start("reader"), start("publisher")
publisher.on_log = on_log
for client in (reader, publisher):
    connect(client, clean=False, expiry=10000)
    client.loop_start()
wait(lambda: subscribed, "subscribed")
say("ready")
for number in range(TOTAL):
    wait(lambda: number - len(acknowledged) < WINDOW, "acknowledged")
    publisher.publish(f"load/{number}", str(number), qos_of(number))
wait(lambda: len(acknowledged) == TOTAL, "all acknowledged")
wait(lambda: len(got) == TOTAL, "all came")
doubled = [number for number, times in got.items() if times > 1 and qos_of(number) == 2 and number not in begun_anew]
assert not doubled, doubled
assert not lost, lost
say("done")
for client in (reader, publisher):
    client.disconnect()
    client.loop_stop()
